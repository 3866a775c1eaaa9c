//! What is too much: it is refused with the answer that the table has for it, the refusal reaches whoever is still sending, and what
//! a request held is free again when it is over.

use crate::kit::{World, before, get, request, running, said};
use crate::wire::{Act, Puppet, Wire, say};
use bytes::Bytes;
use cambist::demo::fetch::Connection;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_still_sending_hears_why_it_was_refused() {
    let routes = "\n  small: { match: { path: /small }, upstream: OPEN, token: strip, max_body: 10KiB }\n  open: { match: { path: /open }, upstream: OPEN, token: strip }\n";
    let g = World::new().await.gateway(routes, "").await;
    let token = g.token("ada");
    let body = Bytes::from(vec![b'x'; 4 << 20]);
    for (path, bearer, wanted) in [
        ("/small", &*token, (413, "body_too_large")),
        ("/open", "not.a.token", (401, "invalid_token")),
        ("/open/../x", &token, (400, "bad_request")),
        ("/nowhere", &token, (404, "no_route")),
    ] {
        for n in 0..25 {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::try_from(format!("Bearer {bearer}")).unwrap());
            let mut caller = Connection::open(g.address()).await.unwrap();
            let answer = caller.send(Method::POST, path, headers, body.clone()).await;
            let answer = answer.unwrap_or_else(|e| panic!("{path}, time {n}: no answer, but {e:#}"));
            assert_eq!(said(&answer), (wanted.0, wanted.1.into()), "{path}");
        }
    }
    assert_eq!(g.world.open.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_given_before_the_body_was_read_reaches_the_caller() {
    let g = running().await;
    let token = g.token("ada");
    g.world.orders.script_always(Misbehave::answer(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "no more"));
    for _ in 0..5 {
        let mut wire = g.wire().await;
        wire.send(request("POST /orders HTTP/1.1", &token, &["Content-Length: 100000000"])).await;
        wire.send(vec![b'x'; 64 * 1024]).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.text()), (413, "no more".into()));
        wire.ends().await;
    }
    g.world.orders.behave();
    assert_eq!(g.ask(get("/orders", &token, &[])).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_never_hangs_up_is_let_go_after_a_while() {
    let g = World::new().await.gateway(crate::kit::ROUTES, "limits: { max_connections: 1 }").await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    let refused = wire.ask(request("POST /nowhere/.. HTTP/1.1", &token, &["Content-Length: 10"]) + "half").await;
    assert_eq!(refused.said(), (400, "bad_request".into()));
    wire.ends().await;
    assert_eq!(g.ask(get("/orders", &token, &[])).await.said(), (503, "overloaded".into()), "it is still there");
    g.world.clock.turn(std::time::Duration::from_secs(2));
    g.served_at_last(&token).await;
    drop(wire);
}

const TIGHT: &str = "limits: { uri_bytes: 256B, header_bytes: 2KiB, header_count: 16 }";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_be_as_long_as_uri_bytes() {
    let g = World::new().await.gateway(crate::kit::ROUTES, TIGHT).await;
    for target in [format!("/strip/{}", "a".repeat(249)), format!("/strip?{}", "a".repeat(249))] {
        assert_eq!(target.len(), 256);
        assert_ne!(g.ask(get(&target, "x", &[])).await.status(), 414);
        let mut wire = g.wire().await;
        let answer = wire.ask(get(&format!("{target}a"), "x", &[])).await;
        assert_eq!((answer.said(), answer.one("content-type")), ((414, "uri_too_long".into()), "application/problem+json"));
        wire.ends().await;
    }
    assert_eq!(
        g.ask(get(&format!("http://{}/strip", "a".repeat(250)), "x", &[])).await.said().1,
        "invalid_token",
        "the target's host is no path"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_may_be_as_many_and_as_large_as_the_limits_say() {
    let g = World::new().await.gateway(crate::kit::ROUTES, TIGHT).await;
    let many = |n: usize| (0..n).map(|i| format!("X-{i}: y")).collect::<Vec<_>>();
    let ask = async |fields: Vec<String>| {
        let mut wire = g.wire().await;
        let answer = wire.ask(get("/strip", "x", &fields.iter().map(String::as_str).collect::<Vec<_>>())).await;
        if answer.status() == 431 {
            wire.ends().await;
        }
        answer.said()
    };
    // Host and Authorization are two of them.
    assert_eq!(ask(many(14)).await.0, 401);
    assert_eq!(ask(many(15)).await, (431, "headers_too_large".into()));
    assert_eq!(ask(many(100)).await, (431, "headers_too_large".into()));
    assert_eq!(ask(many(600)).await, (431, String::new()), "by the parser, which makes no room for so many");
    assert_eq!(ask(vec![format!("X: {}", "y".repeat(1900))]).await.0, 401);
    assert_eq!(ask(vec![format!("X: {}", "y".repeat(2048))]).await, (431, "headers_too_large".into()));
    assert_eq!(ask((0..30).map(|i| format!("Cookie: c{i}=1")).collect()).await.0, 401, "crumbs are the one field that they become");
    assert_eq!(ask((0..30).map(|i| format!("Cookie: c{i}={}", "1".repeat(100))).collect()).await.0, 431, "but their bytes count");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_fields_as_the_operator_allows_get_through() {
    let g = World::new().await.gateway(crate::kit::ROUTES, "limits: { header_count: 1000 }").await;
    let fields: Vec<String> = (0..900).map(|i| format!("X-{i}: y")).collect();
    let answer = g.ask(get("/strip", "x", &fields.iter().map(String::as_str).collect::<Vec<_>>())).await;
    assert_eq!(answer.said(), (401, "invalid_token".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_as_large_as_max_body() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), ", max_body: 10B", "").await;
    let token = g.token("ada");
    let counted = |n: usize| request("POST /x HTTP/1.1", &token, &[&format!("Content-Length: {n}")]) + &"x".repeat(n);
    let chunked = |sizes: &[usize]| {
        let chunks: String = sizes.iter().map(|n| format!("{n:x}\r\n{}\r\n", "x".repeat(*n))).collect();
        request("POST /x HTTP/1.1", &token, &["Transfer-Encoding: chunked"]) + &chunks + "0\r\n\r\n"
    };
    for bytes in [counted(10), chunked(&[10]), chunked(&[5, 5])] {
        assert_eq!(g.ask(bytes).await.status(), 200);
        assert_eq!((backend.last().body.len(), backend.last().whole), (10, true));
    }
    let came = backend.heard().len();
    for bytes in [counted(11), chunked(&[11]), chunked(&[5, 5, 1]), chunked(&[10, 1000])] {
        let mut wire = g.wire().await;
        let answer = wire.ask(bytes).await;
        assert_eq!((answer.said(), answer.one("connection")), ((413, "body_too_large".into()), "close"));
        wire.ends().await;
    }
    g.counted("cambist_rejections_total{reason=\"body_too_large\",route=\"all\"}", 4.0).await;
    assert!(backend.heard()[came..].iter().all(|m| !m.whole), "nothing of it looked whole upstream");
    assert_eq!(g.ask(counted(10)).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_max_in_flight_is_shed_and_places_come_back() {
    let g = World::new().await.gateway(crate::kit::ROUTES, "limits: { max_in_flight: 2 }").await;
    let (token, gate) = (g.token("ada"), Gate::new());
    let (mut first, mut second) = (g.wire().await, g.wire().await);
    for (nth, wire) in [&mut first, &mut second].into_iter().enumerate() {
        g.world.orders.script(Misbehave::Delay(gate.clone()));
        wire.send(get("/orders", &token, &[])).await;
        gate.reached(nth + 1).await;
    }
    let mut third = g.wire().await;
    let shed = third.ask(get("/orders", &token, &[])).await;
    assert_eq!((shed.said(), shed.one("retry-after")), ((503, "overloaded".into()), "1"));
    gate.open();
    assert_eq!((first.answer().await.status(), second.answer().await.status()), (200, 200));
    assert_eq!(third.ask(get("/orders", &token, &[])).await.status(), 200, "the connection was not to blame");
    for _ in 0..10 {
        assert_eq!(third.ask(get("/orders/..%2f", &token, &[])).await.status(), 400);
        third = g.wire().await;
        assert_eq!(third.ask(get("/nowhere", &token, &[])).await.status(), 404);
        assert_eq!(third.ask(get("/orders", "x", &[])).await.status(), 401);
        assert_eq!(third.ask(get("/orders", &token, &[])).await.status(), 200, "refused requests hold no place");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_held_until_the_body_is_out_or_the_caller_gone() {
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let wait = go.clone();
    let half = || say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    let backend =
        Puppet::start(move |path| if path == "/half" { vec![half(), Act::Wait(wait.clone()), say("half")] } else { vec![say(OK)] }).await;
    let g = before(&backend.url(), "", "limits: { max_in_flight: 1 }").await;
    let token = g.token("ada");
    for hangs_up in [false, true] {
        let mut slow = g.wire().await;
        slow.send(get("/half", &token, &[])).await;
        crate::kit::until("the first half is here", || slow.stream.try_read(&mut [0; 1]).is_ok()).await;
        assert_eq!(g.ask(get("/x", &token, &[])).await.said(), (503, "overloaded".into()));
        if hangs_up {
            drop(slow);
        } else {
            go.notify_one();
        }
        g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
        assert_eq!(g.ask(get("/x", &token, &[])).await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_told_and_places_come_back() {
    let g = World::new().await.gateway(crate::kit::ROUTES, "limits: { max_connections: 2 }").await;
    let token = g.token("ada");
    let (mut first, mut second) = (g.wire().await, g.wire().await);
    assert_eq!(first.ask(get("/orders", &token, &[])).await.status(), 200);
    assert_eq!(second.ask(get("/orders", &token, &[])).await.status(), 200);
    let mut third = g.wire().await;
    let shed = third.ask(get("/orders", &token, &[])).await;
    assert_eq!((shed.said(), shed.one("retry-after"), shed.one("connection")), ((503, "overloaded".into()), "1", "close"));
    assert_eq!(shed.one("content-type"), "application/problem+json");
    assert_eq!(shed.json()["type"], "urn:cambist:fault:overloaded", "as the stack's own answers have it");
    third.ends().await;
    assert_eq!(g.metric("cambist_rejections_total{reason=\"overloaded\",route=\"unmatched\"}").await, 1.0);
    assert_eq!(first.ask(get("/orders", &token, &[])).await.status(), 200, "the others do not notice");
    drop(second);
    g.served_at_last(&token).await;
    let _ = Wire::open(g.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ordinary_limits_let_ordinary_requests_through() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), "", "").await;
    let token = g.token("ada");
    let fields: Vec<String> = (0..190).map(|i| format!("X-{i}: {}", "y".repeat(100))).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let target = format!("/{}", "a".repeat(16 * 1024 - 1));
    assert_eq!(g.ask(get(&target, &token, &fields)).await.status(), 200);
    assert_eq!(g.ask(get(&format!("{target}a"), &token, &[])).await.said(), (414, "uri_too_long".into()));
    let large = format!("X: {}", "y".repeat(90 * 1024));
    assert_eq!(g.ask(get("/", &token, &[&large])).await.said(), (431, "headers_too_large".into()));
}
