//! What a trace says of a request that came to a bad end: where it was to go when nobody was there, what became of an answer that broke
//! off, and which method was asked for where the standards have no such one.

use crate::collector::{Collector, Span, one};
use crate::kit::{Running, World, before, get, request};
use crate::wire::{Act, Puppet, say};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Notify;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn recorded(trace: &str) -> String {
    format!("traceparent: 00-{trace}-00f067aa0ba902b7-01")
}

/// Before a backend that does this with each request; and who gets the spans.
async fn before_puppet(acts: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> (Running, Collector) {
    let (backend, collector) = (Puppet::start(acts).await, Collector::start().await);
    (before(&backend.url(), "", &collector.yaml("0%")).await, collector)
}

/// The server's span, and the one of the time that the request was sent.
fn outer_and_sent(spans: &[Span]) -> (&Span, &Span) {
    (spans.iter().find(|s| s.kind == 2).unwrap(), spans.iter().find(|s| s.kind == 3 && s.says("cambist.upstream") != "-").unwrap())
}

async fn port_of_nobody() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_could_be_reached_the_endpoint_that_was_tried_last_is_told() {
    let (first, last, collector) = (port_of_nobody().await, port_of_nobody().await, Collector::start().await);
    let routes = "\n  all: { upstream: both, audience: orders-api, retries: { attempts: 1 } }\n";
    let upstreams = format!(
        "upstreams: {{ both: {{ endpoints: [\"http://127.0.0.1:{first}\", \"http://127.0.0.1:{last}\"], balance: round_robin }} }}"
    );
    let g = World::new().await.gateway(routes, &format!("{}{upstreams}\n", collector.yaml("0%"))).await;
    assert_eq!(g.ask(get("/x/7?card=4111", &g.token("ada"), &[&recorded(TRACE)])).await.status(), 502);
    let spans = collector.trace(TRACE, 5).await;
    let (_, sent) = outer_and_sent(&spans);
    assert_eq!((sent.says("error.type"), sent.is_error), ("upstream_unreachable", true));
    assert_eq!((sent.says("server.address"), sent.says("server.port")), ("127.0.0.1", &*last.to_string()));
    assert_eq!(sent.says("url.full"), format!("http://127.0.0.1:{last}/x/7"));
    assert!(!String::from_utf8_lossy(&collector.bytes()).contains("4111"), "a query is never told");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_name_has_no_address_the_name_is_told() {
    let collector = Collector::start().await;
    let g = before("http://nowhere.invalid:8080", "", &collector.yaml("0%")).await;
    assert_eq!(g.ask(get("/x", &g.token("ada"), &[&recorded(TRACE)])).await.status(), 502);
    let spans = collector.trace(TRACE, 5).await;
    let (_, sent) = outer_and_sent(&spans);
    assert_eq!((sent.says("server.address"), sent.says("server.port")), ("nowhere.invalid", "8080"));
    assert_eq!(sent.says("url.full"), "http://nowhere.invalid:8080/x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_no_standard_knows_is_told_as_it_was_written_if_it_looks_like_one() {
    let (g, collector) = before_puppet(|_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]).await;
    let (long, longest) = ("A".repeat(33), "A".repeat(32));
    for (nth, (method, told)) in [
        ("PROPFIND", "PROPFIND"),
        ("BASELINE-CONTROL", "BASELINE-CONTROL"),
        (&longest, &longest),
        (&long, "-"),
        // Anything may stand there.
        ("A1B2C3", "-"),
        ("X|Y", "-"),
    ]
    .into_iter()
    .enumerate()
    {
        let trace = TRACE.replace('4', &nth.to_string());
        let asked = request(&format!("{method} /x HTTP/1.1"), &g.token("ada"), &[&recorded(&trace)]);
        assert_eq!(g.ask(asked).await.status(), 200, "{method}");
        let spans = collector.trace(&trace, 3).await;
        let (server, sent) = outer_and_sent(&spans);
        assert_eq!((&*server.name, &*sent.name), ("HTTP /", "HTTP"), "{method}");
        for span in [server, sent] {
            assert_eq!((span.says("http.request.method"), span.says("http.request.method_original")), ("_OTHER", told), "{method}");
        }
    }
    // Refused here: it is good to know why, if it is no token.
    for (digit, method, told) in [("9", "get", "get"), ("8", "eyJhbGciOiJSUzI", "-")] {
        let trace = TRACE.replace('4', digit);
        assert_eq!(g.ask(request(&format!("{method} /x HTTP/1.1"), &g.token("ada"), &[&recorded(&trace)])).await.status(), 400);
        assert_eq!(one(&collector.trace(&trace, 0).await, "HTTP").says("http.request.method_original"), told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_known_is_told_once() {
    let (g, collector) = before_puppet(|_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]).await;
    assert_eq!(g.ask(get("/x", &g.token("ada"), &[&recorded(TRACE)])).await.status(), 200);
    let spans = collector.trace(TRACE, 5).await;
    let (server, sent) = outer_and_sent(&spans);
    assert_eq!((server.says("http.request.method_original"), sent.says("http.request.method_original")), ("-", "-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_error_of_both_spans() {
    for (nth, broken) in ["Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"].into_iter().enumerate() {
        let (g, collector) = before_puppet(move |_| vec![say(format!("HTTP/1.1 200 OK\r\n{broken}")), Act::Close]).await;
        let answer = g.ask(get("/x", &g.token("ada"), &[&recorded(TRACE)])).await;
        assert_eq!((answer.status(), answer.whole), (200, false));
        let spans = collector.trace(TRACE, 5).await;
        let (server, sent) = outer_and_sent(&spans);
        for span in [server, sent] {
            let told = (span.says("http.response.status_code"), span.says("error.type"), span.is_error);
            assert_eq!(told, ("200", "upstream_error", true), "{nth}: {}", span.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_whole_is_none_however_its_end_is_told() {
    for whole in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "Connection: close\r\n\r\nabc"]
    {
        let acts = vec![say(format!("HTTP/1.1 200 OK\r\n{whole}")), Act::Close];
        let (g, collector) = before_puppet(move |_| acts.clone()).await;
        let answer = g.ask(get("/x", &g.token("ada"), &[&recorded(TRACE)])).await;
        assert_eq!((answer.status(), &*answer.text()), (200, "abc"));
        let spans = collector.trace(TRACE, 5).await;
        let (server, sent) = outer_and_sent(&spans);
        assert_eq!((server.says("error.type"), sent.says("error.type")), ("-", "-"), "{whole}");
        assert!(!server.is_error && !sent.is_error && server.ended >= sent.ended);
    }
    let (g, collector) = before_puppet(|_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")]).await;
    let mut caller = g.wire().await;
    caller.send(request("HEAD /x HTTP/1.1", &g.token("ada"), &[&recorded(TRACE)])).await;
    assert_eq!(caller.answer_without_body().await.status(), 200);
    let spans = collector.trace(TRACE, 5).await;
    let (server, sent) = outer_and_sent(&spans);
    assert_eq!((server.says("error.type"), one(&spans, "HEAD").says("error.type"), sent.is_error), ("-", "-", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_within_an_answer_is_told_and_is_no_error_of_ours() {
    let never = Arc::new(Notify::new());
    let (g, collector) =
        before_puppet(move |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), Act::Wait(never.clone())]).await;
    let mut caller = g.wire().await;
    caller.send(get("/x", &g.token("ada"), &[&recorded(TRACE)])).await;
    assert_eq!(caller.stream_head().await.status(), 200);
    drop(caller);
    let spans = collector.trace(TRACE, 5).await;
    let (server, sent) = outer_and_sent(&spans);
    assert_eq!((server.says("error.type"), server.is_error), ("cancelled", false));
    assert_eq!(sent.says("error.type"), "cancelled");
}
