//! What calls are made with now: the connections' client and our proof, made of files that may change while we run. What changed
//! is read again; what cannot be used is told once, and what was good stays in use. It makes no call.

use super::client::Client;
use super::proof::{self, Proof};
use super::{Error, Issuer, Settings};
use crate::clock::{Clock, millis};
use crate::token::Digest;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use url::Url;

/// How often the files are looked at. Their content is compared: a ConfigMap's file is a link to a folder that is swapped.
const EVERY: Duration = Duration::from_secs(5);
/// The clock is looked at this often.
const LOOK: Duration = Duration::from_millis(250);

/// All that one call is made with.
#[derive(Clone)]
pub struct Tools {
    pub client: Client,
    pub proof: Arc<Proof>,
}

pub struct Credentials {
    current: ArcSwap<Tools>,
    /// Held while files are read, so that two who look at once do not undo each other.
    files: Mutex<Files>,
}

/// What was seen in the files that each part is made of, good or not.
struct Files {
    client: Seen,
    proof: Seen,
}

struct Seen {
    files: Vec<PathBuf>,
    digest: Digest,
}

impl Seen {
    /// The digest comes first: what changes while a part is made is seen the next time.
    fn new(files: Vec<PathBuf>) -> Self {
        let digest = digest(&files);
        Self { files, digest }
    }

    fn changed(&mut self) -> bool {
        let now = digest(&self.files);
        std::mem::replace(&mut self.digest, now) != now
    }
}

impl Credentials {
    pub fn new(settings: &Settings, discovery: Option<&Url>) -> Result<Self, Error> {
        let files = Files { client: Seen::new(Client::files(settings)), proof: Seen::new(Proof::files(&settings.client_auth)) };
        let tools = Tools { client: Client::new(settings, discovery)?, proof: Arc::new(Proof::read(settings)?) };
        Ok(Self { current: ArcSwap::from_pointee(tools), files: Mutex::new(files) })
    }

    pub fn current(&self) -> Arc<Tools> {
        self.current.load_full()
    }

    /// Reads again what has changed, and says what it was and whether it can be used. It blocks while it reads.
    fn look(&self, settings: &Settings, discovery: Option<&Url>) -> Vec<(&'static str, Result<(), Error>)> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tools = Tools::clone(&self.current.load());
        let client = files.client.changed().then(|| Client::new(settings, discovery).map(|client| tools.client = client));
        let proof = files.proof.changed().then(|| Proof::read(settings).map(|proof| tools.proof = Arc::new(proof)));
        if [&client, &proof].into_iter().flatten().any(Result::is_ok) {
            self.current.store(Arc::new(tools));
        }
        let parts = [("the issuer's ca_file or client_certificate", client), ("the client's secret, key or assertion", proof)];
        parts.into_iter().filter_map(|(what, read)| Some((what, read?))).collect()
    }

    fn has_files(settings: &Settings) -> bool {
        !Client::files(settings).is_empty() || !Proof::files(&settings.client_auth).is_empty()
    }
}

/// Looks at the files now, on a thread that may wait for a disk.
pub async fn look(issuer: &Arc<Issuer>) {
    if !Credentials::has_files(&issuer.settings) {
        return;
    }
    let this = issuer.clone();
    let looked = tokio::task::spawn_blocking(move || this.credentials.look(&this.settings, this.discovery_url.as_ref())).await;
    let name = &issuer.settings.name;
    // It fails only with the runtime.
    for (what, read) in looked.into_iter().flatten() {
        match read {
            Ok(()) => tracing::info!(issuer = %name, "{what} has changed, and is used as it is now"),
            Err(e) => {
                let cure = "put a good file in its place; it is looked at every few seconds";
                tracing::warn!(issuer = %name, cause = %e, cure, "{what} has changed and cannot be used: what was there before stays in use");
            }
        }
    }
}

/// Looks at the files again and again, for as long as the issuer lives.
pub async fn run(weak: Weak<Issuer>, clock: Clock) {
    if !weak.upgrade().is_some_and(|issuer| Credentials::has_files(&issuer.settings)) {
        return;
    }
    loop {
        let next = clock.millis() + millis(EVERY);
        while clock.millis() < next {
            tokio::time::sleep(LOOK).await;
        }
        let Some(issuer) = weak.upgrade().filter(|issuer| !issuer.is_retired()) else { return };
        look(&issuer).await;
    }
}

/// Of all that is in the files, or of why it cannot be read.
fn digest(files: &[PathBuf]) -> Digest {
    let parts: Vec<_> = files.iter().map(|file| proof::bytes(file).map_err(|e| e.kind().to_string().into_bytes())).collect();
    Digest::of_parts(parts.iter().flat_map(|part| match part {
        Ok(bytes) => [&b"read"[..], bytes.as_slice()],
        Err(why) => [&b"not"[..], why.as_slice()],
    }))
}
