//! Certificates for tests of TLS: an authority, what it issues, the files that a gateway reads, and a caller that trusts it.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wire::patiently;

/// An authority with a folder for its files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub dir: TempDir,
}

/// A certificate with its key.
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    pub key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        cambist::tls::install_provider();
        let mut params = CertificateParams::new([]).unwrap();
        // A leaf of the same name would look as if it had signed itself.
        params.distinguished_name.push(rcgen::DnType::CommonName, "the test's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let made =
            Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(), dir: tempfile::tempdir().unwrap() };
        fs::write(made.file("ca.crt"), made.issuer.pem()).unwrap();
        made
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_until(names, 2100)
    }

    /// One that is over when `year` begins.
    pub fn leaf_until(&self, names: &[&str], year: i32) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { certificate: made.der().clone(), certificate_pem: made.pem(), key }
    }

    /// Puts a certificate for `names` where `name` is read from, and returns it.
    pub fn put(&self, name: &str, names: &[&str]) -> Leaf {
        self.put_leaf(name, self.leaf(names))
    }

    pub fn put_leaf(&self, name: &str, leaf: Leaf) -> Leaf {
        fs::write(self.file(&format!("{name}.crt")), &leaf.certificate_pem).unwrap();
        fs::write(self.file(&format!("{name}.key")), leaf.key.serialize_pem()).unwrap();
        leaf
    }

    /// `{ cert_file, key_file }` of what was put under `name`.
    pub fn pair(&self, name: &str) -> String {
        let file = |end: &str| self.file(&format!("{name}.{end}")).display().to_string();
        format!("{{ cert_file: {}, key_file: {} }}", file("crt"), file("key"))
    }

    /// A listener `main` that shows what was put under `names`; `more` is added to its `tls`, `beside` to the listener.
    pub fn listener(&self, names: &[&str], more: &str, beside: &str) -> String {
        let pairs: Vec<String> = names.iter().map(|n| self.pair(n)).collect();
        format!("listeners: {{ main: {{ address: 127.0.0.1:0, tls: {{ certificates: [{}]{more} }}{beside} }} }}\n", pairs.join(", "))
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub fn ca_file(&self) -> String {
        self.file("ca.crt").display().to_string()
    }

    /// A caller that trusts this authority.
    pub fn caller(&self) -> Caller {
        Caller { roots: self.issuer.der().to_vec(), shows: None, alpn: Vec::new(), versions: rustls::ALL_VERSIONS }
    }
}

/// How a caller opens connections.
pub struct Caller {
    roots: Vec<u8>,
    shows: Option<(CertificateDer<'static>, Vec<u8>)>,
    alpn: Vec<Vec<u8>>,
    versions: &'static [&'static SupportedProtocolVersion],
}

impl Caller {
    pub fn showing(self, leaf: &Leaf) -> Self {
        Self { shows: Some((leaf.certificate.clone(), leaf.key.serialize_der())), ..self }
    }

    pub fn speaking(self, alpn: &[&str]) -> Self {
        Self { alpn: alpn.iter().map(|p| p.as_bytes().to_vec()).collect(), ..self }
    }

    pub fn only(self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        Self { versions, ..self }
    }

    /// With `name` asked for; an IP address asks for none.
    pub async fn connect(&self, address: SocketAddr, name: &str) -> io::Result<Sealed> {
        self.shake(TcpStream::connect(address).await.unwrap(), name).await
    }

    pub async fn shake(&self, stream: TcpStream, name: &str) -> io::Result<Sealed> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.roots.clone())).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(self.versions).with_root_certificates(roots);
        let mut config = match &self.shows {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate.clone()], PrivateKeyDer::try_from(key.clone()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
        patiently("the handshake ends", shaken).await.map(Sealed)
    }
}

/// A connection under TLS.
#[derive(Debug)]
pub struct Sealed(pub TlsStream<TcpStream>);

impl Sealed {
    pub fn shown(&self) -> CertificateDer<'static> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub fn agreed(&self) -> Option<&[u8]> {
        self.0.get_ref().1.alpn_protocol()
    }

    /// Speaks HTTP/1.1.
    pub async fn http1(self) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(self.0)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub async fn http2(self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(self.0)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// One GET over HTTP/1.1; an error where the gateway closed the connection instead.
    pub async fn get(self, host: &str, path: &str, token: &str) -> Result<(u16, serde_json::Value), hyper::Error> {
        let request = Request::get(path).header("host", host).header("authorization", format!("Bearer {token}"));
        heard(self.http1().await.send_request(request.body(Full::default()).unwrap())).await
    }

    pub async fn get2(self, host: &str, path: &str, token: &str) -> Result<(u16, serde_json::Value), hyper::Error> {
        let request = Request::get(format!("https://{host}{path}")).header("authorization", format!("Bearer {token}"));
        heard(self.http2().await.send_request(request.body(Full::default()).unwrap())).await
    }
}

async fn heard(
    answer: impl Future<Output = Result<Response<hyper::body::Incoming>, hyper::Error>>,
) -> Result<(u16, serde_json::Value), hyper::Error> {
    let answer = patiently("an answer", answer).await?;
    let status = answer.status().as_u16();
    let body = patiently("a body", answer.into_body().collect()).await?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}
