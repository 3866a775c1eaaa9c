//! A cached token's life under steady load: renewed behind the requests where that gains something, and not where the caller's
//! own token ends first.

use crate::kit::{ROUTES, Running, World, said};
use cambist::demo::fetch::Connection;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use futures_util::future::join_all;
use http::StatusCode;
use std::time::Duration;
use tokio::time::timeout;

const STEP: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
const EXCHANGED: &str = "cambist_token_exchange_duration_seconds_count{issuer=\"main\"}";

/// More time is turned between two ticks of a worker than a connection may be idle.
async fn patient() -> Running {
    World::new().await.gateway(ROUTES, "limits: { idle_timeout: 1h, header_timeout: 1h }").await
}

async fn lookups(g: &Running, result: &str) -> f64 {
    g.metric(&format!("cambist_token_cache_lookups_total{{result=\"{result}\",route=\"orders\"}}")).await
}

/// One step of steady load: time passes, a request comes, and what it began is let come to its end.
async fn step(g: &Running, connection: &mut Connection, token: &str) -> u16 {
    g.world.clock.turn(STEP);
    let status = connection.get("/orders", Some(token)).await.unwrap().status.as_u16();
    let begun = lookups(g, "refresh").await + lookups(g, "miss").await;
    g.counted(EXCHANGED, begun).await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_subject_lives_longer_nobody_waits_and_a_life_costs_one_exchange() {
    let g = patient().await;
    let token = g.world.iam.caller("ada").expires_in(36_000).token().unwrap();
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(g.connect().await);
    }
    assert_eq!(connections[0].get("/orders", Some(&token)).await.unwrap().status, 200);
    // Five lives of 300 s, of which 70 to 80 % are used. The issuer answers nobody before all of a step's requests are answered: one
    // that waited for an exchange would wait for itself.
    for step in 0..300 {
        let held = Gate::new();
        g.world.iam.script_always(Endpoint::Token, Misbehave::Delay(held.clone()));
        g.world.clock.turn(STEP);
        let answers = join_all(connections.iter_mut().map(|c| c.get("/orders", Some(&token))));
        let answers = timeout(PATIENCE, answers).await.unwrap_or_else(|_| panic!("in step {step}, a request waits for an exchange"));
        assert!(answers.into_iter().all(|answer| answer.unwrap().status == 200), "{step}");
        held.open();
        let begun = lookups(&g, "refresh").await + lookups(&g, "miss").await;
        g.counted(EXCHANGED, begun).await;
    }
    let (miss, coalesced, refresh) = (lookups(&g, "miss").await, lookups(&g, "coalesced").await, lookups(&g, "refresh").await);
    assert_eq!((miss, coalesced), (1.0, 0.0));
    assert_eq!(g.world.iam.exchanges() as f64, 1.0 + refresh);
    assert!((6.0..=7.0).contains(&refresh), "{refresh}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_subject_ends_the_life_it_costs_one_exchange_to_the_very_end() {
    // The issuer's word is 300 s for both; one bounds it by the subject's end itself, as Keycloak does, the other leaves that to us.
    for bounds in [true, false] {
        let g = patient().await;
        if bounds {
            g.world.iam.script_always(Endpoint::Token, Misbehave::member("expires_in", Some(200.into())));
        }
        let token = g.world.iam.caller("ada").expires_in(200).token().unwrap();
        let mut connection = g.connect().await;
        assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
        for second in (5..200).step_by(5) {
            assert_eq!(step(&g, &mut connection, &token).await, 200, "{second}");
            assert_eq!(g.world.iam.exchanges(), 1, "{second}");
        }
        assert_eq!(lookups(&g, "refresh").await, 0.0);
        g.turn(8 * STEP).await; // Past the skew that verification allows, too.
        assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_the_last_fifth_is_not_noticed_before_the_token_is_over() {
    let g = patient().await;
    let token = g.world.iam.caller("ada").expires_in(36_000).token().unwrap();
    let mut connection = g.connect().await;
    assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
    g.world.iam.script_always(Endpoint::Token, Misbehave::status(StatusCode::SERVICE_UNAVAILABLE));
    for _ in 0..53 {
        assert_eq!(step(&g, &mut connection, &token).await, 200);
    }
    let begun = lookups(&g, "refresh").await;
    assert!((1.0..=9.0).contains(&begun), "tried again, and not at each of the last twelve requests: {begun}");
    g.turn(STEP).await;
    assert_eq!(said(&connection.get("/orders", Some(&token)).await.unwrap()), (503, "issuer_unavailable".into()));
    g.world.iam.behave();
    // The breaker may have opened meanwhile: it lets one through after a while.
    g.world.clock.turn(2 * STEP);
    assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_renewal_ends_the_token() {
    let g = patient().await;
    let token = g.world.iam.caller("ada").expires_in(36_000).token().unwrap();
    let mut connection = g.connect().await;
    assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
    g.world.iam.logout("ada");
    let mut served = 0;
    while step(&g, &mut connection, &token).await == 200 {
        served += 1;
    }
    // The one that began the renewal was served; the next one was not.
    assert!((42..=48).contains(&served), "{served}");
    assert_eq!(said(&connection.get("/orders", Some(&token)).await.unwrap()), (401, "invalid_token".into()));
    assert_eq!(g.world.iam.exchanges(), 2);
}

/// What was over before its answer was in, or whose caller's token was, is handed to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_is_of_no_use() {
    let issuer = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, verify: { clock_skew: 0s } } }";
    let routes = "\n  orders: { match: { path: /orders }, upstream: OPEN, audience: orders-api }\n";
    for (what, code) in [("the token", "bad_issuer_answer"), ("the caller's", "invalid_token")] {
        let g = World::new().await.gateway(routes, issuer).await;
        let (short, gate) = (what == "the token", Gate::new());
        let caller = g.world.iam.caller("ada").expires_in(if short { 300 } else { 5 }).token().unwrap();
        let late = gate.clone();
        g.world.iam.script(
            Endpoint::Token,
            Misbehave::json(move |answer| {
                if short {
                    answer.insert("access_token".to_owned(), "opaque".into());
                    answer.insert("expires_in".to_owned(), 5.into());
                }
            })
            .after(late),
        );
        let (answer, ()) = tokio::join!(g.get("/orders", &caller), async {
            gate.reached(1).await;
            g.world.clock.turn(Duration::from_secs(6));
            gate.open();
        });
        assert_eq!(said(&answer).1, code, "{what}: {:?}", g.gateway.failures().first());
        assert_eq!(g.world.open.requests(), 0, "{what}");
    }
}
