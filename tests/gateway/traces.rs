//! Traces as a collector gets them: which are recorded, what their spans are and whose children; what goes on in `traceparent`, to
//! backends and to the issuer; and that nothing secret is among it.

use crate::collector::{Collector, Span, one};
use crate::kit::{ROUTES, Running, World, get, until};
use crate::wire::{Puppet, say};
use cambist::demo::iam::Endpoint;
use cambist::demo::iam::OldKeys;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{Method, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}")
}

/// A gateway that records this share of what nobody has decided about, and who gets it.
async fn recording(sample: &str, more: &str) -> (Running, Collector) {
    let collector = Collector::start().await;
    let g = World::new().await.gateway(ROUTES, &format!("{}{more}", collector.yaml(sample))).await;
    (g, collector)
}

/// What a field that came to the issuer's token endpoint last says.
fn issuer_heard(g: &Running, name: &str) -> Option<String> {
    g.world.iam.last(Endpoint::Token).unwrap().header(name).map(str::to_owned)
}

fn in_span(inner: &Span, outer: &Span) -> bool {
    inner.parent == outer.id && inner.trace == outer.trace && inner.began >= outer.began
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_a_trace_of_every_step_and_the_next_hop_continues_it() {
    let (g, collector) = recording("0%", "").await;
    let token = g.token("ada");
    let fields = [&*traceparent("01"), "tracestate: a=1", "tracestate: b=2", "baggage: user=ada"];
    assert_eq!(g.ask(get("/orders/7?card=4111", &token, &fields)).await.status(), 200);
    let spans = collector.trace(TRACE, 5).await;
    assert_eq!(spans.len(), 6, "{spans:#?}");

    let server = one(&spans, "GET /orders");
    assert_eq!((server.kind, &*server.parent, server.is_error), (2, PARENT, false));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/orders"),
        ("url.path", "/orders/7"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("cambist.route", "orders"),
        ("cambist.cache.result", "miss"),
        ("error.type", "-"),
    ] {
        assert_eq!(server.says(key), value, "{key}");
    }
    let (verify, cache, exchange) = (one(&spans, "verify"), one(&spans, "cache"), one(&spans, "exchange"));
    let (issuer, upstream) = (one(&spans, "POST"), one(&spans, "GET"));
    assert!(in_span(verify, server) && in_span(cache, server) && in_span(upstream, server), "{spans:#?}");
    assert!(in_span(exchange, cache) && in_span(issuer, exchange), "{spans:#?}");
    assert_eq!((verify.kind, exchange.kind, issuer.kind, upstream.kind), (1, 1, 3, 3));
    assert_eq!(verify.says("cambist.issuer"), "main");
    for span in [cache, exchange] {
        assert_eq!((span.says("cambist.audience"), span.says("cambist.issuer")), ("orders-api", "main"));
    }
    assert_eq!((cache.says("cambist.cache.result"), exchange.says("cambist.exchange.ahead")), ("miss", "false"));
    assert_eq!((issuer.says("http.response.status_code"), issuer.says("server.address")), ("200", "127.0.0.1"));
    assert_eq!(issuer.says("server.port"), g.world.iam.address().port().to_string());
    assert_eq!(issuer.says("url.full"), g.world.iam.token_endpoint());
    assert_eq!(
        (upstream.says("server.port"), upstream.says("http.response.status_code")),
        (&*g.world.orders.address().port().to_string(), "200")
    );

    assert_eq!(upstream.says("url.full"), format!("{}/orders/7", g.world.orders.url()));

    let backend = g.world.orders.last().unwrap();
    assert_eq!(backend.header("traceparent"), [format!("00-{TRACE}-{}-01", upstream.id)], "the backend is the upstream span's child");
    assert_eq!((backend.header("tracestate"), backend.header("baggage")), (vec!["a=1", "b=2"], vec!["user=ada"]));
    assert_eq!(issuer_heard(&g, "traceparent"), Some(format!("00-{TRACE}-{}-01", issuer.id)));
    assert_eq!(issuer_heard(&g, "tracestate").as_deref(), Some("a=1,b=2"));
    assert_eq!(issuer_heard(&g, "baggage"), None, "baggage is no matter of the issuer's");
    assert!(!String::from_utf8_lossy(&collector.bytes()).contains("4111"), "a query is never told");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_them_is_said_and_where_they_go_is_below_the_endpoint() {
    let (g, collector) = recording("100%", "").await;
    g.get("/orders", &g.token("ada")).await;
    collector.only(1).await;
    let (resource, head) = (collector.resource(), collector.heads().remove(0));
    assert_eq!((&*resource["service.name"], &*resource["service.version"]), ("cambist", env!("CARGO_PKG_VERSION")));
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n") && head.contains("application/x-protobuf"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_asks_nobody() {
    let (g, collector) = recording("0%", "").await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    assert_eq!(g.ask(get("/orders", &token, &[&traceparent("01")])).await.status(), 200);
    let spans = collector.trace(TRACE, 3).await;
    assert_eq!(spans.len(), 4, "{spans:#?}");
    assert_eq!((one(&spans, "cache").says("cambist.cache.result"), one(&spans, "GET").kind), ("hit", 3));
    assert_eq!(one(&spans, "GET /orders").says("cambist.cache.result"), "hit");
    assert_eq!(collector.spans().len(), 4, "the first, of whom nobody has decided, is of the other share");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_traceparent_begins_a_trace_of_our_own() {
    let (g, collector) = recording("100%", "").await;
    let token = g.token("ada");
    let bad = ["traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01", "tracestate: a=1"];
    assert_eq!(g.ask(get("/orders", &token, &bad)).await.status(), 200);
    let spans = collector.only(5).await;
    let (server, upstream) = (one(&spans, "GET /orders"), one(&spans, "GET"));
    assert_eq!(server.parent, "", "it is the root");
    let backend = g.world.orders.last().unwrap();
    assert_eq!(backend.header("traceparent"), [format!("00-{}-{}-01", server.trace, upstream.id)]);
    assert_eq!(backend.header("tracestate"), [""; 0], "it was of a trace that is not continued");
    assert_eq!(issuer_heard(&g, "tracestate"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_does_not_want_recorded_is_not_and_goes_on_as_it_came() {
    let (g, collector) = recording("100%", "").await;
    let token = g.token("ada");
    assert_eq!(g.ask(get("/orders", &token, &[&traceparent("00"), "tracestate: a=1"])).await.status(), 200);
    let (backend, as_it_came) = (g.world.orders.last().unwrap(), format!("00-{TRACE}-{PARENT}-00"));
    assert_eq!((backend.header("traceparent"), backend.header("tracestate")), (vec![&*as_it_came], vec!["a=1"]));
    assert_eq!(issuer_heard(&g, "traceparent"), Some(as_it_came), "the issuer is told all the same");
    // One that is recorded, after it.
    g.get("/orders", &token).await;
    let spans = collector.only(3).await;
    assert!(spans.iter().all(|s| s.trace != TRACE), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_none_none_is_recorded_and_the_next_hop_is_told_so() {
    let (g, collector) = recording("0%", "").await;
    let answer = g.ask(get("/payroll", &g.token("ada"), &[])).await;
    assert_eq!(answer.status(), 403);
    let heard = issuer_heard(&g, "traceparent").unwrap();
    assert!(heard.ends_with("-00") && heard[3..35] == *answer.json()["trace_id"].as_str().unwrap(), "{heard}");
    g.get("/orders", &g.token("ada")).await;
    let backend = g.world.orders.last().unwrap();
    assert!(backend.header("traceparent")[0].ends_with("-00"), "who comes next is not to decide anew");
    assert_eq!(g.gateway.end(Duration::ZERO, Duration::from_secs(5)).await, 0);
    assert_eq!(collector.heads().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_section_nothing_is_begun_and_what_came_goes_on() {
    let g = World::new().await.gateway(ROUTES, "").await;
    let token = g.token("ada");
    g.ask(get("/orders", &token, &[&traceparent("01"), "tracestate: a=1"])).await;
    let backend = g.world.orders.last().unwrap();
    assert_eq!((backend.header("traceparent"), backend.header("tracestate")), (vec![&*format!("00-{TRACE}-{PARENT}-01")], vec!["a=1"]));
    assert_eq!(issuer_heard(&g, "traceparent"), None);
    g.get("/orders", &token).await;
    assert_eq!(g.world.orders.last().unwrap().header("traceparent"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_anothers_exchange_is_told_apart_and_the_exchange_is_the_leaders() {
    let (g, collector) = recording("100%", "").await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let leads = g.get("/orders", &token);
    let follows = async {
        gate.reached(1).await;
        let waits = g.ask(get("/orders", &token, &[&traceparent("01")]));
        let opens = async {
            g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 2.0).await;
            gate.open();
        };
        tokio::join!(waits, opens).0
    };
    let (first, second) = tokio::join!(leads, follows);
    assert_eq!((first.status.as_u16(), second.status()), (200, 200));
    let followers = collector.trace(TRACE, 3).await;
    assert_eq!(one(&followers, "cache").says("cambist.cache.result"), "coalesced");
    assert_eq!(followers.len(), 4, "no exchange is its own: {followers:#?}");
    until("the leader's spans have come", || collector.spans().len() == 10).await;
    let leaders: Vec<Span> = collector.spans().into_iter().filter(|s| s.trace != TRACE).collect();
    assert!(in_span(one(&leaders, "exchange"), one(&leaders, "cache")), "{leaders:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_behind_a_hit_is_of_the_trace_that_began_it() {
    let (g, collector) = recording("0%", "limits: { idle_timeout: 1h, header_timeout: 1h }").await;
    let token = g.world.iam.caller("ada").expires_in(36_000).token().unwrap();
    assert_eq!(g.get("/orders", &token).await.status, 200);
    // Into the last fifth of what is used of a life of 300 s.
    g.turn(Duration::from_secs(250)).await;
    assert_eq!(g.ask(get("/orders", &token, &[&traceparent("01")])).await.status(), 200);
    let spans = collector.trace(TRACE, 5).await;
    let (cache, exchange) = (one(&spans, "cache"), one(&spans, "exchange"));
    assert_eq!((cache.says("cambist.cache.result"), exchange.says("cambist.exchange.ahead")), ("refresh", "true"));
    assert!(in_span(exchange, cache) && in_span(one(&spans, "POST"), exchange), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_fetched_for_a_token_are_a_part_of_its_verification() {
    let (g, collector) = recording("0%", "").await;
    g.world.iam.rotate(OldKeys::Kept).unwrap();
    let token = g.token("ada");
    assert_eq!(g.ask(get("/orders", &token, &[&traceparent("01"), "baggage: a=1"])).await.status(), 200);
    let spans = collector.trace(TRACE, 6).await;
    let verify = one(&spans, "verify");
    let keys = spans.iter().find(|s| s.says("url.full") == g.world.iam.jwks_uri()).unwrap();
    assert!(in_span(keys, verify) && keys.says("http.request.method") == "GET", "{spans:#?}");
    let heard = g.world.iam.last(Endpoint::Jwks).unwrap();
    assert_eq!(heard.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", keys.id)));
    assert_eq!(heard.header("baggage"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_is_said_in_the_words_of_the_table() {
    let (g, collector) = recording("0%", "").await;
    g.world.iam.script_always(Endpoint::Token, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
    let answer = g.ask(get("/orders", &g.token("ada"), &[&traceparent("01")])).await;
    let (status, code) = answer.said();
    let spans = collector.trace(TRACE, 4).await;
    let server = one(&spans, "GET /orders");
    assert_eq!((server.says("error.type"), server.is_error), (&*code, true));
    assert_eq!(server.says("http.response.status_code"), status.to_string());
    for name in ["cache", "exchange"] {
        assert_eq!((one(&spans, name).says("error.type"), one(&spans, name).is_error), (&*code, true), "{name}");
    }
    let issuer = one(&spans, "POST");
    assert_eq!((issuer.says("error.type"), issuer.says("http.response.status_code")), ("500", "500"));
    assert!(!spans.iter().any(|s| s.name == "GET"), "it never went to the backend");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_the_callers_doing_is_no_error_of_ours() {
    let (g, collector) = recording("0%", "").await;
    assert_eq!(g.ask(get("/orders", "eyJ.no.token", &[&traceparent("01")])).await.status(), 401);
    let spans = collector.trace(TRACE, 1).await;
    let server = one(&spans, "GET /orders");
    assert_eq!((server.says("error.type"), server.is_error), ("invalid_token", false));
    assert_eq!(one(&spans, "verify").says("error.type"), "invalid_token");
    // One without a route has no template, and one with a method of its own no name for it.
    let other = traceparent("01").replace(TRACE, &TRACE.replace('4', "5"));
    let answer = g.ask(format!("BREW /nowhere HTTP/1.1\r\nHost: api.example.com\r\n{other}\r\n\r\n")).await;
    assert_eq!(answer.status(), 404);
    let spans = collector.trace(&TRACE.replace('4', "5"), 0).await;
    let server = one(&spans, "HTTP");
    assert_eq!((server.says("http.request.method"), server.says("http.route"), server.says("error.type")), ("_OTHER", "-", "no_route"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_time_that_it_is_sent_is_a_span_and_the_backend_can_tell_them_apart() {
    let (fails, times) =
        (AtomicBool::new(true), ["HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let backend = Puppet::start(move |_| vec![say(times[usize::from(!fails.swap(false, Ordering::SeqCst))])]).await;
    let collector = Collector::start().await;
    let routes =
        format!("\n  all: {{ upstream: \"{}\", audience: orders-api, retries: {{ attempts: 1, on: [\"503\"] }} }}\n", backend.url());
    let g = World::new().await.gateway(&routes, &collector.yaml("0%")).await;
    assert_eq!(g.ask(get("/x", &g.token("ada"), &[&traceparent("01")])).await.status(), 200);
    let spans = collector.trace(TRACE, 6).await;
    let mut sent: Vec<&Span> = spans.iter().filter(|s| s.name == "GET").collect();
    sent.sort_by_key(|s| s.began);
    let said: Vec<_> = sent.iter().map(|s| (s.says("http.response.status_code"), s.says("http.request.resend_count"))).collect();
    assert_eq!(said, [("503", "-"), ("200", "1")]);
    let heard: Vec<String> = backend.heard().iter().map(|m| m.one("traceparent").to_owned()).collect();
    assert_eq!(heard, sent.iter().map(|s| format!("00-{TRACE}-{}-01", s.id)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_token_after_a_401_is_a_second_look_and_a_second_sending() {
    let (g, collector) = recording("0%", "").await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    let refuses = Misbehave::status(StatusCode::UNAUTHORIZED)
        .with(http::header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer error=\"invalid_token\""));
    g.world.orders.script(refuses);
    assert_eq!(g.ask(get("/orders", &token, &[&traceparent("01")])).await.status(), 200);
    let spans = collector.trace(TRACE, 7).await;
    let of = |name: &str| spans.iter().filter(|s| s.name == name).count();
    assert_eq!((of("cache"), of("exchange"), of("GET")), (2, 1, 2), "{spans:#?}");
    assert!(spans.iter().any(|s| s.name == "cache" && s.says("cambist.cache.result") == "forced"), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_by_the_exchange_api_has_its_trace() {
    let api = "listeners: { main: { address: 127.0.0.1:0 } }\nexchange_api: { listeners: [main], audiences: { orders-api: {} } }\n";
    let (g, collector) = recording("0%", api).await;
    let authorization = format!("Bearer {}", g.token("ada"));
    let parent = traceparent("01");
    let fields =
        [("authorization", &*authorization), ("content-type", "application/json"), ("traceparent", &parent["traceparent: ".len()..])];
    let answer = g.send(Method::POST, "/v1/exchange", &fields, r#"{"audience":"orders-api"}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let spans = collector.trace(TRACE, 4).await;
    let (server, cache) = (one(&spans, "POST /v1/exchange"), one(&spans, "cache"));
    assert!(in_span(cache, server) && in_span(one(&spans, "exchange"), cache) && in_span(one(&spans, "verify"), server), "{spans:#?}");
    assert_eq!(cache.says("cambist.cache.result"), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_before_the_answer_ends_the_spans() {
    let (g, collector) = recording("0%", "").await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.orders.script(Misbehave::Delay(gate.clone()));
    let mut leaves = g.wire().await;
    leaves.send(get("/orders", &token, &[&traceparent("01")])).await;
    gate.reached(1).await;
    drop(leaves);
    let spans = collector.trace(TRACE, 5).await;
    assert_eq!(one(&spans, "GET").says("error.type"), "cancelled");
    let server = one(&spans, "GET /orders");
    assert_eq!((server.says("http.response.status_code"), server.says("error.type"), server.is_error), ("499", "cancelled", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_nothing_made_of_one_is_in_what_the_collector_gets() {
    let (g, collector) = recording("100%", "").await;
    let (token, other) = (g.token("ada"), g.token("bob"));
    g.ask(get("/orders", &token, &[&format!("baggage: t={other}"), &format!("tracestate: a={other}")])).await;
    g.ask(get(&format!("/orders/{other}?access_token={other}"), &token, &[&traceparent("01"), &format!("tracestate: a={other}")])).await;
    g.ask(get("/payroll", &token, &[&format!("Cookie: t={other}"), &format!("User-Agent: {other}")])).await;
    g.ask(get("/strip", &other, &[&format!("X-Whatever: {other}")])).await;
    g.ask(get(&format!("/nowhere/{other}"), &other, &[])).await;
    g.ask(format!("{} / HTTP/1.1\r\nHost: {}.example.com\r\n\r\n", &other[..200], &other[..60])).await;
    until("all have come", || collector.spans().iter().filter(|s| s.kind == 2).count() == 6).await;
    g.gateway.end(Duration::ZERO, Duration::from_secs(5)).await;
    let text = String::from_utf8_lossy(&collector.bytes()).into_owned();
    let granted = g.world.orders.last().unwrap().header("authorization")[0]["Bearer ".len()..].to_owned();
    for token in [&token, &other, &granted] {
        for part in token.split('.') {
            assert!(!text.contains(&part[..part.len().min(24)]), "a part of a token is told: {part}");
        }
    }
    assert!(!text.contains("gateway-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_collector_and_another_share_count_from_the_reload_on() {
    let (g, first) = recording("100%", "").await;
    let token = g.token("ada");
    g.get("/orders", &token).await;
    let second = Collector::start().await;
    let read = |more: &str| {
        let text = g.world.yaml(ROUTES, more);
        cambist::config::read(&text, "test.yaml").unwrap_or_else(|report| panic!("{}", report.render(false))).config
    };
    let changes = g.gateway.apply(read(&second.yaml("100%"))).await.unwrap();
    assert_eq!((changes.sections, changes.ignored), (vec!["tracing"], vec![]));
    // What the first still held it gets.
    first.only(5).await;
    let had = first.spans().len();
    g.get("/orders", &token).await;
    second.only(3).await;
    assert_eq!(first.spans().len(), had);
    g.gateway.apply(read("")).await.unwrap();
    g.ask(get("/orders", &token, &[&traceparent("01")])).await;
    g.gateway.end(Duration::ZERO, Duration::from_secs(5)).await;
    assert!(second.spans().iter().all(|s| s.trace != TRACE), "it is off");
}
