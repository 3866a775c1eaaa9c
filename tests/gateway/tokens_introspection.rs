//! Tokens that only their issuer can read: it is asked, once a token and not too often, and while it is down nobody is sent away
//! to log in.

use crate::kit::{Running, World, said};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::StatusCode;
use serde_json::json;
use std::time::Duration;

const ISSUER: &str = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, verify: { by: introspection }, \
                      timeouts: { connect: 300ms, total: 500ms } } }";
const ROUTES: &str = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip }
";

async fn asking() -> Running {
    World::new().await.gateway(ROUTES, ISSUER).await
}

impl Running {
    fn opaque(&self, sub: &str) -> String {
        self.world.iam.opaque(&self.world.iam.caller(sub)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_token_is_exchanged_like_any_other() {
    let g = asking().await;
    let token = g.opaque("ada");
    for _ in 0..3 {
        assert_eq!(g.get("/orders", &token).await.status, 200, "{:?}", g.gateway.failures());
    }
    let seen = g.world.orders.last().unwrap();
    assert_eq!((seen.claim("sub"), seen.claim("aud")), (Some("ada"), Some("orders-api")));
    assert!(!format!("{:?}", seen.headers).contains(&token));
    assert_eq!((g.world.iam.introspections(), g.world.iam.exchanges()), (1, 1));
    let asked = g.world.iam.last(Endpoint::Introspection).unwrap();
    assert_eq!((asked.field("token"), asked.field("token_type_hint")), (Some(&*token), Some("access_token")));
    assert!(asked.header("authorization").unwrap().starts_with("Basic "), "as at the token endpoint");
    // A JWT of the same issuer is asked about as well.
    assert_eq!(g.get("/strip", &g.token("bob")).await.status, 200);
    assert_eq!(g.world.iam.introspections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_echoes_one_tells_it_to_nobody() {
    let g = asking().await;
    let token = g.opaque("ada");
    g.world.iam.script(Endpoint::Token, Misbehave::refusal(StatusCode::FORBIDDEN, "access_denied", &format!("not with {token}.")));
    assert_eq!(said(&g.get("/orders", &token).await), (403, "target_refused".into()));
    let failure = g.gateway.failures().remove(0);
    assert_eq!(failure.issuer_words.as_deref(), Some("access_denied: not with [removed]."));
    assert!(token.len() <= 64 && !format!("{failure:?}").contains(&token), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_answer_counts_for_half_a_minute_and_no_longer_than_the_token() {
    let g = asking().await;
    let token = g.opaque("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.turn(Duration::from_secs(29)).await;
    assert_eq!(g.get("/orders", &token).await.status, 200);
    assert_eq!(g.world.iam.introspections(), 1);
    g.turn(Duration::from_secs(2)).await;
    assert_eq!(g.get("/orders", &token).await.status, 200);
    assert_eq!((g.world.iam.introspections(), g.world.iam.exchanges()), (2, 1), "the exchanged token is good for longer");

    // Logged out, it counts until it is asked about again, although what was exchanged for it lives.
    g.world.iam.logout("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.turn(Duration::from_secs(31)).await;
    assert_eq!(said(&g.get("/orders", &token).await), (401, "invalid_token".into()));

    let short = g.world.iam.opaque(&g.world.iam.caller("bob").expires_in(10)).unwrap();
    assert_eq!(g.get("/strip", &short).await.status, 200);
    let before = g.world.iam.introspections();
    g.turn(Duration::from_secs(11)).await;
    assert_eq!(said(&g.get("/strip", &short).await), (401, "invalid_token".into()));
    assert_eq!(g.world.iam.introspections(), before + 1, "at its end it is asked about again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_counts_for_five_seconds() {
    let g = asking().await;
    for _ in 0..20 {
        assert_eq!(said(&g.get("/orders", "made-up").await), (401, "invalid_token".into()));
    }
    assert_eq!(g.world.iam.introspections(), 1);
    g.turn(Duration::from_secs(6)).await;
    assert_eq!(said(&g.get("/orders", "made-up").await), (401, "invalid_token".into()));
    assert_eq!((g.world.iam.introspections(), g.world.iam.exchanges()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_bring_one_token_are_one_question() {
    let g = asking().await;
    let gate = Gate::new();
    g.world.iam.script(Endpoint::Introspection, Misbehave::Delay(gate.clone()));
    let (token, other) = (g.opaque("ada"), g.opaque("bob"));
    let (answers, ()) = tokio::join!(futures_util::future::join_all((0..50).map(|_| g.get("/strip", &token))), async {
        gate.reached(1).await;
        assert_eq!(g.get("/strip", &other).await.status, 200, "another token does not wait");
        gate.open();
    });
    assert!(answers.iter().all(|a| a.status == 200), "{:?}", g.gateway.failures());
    assert_eq!(g.world.iam.introspections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_first_may_hang_up() {
    let g = asking().await;
    let gate = Gate::new();
    g.world.iam.script(Endpoint::Introspection, Misbehave::Delay(gate.clone()));
    let token = g.opaque("ada");
    let mut first = g.wire().await;
    first.send(crate::kit::get("/strip", &token, &[])).await;
    gate.reached(1).await;
    drop(first);
    let (answer, ()) = tokio::join!(g.get("/strip", &token), async { gate.open() });
    assert_eq!((answer.status.as_u16(), g.world.iam.introspections()), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_issuer_says_is_checked() {
    let g = asking().await;
    let now = g.world.clock.unix();
    let good = json!({"active": true, "sub": "ada", "aud": "gateway", "scope": "a"});
    let with = |key: &str, value: serde_json::Value| {
        let mut said = good.clone();
        said[key] = value;
        said
    };
    let cases = [
        (good.clone(), 200),
        (with("iss", json!(g.world.iam.issuer())), 200),
        (with("exp", json!(now + 60)), 200),
        (with("iss", json!("https://elsewhere.example")), 401),
        (with("aud", json!("orders-api")), 401),
        (with("aud", json!(null)), 401),
        (with("exp", json!(now - 31)), 401),
        (with("exp", json!("soon")), 401),
        (with("nbf", json!(now + 60)), 401),
        (with("sub", json!("")), 401),
        (with("cnf", json!({"jkt": "x"})), 401),
        (with("typ", json!("Refresh")), 401),
        (with("active", json!(false)), 401),
        (with("active", json!("true")), 502),
        (with("active", json!(null)), 502),
        (json!([true]), 502),
    ];
    for (i, (said, status)) in cases.into_iter().enumerate() {
        g.world.iam.script(Endpoint::Introspection, Misbehave::answer(StatusCode::OK, "application/json", said.to_string()));
        assert_eq!(g.get("/strip", &format!("token-{i}")).await.status, status, "{said} {:?}", g.gateway.failures().first());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_cannot_say_sends_nobody_away_to_log_in() {
    let g = asking().await;
    let token = g.opaque("ada");
    let cases = [
        (Misbehave::status(StatusCode::SERVICE_UNAVAILABLE), 503, "issuer_unavailable"),
        (Misbehave::status(StatusCode::TOO_MANY_REQUESTS), 503, "issuer_unavailable"),
        (Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR), 502, "bad_issuer_answer"),
        (Misbehave::redirect(http::HeaderValue::from_static("/elsewhere")), 502, "bad_issuer_answer"),
        (Misbehave::Huge(100_000), 502, "bad_issuer_answer"),
        (Misbehave::Hang, 504, "issuer_timeout"),
        (Misbehave::refusal(StatusCode::UNAUTHORIZED, "invalid_client", "No."), 500, "misconfigured"),
        (Misbehave::status(StatusCode::FORBIDDEN), 500, "misconfigured"),
    ];
    for (misbehave, status, code) in cases {
        let shown = format!("{misbehave:?}");
        g.world.iam.script_always(Endpoint::Introspection, misbehave);
        assert_eq!(said(&g.get("/orders", &token).await), (status, code.into()), "{shown}");
        g.world.iam.behave();
        // What protects the issuer from us is over, too.
        g.turn(Duration::from_secs(11)).await;
    }
    assert_eq!(g.get("/orders", &token).await.status, 200, "and none of it was remembered");
    g.world.iam.down().await;
    assert_eq!(g.get("/orders", &token).await.status, 200, "an answer that counts needs no issuer");
    for _ in 0..2 {
        // A pooled connection may die under the first.
        let answer = g.get("/strip", &g.opaque("bob")).await;
        assert!([502, 503].contains(&answer.status.as_u16()), "{:?}", said(&answer));
    }
    g.world.iam.up().unwrap();
    g.turn(Duration::from_secs(11)).await;
    assert_eq!(g.get("/strip", &g.opaque("bob")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_says_against_itself_is_believed() {
    let g = asking().await;
    let caller = || g.world.iam.caller("ada");
    for token in [caller().claim("iss", json!("https://elsewhere.example")), caller().expires_in(-60)] {
        assert_eq!(said(&g.get("/orders", &token.token().unwrap()).await), (401, "invalid_token".into()));
    }
    assert_eq!(g.world.iam.introspections(), 0, "nobody is asked");
    assert_eq!(said(&g.get("/orders", &caller().forged().token().unwrap()).await), (401, "invalid_token".into()));
    assert_eq!(g.world.iam.introspections(), 1);
}

const ALONE: &str = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  billing: { match: { path: /billing }, upstream: OPEN, audience: billing-api, scopes: [billing] }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip }
  own: { match: { path: /own }, upstream: OPEN, token: client_credentials, audience: orders-api }
  pass: { match: { path: /pass }, upstream: OPEN, token: passthrough }
";

#[tokio::test(flavor = "multi_thread")]
async fn while_the_issuer_is_out_whoever_has_a_cached_token_is_served_and_nobody_else() {
    let g = World::new().await.gateway(ALONE, ISSUER).await;
    let (ada, bob) = (g.opaque("ada"), g.opaque("bob"));
    for path in ["/orders", "/strip", "/own", "/pass"] {
        assert_eq!(g.get(path, &ada).await.status, 200, "{path} {:?}", g.gateway.failures().first());
    }
    assert_eq!(g.get("/strip", &bob).await.status, 200);
    g.world.iam.down().await;
    let exchanges = g.world.iam.exchanges();
    for _ in 0..4 {
        g.turn(Duration::from_secs(31)).await;
        assert_eq!(g.get("/orders", &ada).await.status, 200, "{:?}", g.gateway.failures().first());
        for (path, token) in [("/billing", &ada), ("/strip", &ada), ("/own", &ada), ("/pass", &ada), ("/orders", &bob)] {
            let (status, code) = said(&g.get(path, token).await);
            assert!(matches!(status, 502..=504), "{path}: {status} {code}");
        }
    }
    // The cached token ends, and with it what stood for the caller.
    g.turn(Duration::from_secs(300)).await;
    assert_eq!(said(&g.get("/orders", &ada).await).0, 503);
    g.world.iam.up().unwrap();
    g.turn(Duration::from_secs(11)).await;
    assert_eq!((g.get("/orders", &ada).await.status.as_u16(), g.world.iam.exchanges()), (200, exchanges + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_or_forgotten_stands_for_nobody_in_an_outage() {
    let outage = || Misbehave::status(StatusCode::SERVICE_UNAVAILABLE);
    for refusal in [
        Misbehave::answer(StatusCode::OK, "application/json", json!({"active": false}).to_string()),
        Misbehave::refusal(StatusCode::UNAUTHORIZED, "invalid_client", "No."),
    ] {
        let ours = format!("{refusal:?}");
        let g = asking().await;
        let token = g.opaque("ada");
        assert_eq!(g.get("/orders", &token).await.status, 200);
        g.turn(Duration::from_secs(31)).await;
        g.world.iam.script(Endpoint::Introspection, refusal);
        assert!([401, 500].contains(&g.get("/orders", &token).await.status.as_u16()), "a refusal is no outage: {ours}");
        g.world.iam.script_always(Endpoint::Introspection, outage());
        g.turn(Duration::from_secs(6)).await;
        let after = said(&g.get("/orders", &token).await);
        // That our client was refused says nothing of the caller.
        assert!(matches!(after, (503, _) | (200, _)), "{after:?}");
        assert_eq!(after.0 == 503, !g.gateway.failures().iter().any(|f| f.reason == "misconfigured"), "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_outage_nothing_is_renewed_for_who_is_not_known_to_be_good() {
    let g = World::new().await.gateway(ROUTES, &format!("{ISSUER}\ncache: {{ refresh_ahead: 50% }}")).await;
    let token = g.opaque("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    let exchanges = g.world.iam.exchanges();
    g.world.iam.script_always(Endpoint::Introspection, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
    g.turn(Duration::from_secs(200)).await;
    for _ in 0..5 {
        assert_eq!(g.get("/orders", &token).await.status, 200, "{:?}", g.gateway.failures().first());
    }
    assert_eq!(g.world.iam.exchanges(), exchanges);
    g.world.iam.behave();
    // What was due and was not done is tried again after a while.
    for _ in 0..6 {
        g.turn(Duration::from_secs(10)).await;
        assert_eq!(g.get("/orders", &token).await.status, 200);
        if g.world.iam.exchanges() > exchanges {
            break;
        }
    }
    crate::kit::until("it is renewed once the issuer has said that it is good", || g.world.iam.exchanges() == exchanges + 1).await;
}
