//! A tiny IAM for the tests of this room and of those above it: real sockets, canned answers, and a count of what was asked.
//! It checks nothing and keeps no key: each run makes its own.

use super::{ClientAuth, Issuer, Protection, Settings, Timeouts};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::token::Secret;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature as sig;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

pub(crate) const DISCOVERY: &str = "/realms/a/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/realms/a/keys";
pub(crate) const TOKEN: &str = "/realms/a/token";
pub(crate) const INTROSPECTION: &str = "/realms/a/introspect";

pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        name: "main".into(),
        url: url.into(),
        discovery_url: None,
        token_endpoint: None,
        jwks_uri: None,
        introspection_endpoint: None,
        client_id: "gateway".into(),
        client_auth: ClientAuth::basic(Secret::new("gateway-c4nary-secret")),
        ca_file: None,
        allow_http: false,
        jwks_refresh: Duration::from_secs(600),
        timeouts: Timeouts { connect: Duration::from_secs(1), total: Duration::from_secs(5) },
        protection: Protection::default(),
    }
}

/// One request that came.
#[derive(Clone)]
pub(crate) struct Seen {
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Seen {
    /// The values under a name of the form, in their order.
    pub(crate) fn form(&self, name: &str) -> Vec<String> {
        url::form_urlencoded::parse(self.body.as_bytes()).filter(|(n, _)| n == name).map(|(_, v)| v.into_owned()).collect()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Canned {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub delay: Duration,
    /// The connection ends instead of an answer.
    pub cut: bool,
}

impl Canned {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, body: body.into(), headers: vec![("content-type", "application/json".into())], ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Default)]
struct Inside {
    canned: HashMap<String, Canned>,
    /// Before what is canned, once each.
    first: HashMap<String, VecDeque<Canned>>,
    seen: Vec<Seen>,
}

/// The IAM. It answers 404 where nothing was said.
pub(crate) struct Iam {
    pub url: String,
    pub addr: std::net::SocketAddr,
    inside: Arc<Mutex<Inside>>,
    task: tokio::task::JoinHandle<()>,
}

impl Iam {
    /// With a discovery document in place, and these keys.
    pub(crate) async fn start(keys: &[Value]) -> Self {
        Self::at("127.0.0.1:0", keys).await
    }

    pub(crate) async fn at(addr: &str, keys: &[Value]) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let inside: Arc<Mutex<Inside>> = Arc::default();
        let task = tokio::spawn(serve(listener, inside.clone()));
        let origin = format!("http://{addr}");
        let iam = Self { url: format!("{origin}/realms/a"), addr, inside, task };
        let endpoint = |path: &str| format!("{origin}{path}");
        let document = json!({
            "issuer": iam.url, "token_endpoint": endpoint(TOKEN), "jwks_uri": endpoint(KEYS),
            "introspection_endpoint": endpoint(INTROSPECTION),
        });
        iam.answer(DISCOVERY, Canned::json(200, &document));
        iam.keys(keys);
        iam
    }

    pub(crate) fn answer(&self, path: &str, canned: Canned) {
        self.inside.lock().unwrap().canned.insert(path.to_owned(), canned);
    }

    /// The next requests are answered so, in this order; those after them as ever.
    pub(crate) fn first(&self, path: &str, canned: impl IntoIterator<Item = Canned>) {
        self.inside.lock().unwrap().first.entry(path.to_owned()).or_default().extend(canned);
    }

    pub(crate) fn keys(&self, keys: &[Value]) {
        self.answer(KEYS, Canned::json(200, &json!({"keys": keys})));
    }

    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.inside.lock().unwrap().seen.iter().filter(|s| s.path == path).cloned().collect()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen(path).len()
    }

    /// Ends all connections and answers nobody any more.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }

    /// An issuer that looks at this IAM; it is not started.
    pub(crate) fn issuer(&self, clock: &Clock, change: impl FnOnce(&mut Settings)) -> (Arc<Issuer>, Arc<Metrics>) {
        let metrics = Metrics::new();
        let mut settings = settings(&self.url);
        change(&mut settings);
        (Issuer::new(settings, clock.clone(), metrics.issuer("main"), Handle::current()).unwrap(), metrics)
    }

    /// An issuer whose keys have come in.
    pub(crate) async fn loaded(&self, clock: &Clock) -> Arc<Issuer> {
        let (issuer, _) = self.issuer(clock, |_| ());
        issuer.start();
        issuer.when_loaded().await;
        issuer
    }
}

