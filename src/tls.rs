//! rustls settings for connections that we open: which authorities we trust, and the one crypto provider. It reads PEM files
//! and opens no connection.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {why}", file.display())]
    Unreadable { file: PathBuf, why: String },
    #[error("{} holds no PEM certificate (it must begin with -----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    #[error("this machine's certificate authorities cannot be used ({0}); install the ca-certificates package, or give a ca_file")]
    Platform(String),
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

/// Settings for a client that trusts `ca_file` alone, or the machine's own authorities where there is none.
///
/// # Errors
/// When the file is unreadable, or the machine has no authorities.
pub fn client(ca_file: Option<&Path>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    install_provider();
    let builder = ClientConfig::builder();
    let mut config = match ca_file {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(file)?);
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None => builder.with_platform_verifier().map_err(|e| Error::Platform(e.to_string()))?.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}
