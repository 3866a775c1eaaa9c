//! What protects the issuer from us, and our callers from its outages, seen through the gateway: who is served while it fails, how
//! often it is asked, and how soon all is well again.

use crate::kit::{ROUTES, Running, World, said};
use cambist::demo::fetch::Answer;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode, header};
use std::time::Duration;

const OPEN: &str = "cambist_issuer_circuit_open{issuer=\"main\"}";

async fn gateway(protection: &str) -> Running {
    let issuer = format!("issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret, {protection} }} }}");
    World::new().await.gateway(ROUTES, &issuer).await
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// A caller of whom nothing is cached.
async fn new_caller(g: &Running) -> Answer {
    g.get("/orders", &g.token("bob")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_fails_the_known_are_served_and_it_is_left_in_peace() {
    let g = gateway("retries: { attempts: 0 }, circuit_breaker: { failures: 4 }").await;
    let known: Vec<String> = (0..5).map(|i| g.token(&format!("known-{i}"))).collect();
    for token in &known {
        assert_eq!(g.get("/orders", token).await.status, 200);
    }
    g.world.iam.script_always(Endpoint::Token, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
    for _ in 0..4 {
        assert_eq!(said(&new_caller(&g).await), (502, "bad_issuer_answer".into()));
    }
    assert_eq!((g.world.iam.exchanges(), g.metric(OPEN).await), (9, 1.0));

    for _ in 0..20 {
        let answer = new_caller(&g).await;
        assert_eq!(said(&answer), (503, "issuer_unavailable".into()));
        assert!((1..=60).contains(&retry_after(&answer)));
    }
    assert!(g.gateway.failures()[0].cause.contains("HTTP 500"), "the operator is told what it was");
    let served = join_all(known.iter().cycle().take(50).map(|token| g.get("/orders", token))).await;
    assert!(served.iter().all(|a| a.status == 200));
    assert_eq!(g.world.iam.exchanges(), 9, "not one call more");

    g.turn(Duration::from_secs(5)).await;
    assert_eq!(said(&new_caller(&g).await), (502, "bad_issuer_answer".into()), "one finds out for all");
    assert_eq!(said(&new_caller(&g).await), (503, "issuer_unavailable".into()));
    assert_eq!((g.world.iam.exchanges(), g.metric(OPEN).await), (10, 1.0));

    g.world.iam.behave();
    g.turn(Duration::from_secs(5)).await;
    assert_eq!(new_caller(&g).await.status, 200, "five seconds after it is back");
    assert_eq!((new_caller(&g).await.status, g.metric(OPEN).await), (StatusCode::OK, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_is_found_again_within_five_seconds() {
    let g = gateway("circuit_breaker: { failures: 10 }").await;
    let known = g.token("ada");
    assert_eq!(g.get("/orders", &known).await.status, 200);
    g.world.iam.down().await;
    for _ in 0..5 {
        // Two attempts each.
        assert_eq!(said(&new_caller(&g).await), (503, "issuer_unavailable".into()));
    }
    assert_eq!(g.metric(OPEN).await, 1.0);
    assert_eq!(said(&new_caller(&g).await), (503, "issuer_unavailable".into()));
    assert_eq!((g.get("/orders", &known).await.status, g.gateway.ready()), (StatusCode::OK, true));
    g.world.iam.up().unwrap();
    assert_eq!(said(&new_caller(&g).await), (503, "issuer_unavailable".into()), "nobody knows yet");
    g.turn(Duration::from_secs(5)).await;
    assert_eq!((new_caller(&g).await.status, g.metric(OPEN).await), (StatusCode::OK, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_no_outages() {
    let g = gateway("circuit_breaker: { failures: 2 }").await;
    for _ in 0..6 {
        assert_eq!(said(&g.get("/payroll", &g.token("ada")).await), (403, "target_refused".into()));
    }
    assert_eq!((new_caller(&g).await.status, g.metric(OPEN).await), (StatusCode::OK, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hiccup_costs_a_second_attempt_and_no_caller() {
    let g = gateway("max_queue: 1024").await;
    for status in [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT] {
        let before = g.world.iam.exchanges();
        g.world.iam.script(Endpoint::Token, Misbehave::status(status));
        assert_eq!(new_caller(&g).await.status, 200, "{status}");
        assert_eq!(g.world.iam.exchanges() - before, 2);
    }
    assert!(g.gateway.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_retry_after_is_obeyed_and_handed_on() {
    let g = gateway("retries: { attempts: 1 }").await;
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
        let before = g.world.iam.exchanges();
        let busy = Misbehave::status(status).with(header::RETRY_AFTER, HeaderValue::from_static("20"));
        g.world.iam.script(Endpoint::Token, busy);
        for _ in 0..5 {
            let answer = new_caller(&g).await;
            assert_eq!(said(&answer), (503, "issuer_unavailable".into()));
            assert!((15..=30).contains(&retry_after(&answer)), "{}", retry_after(&answer));
        }
        assert_eq!(g.world.iam.exchanges() - before, 1, "nobody else has asked, and nobody twice");
        g.turn(Duration::from_secs(20)).await;
        assert_eq!((new_caller(&g).await.status, g.metric(OPEN).await), (StatusCode::OK, 0.0), "it was busy, not gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_for_whom_there_is_no_room_are_told_at_once() {
    let g = gateway("max_in_flight: 2, max_queue: 3").await;
    let gate = Gate::new();
    g.world.iam.script_always(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let asks = join_all((0..12).map(|_| new_caller(&g)));
    let (answers, ()) = tokio::join!(asks, async {
        gate.reached(2).await;
        // All others have been turned away by then: what is left waits for the gate.
        while g.gateway.failures().len() < 7 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(g.world.iam.exchanges(), 2);
        gate.open();
    });
    let served = answers.iter().filter(|a| a.status == 200).count();
    let told: Vec<_> = answers.iter().filter(|a| a.status != 200).map(said).collect();
    assert_eq!((served, told), (5, vec![(503, "issuer_unavailable".into()); 7]));
    let failure = &g.gateway.failures()[0];
    assert!(failure.cure.contains("issuers.main.max_in_flight"), "{failure:?}");
    assert_eq!(g.world.iam.exchanges(), 5);
}

/// With a key that nobody has seen: what would have the keys fetched.
async fn with_unknown_key(g: &Running, kid: &str) -> Answer {
    g.get("/orders", &g.world.iam.caller("bob").kid(kid).token().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wish_of_its_keys_endpoint_is_obeyed_too() {
    let g = gateway("").await;
    for (status, kid) in [(StatusCode::TOO_MANY_REQUESTS, "a"), (StatusCode::SERVICE_UNAVAILABLE, "b")] {
        let before = g.world.iam.requests(Endpoint::Jwks);
        let fetched = || g.world.iam.requests(Endpoint::Jwks) - before;
        let busy = Misbehave::status(status).with(header::RETRY_AFTER, HeaderValue::from_static("40"));
        g.world.iam.script(Endpoint::Jwks, busy);
        assert_eq!((said(&with_unknown_key(&g, kid).await), fetched()), ((503, "issuer_unavailable".into()), 1));
        for n in 0..3 {
            g.turn(Duration::from_secs(11)).await;
            let answer = with_unknown_key(&g, &format!("{kid}{n}")).await;
            assert_eq!((said(&answer), fetched()), ((503, "issuer_unavailable".into()), 1), "after {} s", 11 * (n + 1));
            assert!((1..=60).contains(&retry_after(&answer)), "{}", retry_after(&answer));
            assert_eq!(new_caller(&g).await.status, 200, "the token endpoint has asked for nothing");
        }
        g.turn(Duration::from_secs(11)).await;
        assert_eq!((said(&with_unknown_key(&g, kid).await), fetched()), ((401, "invalid_token".into()), 2));
        g.turn(Duration::from_secs(11)).await;
    }
    assert_eq!(g.metric(OPEN).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_the_keys_fetched_from_an_issuer_that_is_left_in_peace() {
    let broken = Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR);
    let busy = Misbehave::status(StatusCode::TOO_MANY_REQUESTS).with(header::RETRY_AFTER, HeaderValue::from_static("30"));
    for (does, calls) in [(broken, 2), (busy, 1)] {
        let g = gateway("retries: { attempts: 0 }, circuit_breaker: { failures: 2, open_for: 30s }").await;
        g.world.iam.script_always(Endpoint::Token, does);
        for _ in 0..2 {
            new_caller(&g).await;
        }
        assert_eq!(g.world.iam.exchanges(), calls);
        let before = g.world.iam.requests(Endpoint::Jwks);
        for kid in ["a", "b"] {
            let answer = with_unknown_key(&g, kid).await;
            assert_eq!(said(&answer), (503, "issuer_unavailable".into()), "the key may well exist");
            assert!((1..=60).contains(&retry_after(&answer)), "{}", retry_after(&answer));
        }
        assert_eq!(g.world.iam.requests(Endpoint::Jwks), before);
        g.world.iam.behave();
        g.turn(Duration::from_secs(31)).await;
        assert_eq!(said(&with_unknown_key(&g, "a").await), (401, "invalid_token".into()), "asked again as soon as it may be");
        assert_eq!(g.world.iam.requests(Endpoint::Jwks), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_fetched_open_no_circuit() {
    let g = gateway("circuit_breaker: { failures: 1 }").await;
    g.world.iam.script_always(Endpoint::Jwks, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(said(&with_unknown_key(&g, "a").await), (503, "issuer_unavailable".into()));
    assert_eq!((new_caller(&g).await.status, g.metric(OPEN).await), (StatusCode::OK, 0.0));
}
