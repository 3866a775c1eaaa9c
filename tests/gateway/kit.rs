//! What a test needs to read as a story: an IAM and backends that count, a gateway out of YAML text, and callers. All on
//! loopback and port 0, all in this process.

use crate::wire::{Message, Wire};
use bytes::Bytes;
use cambist::app::Gateway;
use cambist::clock::{Clock, Ticker};
use cambist::config;
use cambist::demo::backend::{Backend, Trust};
use cambist::demo::fetch::{Answer, Connection};
use cambist::demo::iam::{self, Iam};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Everything around one gateway. `orders` wants tokens for `orders-api`, `payroll` for `payroll-api` (which the gateway's client
/// does not reach), `open` takes anything.
pub struct World {
    pub clock: Clock,
    pub iam: Iam,
    pub orders: Backend,
    pub payroll: Backend,
    pub open: Backend,
}

/// A gateway in its world.
pub struct Running {
    pub gateway: Gateway,
    pub world: World,
}

/// The routes that most tests get along with.
pub const ROUTES: &str = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  payroll: { match: { path: /payroll }, upstream: PAYROLL, audience: payroll-api }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip }
  pass: { match: { path: /pass }, upstream: OPEN, token: passthrough }
";

impl World {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(edit: impl FnOnce(&mut iam::Settings)) -> Self {
        let clock = Clock::turned();
        let mut settings = iam::Settings { clock: clock.clone(), ..iam::Settings::anywhere() };
        edit(&mut settings);
        let iam = Iam::start(settings).await.unwrap();
        let anywhere: SocketAddr = ([127, 0, 0, 1], 0).into();
        let trust = Trust::iam(&iam, clock.clone());
        let orders = Backend::start(anywhere, "orders-api", trust.clone()).unwrap();
        let payroll = Backend::start(anywhere, "payroll-api", trust.clone()).unwrap();
        let open = Backend::open(anywhere, Some(trust)).unwrap();
        Self { clock, iam, orders, payroll, open }
    }

    /// The configuration's text: `routes` (names ORDERS, PAYROLL and OPEN stand for the backends) and whatever else.
    pub fn yaml(&self, routes: &str, more: &str) -> String {
        let routes = routes.replace("ORDERS", &self.orders.url()).replace("PAYROLL", &self.payroll.url()).replace("OPEN", &self.open.url());
        let issuer = if more.contains("issuers:") {
            String::new()
        } else {
            format!("issuers: {{ main: {{ url: \"{}\", client_id: gateway, client_secret: gateway-secret }} }}\n", self.iam.issuer())
        };
        // At the beginning of a line: an API has a key of that name as well.
        let listeners =
            if more.lines().any(|line| line.starts_with("listeners:")) { "" } else { "listeners: { main: { address: 127.0.0.1:0 } }\n" };
        let admin = if more.contains("admin:") { "" } else { "admin: { address: 127.0.0.1:0 }\n" };
        let more = more.replace("IAM", self.iam.issuer());
        format!("{listeners}metrics: {{ address: 127.0.0.1:0 }}\n{admin}{issuer}routes:{routes}\n{more}\n")
    }

    /// Starts a gateway and waits until it is ready.
    pub async fn gateway(self, routes: &str, more: &str) -> Running {
        let running = self.gateway_not_ready(routes, more);
        until("the gateway is ready", || running.gateway.ready()).await;
        running
    }

    /// Starts a gateway whose issuer may be down.
    pub fn gateway_not_ready(self, routes: &str, more: &str) -> Running {
        let text = self.yaml(routes, more);
        let loaded = config::read(&text, "test.yaml").unwrap_or_else(|report| panic!("{}\n{text}", report.render(false)));
        let gateway = Gateway::start(loaded.config, self.clock.clone()).unwrap();
        Running { gateway, world: self }
    }
}

/// The ordinary world and the ordinary routes.
pub async fn running() -> Running {
    World::new().await.gateway(ROUTES, "").await
}

/// A gateway with one worker, whose one route takes everything to `upstream` with a token for `orders-api`; `route` and `more`
/// are added to the route and to the configuration.
pub async fn before(upstream: &str, route: &str, more: &str) -> Running {
    let routes = format!("\n  all: {{ upstream: \"{upstream}\", audience: orders-api{route} }}\n");
    World::new().await.gateway(&routes, &format!("workers: 1\n{more}")).await
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.gateway.listener("main").unwrap()
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address()).await.unwrap()
    }

    /// A fresh caller's token: good at the gateway, in a session of its own.
    pub fn token(&self, sub: &str) -> String {
        self.world.iam.caller_token(sub).unwrap()
    }

    /// One request on a connection of its own.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.connect().await.get(path, Some(token)).await.unwrap()
    }

    pub async fn get_without_token(&self, path: &str) -> Answer {
        self.connect().await.get(path, None).await.unwrap()
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        self.connect().await.send(method, path, map, body.into()).await.unwrap()
    }

    /// A caller that sends exactly what a test says.
    pub async fn wire(&self) -> Wire {
        Wire::open(self.address()).await
    }

    /// Sends bytes as they are, on a connection of their own, and reads the answer to them.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        self.wire().await.ask(request).await
    }

    /// Waits until a request is let in: a place was to become free.
    pub async fn served_at_last(&self, token: &str) {
        for _ in 0..200 {
            if self.ask(get("/orders", token, &[])).await.status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no place became free");
    }

    /// Sends bytes as they are and reads until the gateway closes or falls silent.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut socket = TcpStream::connect(self.address()).await.unwrap();
        socket.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(700), socket.read(&mut chunk)).await {
            if n == 0 {
                break;
            }
            answer.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Pushes the clock forward and lets the workers see it. Their stamps are as old as their last tick: a caller who came in
    /// before the next one would look as late as the clock was turned.
    pub async fn turn(&self, by: Duration) {
        self.world.clock.turn(by);
        tokio::time::sleep(5 * Ticker::PERIOD).await;
    }

    pub async fn metrics(&self) -> String {
        let answer = Connection::open(self.gateway.metrics_address()).await.unwrap().get("/metrics", None).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// The value of one series, written as it stands in the scrape; 0 where it does not exist.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        text.lines().find_map(|l| l.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Waits until a series is at `value`: some things are counted after their answer is out.
    pub async fn counted(&self, series: &str, value: f64) {
        for _ in 0..200 {
            if self.metric(series).await == value {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.metric(series).await, value, "{series}");
    }

    pub async fn probe(&self, path: &str) -> Answer {
        Connection::open(self.gateway.metrics_address()).await.unwrap().get(path, None).await.unwrap()
    }

    pub async fn status(&self) -> serde_json::Value {
        let at = self.gateway.admin_address().unwrap();
        Connection::open(at).await.unwrap().get("/v1/status", None).await.unwrap().json()
    }
}

/// The status of an answer and, where the gateway gave it itself, its `code`.
pub fn said(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

/// A GET as it goes over the wire, with more fields (`a: b`) after the usual ones.
pub fn get(path: &str, token: &str, more: &[&str]) -> String {
    request(&format!("GET {path} HTTP/1.1"), token, more)
}

/// A request without a body as it goes over the wire.
pub fn request(line: &str, token: &str, more: &[&str]) -> String {
    let more: String = more.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{line}\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

/// Waits for something that comes about by itself, and says what did not.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came about: {what}");
}

/// Waits until `path` serves this token: the keys of an issuer that is not the only one may still be on their way.
pub async fn served(running: &Running, path: &str, token: &str) {
    for _ in 0..500 {
        if running.get(path, token).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{path} never served: {:?}", running.gateway.failures().first());
}
