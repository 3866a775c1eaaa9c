//! A gateway whose secret is a canary, wherever the configuration takes it from, with callers whose tokens are canaries too.

use crate::canary::Aviary;
use crate::collector::Collector;
use crate::kit::{Running, World, until};
use cambist::app::Gateway;
use cambist::config::{self, Outside};
use cambist::demo::fetch::{Answer, Connection};
use http::{HeaderMap, Method};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

/// Where the client secret is given, and with which of the two authentications it goes to the IAM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given {
    Inline,
    File,
    Variable,
}

impl Given {
    /// With characters that every encoding changes, after a core that none does.
    pub fn secret(self) -> String {
        format!("C4nSecret{self:?}7f3a:+%/= ä")
    }

    /// What the operator shows. No encoding changes it, since it is a bearer token.
    fn admin(self) -> String {
        format!("C4nAdminToken{self:?}7f3a.-_~+/=")
    }

    fn admin_yaml(self) -> String {
        let token = match self {
            Self::Inline => json!(self.admin()).to_string(),
            Self::File => json!({ "file": ADMIN_FILE.path() }).to_string(),
            Self::Variable => "{ env: ADMIN_TOKEN }".to_owned(),
        };
        format!("admin: {{ address: 127.0.0.1:0, token: {token} }}")
    }

    fn yaml(self) -> String {
        let (secret, method) = match self {
            Self::Inline => (json!(self.secret()).to_string(), "client_secret_basic"),
            Self::File => (json!({ "file": FILE.path() }).to_string(), "client_secret_post"),
            Self::Variable => ("{ env: REALM_SECRET }".to_owned(), "client_secret_basic"),
        };
        format!(
            "issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: {secret}, token_endpoint_auth_method: {method}, \
             timeouts: {{ connect: 300ms, total: 1s }}, retries: {{ attempts: 0 }} }} }}"
        )
    }
}

/// A real one: the gateway reads it again by itself, past the configuration.
static FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, Given::File.secret()).unwrap();
    file
});

static ADMIN_FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, Given::File.admin()).unwrap();
    file
});

/// Every secret of [`Given`], where the configuration looks for it.
pub struct Planted;

impl Outside for Planted {
    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("/run/secrets/iam") { Ok(Given::File.secret().into_bytes()) } else { std::fs::read(path) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "REALM_SECRET" => Some(Given::Variable.secret()),
            "ADMIN_TOKEN" => Some(Given::Variable.admin()),
            _ => None,
        }
    }
}

