//! The main job: a caller's token is exchanged, cached and injected, and nobody gets anybody else's.

use crate::kit::{ROUTES, World, running, said};
use cambist::demo::iam::{Endpoint, OldKeys};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_sees_an_exchanged_token_and_never_the_callers() {
    let g = running().await;
    let token = g.token("ada");
    let answer = g.get("/orders/7?x=1", &token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = g.world.orders.last().unwrap();
    assert_eq!((seen.claim("aud"), seen.claim("sub"), seen.claim("azp")), (Some("orders-api"), Some("ada"), Some("gateway")));
    assert_eq!(seen.target, "/orders/7?x=1");
    assert_eq!(seen.header("authorization").len(), 1);
    assert!(!format!("{:?}", seen.headers).contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_is_a_hit_and_other_callers_are_not() {
    let g = running().await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    for _ in 0..3 {
        assert_eq!(g.get("/orders", &ada).await.status, 200);
    }
    assert_eq!(g.world.iam.exchanges(), 1);
    assert_eq!(g.get("/orders", &bob).await.status, 200);
    assert_eq!(g.world.orders.last().unwrap().claim("sub"), Some("bob"));
    assert_eq!(g.world.iam.exchanges(), 2);
    assert_eq!(g.metric("cambist_token_cache_lookups_total{result=\"hit\",route=\"orders\"}").await, 2.0);
    assert_eq!(g.metric("cambist_token_cache_lookups_total{result=\"miss\",route=\"orders\"}").await, 2.0);
    assert_eq!(g.metric("cambist_token_cache_entries").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn strip_takes_the_token_out_and_passthrough_leaves_it_in() {
    let g = running().await;
    let token = g.token("ada");
    assert_eq!(g.get("/strip", &token).await.status, 200);
    assert!(g.world.open.last().unwrap().header("authorization").is_empty());
    assert_eq!(g.get("/pass", &token).await.status, 200);
    assert_eq!(g.world.open.last().unwrap().claim("aud"), Some("gateway"));
    assert_eq!(g.world.iam.exchanges(), 0);
    assert_eq!(said(&g.get_without_token("/strip").await), (401, "no_token".into()), "verified all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_several_audiences_are_asked_for() {
    let routes = "
  billing: { match: { path: /b }, upstream: OPEN, audience: billing-api, scopes: [billing] }
  both: { match: { path: /two }, upstream: OPEN, audience: [orders-api, billing-api], scopes: [billing], resource: [\"https://r.example/\"] }
";
    let g = World::new().await.gateway(routes, "").await;
    let token = g.token("ada");
    assert_eq!(g.get("/b", &token).await.status, 200);
    assert_eq!(g.world.open.last().unwrap().claim("aud"), Some("billing-api"));
    assert_eq!(g.get("/two", &token).await.status, 200);
    let form = format!("{:?}", g.world.iam.last(Endpoint::Token).unwrap());
    assert!(form.contains("orders-api") && form.contains("billing-api") && form.contains("https://r.example/"), "{form}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refused_target_is_403_with_the_issuers_words_for_the_operator_alone() {
    let g = running().await;
    let answer = g.get("/payroll", &g.token("ada")).await;
    assert_eq!(said(&answer), (403, "target_refused".into()));
    assert!(!String::from_utf8_lossy(&answer.body).contains("payroll"), "the caller is told neither audience nor words");
    assert_eq!(g.world.payroll.requests(), 0);
    let failure = &g.status().await["failures"][0];
    assert_eq!(failure["reason"], "target_refused");
    assert!(failure["issuer_words"].as_str().unwrap().contains("Requested audience not available: payroll-api"), "{failure}");
    assert!(!failure["cure"].as_str().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_caller_gets_401_although_its_exchanged_token_lives() {
    let g = running().await;
    let token = g.world.iam.caller("ada").expires_in(60).token().unwrap();
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.turn(Duration::from_secs(60 + 31)).await;
    assert_eq!(said(&g.get("/orders", &token).await), (401, "invalid_token".into()));
    assert_eq!(g.world.orders.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_fetched_and_a_withdrawn_one_stops_counting() {
    let g = running().await;
    let old = g.token("ada");
    assert_eq!(g.get("/orders", &old).await.status, 200);
    g.world.iam.rotate(OldKeys::Withdrawn).unwrap();
    g.turn(Duration::from_secs(11)).await;
    let new = g.token("ada");
    assert_eq!(g.get("/orders", &new).await.status, 200, "an unknown kid has the keys fetched");
    assert_eq!(said(&g.get("/orders", &old).await), (401, "invalid_token".into()), "remembered under a key that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_callers_cost_one_exchange() {
    let g = running().await;
    let token = g.token("ada");
    let asks = (0..100).map(|_| g.get("/orders", &token));
    let answers = futures_util::future::join_all(asks).await;
    assert!(answers.iter().all(|a| a.status == 200));
    assert_eq!(g.world.iam.exchanges(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audience_must_not_be_the_login_client() {
    let routes = "
  own: { match: { path: /own }, upstream: OPEN, audience: demo-app }
  down: { match: { path: /down }, upstream: OPEN, audience: demo-app, allow_login_client: true }
";
    let g = World::new().await.gateway(routes, "").await;
    let token = g.token("ada");
    assert_eq!(said(&g.get("/own", &token).await), (403, "login_client".into()));
    assert_eq!(g.world.iam.exchanges(), 0, "the issuer is not even asked");
    assert_ne!(said(&g.get("/down", &token).await).1, "login_client");
    assert_eq!(g.world.iam.exchanges(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_of_client_authentication_work() {
    for method in ["client_secret_basic", "client_secret_post"] {
        let issuer = format!(
            "issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret, token_endpoint_auth_method: {method} }} }}"
        );
        let g = World::new().await.gateway(ROUTES, &issuer).await;
        assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200, "{method}");
        let seen = format!("{:?}", g.world.iam.last(Endpoint::Token).unwrap());
        assert_eq!(seen.contains("Basic"), method == "client_secret_basic", "never both");
    }
}
