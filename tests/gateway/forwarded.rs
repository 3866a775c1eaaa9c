//! Where a request came from: what a trusted proxy says of it counts and goes on with ours behind it; what anybody else says is
//! replaced.

use crate::kit::{Running, World, before, get, said};
use crate::wire::{Message, Puppet};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BY_PROXY: &str = "listeners: { main: { address: 127.0.0.1:0, trusted_proxies: [127.0.0.0/8, 10.0.0.0/8] } }\n";

async fn behind_a_proxy(backend: &Puppet) -> Running {
    before(&backend.url(), "", BY_PROXY).await
}

/// What a backend hears when a trusted proxy sends these fields.
async fn passed_on(fields: &[&str]) -> Message {
    let backend = Puppet::saying(OK).await;
    let g = behind_a_proxy(&backend).await;
    assert_eq!(g.ask(get("/x", &g.token("ada"), fields)).await.status(), 200);
    backend.last()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxys_word_goes_on_with_ours_behind_it() {
    let heard = passed_on(&[
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 203.0.113.7, 10.1.1.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.example.com",
        "Forwarded: for=203.0.113.7;proto=https, for=10.1.1.1",
    ])
    .await;
    assert_eq!(heard.one("x-forwarded-for"), "6.6.6.6, 203.0.113.7, 10.1.1.1, 127.0.0.1");
    assert_eq!(heard.one("x-forwarded-proto"), "https");
    assert_eq!(heard.one("x-forwarded-host"), "shop.example.com");
    let ours = "for=127.0.0.1;host=\"api.example.com\";proto=http";
    assert_eq!(heard.one("forwarded"), format!("for=203.0.113.7;proto=https, for=10.1.1.1, {ours}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_one_kind_of_chain_is_understood_in_the_other() {
    let heard = passed_on(&["X-Forwarded-For: 2001:db8::1", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example.com"]).await;
    assert_eq!(heard.one("x-forwarded-for"), "2001:db8::1, 127.0.0.1");
    let ours = "for=127.0.0.1;host=\"api.example.com\";proto=http";
    assert_eq!(heard.one("forwarded"), format!("for=\"[2001:db8::1]\";host=\"shop.example.com\";proto=https, {ours}"));
    let heard = passed_on(&["Forwarded: for=\"[2001:db8::1]:4711\""]).await;
    assert_eq!(heard.one("x-forwarded-for"), "2001:db8::1, 127.0.0.1");
    assert_eq!(heard.one("x-forwarded-proto"), "http", "nobody said anything else");
    // The caller came to the outermost of the proxies that are trusted; what the caller wrote before counts for nothing.
    let heard = passed_on(&[
        "Forwarded: for=6.6.6.6;proto=http;host=evil",
        "Forwarded: for=203.0.113.7;host=\"shop.example.com:8443\";proto=https, for=10.1.1.1;proto=http;host=inner",
    ])
    .await;
    assert_eq!((heard.one("x-forwarded-proto"), heard.one("x-forwarded-host")), ("https", "shop.example.com:8443"));
    let heard = passed_on(&["Forwarded: for=203.0.113.7;proto=https;host=two", "X-Forwarded-Host: one", "X-Forwarded-Proto: http"]).await;
    assert_eq!((heard.one("x-forwarded-proto"), heard.one("x-forwarded-host")), ("http", "one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_says_nothing_is_the_caller() {
    let heard = passed_on(&[]).await;
    assert_eq!(heard.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(heard.one("forwarded"), "for=127.0.0.1;host=\"api.example.com\";proto=http");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chains_that_contradict_each_other_are_both_replaced() {
    let heard = passed_on(&["X-Forwarded-For: 203.0.113.7", "Forwarded: for=6.6.6.6", "X-Forwarded-Proto: gopher, https"]).await;
    assert_eq!(heard.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(heard.one("forwarded"), "for=127.0.0.1;host=\"api.example.com\";proto=http");
    assert_eq!(heard.one("x-forwarded-proto"), "http");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_trusted_proxy_is_not_believed() {
    let backend = Puppet::saying(OK).await;
    let more = "listeners: { main: { address: 127.0.0.1:0, trusted_proxies: [10.0.0.0/8] } }\n";
    let g = before(&backend.url(), "", more).await;
    let fields = ["X-Forwarded-For: 10.1.1.1", "Forwarded: for=10.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil"];
    assert_eq!(g.ask(get("/x", &g.token("ada"), &fields)).await.status(), 200);
    let heard = backend.last();
    assert_eq!(heard.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(heard.one("x-forwarded-proto"), "http");
    assert_eq!(heard.one("x-forwarded-host"), "api.example.com");
    assert_eq!(heard.one("forwarded"), "for=127.0.0.1;host=\"api.example.com\";proto=http");
}

/// How many exchanges a second request with these fields and the force header costs.
async fn forced(fields: &[&str]) -> u64 {
    let more = format!("{BY_PROXY}force_update: {{ header: X-Force, trusted_from: [192.0.2.0/24, 10.0.0.0/8] }}\n");
    let g = World::new().await.gateway(crate::kit::ROUTES, &more).await;
    let token = g.token("ada");
    assert_eq!(g.ask(get("/orders", &token, &[])).await.status(), 200);
    let before = g.world.iam.exchanges();
    let fields: Vec<&str> = fields.iter().copied().chain(["X-Force: true"]).collect();
    assert_eq!(g.ask(get("/orders", &token, &fields)).await.said(), (200, String::new()));
    g.world.iam.exchanges() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn force_update_is_for_the_caller_behind_the_proxy_to_ask() {
    assert_eq!(forced(&["X-Forwarded-For: 192.0.2.9"]).await, 1);
    assert_eq!(forced(&["X-Forwarded-For: 6.6.6.6, 192.0.2.9, 10.1.1.1"]).await, 1);
    assert_eq!(forced(&["Forwarded: for=192.0.2.9"]).await, 1);
    assert_eq!(forced(&["X-Forwarded-For: 10.1.1.1"]).await, 1, "a trusted proxy may be a caller of its own");
    assert_eq!(forced(&["X-Forwarded-For: 192.0.2.9, 203.0.113.7"]).await, 0, "the caller's own invention stands in front");
    assert_eq!(forced(&[]).await, 0, "the proxy itself is not in trusted_from");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_known_may_not_force() {
    assert_eq!(forced(&["Forwarded: for=unknown, for=10.1.1.1"]).await, 0, "hidden behind one who might");
    assert_eq!(forced(&["X-Forwarded-For: what, 10.1.1.1"]).await, 0);
    assert_eq!(forced(&["X-Forwarded-For: 203.0.113.7", "Forwarded: for=192.0.2.9"]).await, 0);
    assert_eq!(forced(&["X-Forwarded-For: 192.0.2.9", "Forwarded: for=203.0.113.7"]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_chain_holds_breaks_a_request() {
    let backend = Puppet::saying(OK).await;
    let g = behind_a_proxy(&backend).await;
    let token = g.token("ada");
    let long = format!("X-Forwarded-For: {}", vec!["10.1.1.1"; 2000].join(","));
    for odd in [
        "X-Forwarded-For:",
        "X-Forwarded-For: ,,,",
        "X-Forwarded-For: \u{e4}",
        "Forwarded: \"",
        "Forwarded: for",
        "Forwarded: =;=,",
        "Forwarded: for=\"[::1\"",
        &long,
    ] {
        let answer = g.ask(get("/x", &token, &[odd])).await;
        assert_eq!(said_of(&answer), (200, String::new()), "{odd}");
        assert!(backend.last().one("x-forwarded-for").ends_with("127.0.0.1"), "{odd}: {}", backend.last().head);
    }
    assert_eq!(said(&g.get_without_token("/x").await).0, 401);
}

fn said_of(answer: &Message) -> (u16, String) {
    (answer.status(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
}
