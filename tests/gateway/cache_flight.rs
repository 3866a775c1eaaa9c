//! One exchange a key, however many wait for it and whatever becomes of them; and what the issuer refused it is not asked again.

use crate::kit::{World, running, said};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use futures_util::future::join_all;
use http::StatusCode;
use std::time::Duration;

const IN_FLIGHT: &str = "cambist_http_requests_in_flight{listener=\"main\"}";

fn lookups(result: &str) -> String {
    format!("cambist_token_cache_lookups_total{{result=\"{result}\",route=\"orders\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_first_callers_at_once_cost_one_exchange() {
    let g = running().await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let all = join_all((0..200).map(|_| g.get("/orders", &token)));
    let opener = async {
        g.counted(IN_FLIGHT, 200.0).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(all, opener);
    assert!(answers.iter().all(|a| a.status == 200));
    assert_eq!(g.world.iam.exchanges(), 1);
    assert_eq!((g.metric(&lookups("miss")).await, g.metric(&lookups("coalesced")).await), (1.0, 199.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_client_hangs_up_and_the_others_get_the_token() {
    let g = running().await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let leader = {
        let (mut connection, token) = (g.connect().await, token.clone());
        tokio::spawn(async move { connection.get("/orders", Some(&token)).await })
    };
    gate.reached(1).await;
    let others = join_all((0..20).map(|_| g.get("/orders", &token)));
    let hang_up = async {
        g.counted(IN_FLIGHT, 21.0).await;
        leader.abort();
        g.counted(IN_FLIGHT, 20.0).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(others, hang_up);
    assert!(answers.iter().all(|a| a.status == 200));
    assert_eq!(g.world.iam.exchanges(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_hangs_up_and_the_token_is_there_for_the_next() {
    let g = running().await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let only = {
        let (mut connection, token) = (g.connect().await, token.clone());
        tokio::spawn(async move { connection.get("/orders", Some(&token)).await })
    };
    gate.reached(1).await;
    only.abort();
    g.counted(IN_FLIGHT, 0.0).await;
    gate.open();
    g.counted("cambist_token_cache_entries", 1.0).await;
    assert_eq!(g.get("/orders", &token).await.status, 200);
    assert_eq!((g.world.iam.exchanges(), g.metric(&lookups("hit")).await), (1, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_exchange_wakes_all_with_one_error() {
    let g = running().await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.iam.edit_client("gateway", |client| client.exchange = false);
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let all = join_all((0..50).map(|_| g.get("/orders", &token)));
    let opener = async {
        g.counted(IN_FLIGHT, 50.0).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(all, opener);
    assert!(answers.iter().all(|a| said(a) == (500, "misconfigured".into())));
    assert_eq!(g.world.iam.exchanges(), 1, "one, and not one after another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_subject_is_refused_without_asking_again_and_its_tokens_are_gone() {
    let routes = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  billing: { match: { path: /billing }, upstream: OPEN, audience: billing-api, scopes: [billing] }
";
    let g = World::new().await.gateway(routes, "").await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.world.iam.logout("ada");
    for _ in 0..10 {
        assert_eq!(said(&g.get("/billing", &token).await), (401, "invalid_token".into()));
    }
    assert_eq!(said(&g.get("/orders", &token).await), (401, "invalid_token".into()), "what was cached went with it");
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests()), (2, 1));
    assert_eq!(g.metric("cambist_token_cache_lookups_total{result=\"denied\",route=\"billing\"}").await, 9.0);
    assert_eq!(g.metric("cambist_token_cache_evictions_total{cause=\"forced\"}").await, 1.0);
    assert_eq!(g.get("/orders", &g.token("bob")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_target_is_asked_for_again_after_a_while() {
    let g = World::new().await.gateway(crate::kit::ROUTES, "cache: { refused_ttl: 5s }").await;
    let token = g.token("ada");
    for _ in 0..10 {
        assert_eq!(said(&g.get("/payroll", &token).await), (403, "target_refused".into()));
    }
    assert_eq!(g.world.iam.exchanges(), 1);
    g.world.iam.edit_client("gateway", |client| client.reaches.push("payroll-api".into()));
    g.turn(Duration::from_secs(6)).await;
    assert_eq!(g.get("/payroll", &token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_turns_the_gateway_away_is_left_alone_for_five_seconds() {
    let g = running().await;
    g.world.iam.script(Endpoint::Token, Misbehave::status(StatusCode::UNAUTHORIZED));
    for user in ["ada", "bob", "eve"] {
        assert_eq!(said(&g.get("/orders", &g.token(user)).await), (500, "misconfigured".into()));
    }
    assert_eq!(g.world.iam.exchanges(), 1);
    g.turn(Duration::from_secs(5)).await;
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_not_remembered() {
    let g = running().await;
    let token = g.token("ada");
    g.world.iam.script(Endpoint::Token, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(said(&g.get("/orders", &token).await), (502, "bad_issuer_answer".into()));
    assert_eq!(g.get("/orders", &token).await.status, 200);
}
