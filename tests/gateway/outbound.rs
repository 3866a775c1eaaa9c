//! The outbound proxy: an authority chooses the route, what cannot be given a token is refused, and what no route names goes on only
//! where the operator said so, never to addresses that give secrets away.

use crate::certs::Authority;
use crate::dns::Line;
use crate::kit::{Running, World, request};
use crate::wire::{Message, Puppet, Wire};
use cambist::config;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

const ORDERS: &str = "\n  orders: { match: { hosts: [orders.shop.svc], path: /orders }, upstream: ORDERS, audience: orders-api }\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nelse";

fn listener(unmatched: &str) -> String {
    format!("listeners: {{ main: {{ address: 127.0.0.1:0, mode: outbound{unmatched} }} }}\nadmin: {{ address: 127.0.0.1:0 }}\n")
}

async fn proxy(unmatched: &str) -> Running {
    World::new().await.gateway(ORDERS, &listener(unmatched)).await
}

/// A GET as a client of a proxy sends it.
fn absolute(url: &str, token: &str, more: &[&str]) -> String {
    request(&format!("GET {url} HTTP/1.1"), token, more)
}

impl Running {
    async fn through(&self, url: &str, token: &str) -> Message {
        self.ask(absolute(url, token, &[])).await
    }

    /// What the operator is told of the last refusal.
    fn told(&self) -> String {
        let last = self.gateway.failures().remove(0);
        format!("{}: {} ({})", last.reason, last.cause, last.cure)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_chooses_the_route_and_the_exchanged_token_goes() {
    let g = proxy("").await;
    let token = g.token("ada");
    // The port of an authority is not looked at, as that of a Host is not.
    for (url, host) in
        [("http://orders.shop.svc/orders?a=1", "orders.shop.svc"), ("http://ORDERS.shop.svc.:8080/orders?a=1", "orders.shop.svc:8080")]
    {
        let answer = g.ask(absolute(url, &token, &["Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5"])).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let seen = g.world.orders.last().unwrap();
        assert_eq!((seen.target.as_str(), seen.claim("aud"), seen.claim("sub")), ("/orders?a=1", Some("orders-api"), Some("ada")));
        assert_eq!(seen.header("host"), [host]);
        assert!(seen.header("proxy-authorization").is_empty() && seen.header("proxy-connection").is_empty());
        assert!(!seen.headers.iter().any(|(_, value)| value.contains(&token)));
    }
    assert_eq!(g.world.iam.exchanges(), 1);
    assert_eq!(g.ask("GET http://orders.shop.svc/orders HTTP/1.1\r\nHost: x\r\n\r\n").await.said(), (401, "no_token".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_names_is_refused_and_the_operator_told_what_it_was() {
    let g = proxy("").await;
    let (elsewhere, token) = (Puppet::saying(OK).await, g.token("ada"));
    let url = elsewhere.url();
    assert_eq!(g.through(&url, &token).await.said(), (404, "no_route".into()));
    let told = g.told();
    assert!(told.contains(&url["http://".len()..]) && told.contains("`main`") && told.contains("match.hosts"), "{told}");
    assert_eq!(g.through("http://orders.shop.svc/other", &token).await.said(), (404, "no_route".into()));
    assert!(g.told().contains("none of them takes the request"), "{}", g.told());
    assert_eq!((elsewhere.connections(), g.world.orders.requests()), (0, 0));
    g.counted("cambist_rejections_total{reason=\"no_route\",route=\"unmatched\"}", 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_refused_with_the_reason_and_what_to_do() {
    let g = proxy(", unmatched: passthrough").await;
    let answer = g.ask("CONNECT orders.shop.svc:443 HTTP/1.1\r\nHost: orders.shop.svc:443\r\n\r\n").await;
    assert_eq!(answer.said(), (405, "no_tunnel".into()));
    assert_eq!(answer.line(), "HTTP/1.1 405 No tunnels here: use http:// URLs");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("cannot be given a token") && detail.contains("http://") && detail.contains("TLS to the backend"), "{detail}");
    assert_eq!(answer.all("allow"), [""]);
    assert!(g.told().contains("orders.shop.svc:443"), "{}", g.told());
    g.counted("cambist_rejections_total{reason=\"no_tunnel\",route=\"unmatched\"}", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_as_it_comes_to_a_proxy_is_refused() {
    let g = proxy(", unmatched: passthrough").await;
    let (token, at) = (g.token("ada"), g.address());
    for line in ["GET /orders HTTP/1.1", "POST / HTTP/1.1"] {
        let asked = format!("{line}\r\nHost: orders.shop.svc\r\nAuthorization: Bearer {token}\r\n\r\n");
        assert_eq!(g.ask(&asked).await.said(), (404, "no_route".into()), "{line}");
        assert!(g.told().contains("is a proxy only"), "{}", g.told());
    }
    for url in
        [format!("http://{at}/orders"), format!("http://localhost:{}/", at.port()), format!("http://[::ffff:127.0.0.1]:{}/", at.port())]
    {
        assert_eq!(g.through(&url, &token).await.said(), (404, "no_route".into()), "{url}");
    }
    for url in ["https://orders.shop.svc/orders", "ftp://orders.shop.svc/", "http://u:p@orders.shop.svc/orders", "http://a:99999/"] {
        assert_eq!(g.through(url, &token).await.status(), 400, "{url}");
    }
    assert_eq!(g.through("https://orders.shop.svc/orders", &token).await.said(), (400, "bad_request".into()));
    assert!(g.told().contains("ask for the http:// URL"), "{}", g.told());
    assert_eq!((g.world.orders.requests(), g.world.iam.exchanges()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_paths_are_its_own_only_where_it_is_addressed() {
    let own = "\n  orders: { match: { hosts: [orders.shop.svc] }, upstream: ORDERS, audience: orders-api }\n";
    let api = "exchange_api: { listeners: [main], audiences: { orders-api: {} } }\n";
    let g = World::new().await.gateway(own, &format!("{}{api}", listener(""))).await;
    let token = g.token("ada");
    assert_eq!(g.ask(request("GET /v1/openapi.json HTTP/1.1", &token, &[])).await.json()["openapi"], "3.1.0");
    assert_eq!(g.through("http://orders.shop.svc/v1/openapi.json", &token).await.status(), 200);
    assert_eq!(g.world.orders.last().unwrap().target, "/v1/openapi.json");
}

#[tokio::test(flavor = "multi_thread")]
async fn strip_lets_others_through_without_any_token() {
    let routes = ORDERS.replace("audience: orders-api", "audience: orders-api, caller_token_header: x-caller-token");
    let g = World::new().await.gateway(&routes, &listener(", unmatched: strip")).await;
    let (elsewhere, token) = (Puppet::saying(OK).await, g.token("ada"));
    let url = format!("{}/any?x=1", elsewhere.url());
    let asked = absolute(&url, &token, &["X-Caller-Token: secret", "Proxy-Authorization: Basic eDp5", "X-Stays: 1"]);
    assert_eq!(g.ask(&asked).await.text(), "else");
    let seen = elsewhere.last();
    assert_eq!((seen.line(), seen.one("host"), seen.one("x-stays")), ("GET /any?x=1 HTTP/1.1", &url[7..url.len() - 8], "1"));
    for gone in ["authorization", "x-caller-token", "proxy-authorization"] {
        assert!(seen.all(gone).is_empty(), "{gone}");
    }
    assert!(!seen.head.contains(&token));
    let basic = format!("GET {url} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dTpw\r\n\r\n");
    assert_eq!(g.ask(&basic).await.text(), "else");
    assert!(elsewhere.last().all("authorization").is_empty());
    // A token elsewhere would go all the same.
    assert_eq!(g.ask(absolute(&format!("{url}&t={token}"), &token, &[])).await.said(), (400, "bad_request".into()));
    assert_eq!((elsewhere.heard().len(), g.world.iam.exchanges()), (2, 0));
    // What some route names is not unknown, whatever of it is asked for.
    assert_eq!(g.through("http://orders.shop.svc/other", &token).await.said(), (404, "no_route".into()));
    g.counted("cambist_http_requests_total{code=\"200\",method=\"GET\",route=\"unmatched\"}", 2.0).await;
    let metrics = g.metrics().await;
    assert!(metrics.contains("cambist_upstream_requests_total{code=\"200\",upstream=\"unmatched\"} 2"), "{metrics}");
    assert!(!metrics.contains(&elsewhere.address.port().to_string()), "no host is a label");
    assert!(!metrics.contains("cambist_upstream_endpoints{upstream=\"unmatched\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn passthrough_lets_others_through_as_they_come() {
    let g = proxy(", unmatched: passthrough").await;
    let (elsewhere, token) = (Puppet::saying(OK).await, g.token("ada"));
    let url = format!("{}/any", elsewhere.url());
    let mut wire = g.wire().await;
    for credentials in [format!("Bearer {token}"), "Basic dTpw".to_owned(), "Bearer opaque.1".to_owned()] {
        let asked = format!("GET {url} HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\nProxy-Authorization: Basic eDp5\r\n\r\n");
        assert_eq!(wire.ask(&asked).await.text(), "else");
        let seen = elsewhere.last();
        assert_eq!(seen.one("authorization"), credentials);
        assert!(seen.all("proxy-authorization").is_empty());
    }
    assert_eq!(wire.ask(format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n")).await.text(), "else");
    assert!(elsewhere.last().all("authorization").is_empty());
    assert_eq!((g.world.iam.exchanges(), elsewhere.connections() <= 4), (0, true));
    // Routes go on as they are.
    assert_eq!(g.through("http://orders.shop.svc/orders", &token).await.status(), 200);
    assert_eq!(g.world.orders.last().unwrap().claim("aud"), Some("orders-api"));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_give_secrets_away_are_never_dialled() {
    let g = proxy(", unmatched: passthrough").await;
    let token = g.token("ada");
    let (metrics, admin) = (g.gateway.metrics_address(), g.gateway.admin_address().unwrap());
    let hosts = [
        "169.254.169.254/latest/meta-data/",
        "169.254.1.2/",
        "[fe80::1]/",
        "[fd00:ec2::254]/",
        "[::ffff:169.254.169.254]/",
        "[64:ff9b::a9fe:a9fe]/",
        "100.100.100.200/",
        // As the system's resolver reads them.
        "2852039166/",
        "0xa9fea9fe/",
        "169.254.43518/",
        "0.0.0.0/",
        "[::]/",
        "255.255.255.255/",
        "224.0.0.1/",
    ];
    for host in hosts.map(str::to_owned).into_iter().chain([format!("{metrics}/metrics"), format!("{admin}/v1/status")]) {
        let answer = g.through(&format!("http://{host}"), &token).await;
        assert_eq!(answer.said(), (404, "no_route".into()), "{host}: {}", g.told());
        assert!(g.told().contains("never dialled"), "{host}: {}", g.told());
        assert!(!answer.text().contains("169.254"), "the caller is told nothing of it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_there_is_not_dialled_either() {
    let name = format!("metadata-{}.test", std::process::id());
    let _line = match Line::write(&name, "169.254.169.254") {
        Ok(line) => line,
        Err(error) => return eprintln!("SKIPPED: /etc/hosts may not be written here: {error}"),
    };
    let g = proxy(", unmatched: strip").await;
    assert_eq!(g.through(&format!("http://{name}/"), &g.token("ada")).await.said(), (404, "no_route".into()));
    assert!(g.told().contains("a cloud's metadata service"), "{}", g.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_no_fault_of_the_gateways() {
    let g = proxy(", unmatched: strip").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(g.through(&format!("http://{nobody}/"), "t").await.said(), (502, "upstream_unreachable".into()));
    assert_eq!(g.through("http://no-such-name.invalid/", "t").await.said(), (502, "upstream_unreachable".into()));
    assert!(g.told().contains("no-such-name.invalid"), "{}", g.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_names_scheme_and_authority_with_every_request() {
    let g = proxy("").await;
    let token = g.token("ada");
    let stream = TcpStream::connect(g.address()).await.unwrap();
    let (mut sender, connection) = http2::handshake::<_, _, Empty<bytes::Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async |method: &str, url: &str| {
        let asked = Request::builder().method(method).uri(url.parse::<Uri>().unwrap());
        let asked = asked.header("authorization", format!("Bearer {token}")).body(Empty::new()).unwrap();
        let answer = sender.send_request(asked).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let code = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default()["code"].as_str().unwrap_or_default().to_owned();
        (status, code)
    };
    assert_eq!(ask("GET", "http://orders.shop.svc:8080/orders").await, (200, String::new()));
    assert_eq!(g.world.orders.last().unwrap().claim("aud"), Some("orders-api"));
    assert_eq!(ask("GET", "http://other.svc/orders").await, (404, "no_route".into()));
    assert_eq!(ask("GET", "https://orders.shop.svc/orders").await, (400, "bad_request".into()));
    assert_eq!(ask("CONNECT", "orders.shop.svc:443").await, (405, "no_tunnel".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_certificate_is_its_own_and_not_that_of_whom_it_is_asked_for() {
    let ca = Authority::new();
    ca.put("proxy", &["proxy.test"]);
    ca.put("orders", &["orders.shop.svc"]);
    let open = async |mode: &str| {
        let g = World::new().await.gateway(ORDERS, &ca.listener(&["proxy", "orders"], "", mode)).await;
        let sender = ca.caller().connect(g.address(), "proxy.test").await.unwrap().http1().await;
        (g, sender)
    };
    for (mode, status) in [(", mode: outbound", 200), ("", 421)] {
        let (g, mut sender) = open(mode).await;
        let asked = Request::get("http://orders.shop.svc/orders").header("host", "orders.shop.svc");
        let asked = asked.header("authorization", format!("Bearer {}", g.token("ada"))).body(Full::default()).unwrap();
        assert_eq!(sender.send_request(asked).await.unwrap().status(), status, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_the_next_request_on_a_connection_may() {
    let world = World::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let more = |unmatched: &str| listener(unmatched).replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    let g = world.gateway(ORDERS, &more("")).await;
    let (elsewhere, token) = (Puppet::saying(OK).await, g.token("ada"));
    let mut wire: Wire = g.wire().await;
    let asked = absolute(&elsewhere.url(), &token, &[]);
    assert_eq!(wire.ask(&asked).await.status(), 404);
    for (unmatched, status) in [(", unmatched: strip", 200), ("", 404), (", unmatched: passthrough", 200)] {
        let changes = g.gateway.apply(config::read(&g.world.yaml(ORDERS, &more(unmatched)), "test.yaml").unwrap().config).await.unwrap();
        assert_eq!(changes.sections, ["listeners.mode"]);
        assert_eq!(wire.ask(&asked).await.status(), status, "{unmatched}");
    }
    assert_eq!(elsewhere.heard().iter().map(|m| m.all("authorization").len()).collect::<Vec<_>>(), [0, 1]);
}
