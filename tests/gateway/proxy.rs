//! Messages through the gateway: bodies both ways as they come, connections used again, and upstreams that fail in every way.

use crate::kit::{before, get, request, running};
use crate::wire::{Act, End, Puppet, Wire, say};
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{HeaderValue, StatusCode, header};
use std::sync::Arc;
use tokio::sync::Notify;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_up_with_any_method_and_either_framing() {
    let g = running().await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PROPFIND"] {
        let line = format!("{method} /orders HTTP/1.1");
        let counted = request(&line, &token, &["Content-Length: 5"]) + "hello";
        let chunked = request(&line, &token, &["Transfer-Encoding: chunked"]) + "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n";
        for (framing, bytes) in [("counted", counted), ("chunked", chunked)] {
            assert_eq!(wire.ask(bytes).await.status(), 200, "{method} {framing}");
            let seen = g.world.orders.last().unwrap();
            assert_eq!((&*seen.method, &seen.body[..]), (method, &b"hello"[..]), "{framing}");
        }
    }
    assert_eq!(wire.ask(request("POST /orders HTTP/1.1", &token, &["Content-Length: 0"])).await.status(), 200);
    assert_eq!(g.world.orders.last().unwrap().header("content-length"), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_body_goes_up_without_one() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), "", "").await;
    for method in ["GET", "DELETE", "OPTIONS"] {
        assert_eq!(g.ask(request(&format!("{method} /x HTTP/1.1"), &g.token("ada"), &[])).await.status(), 200);
        let heard = backend.last();
        assert!(heard.all("content-length").is_empty() && heard.all("transfer-encoding").is_empty(), "{method}: {}", heard.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_204_and_304_have_no_body_and_keep_the_connection() {
    let answers = |path: &str| {
        vec![say(match path {
            "/head-counted" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            "/head-chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1000\r\n\r\n",
            "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            _ => OK,
        })]
    };
    let backend = Puppet::start(answers).await;
    let g = before(&backend.url(), "", "limits: { max_in_flight: 1 }").await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    for _ in 0..3 {
        wire.send(request("HEAD /head-counted HTTP/1.1", &token, &[])).await;
        assert_eq!(wire.answer_without_body().await.one("content-length"), "1000");
        wire.send(request("HEAD /head-chunked HTTP/1.1", &token, &[])).await;
        assert_eq!(wire.answer_without_body().await.all("content-length"), Vec::<&str>::new(), "nobody knows the length");
        assert_eq!(wire.ask(get("/204", &token, &[])).await.one("x-a"), "b");
        let unchanged = wire.ask(get("/304", &token, &[])).await;
        assert_eq!((unchanged.status(), unchanged.one("etag")), (304, "\"x\""));
        assert_eq!(wire.ask(get("/empty", &token, &[])).await.one("content-length"), "0");
        assert_eq!(wire.ask(get("/x", &token, &[])).await.text(), "ok", "one request in flight is allowed, and it is the only one");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upstream_connection_serves_many_requests_of_many_callers() {
    let g = crate::kit::World::new().await.gateway(crate::kit::ROUTES, "workers: 1").await;
    let mut ada = g.wire().await;
    let tokens = [g.token("ada"), g.token("bob"), g.token("cyd")];
    for n in 0..100 {
        let answer = ada.ask(get(&format!("/orders/{n}"), &tokens[n % 3], &[])).await;
        assert_eq!((answer.status(), answer.json()["token"]["sub"].as_str()), (200, Some(["ada", "bob", "cyd"][n % 3])));
    }
    for token in &tokens {
        assert_eq!(g.get("/orders", token).await.status, 200, "on a connection of its own");
    }
    assert_eq!((g.world.orders.requests(), g.world.orders.connections(), g.world.iam.exchanges()), (103, 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let g = running().await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    let mut wire = g.wire().await;
    let requests: String = (0..20).map(|n| get(&format!("/orders/{n}"), if n % 2 == 0 { &ada } else { &bob }, &[])).collect();
    let post = request("POST /orders/20 HTTP/1.1", &ada, &["Content-Length: 5"]) + "hello";
    wire.send(requests + &post + &get("/nowhere", &ada, &[]) + &get("/orders/22", &ada, &[])).await;
    for n in 0..21 {
        let answer = wire.answer().await.json();
        assert_eq!(answer["path"], format!("/orders/{n}"));
        assert_eq!(answer["token"]["sub"], if n % 2 == 0 { "ada" } else { "bob" });
    }
    assert_eq!(wire.answer().await.said(), (404, "no_route".into()));
    assert_eq!(wire.answer().await.json()["path"], "/orders/22");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_400_is_not_even_read() {
    let g = running().await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    wire.send(get("/orders/../x", &token, &[]) + &get("/orders", &token, &[])).await;
    assert_eq!(wire.answer().await.said(), (400, "bad_request".into()));
    wire.ends().await;
    assert_eq!(g.world.orders.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_own_errors_pass_as_they_are_and_are_counted() {
    let g = running().await;
    let token = g.token("ada");
    for status in [400_u16, 401, 403, 404, 429, 500, 502, 503] {
        let own = Misbehave::answer(StatusCode::from_u16(status).unwrap(), "text/plain", "the backend's own words");
        g.world.orders.script(own.with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"orders\"")));
        let answer = g.ask(get("/orders", &token, &[])).await;
        assert_eq!((answer.status(), answer.text()), (status, "the backend's own words".into()));
        assert_eq!(answer.one("www-authenticate"), "Bearer realm=\"orders\"");
    }
    assert_eq!(g.metric("cambist_upstream_unauthorized_total{route=\"orders\"}").await, 1.0);
    let label = g.world.orders.address();
    for code in [401, 500] {
        assert_eq!(g.metric(&format!("cambist_upstream_requests_total{{code=\"{code}\",upstream=\"{label}\"}}")).await, 1.0, "{code}");
    }
    assert_eq!(g.metric("cambist_rejections_total{reason=\"upstream_error\",route=\"orders\"}").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_502_and_comes_back_by_itself() {
    let g = running().await;
    let token = g.token("ada");
    assert_eq!(g.ask(get("/orders", &token, &[])).await.status(), 200);
    g.world.orders.down().await;
    let mut wire = g.wire().await;
    assert_eq!(wire.ask(get("/orders", &token, &[])).await.said(), (502, "upstream_unreachable".into()));
    g.world.orders.up().unwrap();
    assert_eq!(wire.ask(get("/orders", &token, &[])).await.status(), 200, "on the same connection");
    let label = g.world.orders.address();
    let failed = format!("cambist_upstream_requests_total{{code=\"upstream_unreachable\",upstream=\"{label}\"}}");
    assert_eq!(g.metric(&failed).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_or_none_that_is_http_is_502() {
    let acts = |path: &str| match path {
        "/reset" => vec![Act::Reset],
        "/close" => vec![Act::Close],
        "/half-a-head" => vec![say("HTTP/1.1 200 OK\r\nContent-"), Act::Close],
        "/garbage" => vec![say("\x16\x03\x01 what is this\r\n\r\n"), Act::Close],
        "/bad-status" => vec![say("HTTP/1.1 2000 OK\r\n\r\n"), Act::Close],
        "/bad-version" => vec![say("HTTP/2.0 200 OK\r\n\r\n"), Act::Close],
        "/bad-field" => vec![say("HTTP/1.1 200 OK\r\nA B: c\r\n\r\n"), Act::Close],
        "/two-lengths" => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"), Act::Close],
        "/bad-length" => vec![say("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"), Act::Close],
        "/101" => vec![say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbytes")],
        _ => vec![say(OK)],
    };
    let backend = Puppet::start(acts).await;
    let g = before(&backend.url(), "", "").await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    let bad = "/reset /close /half-a-head /garbage /bad-status /bad-version /bad-field /two-lengths /bad-length /101";
    for (nth, path) in bad.split(' ').enumerate() {
        assert_eq!(
            wire.ask(get(path, &token, &["Upgrade: websocket", "Connection: Upgrade"])).await.said(),
            (502, "upstream_error".into()),
            "{path}"
        );
        assert_eq!(wire.ask(get("/good", &token, &[])).await.text(), "ok", "after {path}");
        assert_eq!(backend.heard().len(), 2 * (nth + 1), "each was sent once: it may have been read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_answer_that_nobody_asked_for_reaches_nobody() {
    const TWO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let backend = Puppet::start(|path| vec![say(if path == "/two" { TWO } else { OK })]).await;
    let g = before(&backend.url(), "", "").await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    for _ in 0..20 {
        assert_eq!(g.ask(get("/two", &ada, &[])).await.text(), "ok");
        assert_eq!(g.ask(get("/one", &bob, &[])).await.text(), "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let acts = |path: &str| match path {
        "/counted" => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), Act::Close],
        "/counted-reset" => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), Act::Reset],
        "/chunked" => vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Act::Close],
        "/bad-chunk" => vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"), Act::Close],
        "/to-the-end" => vec![say("HTTP/1.1 200 OK\r\n\r\nall of it"), Act::Close],
        _ => vec![say("HTTP/1.1 200 OK\r\n\r\nhalf"), Act::Reset],
    };
    let backend = Puppet::start(acts).await;
    let g = before(&backend.url(), "", "").await;
    let token = g.token("ada");
    for path in ["/counted", "/counted-reset", "/chunked", "/bad-chunk"] {
        for version in ["1.1", "1.0"] {
            let mut wire = g.wire().await;
            wire.send(request(&format!("GET {path} HTTP/{version}"), &token, &[])).await;
            let answer = wire.answer().await;
            assert!(!answer.whole, "{path} to HTTP/{version}: {answer:?}, {:?}", wire.end);
        }
    }
    let answer = g.ask(get("/to-the-end", &token, &[])).await;
    assert_eq!((answer.text(), answer.whole), ("all of it".into(), true), "a body may end with its connection");
    let mut wire = g.wire().await;
    wire.send(request("GET /reset HTTP/1.0", &token, &[])).await;
    assert!(!wire.answer().await.whole, "but not with a reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_body_that_breaks_off_never_looks_whole_upstream() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), "", "").await;
    let token = g.token("ada");
    for (framing, part) in [("Content-Length: 10", "half"), ("Transfer-Encoding: chunked", "4\r\nhalf\r\n")] {
        let mut wire = g.wire().await;
        wire.send(request("POST /x HTTP/1.1", &token, &[framing]) + part).await;
        crate::kit::until("the request is under way", || backend.connections() > backend.heard().len()).await;
        drop(wire);
        crate::kit::until("the request has ended", || !backend.heard().is_empty()).await;
        assert!(!backend.last().whole, "{framing}");
    }
    let mut wire = g.wire().await;
    let answer = wire.ask(request("POST /x HTTP/1.1", &token, &["Transfer-Encoding: chunked"]) + "4\r\nhalf\r\nzz\r\n").await;
    assert_eq!(answer.said(), (400, "bad_request".into()), "no chunk");
    wire.ends().await;
    assert!(backend.heard().iter().all(|m| !m.whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_takes_its_request_with_it() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let backend = Puppet::start(move |path| if path == "/slow" { vec![Act::Wait(wait.clone()), say(OK)] } else { vec![say(OK)] }).await;
    let g = before(&backend.url(), "", "limits: { max_in_flight: 1 }").await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    wire.send(get("/slow", &token, &[])).await;
    crate::kit::until("it is upstream", || backend.heard().len() == 1).await;
    assert_eq!(g.ask(get("/x", &token, &[])).await.said(), (503, "overloaded".into()));
    drop(wire);
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
    assert_eq!(g.ask(get("/x", &token, &[])).await.status(), 200, "its place is free");
    go.notify_one();
    assert_eq!(g.ask(get("/x", &token, &[])).await.text(), "ok", "nobody gets the answer that was not fetched");
    assert_eq!(g.metric("cambist_http_requests_total{code=\"499\",method=\"GET\",route=\"all\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_of_ipv6_works_on_both_sides() {
    let backend = Puppet::at("[::1]:0".parse().unwrap(), |_| vec![say(OK)]).await;
    let g = before(&backend.url(), "", "listeners: { main: { address: \"[::1]:0\" } }").await;
    assert!(g.address().is_ipv6());
    assert_eq!(g.ask(get("/x", &g.token("ada"), &[])).await.text(), "ok");
    let heard = backend.last();
    assert_eq!(heard.one("x-forwarded-for"), "::1");
    assert_eq!(heard.one("forwarded"), "for=\"[::1]\";host=\"api.example.com\";proto=http");
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv4_callers_of_a_listener_on_both_families_are_ipv4_callers() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), "", "listeners: { main: { address: \"[::]:0\" } }").await;
    let mut wire = Wire::open(([127, 0, 0, 1], g.address().port()).into()).await;
    assert_eq!(wire.ask(get("/x", &g.token("ada"), &[])).await.text(), "ok");
    assert_eq!(backend.last().one("x-forwarded-for"), "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_wait_for_nobody_elses() {
    let g = running().await;
    let gate = Gate::new();
    g.world.orders.script(Misbehave::Delay(gate.clone()));
    let token = g.token("ada");
    let mut slow = g.wire().await;
    slow.send(get("/orders/slow", &token, &[])).await;
    gate.reached(1).await;
    assert_eq!(g.ask(get("/orders/quick", &token, &[])).await.status(), 200);
    gate.open();
    assert_eq!(slow.answer().await.json()["path"], "/orders/slow");
    assert_eq!(slow.end, None::<End>);
}
