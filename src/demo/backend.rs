//! An echo backend that checks what the gateway promises it: every request must bear a token signed by the IAM and meant for
//! this backend alone to use. It answers what it received, keeps it for tests to look at, and forwards nothing.

use super::iam::{Iam, Keys, verified};
use super::misbehave::{self, Misbehave, Script};
use super::serve::{Body, Broken, Conn, Server, Service, full};
use crate::clock::Clock;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whose tokens a backend believes.
#[derive(Clone)]
pub struct Trust {
    issuer: String,
    keys: KeySource,
    clock: Clock,
}

#[derive(Clone)]
enum KeySource {
    Shared(Keys),
    Jwks(Value),
}

impl Trust {
    /// The development IAM's tokens, by its present keys.
    pub fn iam(iam: &Iam, clock: Clock) -> Self {
        Self { issuer: iam.issuer().to_owned(), keys: KeySource::Shared(iam.keys()), clock }
    }

    /// Another issuer's, by a JWKS that was fetched before.
    pub fn jwks(issuer: &str, jwks: Value) -> Self {
        Self { issuer: issuer.to_owned(), keys: KeySource::Jwks(jwks), clock: Clock::real() }
    }

    /// The claims of a token that is genuine and not expired, whoever it is for.
    fn claims(&self, token: &str) -> Option<Map<String, Value>> {
        let claims = match &self.keys {
            KeySource::Shared(keys) => keys.verified(token)?,
            KeySource::Jwks(jwks) => verified(jwks, token)?,
        };
        let ours = claims.get("iss").and_then(Value::as_str) == Some(self.issuer.as_str());
        let current = claims.get("exp").and_then(Value::as_u64).is_some_and(|exp| exp > self.clock.unix());
        (ours && current).then_some(claims)
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    pub version: String,
    /// Names (in lower case) and values; fields of one name stand together.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub trailers: Vec<(String, String)>,
    /// What the bearer token says, where it is genuine.
    pub claims: Option<Map<String, Value>>,
}

impl Received {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// A claim of the token, as text.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.as_ref()?.get(name)?.as_str()
    }
}

/// A running backend. Clones are the same one; it ends when the last is dropped.
#[derive(Clone)]
pub struct Backend(Arc<Inner>);

struct Inner {
    echo: Arc<Echo>,
    server: Server,
}

struct Echo {
    /// `None`: it takes requests without a token and with any.
    audience: Option<String>,
    trust: Option<Trust>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    requests: u64,
    script: Script,
    mirror: bool,
    received: VecDeque<Received>,
}

/// How many of the requests that came are kept.
const KEPT: usize = 100;

impl Backend {
    /// Starts one at `address` (port 0: any free one) that wants tokens for `audience`.
    ///
    /// # Errors
    /// When the address is not on loopback or taken.
    pub fn start(address: SocketAddr, audience: &str, trust: Trust) -> io::Result<Self> {
        Self::with(address, Some(audience.to_owned()), Some(trust))
    }

    /// One that asks for no token: for routes that strip it, and for tests of the proxy alone.
    ///
    /// # Errors
    /// When the address is not on loopback or taken.
    pub fn open(address: SocketAddr, trust: Option<Trust>) -> io::Result<Self> {
        Self::with(address, None, trust)
    }

    fn with(address: SocketAddr, audience: Option<String>, trust: Option<Trust>) -> io::Result<Self> {
        let echo = Arc::new(Echo { audience, trust, state: Mutex::default() });
        let server = Server::serve(Server::bind(address)?, echo.clone())?;
        Ok(Self(Arc::new(Inner { echo, server })))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.server.address()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Requests that came, however they were answered.
    pub fn requests(&self) -> u64 {
        self.0.echo.state().requests
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.0.server.connections()
    }

    /// The latest requests whose bodies came in whole, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.0.echo.state().received.iter().cloned().collect()
    }

    pub fn last(&self) -> Option<Received> {
        self.0.echo.state().received.back().cloned()
    }

    /// The next request is treated like this; those after it are not.
    pub fn script(&self, misbehave: Misbehave) {
        self.0.echo.state().script.once(misbehave);
    }

    /// Every request is treated like this, until [`Backend::behave`].
    pub fn script_always(&self, misbehave: Misbehave) {
        self.0.echo.state().script.always(misbehave);
    }

    pub fn behave(&self) {
        self.0.echo.state().script = Script::default();
    }

    /// From now on it sends every body back as it comes in, piece by piece, trailers too, whatever the token; bodies are not kept.
    pub fn mirror(&self) {
        self.0.echo.state().mirror = true;
    }

    /// Closes the port and all connections.
    pub async fn down(&self) {
        self.0.server.down().await;
    }

    /// Comes back on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub fn up(&self) -> io::Result<()> {
        self.0.server.up()
    }
}

impl Service for Echo {
    fn call(self: Arc<Self>, request: Request<Incoming>, conn: Conn) -> BoxFuture<'static, Result<Response<Body>, Broken>> {
        async move {
            let told = {
                let mut state = self.state();
                state.requests += 1;
                state.script.take()
            };
            misbehave::apply(told, &conn, self.clone().properly(request)).await
        }
        .boxed()
    }
}

impl Echo {
    async fn properly(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if self.state().mirror {
            self.keep(received(&parts, Bytes::new(), Vec::new(), None));
            return Response::new(body.map_err(|_| Broken).boxed_unsync());
        }
        let Ok(collected) = body.collect().await else {
            return answer(StatusCode::BAD_REQUEST, &json!({ "error": "the request's body broke off" }));
        };
        let trailers = collected.trailers().map(pairs).unwrap_or_default();
        let claims = bearer(&parts).and_then(|token| self.trust.as_ref()?.claims(token));
        let received = received(&parts, collected.to_bytes(), trailers, claims);
        let response = self.judge(&received);
        self.keep(received);
        response
    }

