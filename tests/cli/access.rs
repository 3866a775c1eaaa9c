//! One access line for every request, however it ends, in both forms: which token it went with and where that came from, what was
//! refused and why, whom a proxy's request was for, callers that hang up, other protocols, gRPC.

use crate::kit::{ROUTES, World, get as written};
use crate::log::FIELDS;
use crate::program::{Program, free_port, get, get_as};
use crate::wire::{Act, Puppet, Wire, say};
use cambist::demo::fetch::Connection;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x-talk/1\r\nConnection: Upgrade\r\n\r\n";

async fn sent(at: SocketAddr, method: Method, path: &str, fields: &[(&str, &str)]) -> u16 {
    let field = |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    let fields: HeaderMap = fields.iter().map(field).collect();
    Connection::open(at).await.unwrap().send(method, path, fields, "".into()).await.unwrap().status.as_u16()
}

/// An upstream that speaks another protocol: it greets, hears four bytes, and goes.
async fn talker() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        // In the form that the wire reads piece by piece.
        stream.write_all(format!("{ACCEPTED}5\r\nhello\r\n").as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
    });
    at
}

/// The line of the request with this path, once it is there.
async fn line(program: &mut Program, path: &str) -> Value {
    let mut found = Value::Null;
    for _ in 0..2000 {
        if let Some(line) = program.access().into_iter().find(|l| l["path"] == path) {
            found = line;
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(FIELDS.iter().all(|field| !found[*field].is_null()), "{path}: {found} {:?}", program.out());
    assert_eq!(found["trace_id"].as_str().unwrap().len(), 32, "{found}");
    found
}

/// Of the line of `path`: route, upstream, status, token and reason.
async fn told(program: &mut Program, path: &str) -> (String, String, u64, String, String) {
    let line = line(program, path).await;
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    (text("route"), text("upstream"), line["status"].as_u64().unwrap(), text("token"), text("reason"))
}

fn of(route: &str, upstream: &str, status: u64, token: &str, reason: &str) -> (String, String, u64, String, String) {
    (route.to_owned(), upstream.to_owned(), status, token.to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_token_came_from() {
    let world = World::new().await;
    let force = "force_update: { header: X-Token-Force-Update, trusted_from: [127.0.0.0/8] }\n";
    let mut program = Program::in_world(&world, ROUTES, force).await;
    let (at, token) = (program.listener().await, world.iam.caller_token("ada").unwrap());
    let orders = world.orders.address().to_string();
    let gate = Gate::new();
    world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let first = tokio::spawn({
        let token = token.clone();
        async move { get_as(at, "/orders/miss", &token).await.status }
    });
    gate.reached(1).await;
    let second = tokio::spawn({
        let token = token.clone();
        async move { get_as(at, "/orders/coalesced", &token).await.status }
    });
    let metrics = program.metrics().await;
    program
        .until("both wait", async || {
            let text = String::from_utf8(get(metrics, "/metrics").await.unwrap().body.to_vec()).unwrap();
            text.contains("cambist_http_requests_in_flight{listener=\"main\"} 2")
        })
        .await;
    gate.open();
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (200.try_into().unwrap(), 200.try_into().unwrap()));
    assert_eq!(get_as(at, "/orders/hit", &token).await.status, 200);
    let bearer = format!("Bearer {token}");
    assert_eq!(sent(at, Method::GET, "/orders/forced", &[("authorization", &bearer), ("x-token-force-update", "true")]).await, 200);
    assert_eq!(get_as(at, "/strip/none", &token).await.status, 200);
    for how in ["miss", "coalesced", "hit", "forced"] {
        assert_eq!(told(&mut program, &format!("/orders/{how}")).await, of("orders", &orders, 200, how, "-"));
    }
    assert_eq!(told(&mut program, "/strip/none").await, of("strip", &world.open.address().to_string(), 200, "-", "-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_renewed_behind_the_request() {
    let world = World::new().await;
    // So short that it is due for renewal after a second or two, and not over for some more.
    let mut program = Program::in_world(&world, ROUTES, "cache: { max_ttl: 6s }\n").await;
    let at = program.listener().await;
    let token = world.iam.caller("ada").expires_in(36_000).token().unwrap();
    program
        .until("one was renewed", async || {
            assert_eq!(get_as(at, "/orders", &token).await.status, 200);
            world.iam.exchanges() > 1
        })
        .await;
    for _ in 0..500 {
        if program.access().iter().any(|l| l["token"] == "refresh") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sources: Vec<Value> = program.access().iter().map(|l| l["token"].clone()).collect();
    assert_eq!(sources.iter().filter(|s| **s == "refresh").count(), 1, "{sources:?}");
    assert_eq!((sources.iter().filter(|s| **s == "miss").count(), sources[0].as_str()), (1, Some("miss")));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_it_ends() {
    let world = World::new().await;
    let held = Arc::new(Notify::new());
    let puppet = Puppet::start(move |path| match path {
        "/p/half" => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), Act::Close],
        _ => vec![Act::Wait(held.clone())],
    })
    .await;
    let (nobody, talker) = (free_port(), talker().await);
    let routes = format!(
        "{ROUTES}  p: {{ match: {{ path: /p }}, upstream: \"{}\", audience: orders-api }}
  ws: {{ match: {{ path: /ws }}, upstream: \"http://{talker}\", audience: orders-api, websocket: true }}
  gone: {{ match: {{ path: /gone }}, upstream: \"http://127.0.0.1:{nobody}\", audience: orders-api }}\n",
        puppet.url()
    );
    let mut program = Program::in_world(&world, &routes, "").await;
    let (at, token, p) = (program.listener().await, world.iam.caller_token("ada").unwrap(), puppet.address.to_string());

    assert_eq!(get(at, "/orders/no-token").await.unwrap().status, 401);
    assert_eq!(told(&mut program, "/orders/no-token").await, of("orders", &world.orders.address().to_string(), 401, "-", "no_token"));
    assert_eq!(get_as(at, "/nowhere", &token).await.status, 404);
    assert_eq!(told(&mut program, "/nowhere").await, of("-", "-", 404, "-", "no_route"));
    assert_eq!(get_as(at, "/gone", &token).await.status, 502);
    assert_eq!(told(&mut program, "/gone").await.4, "upstream_unreachable");

    // gRPC callers get 200 in any case: the reason tells.
    let bearer = format!("Bearer {token}");
    assert_eq!(sent(at, Method::POST, "/payroll/rpc", &[("authorization", &bearer), ("content-type", "application/grpc")]).await, 200);
    let payroll = world.payroll.address().to_string();
    assert_eq!(told(&mut program, "/payroll/rpc").await, of("payroll", &payroll, 200, "-", "target_refused"));

    // A caller that hangs up before there is an answer.
    let mut wire = Wire::open(at).await;
    wire.send(written("/p/hang", &token, &[])).await;
    program.until("the upstream has heard it", async || puppet.heard().iter().any(|m| m.line().contains("/p/hang"))).await;
    drop(wire);
    let aborted = line(&mut program, "/p/hang").await;
    assert_eq!((aborted["status"].as_u64(), aborted["whole"].as_bool(), aborted["upstream"].as_str()), (Some(499), Some(false), Some(&*p)));

    // An upstream that breaks off: its status was out, its body was not.
    let mut wire = Wire::open(at).await;
    let answer = wire.ask(written("/p/half", &token, &[])).await;
    assert_eq!((answer.status(), answer.text().as_str(), answer.whole), (200, "half", false));
    let half = line(&mut program, "/p/half").await;
    assert_eq!((half["status"].as_u64(), half["whole"].as_bool(), half["bytes"].as_u64()), (Some(200), Some(false), Some(4)));

    // A tunnel has its line when it is over, with what went each way.
    let mut wire = Wire::open(at).await;
    wire.send(written("/ws/switched", &token, &["Connection: Upgrade", "Upgrade: x-talk/1"])).await;
    assert_eq!(wire.stream_head().await.status(), 101);
    assert_eq!(wire.piece().await, "hello");
    assert!(program.access().iter().all(|l| l["path"] != "/ws/switched"));
    wire.send("four").await;
    wire.ends().await;
    drop(wire);
    let switched = line(&mut program, "/ws/switched").await;
    let number = |name: &str| switched[name].as_u64();
    assert_eq!((number("status"), number("bytes"), number("received")), (Some(101), Some(10), Some(4)), "{switched}");
    assert_eq!((switched["route"].as_str(), switched["token"].as_str()), (Some("ws"), Some("hit")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_line_says_whom_the_request_was_for() {
    let world = World::new().await;
    let elsewhere = Puppet::saying("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nelse").await;
    let routes = "\n  orders: { match: { hosts: [orders.shop.svc] }, upstream: ORDERS, audience: orders-api }\n";
    let listeners = "listeners:\n  main: { address: 127.0.0.1:0, mode: outbound, unmatched: strip }\n  shut: { address: 127.0.0.1:0, mode: outbound }\n";
    let mut program = Program::in_world(&world, routes, listeners).await;
    let token = world.iam.caller_token("ada").unwrap();
    let mut addresses = std::collections::HashMap::new();
    for line in program.log().iter().filter(|l| l["message"] == "listening") {
        addresses.insert(line["listener"].as_str().unwrap().to_owned(), line["address"].as_str().unwrap().parse::<SocketAddr>().unwrap());
    }
    let ask = async |listener: &str, line: String| {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        Wire::open(addresses[listener]).await.ask(text).await.status()
    };
    let other = elsewhere.address.to_string();
    assert_eq!(ask("main", format!("GET http://{other}/let-through")).await, 200);
    assert_eq!(ask("shut", "GET http://Else.Where:8080/refused".to_owned()).await, 404);
    assert_eq!(ask("main", "GET http://orders.shop.svc/named".to_owned()).await, 200);
    assert_eq!(ask("main", "CONNECT else.where:443".to_owned()).await, 405);
    let through = line(&mut program, "/let-through").await;
    assert_eq!((through["authority"].as_str(), through["route"].as_str()), (Some(&*other), Some("unmatched")));
    let refused = line(&mut program, "/refused").await;
    assert_eq!((refused["authority"].as_str(), refused["reason"].as_str()), (Some("else.where:8080"), Some("no_route")));
    assert!(line(&mut program, "/named").await["authority"].is_null(), "its route and upstream say it");
    let tunnel = line(&mut program, "").await;
    assert_eq!((tunnel["authority"].as_str(), tunnel["reason"].as_str()), (Some("else.where:443"), Some("no_tunnel")));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_text_it_has_the_same_fields_and_stays_one_line() {
    let world = World::new().await;
    let main = free_port();
    let text = world
        .yaml(ROUTES, "log: { format: text }\nshutdown: { delay: 0s }")
        .replace("main: { address: 127.0.0.1:0 }", &format!("main: {{ address: 127.0.0.1:{main} }}"))
        .replace("client_secret: gateway-secret", "client_secret: { env: SECRET_OF_THE_TEST }");
    let mut program = Program::run(&text);
    let (at, token) = (SocketAddr::from(([127, 0, 0, 1], main)), world.iam.caller_token("ada").unwrap());
    program.until("it serves", async || get(at, "/strip").await.is_some()).await;
    program.until("its keys are there", async || get_as(at, "/orders", &token).await.status == 200).await;
    let mut wire = Wire::open(at).await;
    assert_eq!(wire.ask(written("/orders/a%0A%22b", &token, &[])).await.status(), 400);
    assert_eq!(get_as(at, "/orders/%22quoted", &token).await.status, 200);
    program.signal("TERM");
    assert!(program.ended().await.success());
    let lines: Vec<String> = program.out().into_iter().filter(|l| l.contains(" access: ")).collect();
    assert!(lines.len() >= 4, "{:?}", program.out());
    for line in &lines {
        assert!(FIELDS.iter().all(|field| line.contains(&format!(" {field}="))), "{line}");
    }
    let line = lines.iter().find(|l| l.contains("quoted")).unwrap();
    assert!(line.contains("path=\"/orders/%22quoted\"") && line.contains("token=\"hit\"") && line.contains("reason=\"-\""), "{line}");
}