impl Drop for Iam {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listener: TcpListener, inside: Arc<Mutex<Inside>>) {
    let mut all = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let inside = inside.clone();
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let inside = inside.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = String::from_utf8(body.collect().await.map_err(|_| "body")?.to_bytes().to_vec()).unwrap();
                let path = head.uri.path().to_owned();
                let canned = {
                    let mut inside = inside.lock().unwrap();
                    inside.seen.push(Seen { path: path.clone(), headers: head.headers, body });
                    let first = inside.first.get_mut(&path).and_then(VecDeque::pop_front);
                    first.or_else(|| inside.canned.get(&path).cloned()).unwrap_or(Canned { status: 404, ..Canned::default() })
                };
                tokio::time::sleep(canned.delay).await;
                if canned.cut {
                    return Err("cut");
                }
                let mut answer = http::Response::builder().status(canned.status);
                for (name, value) in canned.headers {
                    answer = answer.header(name, value);
                }
                Ok::<_, &'static str>(answer.body(Full::<Bytes>::from(canned.body)).unwrap())
            }
        });
        // Dropped with the IAM, so that a stopped one answers nobody.
        all.spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(socket), service).await;
            Ok::<(), Infallible>(())
        });
    }
}

/// A signing key of a test.
pub(crate) enum Signer {
    Rsa(Box<sig::RsaKeyPair>),
    P256(Box<sig::EcdsaKeyPair>),
    P384(Box<sig::EcdsaKeyPair>),
    Ed(Box<sig::Ed25519KeyPair>),
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(Box::new(sig::RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(crate) fn p256() -> Self {
        Self::P256(Box::new(sig::EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
    }

    pub(crate) fn p384() -> Self {
        Self::P384(Box::new(sig::EcdsaKeyPair::generate(&sig::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()))
    }

    pub(crate) fn ed() -> Self {
        Self::Ed(Box::new(sig::Ed25519KeyPair::generate().unwrap()))
    }

    /// The public half, as a key set has it.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "use": "sig", "kid": kid, "n": b64(n), "e": b64(e)})
            }
            Self::P256(pair) => point("P-256", kid, pair.public_key().as_ref()),
            Self::P384(pair) => point("P-384", kid, pair.public_key().as_ref()),
            Self::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": b64(pair.public_key().as_ref())}),
        }
    }

    /// The private half, as an operator's file has it.
    pub(crate) fn pem(&self) -> String {
        let der = match self {
            Self::Rsa(pair) => AsDer::<Pkcs8V1Der<'static>>::as_der(&**pair).unwrap().as_ref().to_vec(),
            Self::P256(pair) | Self::P384(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
        };
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", base64::prelude::BASE64_STANDARD.encode(der))
    }

    /// A token with any header and claims; `header.alg` chooses how it is signed.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let alg = header["alg"].as_str().unwrap_or_default();
        let signature = self.sign(alg, signed.as_bytes());
        format!("{signed}.{}", b64(&signature))
    }

    pub(crate) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let how: &'static dyn sig::RsaEncoding = match alg {
                    "RS384" => &sig::RSA_PKCS1_SHA384,
                    "RS512" => &sig::RSA_PKCS1_SHA512,
                    "PS256" => &sig::RSA_PSS_SHA256,
                    "PS384" => &sig::RSA_PSS_SHA384,
                    "PS512" => &sig::RSA_PSS_SHA512,
                    _ => &sig::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(how, &random, message, &mut out).unwrap();
                out
            }
            Self::P256(pair) | Self::P384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

pub(crate) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn point(crv: &str, kid: &str, bytes: &[u8]) -> Value {
    let (x, y) = bytes[1..].split_at((bytes.len() - 1) / 2);
    json!({"kty": "EC", "crv": crv, "use": "sig", "kid": kid, "x": b64(x), "y": b64(y)})
}

/// Modulus and exponent out of a DER `RSAPublicKey`, of which the test knows the form.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    fn content(der: &[u8]) -> (&[u8], &[u8]) {
        let (len, start) = match der[1] {
            0x81 => (usize::from(der[2]), 3),
            0x82 => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
            short => (usize::from(short), 2),
        };
        der[start..].split_at(len)
    }
    let (n, rest) = content(content(der).0);
    (n, content(rest).0)
}

/// Lines of the log of this thread, for tests that search them.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Keeps everything down to trace for as long as the guard lives.
    pub(crate) fn kept() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
