//! rustls settings for connections that callers open: certificates chosen by the name that is asked for, which callers must show
//! one of their own, and all of it read anew when the files change. It listens on nothing; no key is in any of its errors.

use super::names::Names;
use super::{Error, Identity, install_provider, read_key, unfit};
use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// More than any certificate, key or list of authorities needs.
const LARGEST: u64 = 16 * 1024 * 1024;

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
#[derive(Debug)]
pub enum Looked {
    Same,
    /// They have changed, and hold from now on.
    Changed,
    /// They cannot be used, and what was before stays. `None`: that has been said before.
    Refused(Option<Error>),
}

/// The settings of one listener, and its files as they were last read.
pub struct Server {
    settings: Settings,
    in_force: ArcSwap<InForce>,
    last: Mutex<Last>,
}

struct Last {
    digest: Vec<u8>,
    refused: Option<String>,
}

impl Server {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When one of them cannot be read or used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let files = Files::read(&settings)?;
        let in_force = ArcSwap::from_pointee(files.settled(&settings)?);
        Ok(Self { in_force, last: Mutex::new(Last { digest: files.digest(), refused: None }), settings })
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
        let files = match Files::read(&self.settings) {
            Ok(files) => files,
            Err(e) => return last.refuse(e),
        };
        let digest = files.digest();
        if digest == last.digest {
            last.refused = None;
            return Looked::Same;
        }
        match files.settled(&self.settings) {
            Ok(settled) => {
                self.in_force.store(Arc::new(settled));
                *last = Last { digest, refused: None };
                Looked::Changed
            }
            Err(e) => last.refuse(e),
        }
    }
}

impl Last {
    fn refuse(&mut self, e: Error) -> Looked {
        let words = e.to_string();
        if self.refused.as_ref() == Some(&words) {
            return Looked::Refused(None);
        }
        self.refused = Some(words);
        Looked::Refused(Some(e))
    }
}

/// All files of a listener, as they are at one moment.
struct Files {
    /// Certificate and key.
    pairs: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    authorities: Option<Vec<u8>>,
}

impl Files {
    fn read(settings: &Settings) -> Result<Self, Error> {
        let pair = |Identity { cert_file, key_file }: &Identity| Ok((read(cert_file)?, Zeroizing::new(read(key_file)?)));
        Ok(Self {
            pairs: settings.certificates.iter().map(pair).collect::<Result<_, Error>>()?,
            authorities: settings.clients.as_ref().map(|clients| read(&clients.ca_file)).transpose()?,
        })
    }

    fn digest(&self) -> Vec<u8> {
        let mut context = ::aws_lc_rs::digest::Context::new(&::aws_lc_rs::digest::SHA256);
        let keys = self.pairs.iter().flat_map(|(certificate, key)| [certificate.as_slice(), key.as_slice()]);
        for bytes in keys.chain(self.authorities.as_deref()) {
            context.update(&bytes.len().to_be_bytes());
            context.update(bytes);
        }
        context.finish().as_ref().to_vec()
    }

    fn settled(&self, settings: &Settings) -> Result<InForce, Error> {
        install_provider();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pairs = self.pairs.iter().zip(&settings.certificates);
        let keys = pairs.map(|((pem, key), at)| certified(pem, key, at, &provider)).collect::<Result<Vec<_>, Error>>()?;
        let mut expires = i64::MAX;
        let mut names = Vec::new();
        for (key, at) in keys.iter().zip(&settings.certificates) {
            let (of_one, until) = super::names::read(key.cert.first().map(AsRef::as_ref).unwrap_or_default())
                .map_err(|why| Error::Unusable { file: at.cert_file.clone(), why })?;
            expires = expires.min(until);
            names.push(of_one);
        }
        let names = Arc::new(Names::new(&names));
        let versions: &[&SupportedProtocolVersion] = match settings.min_version {
            MinVersion::Tls12 => &[&version::TLS13, &version::TLS12],
            MinVersion::Tls13 => &[&version::TLS13],
        };
        let unusable = |e: rustls::Error| Error::Platform(e.to_string());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).map_err(unusable)?;
        let resolver = Arc::new(ByName { names: names.clone(), keys });
        let mut config = match (&settings.clients, &self.authorities) {
            (Some(clients), Some(pem)) => {
                let roots = authorities(pem, &clients.ca_file)?;
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
                let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
                let built = verifier.build().map_err(|e| Error::Unusable { file: clients.ca_file.clone(), why: e.to_string() })?;
                let mut config = builder.with_client_cert_verifier(built).with_cert_resolver(resolver);
                // A session that is resumed brings the certificate that was judged hours ago.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
                config
            }
            _ => {
                let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
                config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
                config
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(InForce { config: Arc::new(config), names, expires })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let unreadable = |e: std::io::Error| Error::Unreadable { file: file.to_owned(), why: e.to_string() };
    let mut bytes = Vec::new();
    std::fs::File::open(file).and_then(|f| f.take(LARGEST).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

fn chain(pem: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| Error::Unusable { file: file.to_owned(), why: e.to_string() })?;
    if found.is_empty() { Err(Error::NoCertificate(file.to_owned())) } else { Ok(found) }
}

fn certified(pem: &[u8], key: &[u8], at: &Identity, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    let chain = chain(pem, &at.cert_file)?;
    let key = read_key(key).map_err(|why| Error::Key { file: at.key_file.clone(), why })?;
    let made = CertifiedKey::from_der(chain, key, provider);
    let pair = |e| Error::Pair { cert_file: at.cert_file.clone(), key_file: at.key_file.clone(), why: unfit(&e) };
    Ok(Arc::new(made.map_err(pair)?))
}

fn authorities(pem: &[u8], file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem, file)? {
        roots.add(certificate).map_err(|e| Error::Unusable { file: file.to_owned(), why: e.to_string() })?;
    }
    Ok(roots)
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
