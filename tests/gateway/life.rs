//! An issuer's life, seen through the gateway: down at the start, down later, too slow, saying what cannot be trusted. Nothing of
//! it lets a request through that should not go, and nothing needs a restart.

use crate::kit::{ROUTES, Running, World, running, said, until};
use cambist::demo::fetch::Answer;
use cambist::demo::iam::{ACCESS_TOKEN, Endpoint};
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const UP: &str = "cambist_issuer_up{issuer=\"main\"}";

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// The gateway's own pauses follow the clock that the test turns.
async fn recovers(g: &Running) {
    g.turn(Duration::from_secs(61)).await;
    until("the gateway is ready", || g.gateway.ready()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_at_the_start_keeps_nobody_from_starting() {
    let world = World::new().await;
    world.iam.down().await;
    let g = world.gateway_not_ready(ROUTES, "");
    for _ in 0..2 {
        let answer = g.get("/orders", &g.token("ada")).await;
        assert_eq!(said(&answer), (503, "issuer_unavailable".into()));
        assert!((1..=60).contains(&retry_after(&answer)));
        assert_eq!((g.probe("/readyz").await.status, g.probe("/livez").await.status), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK));
    }
    assert_eq!(g.metric(UP).await, 0.0);
    g.world.iam.up().unwrap();
    recovers(&g).await;
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200);
    assert_eq!((g.probe("/readyz").await.status, g.metric(UP).await), (StatusCode::OK, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_that_talks_nonsense_at_the_start() {
    let not_ours = Misbehave::member("issuer", Some(json!("https://other.example")));
    let elsewhere = Misbehave::member("token_endpoint", Some(json!("http://iam.example/token")));
    let garbage = || Misbehave::answer(StatusCode::OK, "text/html", "<html>");
    for (endpoint, misbehave, told) in [
        (Endpoint::Discovery, not_ours, "issuers.main.url"),
        (Endpoint::Discovery, elsewhere, "token_endpoint"),
        (Endpoint::Discovery, garbage(), "issuers.main.url"),
        (Endpoint::Discovery, Misbehave::redirect(HeaderValue::from_static("http://127.0.0.1:1/")), "redirect"),
        (Endpoint::Jwks, garbage(), "jwks_uri"),
        (Endpoint::Jwks, Misbehave::answer(StatusCode::OK, "application/json", "{\"keys\":[]}"), "jwks_uri"),
        (Endpoint::Jwks, Misbehave::Huge(300_000), "KiB"),
        (Endpoint::Jwks, Misbehave::status(StatusCode::NOT_FOUND), "404"),
        (Endpoint::Jwks, Misbehave::Reset, "IAM"),
    ] {
        let world = World::new().await;
        world.iam.script_always(endpoint, misbehave.clone());
        let g = world.gateway_not_ready(ROUTES, "");
        let asked = g.world.iam.clone();
        until("the issuer is asked", || asked.requests(endpoint) > 0).await;
        assert_eq!(said(&g.get("/orders", &g.token("ada")).await), (503, "issuer_unavailable".into()), "{misbehave:?}");
        assert!(!g.gateway.ready());
        while !g.gateway.failures().iter().any(|f| format!("{:?} {:?}", f.cause, f.cure).contains(told)) {
            // Asked before the answer was in: nothing was known to tell.
            g.get("/orders", &g.token("ada")).await;
        }
        g.world.iam.behave();
        recovers(&g).await;
        assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200, "{misbehave:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_goes_down_later_leaves_known_callers_served() {
    let g = running().await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    assert_eq!(g.get("/orders", &ada).await.status, 200);
    g.world.iam.down().await;
    for _ in 0..3 {
        assert_eq!(g.get("/orders", &ada).await.status, 200, "from the cache");
        let answer = g.get("/orders", &bob).await;
        assert_eq!(said(&answer), (503, "issuer_unavailable".into()));
        assert!((1..=60).contains(&retry_after(&answer)));
    }
    assert!(g.gateway.ready(), "it latches");
    assert_eq!((g.metric(UP).await, g.probe("/readyz").await.status), (0.0, StatusCode::OK));
    g.world.iam.up().unwrap();
    assert_eq!(g.get("/orders", &bob).await.status, 200);
    assert_eq!(g.metric(UP).await, 1.0);
    assert_eq!(g.world.orders.requests(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_hangs_is_given_up_and_then_asked_again() {
    let issuer = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, timeouts: { connect: 200ms, total: 400ms } } }";
    let g = World::new().await.gateway(ROUTES, issuer).await;
    let token = g.token("ada");
    g.world.iam.script(Endpoint::Token, Misbehave::Hang);
    assert_eq!(said(&g.get("/orders", &token).await), (504, "issuer_timeout".into()));
    assert_eq!((g.world.orders.requests(), g.metric(UP).await), (0, 0.0));
    assert_eq!(g.get("/orders", &token).await.status, 200);
    assert_eq!(g.metric(UP).await, 1.0);
}

/// What the token endpoint does, and what becomes of the request.
fn misbehaviours() -> Vec<(Misbehave, u16, &'static str)> {
    let member = |name, value: Value| Misbehave::member(name, Some(value));
    let text = |status: u16, body: &str| Misbehave::answer(StatusCode::from_u16(status).unwrap(), "application/json", body.to_owned());
    let refusal = |status: u16, error: &str, words: &str| Misbehave::refusal(StatusCode::from_u16(status).unwrap(), error, words);
    let twice = format!(
        "{{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"issued_token_type\":\"{ACCESS_TOKEN}\",\"expires_in\":60,\"access_token\":\"b\"}}"
    );
    let bad = "bad_issuer_answer";
    vec![
        (Misbehave::redirect(HeaderValue::from_static("http://127.0.0.1:1/")), 502, bad),
        (text(200, "{\"access_token\":"), 502, bad),
        (text(200, "[]"), 502, bad),
        (text(200, ""), 502, bad),
        (text(204, ""), 502, bad),
        (text(200, &twice), 502, bad),
        (Misbehave::Huge(100_000), 502, bad),
        (Misbehave::Reset, 502, bad),
        (Misbehave::ResetMidBody, 502, bad),
        (Misbehave::claim("aud", Some(json!("payroll-api"))), 502, bad),
        (Misbehave::claim("aud", None), 502, bad),
        (Misbehave::claim("sub", Some(json!("service-account-gateway"))), 502, bad),
        (Misbehave::claim("sub", None), 502, bad),
        (Misbehave::claim("exp", Some(json!(1))), 502, bad),
        (Misbehave::claim("exp", Some(json!("tomorrow"))), 502, bad),
        (member("expires_in", json!(-103)), 502, bad),
        (member("expires_in", json!(0)), 502, bad),
        (member("expires_in", json!("300")), 502, bad),
        (member("token_type", json!("N_A")), 502, bad),
        (Misbehave::member("token_type", None), 502, bad),
        (member("issued_token_type", json!("urn:ietf:params:oauth:token-type:id_token")), 502, bad),
        (Misbehave::member("issued_token_type", None), 502, bad),
        (member("access_token", json!("two words")), 502, bad),
        (member("access_token", json!("x\r\ny: z")), 502, bad),
        (member("access_token", json!("x".repeat(17_000))), 502, bad),
        (Misbehave::member("access_token", None), 502, bad),
        (text(500, "{}"), 502, bad),
        (text(502, "<html>"), 502, bad),
        (text(504, "<html>"), 502, bad),
        (text(404, "not here"), 502, bad),
        (refusal(500, "invalid_grant", "Internal"), 502, bad),
        (text(503, ""), 503, "issuer_unavailable"),
        (text(429, ""), 503, "issuer_unavailable"),
        (refusal(401, "invalid_client", "Invalid client or Invalid client credentials"), 500, "misconfigured"),
        (text(401, ""), 500, "misconfigured"),
        (refusal(400, "invalid_request", "something that no rule knows"), 500, "misconfigured"),
        (refusal(400, "unsupported_grant_type", "Unsupported grant_type"), 500, "misconfigured"),
        (refusal(403, "access_denied", "Client is not within the token audience"), 403, "target_refused"),
        (refusal(400, "invalid_target", ""), 403, "target_refused"),
        (refusal(400, "invalid_request", "Invalid token"), 401, "invalid_token"),
        (refusal(400, "invalid_grant", ""), 401, "invalid_token"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_issuer_does_nothing_doubtful_goes_upstream() {
    // Once: what a second attempt mends is another story.
    let issuer = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, retries: { attempts: 0 } } }";
    let g = World::new().await.gateway(ROUTES, issuer).await;
    for (misbehave, status, code) in misbehaviours() {
        // A caller each: what one is told says nothing of the next.
        let token = g.token("ada");
        g.world.iam.script(Endpoint::Token, misbehave.clone());
        let answer = g.get("/orders", &token).await;
        assert_eq!(said(&answer), (status, code.into()), "{misbehave:?} {:?}", g.gateway.failures().first());
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{misbehave:?}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503, "{misbehave:?}");
        assert_eq!((g.world.orders.requests(), g.metric("cambist_token_cache_entries").await), (0, 0.0), "{misbehave:?}");
        if answer.status == 500 {
            // That the issuer turned the gateway away is remembered for a while, and for everybody.
            g.turn(Duration::from_secs(11)).await;
        }
    }
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200, "none of it is remembered for another caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_nobody_tells_is_short() {
    let g = running().await;
    let token = g.token("ada");
    g.world.iam.script(
        Endpoint::Token,
        Misbehave::Json(std::sync::Arc::new(|answer| {
            answer.remove("expires_in");
            answer.insert("access_token".to_owned(), json!("opaque"));
        })),
    );
    // Opaque, so that the backend cannot know it either.
    assert_eq!(g.get("/orders", &token).await.status, 401);
    g.turn(Duration::from_secs(50)).await;
    assert_eq!(g.get("/orders", &token).await.status, 401, "still the same one: 60 s, less a tenth");
    g.turn(Duration::from_secs(5)).await;
    assert_eq!(g.get("/orders", &token).await.status, 200, "exchanged anew");
    assert_eq!(g.world.iam.exchanges(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_who_started_an_exchange_may_hang_up() {
    let g = running().await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let mut leader = TcpStream::connect(g.address()).await.unwrap();
    leader.write_all(format!("GET /orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).await.unwrap();
    gate.reached(1).await;
    let (follower, ()) = tokio::join!(g.get("/orders", &token), async {
        drop(leader);
        let gone = "cambist_http_requests_total{code=\"499\",method=\"GET\",route=\"orders\"}";
        while g.metric(gone).await < 1.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gate.open();
    });
    assert_eq!(follower.status, 200);
    assert_eq!(g.get("/orders", &token).await.status, 200);
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests()), (1, 2), "what the leader asked for is not sent any more");
}
