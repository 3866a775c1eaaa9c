//! Endpoints and keys, kept fresh: fetched at the start and every `jwks_refresh`, with growing pauses while it fails. Keys that
//! could not be renewed are trusted for an hour more, and then not at all; a failed fetch never takes good keys away at once.

use super::client::{MAX_ANSWER, MAX_KEYS, Reply};
use super::discovery::Endpoints;
use super::{CallError, Issuer, Keys, ask, breaker, discovery};
use crate::clock::{Clock, millis};
use crate::fault::Why;
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use url::Url;

/// How long keys are trusted after they should have been renewed.
const GRACE: Duration = Duration::from_secs(3600);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two attempts while there are no keys, and while there are some.
const LONGEST_PAUSE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// The clock is looked at this often, so that a turned clock or a machine that slept does not wait on.
const LOOK: Duration = Duration::from_millis(250);

/// The keys of now, and until when they are trusted.
pub(super) struct KeyStore {
    clock: Clock,
    refresh: Duration,
    current: ArcSwapOption<Keys>,
    good_until: AtomicU64,
    came: watch::Sender<bool>,
    /// Until when the issuer asked that neither keys nor endpoints be fetched.
    quiet_until: AtomicU64,
    /// Held while keys are fetched: an older answer must not overwrite a newer one.
    fetching: Mutex<()>,
}

impl KeyStore {
    pub(super) fn new(clock: Clock, refresh: Duration) -> Self {
        Self {
            clock,
            refresh,
            current: ArcSwapOption::empty(),
            good_until: AtomicU64::new(0),
            came: watch::Sender::new(false),
            quiet_until: AtomicU64::new(0),
            fetching: Mutex::default(),
        }
    }

    pub(super) fn succeed(&self, old: &Self) {
        if let Some(keys) = old.current() {
            self.current.store(Some(keys));
            self.good_until.store(old.good_until.load(Ordering::Relaxed), Ordering::Relaxed);
            self.came.send_replace(true);
        }
    }

    pub(super) fn loaded(&self) -> bool {
        *self.came.borrow()
    }

    pub(super) async fn when_loaded(&self) {
        // The sender is ours, so the wait cannot fail.
        let _ = self.came.subscribe().wait_for(|came| *came).await;
    }

    pub(super) fn current(&self) -> Option<Arc<Keys>> {
        if self.trusted() { self.current.load_full() } else { None }
    }

    pub(super) fn generation(&self) -> Option<u64> {
        if self.trusted() { self.current.load().as_ref().map(|k| k.generation) } else { None }
    }

    /// For how long yet nothing is to be fetched, by the issuer's own wish.
    pub(super) fn quiet(&self) -> Option<Duration> {
        let left = self.quiet_until.load(Ordering::Relaxed).saturating_sub(self.clock.millis());
        (left > 0).then(|| Duration::from_millis(left))
    }

    fn leave_alone(&self, wish: Duration) {
        self.quiet_until.fetch_max(self.clock.millis() + millis(wish.min(breaker::LONGEST_PAUSE)), Ordering::Relaxed);
    }

    fn trusted(&self) -> bool {
        self.clock.millis() < self.good_until.load(Ordering::Relaxed)
    }

    /// Takes keys that were asked for at `asked`; equal ones keep their generation. Returns whether they are others.
    pub(super) fn take(&self, keys: Keys, asked: u64) -> bool {
        let changed = self.current.load().as_ref().is_none_or(|old| !old.same(&keys));
        if changed {
            self.current.store(Some(Arc::new(keys)));
        }
        self.good_until.store(asked + millis(self.refresh + GRACE), Ordering::Relaxed);
        self.came.send_replace(true);
        changed
    }
}

/// Keeps an issuer fresh for as long as it lives.
pub(super) async fn run(weak: Weak<Issuer>) {
    let mut failures = 0;
    loop {
        let Some(issuer) = weak.upgrade().filter(|issuer| !issuer.is_retired()) else { return };
        // Counted from before the fetch: a slow issuer does not make its keys older.
        let (clock, began) = (issuer.clock.clone(), issuer.clock.millis());
        failures = if refreshed(&issuer).await { 0 } else { failures + 1 };
        let wish = issuer.keys.quiet().map_or(0, |left| clock.millis() + millis(left));
        let until = (began + millis(pause(&issuer, failures))).max(wish);
        drop(issuer);
        while clock.millis() < until {
            if weak.upgrade().is_none_or(|issuer| issuer.is_retired()) {
                return;
            }
            tokio::time::sleep(LOOK.min(Duration::from_millis(until - clock.millis().min(until)))).await;
        }
    }
}

/// Fetches the keys once, and says in the log what went wrong and what changed.
pub(super) async fn fetch_keys(issuer: &Issuer) -> bool {
    let Some(jwks) = issuer.settings.jwks_uri.clone().or_else(|| issuer.endpoints.load().as_ref().map(|e| e.jwks.clone())) else {
        return false;
    };
    let _one = issuer.keys.fetching.lock().await;
    if issuer.keys.quiet().is_some() {
        return false;
    }
    let asked = issuer.clock.millis();
    let name = &issuer.settings.name;
    let cure = || format!("check issuers.{name}.jwks_uri, or that the discovery document names the right one");
    match fetched(issuer, jwks, MAX_KEYS, "keys")
        .await
        .and_then(|reply| Keys::read(&reply.body).map_err(|e| (format!("it answers {e}"), cure())))
    {
        Ok(keys) => {
            let (count, generation) = (keys.len(), keys.generation);
            issuer.metrics.up(true);
            issuer.metrics.keys_came(issuer.clock.unix());
            issuer.trouble.store(None);
            if issuer.keys.take(keys, asked) {
                tracing::info!(issuer = %name, keys = count, generation, "new signing keys of the issuer are in use");
            }
            true
        }
        Err(trouble) => {
            said(issuer, "the issuer's keys cannot be fetched", trouble);
            false
        }
    }
}