    fn keep(&self, received: Received) {
        let mut state = self.state();
        if state.received.len() == KEPT {
            state.received.pop_front();
        }
        state.received.push_back(received);
    }

    fn judge(&self, received: &Received) -> Response<Body> {
        let Some(audience) = &self.audience else { return answer(StatusCode::OK, &echo(received)) };
        let Some(claims) = &received.claims else {
            return answer(StatusCode::UNAUTHORIZED, &json!({ "error": "no genuine token", "wanted": audience }));
        };
        // One audience and no other: a token that is good elsewhere too is what the gateway exists to prevent.
        if claims.get("aud").and_then(Value::as_str) != Some(audience) {
            let refused = json!({ "error": "a token for another audience", "wanted": audience, "aud": claims.get("aud") });
            return answer(StatusCode::FORBIDDEN, &refused);
        }
        answer(StatusCode::OK, &echo(received))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn received(parts: &Parts, body: Bytes, trailers: Vec<(String, String)>, claims: Option<Map<String, Value>>) -> Received {
    Received {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string),
        version: format!("{:?}", parts.version),
        headers: pairs(&parts.headers),
        body,
        trailers,
        claims,
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn pairs(headers: &http::HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
}

/// What came, with the token's claims in place of the token.
fn echo(received: &Received) -> Value {
    let (path, query) = received.target.split_once('?').map_or((received.target.as_str(), None), |(p, q)| (p, Some(q)));
    let headers: Vec<_> = received
        .headers
        .iter()
        .map(|(name, value)| if name == "authorization" { json!([name, "(see token)"]) } else { json!([name, value]) })
        .collect();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &received.body);
    let sha256: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    json!({
        "method": received.method,
        "path": path,
        "query": query,
        "headers": headers,
        "token": received.claims,
        "body": { "length": received.body.len(), "sha256": sha256 },
    })
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(format!("{body:#}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::fetch::Connection;
    use crate::demo::iam::{ACCESS_TOKEN, GRANT, OldKeys, Settings};
    use http::{HeaderMap, Method};

    const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

    async fn exchanged(iam: &Iam, scope: &str) -> String {
        let subject = iam.caller_token("alice").unwrap();
        let fields = [
            ("client_id", "gateway"),
            ("client_secret", "gateway-secret"),
            ("grant_type", GRANT),
            ("subject_token", &subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("scope", scope),
        ];
        let path = "/realms/demo/protocol/openid-connect/token";
        let answer = Connection::open(iam.address()).await.unwrap().post_form(path, &fields, None).await.unwrap();
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn only_a_genuine_token_for_this_backend_alone_gets_through() {
        let iam = Iam::start(Settings::anywhere()).await.unwrap();
        let backend = Backend::start(ANYWHERE.into(), "orders-api", Trust::iam(&iam, Clock::real())).unwrap();
        let other = Backend::start(ANYWHERE.into(), "orders-api", Trust::jwks(iam.issuer(), iam.keys().jwks())).unwrap();
        let good = exchanged(&iam, "").await;
        for backend in [&backend, &other] {
            let mut c = Connection::open(backend.address()).await.unwrap();
            assert_eq!(c.get("/a", Some(&good)).await.unwrap().status, 200);
            assert_eq!(c.get("/a", None).await.unwrap().status, 401);
            assert_eq!(c.get("/a", Some("garbage")).await.unwrap().status, 401);
            assert_eq!(c.get("/a", Some(&iam.caller("a").audience("orders-api").forged().token().unwrap())).await.unwrap().status, 401);
            assert_eq!(c.get("/a", Some(&iam.caller_token("a").unwrap())).await.unwrap().status, 403);
            assert_eq!(c.get("/a", Some(&exchanged(&iam, "billing").await)).await.unwrap().status, 403);
            assert_eq!((backend.requests(), backend.connections()), (6, 1));
        }
        iam.rotate(OldKeys::Withdrawn).unwrap();
        assert_eq!(Connection::open(backend.address()).await.unwrap().get("/a", Some(&good)).await.unwrap().status, 401);
    }

    #[tokio::test]
    async fn it_tells_and_keeps_what_it_received() {
        let iam = Iam::start(Settings::anywhere()).await.unwrap();
        let backend = Backend::start(ANYWHERE.into(), "orders-api", Trust::iam(&iam, Clock::real())).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-one", HeaderValue::from_static("1"));
        headers.insert(header::AUTHORIZATION, format!("Bearer {}", exchanged(&iam, "").await).parse().unwrap());
        let mut c = Connection::open(backend.address()).await.unwrap();
        let answer = c.send(Method::POST, "/a%2fb?c=d", headers, "hello".into()).await.unwrap().json();
        assert_eq!((&answer["path"], &answer["query"]), (&json!("/a%2fb"), &json!("c=d")));
        assert_eq!(answer["body"]["length"], 5);
        assert_eq!(answer["token"]["sub"], "alice");
        assert!(!answer.to_string().contains("Bearer "));
        let last = backend.last().unwrap();
        assert_eq!((last.method.as_str(), last.target.as_str(), last.body.as_ref()), ("POST", "/a%2fb?c=d", &b"hello"[..]));
        assert_eq!((last.header("X-One"), last.claim("aud")), (vec!["1"], Some("orders-api")));
        backend.script(Misbehave::status(StatusCode::IM_A_TEAPOT));
        assert_eq!(c.get("/", None).await.unwrap().status, 418);
        backend.mirror();
        assert_eq!(c.send(Method::POST, "/", HeaderMap::new(), "there and back".into()).await.unwrap().body, "there and back");
    }
}
