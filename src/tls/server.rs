//! rustls settings for connections that callers open: certificates chosen by the name that is asked for, which callers must show
//! one of their own, and each file read anew when it changes (`files`). It listens on nothing; no key is in any of its errors.

use super::files::Files;
use super::names::Names;
use super::{Error, Identity, install_provider};
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a listener shows, and what it wants to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The first is for those who ask for no name, or for one that is in none.
    pub certificates: Vec<Identity>,
    pub clients: Option<Clients>,
    pub min_version: MinVersion,
}

/// Whose certificates callers may show, and whether they must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    pub ca_file: PathBuf,
    pub required: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

/// What holds for a connection from its handshake on.
pub struct InForce {
    pub config: Arc<ServerConfig>,
    pub names: Arc<Names>,
    /// When the first of the certificates is over, in seconds since 1970.
    pub expires: i64,
}

/// How a look at the files ended.
#[derive(Debug, Default)]
pub struct Looked {
    /// Some have changed, and hold from now on.
    pub changed: bool,
    /// Some cannot be used, and what was before stays in their place. What has been said before is not in here.
    pub refused: Vec<Error>,
}

/// The settings of one listener, and its files as they were last read.
pub struct Server {
    settings: Settings,
    in_force: ArcSwap<InForce>,
    last: Mutex<Last>,
}

struct Last {
    files: Files,
    refused: Vec<String>,
}

impl Server {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When one of them cannot be read or used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        install_provider();
        let files = Files::read(&settings)?;
        let in_force = ArcSwap::from_pointee(settled(&files, &settings)?);
        Ok(Self { in_force, last: Mutex::new(Last { files, refused: Vec::new() }), settings })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Reads the files anew, and takes what they hold where it can be used. It blocks.
    pub fn look(&self) -> Looked {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut changed, mut refused) = last.files.renew(&self.settings);
        if changed {
            match settled(&last.files, &self.settings) {
                Ok(settled) => self.in_force.store(Arc::new(settled)),
                Err(e) => {
                    changed = false;
                    refused.push(e);
                }
            }
        }
        let words: Vec<String> = refused.iter().map(Error::to_string).collect();
        refused.retain(|e| !last.refused.contains(&e.to_string()));
        last.refused = words;
        Looked { changed, refused }
    }
}

fn settled(files: &Files, settings: &Settings) -> Result<InForce, Error> {
    let pairs = || files.pairs.iter().map(|pair| &pair.value);
    let names: Vec<_> = pairs().map(|pair| pair.names.clone()).collect();
    let names = Arc::new(Names::new(&names));
    let versions: &[&SupportedProtocolVersion] = match settings.min_version {
        MinVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        MinVersion::Tls13 => &[&version::TLS13],
    };
    let unusable = |e: rustls::Error| Error::Platform(e.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(versions).map_err(unusable)?;
    let resolver = Arc::new(ByName { names: names.clone(), keys: pairs().map(|pair| pair.key.clone()).collect() });
    let mut config = match &files.clients {
        Some(clients) => {
            let mut config = builder.with_client_cert_verifier(clients.value.clone()).with_cert_resolver(resolver);
            // A session that is resumed brings the certificate that was judged hours ago.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
        None => {
            let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
            config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
            config
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let expires = pairs().map(|pair| pair.expires).min().unwrap_or(i64::MAX);
    Ok(InForce { config: Arc::new(config), names, expires })
}

/// Which certificate answers whom.
#[derive(Debug)]
struct ByName {
    names: Arc<Names>,
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = self.names.find(hello.server_name());
        let keys = || found.iter().filter_map(|at| self.keys.get(*at));
        // Of several for one name (RSA beside ECDSA), the first that the caller understands.
        keys().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some()).or_else(|| keys().next()).cloned()
    }
}