const ROUTES: &str = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  payroll: { match: { path: /payroll }, upstream: PAYROLL, audience: payroll-api }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip }
  pass: { match: { path: /pass }, upstream: OPEN, token: passthrough }
  own: { match: { path: /own }, upstream: OPEN, audience: demo-app }
  posts: { match: { path: /posts, methods: [POST] }, upstream: OPEN, token: strip }
  small: { match: { path: /small }, upstream: OPEN, token: strip, max_body: 1KiB }
  seldom: { match: { path: /seldom }, upstream: OPEN, token: strip, rate_limit: { rate: 1/h } }
  dead: { match: { path: /dead }, upstream: \"http://127.0.0.1:1\", audience: orders-api }
  tls: { match: { path: /tls }, upstream: \"TLS\", audience: orders-api }
";

pub struct Stage<'a> {
    pub aviary: &'a Aviary,
    pub running: Running,
    pub given: Given,
    collector: Collector,
}

/// Of the last request, after which all spans before it have come.
const LAST: &str = "0af7651916cd43dd8448eb211c80319c";

impl<'a> Stage<'a> {
    pub async fn new(aviary: &'a Aviary, given: Given) -> Self {
        Self::with(aviary, given, "").await
    }

    pub async fn with(aviary: &'a Aviary, given: Given, more: &str) -> Self {
        let secret = given.secret();
        let own = |s: &mut cambist::demo::iam::Settings| {
            s.clients.iter_mut().filter(|c| c.id == "gateway").for_each(|c| c.secret = Some(secret.clone()));
        };
        let world = World::with(own).await;
        aviary.plant(&format!("the client secret, {given:?}"), &secret);
        aviary.plant(&format!("the client secret's core, {given:?}"), secret.split(':').next().unwrap());
        let collector = Collector::start().await;
        // What speaks plain HTTP where TLS is expected has rustls say something.
        let routes = ROUTES.replace("TLS", &world.open.url().replace("http:", "https:"));
        let text = world.yaml(&routes, &format!("{}\n{}\n{}\n{more}", given.yaml(), given.admin_yaml(), collector.yaml("100%")));
        aviary.plant(&format!("the admin token, {given:?}"), &given.admin());
        let loaded = config::read_with(&text, "planted.yaml", &Planted).unwrap_or_else(|report| panic!("{report}\n{text}"));
        aviary.saw("a good configuration, printed", format!("{loaded:?}\n{:#?}\n{}", loaded.config, loaded.report()));
        let gateway = Gateway::start(loaded.config, world.clock.clone()).unwrap();
        let running = Running { gateway, world };
        until("the gateway is ready", || running.gateway.ready()).await;
        Self { aviary, running, given, collector }
    }

    /// A caller's token that is a canary, in its claims and as a whole.
    pub fn token(&self, sub: &str) -> String {
        self.planted(self.running.world.iam.caller(sub))
    }

    pub fn planted(&self, token: cambist::demo::iam::CallerToken) -> String {
        let token = token.claim("email", json!("C4nClaimOfTheCaller7f3a")).token().unwrap();
        self.aviary.plant_jwt("a caller's token", &token);
        token
    }

    /// One request on a connection of its own; the code of the gateway's own answer, if it is one.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> (u16, String) {
        let answer = self.running.send(method.clone(), path, headers, body).await;
        (answer.status.as_u16(), self.aviary.answered(&format!("{method} {}", path.split(['?', '/']).nth(1).unwrap()), &answer))
    }

    pub async fn get(&self, path: &str, token: &str) -> (u16, String) {
        self.send(Method::GET, path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    /// Bytes as they are.
    pub async fn raw(&self, what: &str, bytes: impl AsRef<[u8]>) -> String {
        let answer = self.running.raw(bytes).await;
        self.aviary.saw(&format!("the answer to {what}"), answer.clone());
        answer
    }

    /// What the operators' listeners show, and the tokens that went upstream meanwhile: those must be nowhere else.
    pub async fn look_around(&self) {
        let world = &self.running.world;
        for backend in [&world.orders, &world.payroll, &world.open] {
            for received in backend.received() {
                for token in received.header("authorization").iter().filter_map(|v| v.strip_prefix("Bearer ")) {
                    self.aviary.plant_jwt("an exchanged token", token);
                }
            }
        }
        let (metrics, admin) = (self.running.gateway.metrics_address(), self.running.gateway.admin_address().unwrap());
        for (at, path) in [(metrics, "/metrics"), (metrics, "/readyz"), (admin, "/v1/status"), (admin, "/nothing")] {
            let answer = asked(at, path).await;
            self.aviary.answered(&format!("{path} for operators"), &answer);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!text.contains("C4nSubject"), "{path} tells who calls");
        }
        self.act(admin).await;
        self.searched().await;
    }

    /// What the collector got.
    async fn searched(&self) {
        self.running.send(Method::GET, "/strip", &[("traceparent", &format!("00-{LAST}-00f067aa0ba902b7-01"))], "").await;
        self.collector.trace(LAST, 0).await;
        assert_eq!(self.running.metric("cambist_trace_spans_total{result=\"dropped\"}").await, 0.0, "what was dropped was not searched");
        self.aviary.saw("the collector", String::from_utf8_lossy(&self.collector.bytes()));
    }

    /// An operator who shows the right token, and somebody who shows another.
    async fn act(&self, admin: SocketAddr) {
        let wrong = "C4nWrongAdminToken7f3a";
        self.aviary.plant("a wrong admin token", wrong);
        for (token, status) in [(self.given.admin(), 200), (wrong.to_owned(), 401), (format!("{wrong} x"), 401)] {
            let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())]);
            let mut connection = Connection::open(admin).await.unwrap();
            let answer = connection.send(Method::DELETE, "/v1/tokens?subject=nobody", headers, bytes::Bytes::new()).await.unwrap();
            assert_eq!(answer.status, status);
            self.aviary.answered("an operator", &answer);
        }
    }
}

async fn asked(at: SocketAddr, path: &str) -> Answer {
    Connection::open(at).await.unwrap().send(Method::GET, path, HeaderMap::new(), bytes::Bytes::new()).await.unwrap()
}