async fn refreshed(issuer: &Issuer) -> bool {
    // Endpoints that are known stay good when discovery fails: the keys are tried all the same.
    let discovered = discover(issuer).await;
    fetch_keys(issuer).await && discovered
}

async fn discover(issuer: &Issuer) -> bool {
    let Some(url) = issuer.discovery_url.clone() else { return true };
    let read = document(issuer, url).await.and_then(|reply| Endpoints::read(&reply.body, &issuer.settings));
    match read {
        Ok(endpoints) => {
            issuer.metrics.up(true);
            issuer.endpoints.store(Some(Arc::new(endpoints)));
            true
        }
        Err(trouble) => {
            said(issuer, "the issuer's discovery document cannot be used", trouble);
            false
        }
    }
}

/// The discovery document, where it is by OpenID Connect; where nothing is there, where it is by OAuth (RFC 8414).
pub(super) async fn document(issuer: &Issuer, url: Url) -> Result<Reply, (String, String)> {
    let answer = asked(issuer, url.clone(), MAX_ANSWER).await;
    if let (Ok(Reply { status: 404, .. }), Some(other)) = (&answer, discovery::as_oauth_has_it(&issuer.settings))
        && let Ok(reply @ Reply { status: 200, .. }) = asked(issuer, other, MAX_ANSWER).await
    {
        return Ok(reply);
    }
    judged(issuer, &url, "discovery", answer)
}

pub(super) async fn fetched(issuer: &Issuer, url: Url, max: usize, what: &str) -> Result<Reply, (String, String)> {
    let answer = asked(issuer, url.clone(), max).await;
    judged(issuer, &url, what, answer)
}

async fn asked(issuer: &Issuer, url: Url, max: usize) -> Result<Reply, CallError> {
    let client = issuer.credentials.current().client.clone();
    let answer = client.get(url, max).await;
    if let Some(wish) = answer.as_ref().ok().and_then(ask::wish) {
        // Of these endpoints alone: who asks for tokens was not meant.
        issuer.keys.leave_alone(wish);
    }
    answer
}

fn judged(issuer: &Issuer, url: &Url, what: &str, answer: Result<Reply, CallError>) -> Result<Reply, (String, String)> {
    let name = &issuer.settings.name;
    let (shown, port) = (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or_default());
    match answer {
        Ok(reply @ Reply { status: 200, .. }) => Ok(reply),
        Ok(Reply { status: status @ 300..=399, .. }) => Err((
            format!("asked for its {what}, it answers with a redirect (HTTP {status}), and redirects are not followed"),
            format!("give issuers.{name} the address that the redirect leads to"),
        )),
        Ok(Reply { status: 404, .. }) if what == "discovery" => Err((
            "asked for its discovery, it answers HTTP 404".to_owned(),
            format!(
                "check issuers.{name}.url; Keycloak's is https://HOST/realms/REALM, and the realm must exist. Where the document is neither at \
                 .well-known/openid-configuration below the url nor where RFC 8414 has it, give its address as issuers.{name}.discovery_url"
            ),
        )),
        Ok(Reply { status, .. }) => Err((
            format!("asked for its {what}, it answers HTTP {status}"),
            format!("check issuers.{name}.url; Keycloak's is https://HOST/realms/REALM, and the realm must exist"),
        )),
        Err(e) => Err((format!("asked for its {what}: {e}"), cure(&e, &shown, port))),
    }
}

fn cure(e: &CallError, host: &str, port: u16) -> String {
    match e {
        CallError::Unreachable(words) if words.contains("certificate") => {
            "give the issuer's certificate authority as ca_file, or use the host name that its certificate has".to_owned()
        }
        CallError::Unreachable(_) => {
            format!("check that {host}:{port} is right, up, and reachable from here (name resolution, network policy)")
        }
        CallError::Timeout => "check the issuer's load, or raise its timeouts".to_owned(),
        _ => format!("check that {host}:{port} is the IAM, and what stands between"),
    }
}

/// The pauses between attempts are what keeps this from filling the log.
fn said(issuer: &Issuer, what: &str, (cause, cure): (String, String)) {
    issuer.metrics.up(false);
    tracing::warn!(issuer = %issuer.settings.name, cause, cure, "{what}");
    issuer.note(Why::new(cause).cure(cure));
}

fn pause(issuer: &Issuer, failures: u32) -> Duration {
    if failures == 0 {
        return issuer.settings.jwks_refresh.max(FIRST_PAUSE);
    }
    let longest = LONGEST_PAUSE[usize::from(issuer.keys.generation().is_some())];
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16).saturating_sub(1)).min(longest).min(issuer.settings.jwks_refresh);
    // Jitter, so that a fleet of gateways does not knock in step.
    full.mul_f64(rand::random_range(0.75..=1.0))
}
