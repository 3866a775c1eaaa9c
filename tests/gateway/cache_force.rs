//! The header by which a trusted caller asks for a newer token: it counts from whom it may, once in a while, and never goes
//! upstream.

use crate::kit::{ROUTES, Running, World, said};
use cambist::demo::fetch::Answer;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::Misbehave;
use futures_util::future::join_all;
use http::{Method, StatusCode};
use std::time::Duration;

const FORCE: &str = "force_update: { header: X-Token-Force-Update, trusted_from: [127.0.0.0/8] }";

async fn forced(g: &Running, path: &str, token: &str) -> Answer {
    with(g, path, token, "X-Token-Force-Update").await
}

async fn with(g: &Running, path: &str, token: &str, name: &str) -> Answer {
    g.send(Method::GET, path, &[("authorization", &format!("Bearer {token}")), (name, "true")], "").await
}

fn ended(result: &str) -> String {
    format!("cambist_forced_updates_total{{cause=\"header\",result=\"{result}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_a_newer_token_for_everybody_and_goes_no_further() {
    let g = World::new().await.gateway(ROUTES, FORCE).await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    let old = g.world.orders.last().unwrap().claim("jti").unwrap().to_owned();
    assert_eq!(forced(&g, "/orders", &token).await.status, 200);
    let seen = g.world.orders.last().unwrap();
    assert_ne!(seen.claim("jti"), Some(old.as_str()));
    assert_eq!(g.get("/orders", &token).await.status, 200);
    assert_eq!(g.world.orders.last().unwrap().claim("jti"), seen.claim("jti"));
    assert_eq!((g.world.iam.exchanges(), g.metric(&ended("success")).await), (2, 1.0));
    assert_eq!(g.metric("cambist_token_cache_lookups_total{result=\"forced\",route=\"orders\"}").await, 1.0);
    for (path, backend) in [("/orders", &g.world.orders), ("/strip", &g.world.open), ("/pass", &g.world.open)] {
        for name in ["X-Token-Force-Update", "x_token_force_update", "X-Token.Force-Update"] {
            assert_eq!(with(&g, path, &token, name).await.status, 200);
            let fields = format!("{:?}", backend.last().unwrap().headers).to_lowercase().replace(['_', '.'], "-");
            assert!(!fields.contains("force-update"), "{path} {name}: {fields}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_interval_many_who_force_cost_one_exchange() {
    let g = World::new().await.gateway(ROUTES, FORCE).await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    let answers = join_all((0..50).map(|_| forced(&g, "/orders", &token))).await;
    assert!(answers.iter().all(|a| a.status == 200));
    assert_eq!(g.world.iam.exchanges(), 2);
    g.turn(Duration::from_secs(6)).await;
    assert_eq!(forced(&g, "/orders", &token).await.status, 200);
    assert_eq!(g.world.iam.exchanges(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_the_answer_and_others_keep_the_old_token() {
    let g = World::new().await.gateway(ROUTES, FORCE).await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.world.iam.script(Endpoint::Token, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
    for _ in 0..5 {
        assert_eq!(said(&forced(&g, "/orders", &token).await), (502, "bad_issuer_answer".into()));
        assert_eq!(g.get("/orders", &token).await.status, 200);
    }
    assert_eq!((g.world.iam.exchanges(), g.metric(&ended("failed")).await), (2, 5.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_count_from_elsewhere_nor_where_a_route_or_the_operator_says_no() {
    let routes = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  never: { match: { path: /never }, upstream: ORDERS, audience: orders-api, force_update: { allow_header: false } }
";
    let elsewhere = "force_update: { header: X-Token-Force-Update, trusted_from: [10.0.0.0/8] }";
    for (path, more, passes) in [("/never", FORCE, false), ("/orders", elsewhere, false), ("/orders", "", true)] {
        let g = World::new().await.gateway(routes, more).await;
        let token = g.token("ada");
        for _ in 0..3 {
            assert_eq!(forced(&g, path, &token).await.status, 200);
        }
        assert_eq!(g.world.iam.exchanges(), 1, "{path} {more}");
        let there = !g.world.orders.last().unwrap().header("x-token-force-update").is_empty();
        assert_eq!(there, passes, "a header that means nothing here is like any other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_target_is_theirs_who_forced_and_one_of_the_subject_everybodys() {
    for (error, wanted, goes) in [("invalid_target", (403, "target_refused"), false), ("invalid_grant", (401, "invalid_token"), true)] {
        let g = World::new().await.gateway(ROUTES, FORCE).await;
        let token = g.token("ada");
        assert_eq!(g.get("/orders", &token).await.status, 200);
        g.world.iam.script(Endpoint::Token, Misbehave::refusal(StatusCode::BAD_REQUEST, error, ""));
        for _ in 0..3 {
            let (status, code) = said(&forced(&g, "/orders", &token).await);
            assert_eq!((status, &*code), wanted);
            let ordinary = g.get("/orders", &token).await.status.as_u16();
            assert_eq!(ordinary, if goes { 401 } else { 200 }, "{error}");
        }
        assert_eq!(g.world.iam.exchanges(), 2, "{error}");
    }
}

/// Row by row what `docs/errors.md` says of refusals that are remembered.
#[tokio::test(flavor = "multi_thread")]
async fn of_what_the_issuer_refused_it_goes_past_a_target_and_past_nothing_else() {
    let rows = [
        (Misbehave::refusal(StatusCode::FORBIDDEN, "access_denied", "No."), (403, "target_refused"), true),
        (Misbehave::refusal(StatusCode::BAD_REQUEST, "invalid_client", "Audience not found"), (500, "misconfigured"), true),
        (Misbehave::refusal(StatusCode::BAD_REQUEST, "invalid_request", "Invalid token"), (401, "invalid_token"), false),
        (Misbehave::refusal(StatusCode::UNAUTHORIZED, "invalid_client", "No."), (500, "misconfigured"), false),
    ];
    for (refusal, (status, code), passed) in rows {
        let g = World::new().await.gateway(ROUTES, FORCE).await;
        let token = g.token("ada");
        g.world.iam.script(Endpoint::Token, refusal);
        // It is mended from here on; who does not force is told what was said before.
        for _ in 0..2 {
            assert_eq!(said(&g.get("/orders", &token).await), (status, code.to_owned()));
        }
        let answer = forced(&g, "/orders", &token).await;
        assert_eq!((answer.status == 200, g.world.iam.exchanges()), (passed, 1 + u64::from(passed)), "{code}");
        if !passed {
            // Another caller is concerned where it is us who were refused, and not where one token is dead.
            assert_eq!(g.get("/orders", &g.token("ada")).await.status, if status == 401 { 200 } else { 500 });
            g.turn(Duration::from_secs(30)).await;
            assert_eq!(g.get("/orders", &token).await.status, 200, "{code}: it stands for a while and no longer");
        }
    }
}
