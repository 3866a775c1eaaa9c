//! A client that proves itself by its certificate (RFC 8705), before a server that asks for one; and certificates and authorities
//! that change while we run. In front of the plain IAM stands one that speaks TLS and keeps what it was shown.

use super::*;
use crate::tls::Identity;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn leaf(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap(), key)
    }

    /// A new certificate for the gateway, put where its settings look; returns it as a server sees it.
    fn identify(&self, dir: &Path) -> Vec<u8> {
        let (certificate, key) = self.leaf("gateway");
        fs::write(dir.join("tls.crt"), certificate.pem()).unwrap();
        fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
        certificate.der().to_vec()
    }
}

/// Speaks TLS, wants a certificate of `authority`, and hands all on to `iam`.
struct Front {
    addr: std::net::SocketAddr,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Front {
    async fn start(authority: &Authority, addr: &str, iam: std::net::SocketAddr) -> Self {
        crate::tls::install_provider();
        let (certificate, key) = authority.leaf("localhost");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.0.der().to_vec())).unwrap();
        let wants = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(wants);
        let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(addr).await.unwrap();
        let (addr, shown) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let seen = shown.clone();
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                all.spawn(async move {
                    let Ok(mut tls) = acceptor.accept(socket).await else { return };
                    let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default().iter().map(|c| c.to_vec());
                    seen.lock().unwrap().extend(certificates);
                    let mut behind = TcpStream::connect(iam).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut behind).await;
                });
            }
        });
        Self { addr, shown, task }
    }

    /// Its port is free when this returns.
    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    fn last(&self) -> Vec<u8> {
        self.shown.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

#[tokio::test]
async fn the_certificate_of_the_connection_is_the_proof_and_may_change() {
    let (lines, _guard) = Lines::kept();
    let (iam, dir, clock) = (Iam::start(&[Signer::ed().jwk("one")]).await, TempDir::new().unwrap(), Clock::turned());
    iam.answer(TOKEN, Canned::json(200, &json!({})));
    let authority = Authority::new();
    let front = Front::start(&authority, "127.0.0.1:0", iam.addr).await;
    let first = authority.identify(dir.path());
    fs::write(dir.path().join("ca.crt"), authority.0.pem()).unwrap();
    let endpoint = |path: &str| format!("http://{}{path}", iam.addr);
    let mtls = format!("https://localhost:{}{TOKEN}", front.addr.port());
    iam.answer(
        DISCOVERY,
        Canned::json(
            200,
            &json!({"issuer": iam.url, "token_endpoint": endpoint(TOKEN), "jwks_uri": endpoint(KEYS),
                "mtls_endpoint_aliases": {"token_endpoint": mtls}}),
        ),
    );
    let (issuer, _) = iam.issuer(&clock, |s| {
        s.client_auth = ClientAuth::TlsClientAuth(Identity { cert_file: dir.path().join("tls.crt"), key_file: dir.path().join("tls.key") });
        s.ca_file = Some(dir.path().join("ca.crt"));
        s.protection.retries = 0;
    });
    issuer.start();
    issuer.when_loaded().await;
    let post = || issuer.post_token(form(), Priority::Caller);
    assert_eq!(post().await.unwrap().status, 200);
    let seen = iam.seen(TOKEN).pop().unwrap();
    assert_eq!((seen.form("client_id"), seen.headers.get("authorization")), (vec!["gateway".into()], None));
    assert_eq!(front.last(), first);

    let second = authority.identify(dir.path());
    clock.turn(Duration::from_secs(6));
    eventually("the new certificate is in use", || lines.text().contains("is used as it is now")).await;
    assert_eq!(post().await.unwrap().status, 200);
    assert_eq!(front.last(), second);

    // Another authority for both sides; and a certificate whose key is not in place yet.
    let other = Authority::new();
    let addr = front.addr.to_string();
    front.stop().await;
    let front = Front::start(&other, &addr, iam.addr).await;
    assert!(matches!(post().await, Err(CallError::Unreachable(_) | CallError::Broken(_))), "an authority that is not trusted");
    fs::write(dir.path().join("tls.crt"), other.leaf("gateway").0.pem()).unwrap();
    clock.turn(Duration::from_secs(6));
    eventually("it is told", || lines.text().contains("what was there before stays in use")).await;
    assert!(lines.text().contains("the key is another certificate's"), "{}", lines.text());
    let third = other.identify(dir.path());
    fs::write(dir.path().join("ca.crt"), other.0.pem()).unwrap();
    clock.turn(Duration::from_secs(6));
    eventually("all of it is in use", || lines.text().matches("is used as it is now").count() == 2).await;
    assert_eq!(post().await.unwrap().status, 200);
    assert_eq!(front.last(), third);
}
