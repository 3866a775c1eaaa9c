//! The files of a listener's TLS, each pair of certificate and key and the callers' authorities by themselves: one that cannot be
//! used keeps none of the others from being taken. It keeps what was last good, and no copy of a key's file.

use super::server::{Clients, Settings};
use super::{Error, Identity, read_key, unfit};
use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// More than any certificate, key or list of authorities needs.
const LARGEST: u64 = 16 * 1024 * 1024;

pub(super) struct Files {
    /// As many as there are in the settings, in their order.
    pub pairs: Vec<Part<Pair>>,
    pub clients: Option<Part<Arc<dyn ClientCertVerifier>>>,
}

/// What some files held when they were last good.
pub(super) struct Part<T> {
    pub value: T,
    digest: Vec<u8>,
}

/// A certificate with its key.
pub(super) struct Pair {
    pub key: Arc<CertifiedKey>,
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub expires: i64,
}

impl Files {
    pub fn read(settings: &Settings) -> Result<Self, Error> {
        let pairs = settings.certificates.iter().map(pair).collect::<Result<_, Error>>()?;
        let clients = settings.clients.as_ref().map(verifier).transpose()?;
        Ok(Self { pairs, clients })
    }

    /// Whether something has changed, and what cannot be used.
    pub fn renew(&mut self, settings: &Settings) -> (bool, Vec<Error>) {
        let (mut changed, mut refused) = (false, Vec::new());
        for (part, at) in self.pairs.iter_mut().zip(&settings.certificates) {
            part.take(pair(at), &mut changed, &mut refused);
        }
        if let (Some(part), Some(at)) = (&mut self.clients, &settings.clients) {
            part.take(verifier(at), &mut changed, &mut refused);
        }
        (changed, refused)
    }
}

impl<T> Part<T> {
    fn take(&mut self, newer: Result<Self, Error>, changed: &mut bool, refused: &mut Vec<Error>) {
        match newer {
            Ok(newer) if newer.digest == self.digest => {}
            Ok(newer) => (*self, *changed) = (newer, true),
            Err(e) => refused.push(e),
        }
    }
}

fn pair(at: &Identity) -> Result<Part<Pair>, Error> {
    let (certificate, key) = (read(&at.cert_file)?, Zeroizing::new(read(&at.key_file)?));
    let digest = digest(&[&certificate, &key]);
    let chain = chain(&certificate, &at.cert_file)?;
    let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let (names, expires) = super::names::read(first).map_err(|why| Error::Unusable { file: at.cert_file.clone(), why })?;
    let key = read_key(&key).map_err(|why| Error::Key { file: at.key_file.clone(), why })?;
    let unfit = |e| Error::Pair { cert_file: at.cert_file.clone(), key_file: at.key_file.clone(), why: unfit(&e) };
    let key = Arc::new(CertifiedKey::from_der(chain, key, &default_provider()).map_err(unfit)?);
    Ok(Part { value: Pair { key, names, expires }, digest })
}

fn verifier(at: &Clients) -> Result<Part<Arc<dyn ClientCertVerifier>>, Error> {
    let pem = read(&at.ca_file)?;
    let digest = digest(&[&pem]);
    let unusable = |why: String| Error::Unusable { file: at.ca_file.clone(), why };
    let mut roots = RootCertStore::empty();
    for certificate in chain(&pem, &at.ca_file)? {
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let builder = if at.required { builder } else { builder.allow_unauthenticated() };
    let value = builder.build().map_err(|e| unusable(e.to_string()))?;
    Ok(Part { value, digest })
}

fn digest(files: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for bytes in files {
        context.update(&bytes.len().to_be_bytes());
        context.update(bytes);
    }
    context.finish().as_ref().to_vec()
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
