//! HTTP/2 from callers, by prior knowledge: many streams on one connection, each judged and ended by itself.

use crate::kit::{ROUTES, Running, World, before, running, until};
use crate::wire::{Act, Puppet, patiently, say};
use bytes::Bytes;
use cambist::demo::misbehave::{Gate, Misbehave};
use futures_util::future::join_all;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A caller that speaks HTTP/2.
#[derive(Clone)]
struct Caller(SendRequest<Body>);

#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

impl Reply {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn said(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn of(answer: Response<Incoming>) -> Result<Self, hyper::Error> {
        assert_eq!(answer.version(), Version::HTTP_2);
        let (head, body) = answer.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Self { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }
}

impl Caller {
    async fn of(g: &Running) -> Self {
        let stream = TcpStream::connect(g.address()).await.unwrap();
        let (sender, connection) =
            Builder::new(TokioExecutor::new()).initial_stream_window_size(65_535).handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn try_send(&self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        let mut sender = self.0.clone();
        patiently("the connection is ready", sender.ready()).await?;
        patiently("an answer", sender.send_request(request)).await
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        Reply::of(self.try_send(request).await.unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(request(Method::GET, path, token, &[], "")).await
    }
}

fn request(method: Method, path: &str, token: &str, fields: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("http://api.example.com{path}"));
    request = request.header("authorization", format!("Bearer {token}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body).boxed_unsync()).unwrap()
}

fn grpc(path: &str, token: &str, body: &'static str) -> Request<Body> {
    request(Method::POST, path, token, &[("content-type", "application/grpc+proto"), ("te", "trailers")], body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_works_over_http_2() {
    let g = running().await;
    let caller = Caller::of(&g).await;
    let token = g.token("ada");
    let reply = caller.get("/orders/7?x=%2f", &token).await;
    assert_eq!((reply.status, reply.json()["token"]["aud"].as_str()), (StatusCode::OK, Some("orders-api")));
    let seen = g.world.orders.last().unwrap();
    assert_eq!((&*seen.target, &*seen.version, seen.header("host")), ("/orders/7?x=%2f", "HTTP/1.1", vec!["api.example.com"]));
    assert!(seen.header("via")[0].starts_with("2 cambist-") && reply.headers["via"].to_str().unwrap().starts_with("1.1 cambist-"));
    assert_eq!(seen.header("x-forwarded-host"), ["api.example.com"]);
    assert!(!format!("{:?}", seen.headers).contains(&token));
    let posted = caller.send(request(Method::POST, "/orders", &token, &[], "hello")).await;
    assert_eq!((posted.status.as_u16(), &g.world.orders.last().unwrap().body[..]), (200, &b"hello"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_at_once_cost_one_exchange_and_get_their_own_answers() {
    let g = World::new().await.gateway(ROUTES, "workers: 1").await;
    let caller = Caller::of(&g).await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    let asks = (0..200).map(|n| {
        let (caller, token) = (caller.clone(), if n % 2 == 0 { &ada } else { &bob });
        async move { caller.get(&format!("/orders/{n}"), token).await.json() }
    });
    for (n, answer) in join_all(asks).await.into_iter().enumerate() {
        assert_eq!(answer["path"], format!("/orders/{n}"));
        assert_eq!(answer["token"]["sub"], if n % 2 == 0 { "ada" } else { "bob" });
    }
    assert_eq!((g.world.iam.exchanges_of("ada"), g.world.iam.exchanges_of("bob")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_stream_holds_up_no_other() {
    let g = running().await;
    let (caller, token, gate) = (Caller::of(&g).await, g.token("ada"), Gate::new());
    g.world.orders.script(Misbehave::Delay(gate.clone()));
    let (slow, its_token) = (caller.clone(), token.clone());
    let slow = tokio::spawn(async move { slow.get("/orders/slow", &its_token).await });
    gate.reached(1).await;
    assert_eq!(caller.get("/orders/quick", &token).await.status, 200);
    gate.open();
    assert_eq!(slow.await.unwrap().json()["path"], "/orders/slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_up_its_own_stream_alone() {
    let g = running().await;
    g.world.open.script(Misbehave::Huge(1 << 30));
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let mut unread = caller.try_send(request(Method::GET, "/strip", &token, &[], "")).await.unwrap();
    for _ in 0..20 {
        assert_eq!(caller.get("/orders", &token).await.status, 200);
    }
    let mut got = 0;
    while got < 1 << 20 {
        got += patiently("more of it", unread.frame()).await.unwrap().unwrap().into_data().unwrap().len();
    }
    drop(unread);
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
    assert_eq!(caller.get("/orders", &token).await.status, 200, "a reset stream is nobody else's matter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_streams_up_as_it_comes_whatever_the_method() {
    let backend = Puppet::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let g = before(&backend.url(), "", "").await;
    let caller = Caller::of(&g).await;
    for method in [Method::POST, Method::GET] {
        let (sender, receiver) = mpsc::channel::<&'static str>(1);
        let frames = futures_util::stream::unfold(receiver, |mut r| async { r.recv().await.map(|s| (Ok(Frame::data(Bytes::from(s))), r)) });
        let mut request = request(method.clone(), "/x", &g.token("ada"), &[], "");
        *request.body_mut() = BodyExt::boxed_unsync(StreamBody::new(frames));
        let answer = tokio::spawn({
            let caller = caller.clone();
            async move { caller.send(request).await }
        });
        sender.send("hel").await.unwrap();
        sender.send("lo").await.unwrap();
        drop(sender);
        assert_eq!(answer.await.unwrap().status, 200);
        assert_eq!((backend.last().text(), backend.last().whole), ("hello".into(), true), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_crumbs_become_one_field() {
    let g = running().await;
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("x-other", "1"), ("cookie", "c=3")];
    let reply = Caller::of(&g).await.send(request(Method::GET, "/orders", &g.token("ada"), &crumbs, "")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(g.world.orders.last().unwrap().header("cookie"), ["a=1; b=2; c=3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_400_ends_the_stream_and_not_the_connection() {
    let g = running().await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let bad = [
        request(Method::GET, "/orders/%2e%2e/x", &token, &[], ""),
        request(Method::GET, "/ORDERS", &token, &[], ""),
        request(Method::GET, "/orders", &token, &[("host", "other.example.com")], ""),
        request(Method::GET, "/orders", &token, &[("authorization", "Bearer x")], ""),
        request(Method::GET, "/orders", "a b", &[], ""),
        request(Method::POST, "/orders//..", &token, &[], "with a body"),
    ];
    for request in bad {
        let shown = format!("{request:?}");
        let reply = caller.send(request).await;
        assert_eq!(reply.said(), (400, "bad_request".into()), "{shown}");
        assert!(!reply.headers.contains_key("connection"), "HTTP/2 knows no such field");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
    }
    assert_eq!(g.world.orders.requests(), 0);
    let same = request(Method::GET, "/orders", &token, &[("host", "API.example.com")], "");
    assert_eq!(caller.send(same).await.status, 200, "and a Host that says the same is no doubt");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_answered_as_over_http_1() {
    let g = running().await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    assert_eq!(caller.get("/nowhere", &token).await.said(), (404, "no_route".into()));
    let invalid = caller.get("/orders", "x").await;
    assert_eq!(invalid.said(), (401, "invalid_token".into()));
    assert!(invalid.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer realm=\"cambist\", error=\"invalid_token\""));
    assert_eq!(caller.get("/payroll", &token).await.said(), (403, "target_refused".into()));
    g.world.orders.down().await;
    assert_eq!(caller.get("/orders", &token).await.said(), (502, "upstream_unreachable".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_callers_get_grpc_faults() {
    let routes = "
  orders: { match: { path: /shop.Orders, methods: [POST] }, upstream: ORDERS, audience: orders-api, max_body: 10B }
  payroll: { match: { path: /shop.Payroll }, upstream: PAYROLL, audience: payroll-api }
";
    let g = World::new().await.gateway(routes, "").await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let expired = g.world.iam.caller("ada").expires_in(-60).token().unwrap();
    let mut wrong_method = grpc("/shop.Orders/Get", &token, "");
    *wrong_method.method_mut() = Method::PUT;
    for (request, status) in [
        (grpc("/shop.Orders/../Get", &token, ""), "3"),
        (grpc("/shop.Orders/Get", "a b", ""), "3"),
        (grpc("/shop.Orders/Get", &expired, ""), "16"),
        (grpc("/shop.Payroll/Get", &token, ""), "7"),
        (grpc("/shop.Nothing/Get", &token, ""), "12"),
        (wrong_method, "12"),
        (grpc("/shop.Orders/Get", &token, "far more than ten bytes"), "8"),
    ] {
        let shown = format!("{request:?}");
        let reply = caller.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.headers["grpc-status"].to_str().unwrap()), (200, status), "{shown}");
        assert_eq!(reply.headers["content-type"], "application/grpc");
        assert!(!reply.headers["grpc-message"].is_empty() && reply.body.is_empty());
        assert_eq!(reply.headers.contains_key("www-authenticate"), status == "16", "{shown}");
    }
    g.world.orders.script(Misbehave::Reset);
    assert_eq!(caller.send(grpc("/shop.Orders/Get", &token, "")).await.headers["grpc-status"], "14");
    assert_eq!(g.metric("cambist_rejections_total{reason=\"body_too_large\",route=\"orders\"}").await, 1.0, "counted as what it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_an_answer_pass() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
                          2\r\nok\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\nAuthorization: Bearer x\r\nSet-Cookie: a=b\r\n\r\n";
    let backend = Puppet::saying(ANSWER).await;
    let g = before(&backend.url(), "", "").await;
    let reply = Caller::of(&g).await.send(grpc("/shop.Orders/Get", &g.token("ada"), "hello")).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"ok"[..]));
    let mut names: Vec<_> = reply.trailers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    names.sort_unstable();
    assert_eq!(names, ["grpc-message: fine", "grpc-status: 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_resets_its_stream_alone() {
    let acts = |path: &str| match path {
        "/broken" => vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Act::Close],
        "/short" => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), Act::Reset],
        _ => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
    };
    let backend = Puppet::start(acts).await;
    let g = before(&backend.url(), "", "").await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    for path in ["/broken", "/short"] {
        let answer = caller.try_send(request(Method::GET, path, &token, &[], "")).await.unwrap();
        assert!(Reply::of(answer).await.is_err(), "{path} looked whole");
        assert_eq!(caller.get("/good", &token).await.body, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_stream_takes_its_request_with_it_and_frees_its_place() {
    let backend = Puppet::start(|path| {
        if path == "/slow" { vec![Act::Wait(Arc::<Notify>::default())] } else { vec![say("HTTP/1.1 204 No Content\r\n\r\n")] }
    })
    .await;
    let g = before(&backend.url(), "", "limits: { max_in_flight: 1 }").await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let slow = {
        let (caller, request) = (caller.clone(), request(Method::GET, "/slow", &token, &[], ""));
        tokio::spawn(async move { caller.try_send(request).await.is_ok() })
    };
    until("it is upstream", || backend.heard().len() == 1).await;
    assert_eq!(caller.get("/x", &token).await.said(), (503, "overloaded".into()));
    slow.abort();
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
    for _ in 0..5 {
        assert_eq!(caller.get("/x", &token).await.status, 204);
        assert_eq!(caller.send(request(Method::HEAD, "/x", &token, &[], "")).await.status, 204, "and no answer without a body keeps one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_streams_as_for_requests() {
    let limits = "limits: { uri_bytes: 256B, header_bytes: 2KiB, header_count: 16 }";
    let g = World::new().await.gateway("\n  small: { upstream: OPEN, token: strip, max_body: 10B }\n", limits).await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let long = format!("/{}", "a".repeat(256));
    assert_eq!(caller.get(&long, "x").await.said(), (414, "uri_too_long".into()));
    assert_eq!(
        caller.send(request(Method::GET, "/", "x", &[("x", &"y".repeat(2048))], "")).await.said(),
        (431, "headers_too_large".into())
    );
    assert_eq!(caller.send(request(Method::GET, "/", "x", &[("x", "y"); 16], "")).await.said(), (431, "headers_too_large".into()));
    let crumbs = [("cookie", "a=b"); 30];
    assert_eq!(caller.send(request(Method::GET, "/", "x", &crumbs, "")).await.said(), (401, "invalid_token".into()));
    assert_eq!(caller.send(request(Method::POST, "/", &token, &[], "eleven byte")).await.said(), (413, "body_too_large".into()));
    assert_eq!(caller.send(request(Method::POST, "/", &token, &[], "ten bytes!")).await.status, 200, "all on one connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_connection_is_told_and_closed_after_idle_timeout() {
    let g = World::new().await.gateway(ROUTES, "limits: { idle_timeout: 30s }").await;
    let caller = Caller::of(&g).await;
    assert_eq!(caller.get("/orders", &g.token("ada")).await.status, 200);
    g.world.clock.turn(std::time::Duration::from_secs(31));
    until("the connection is closed", || caller.0.is_closed()).await;
    assert_eq!(Caller::of(&g).await.get("/orders", &g.token("ada")).await.status, 200);
}
