//! rustls settings for connections that we open (those that callers open are in `server`): which authorities we trust, who we say we are, and the one crypto provider. It
//! reads PEM and opens no connection; a private key is in none of its errors.

mod files;
pub mod names;
pub mod server;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {why}", file.display())]
    Unreadable { file: PathBuf, why: String },
    #[error("{} holds no PEM certificate (it must begin with -----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} cannot be used: {why}", file.display())]
    Unusable { file: PathBuf, why: String },
    #[error("{}: {why}", file.display())]
    Key { file: PathBuf, why: &'static str },
    #[error("the certificate in {} and the key in {} cannot be used together: {why}", cert_file.display(), key_file.display())]
    Pair { cert_file: PathBuf, key_file: PathBuf, why: String },
    #[error("this machine's certificate authorities cannot be used ({0}); install the ca-certificates package, or give a ca_file")]
    Platform(String),
}

/// A certificate that we show, with its chain, and its key: where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// Makes AWS-LC the process's crypto provider. Calling it again changes nothing.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The certificates of a PEM file.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |e: &dyn std::fmt::Display| Error::Unreadable { file: file.to_owned(), why: e.to_string() };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(|e| unreadable(&e))?.collect();
    let found = found.map_err(|e| unreadable(&e))?;
    if found.is_empty() { Err(Error::NoCertificate(file.to_owned())) } else { Ok(found) }
}

/// The DER of the one private key in a PEM text (PKCS#8, PKCS#1 or SEC1).
///
/// # Errors
/// What is wrong with it, without anything of it.
pub fn private_key(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut key = read_key(pem)?;
    let der = Zeroizing::new(key.secret_der().to_vec());
    key.zeroize();
    Ok(der)
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    let said = |text: &str| pem.windows(text.len()).any(|w| w == text.as_bytes());
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(_) if said("ENCRYPTED") => {
            Err("the key is encrypted, and there is nobody to ask for its passphrase (openssl pkcs8 decrypts it)")
        }
        Err(pem::Error::NoItemsFound) => Err("it holds no PEM private key (it must begin with -----BEGIN PRIVATE KEY-----)"),
        Err(_) => Err("its PEM private key is broken"),
    }
}

/// Whether a certificate and a key, both PEM, belong together.
///
/// # Errors
/// Why not, without anything of the key.
pub fn check_pair(cert: &[u8], key: &[u8]) -> Result<(), String> {
    install_provider();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = found.map_err(|e| format!("the certificate is no PEM: {e}"))?;
    if chain.is_empty() {
        return Err("there is no PEM certificate (it must begin with -----BEGIN CERTIFICATE-----)".to_owned());
    }
    let key = read_key(key).map_err(|why| format!("of the key's file: {why}"))?;
    let roots = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    roots.with_client_auth_cert(chain, key).map(drop).map_err(|e| unfit(&e))
}

fn unfit(e: &rustls::Error) -> String {
    match e {
        rustls::Error::InconsistentKeys(_) => "the key is another certificate's".to_owned(),
        other => other.to_string(),
    }
}

/// Settings for a client that trusts `ca_file` alone, or the machine's own authorities where there is none.
///
/// # Errors
/// When the file is unreadable, or the machine has no authorities.
pub fn client(ca_file: Option<&Path>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    client_as(ca_file, None, alpn)
}

/// The same for a client that shows a certificate to whoever asks for one.
///
/// # Errors
/// When a file is unreadable, certificate and key do not fit each other, or the machine has no authorities.
pub fn client_as(ca_file: Option<&Path>, identity: Option<&Identity>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    install_provider();
    let builder = ClientConfig::builder();
    let builder = match ca_file {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(file)?);
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(|e| Error::Platform(e.to_string()))?,
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { cert_file, key_file }) => {
            let unreadable = |e: std::io::Error| Error::Unreadable { file: key_file.clone(), why: e.to_string() };
            let pem = Zeroizing::new(std::fs::read(key_file).map_err(unreadable)?);
            let key = read_key(&pem).map_err(|why| Error::Key { file: key_file.clone(), why })?;
            let pair = |e| Error::Pair { cert_file: cert_file.clone(), key_file: key_file.clone(), why: unfit(&e) };
            builder.with_client_auth_cert(certificates(cert_file)?, key).map_err(pair)?
        }
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}
