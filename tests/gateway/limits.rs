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
