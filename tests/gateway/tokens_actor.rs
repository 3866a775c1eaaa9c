//! Delegation: somebody acts for the caller, what is issued must say who, and nobody's token is handed out for anybody else.

use crate::kit::{Running, World, said};
use cambist::demo::iam::{ACCESS_TOKEN, Endpoint};
use cambist::demo::misbehave::Misbehave;
use http::Method;
use serde_json::json;
use std::time::Duration;

const ROUTES: &str = "
  agents: { match: { path: /agents }, upstream: ORDERS, audience: orders-api, actor: { header: X-Actor-Token } }
  gateway: { match: { path: /gateway }, upstream: ORDERS, audience: orders-api, actor: { gateway: true } }
  plain: { match: { path: /plain }, upstream: ORDERS, audience: orders-api }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip }
";

async fn delegating() -> Running {
    let g = World::new().await.gateway(ROUTES, "").await;
    g.world.iam.delegates(true);
    g
}

impl Running {
    async fn acted(&self, path: &str, token: &str, actor: &str) -> cambist::demo::fetch::Answer {
        let bearer = format!("Bearer {token}");
        self.send(Method::GET, path, &[("authorization", &bearer), ("X-Actor-Token", actor)], "").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_agent_acts_and_its_token_goes_to_the_issuer_alone() {
    let g = delegating().await;
    let (ada, agent) = (g.token("ada"), g.token("agent"));
    assert_eq!(g.acted("/agents", &ada, &agent).await.status, 200);
    let seen = g.world.orders.last().unwrap();
    assert_eq!((seen.claim("sub"), seen.claims.as_ref().unwrap()["act"]["sub"].as_str()), (Some("ada"), Some("agent")));
    assert!(!format!("{:?}", seen.headers).contains(&agent) && seen.header("x-actor-token").is_empty());
    let form = g.world.iam.last(Endpoint::Token).unwrap();
    assert_eq!((form.field("actor_token"), form.field("actor_token_type")), (Some(&*agent), Some(ACCESS_TOKEN)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acts_is_part_of_the_key() {
    let g = delegating().await;
    let (ada, bob, one, two) = (g.token("ada"), g.token("bob"), g.token("one"), g.token("two"));
    for (caller, actor) in [(&ada, &one), (&ada, &two), (&bob, &one), (&one, &ada), (&ada, &one), (&bob, &one)] {
        assert_eq!(g.acted("/agents", caller, actor).await.status, 200);
        let seen = g.world.orders.last().unwrap();
        let sub = |token: &String| g.world.iam.keys().verified(token).unwrap()["sub"].as_str().unwrap().to_owned();
        assert_eq!(seen.claim("sub"), Some(&*sub(caller)));
        assert_eq!(seen.claims.unwrap()["act"]["sub"].as_str(), Some(&*sub(actor)));
    }
    assert_eq!(g.world.iam.exchanges(), 4, "two of six were cached");
    assert_eq!(g.get("/plain", &ada).await.status, 200);
    assert!(!g.world.orders.last().unwrap().claims.unwrap().contains_key("act"), "nobody acts on another route");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_actors_header_goes_nowhere_under_any_spelling() {
    let g = delegating().await;
    let (ada, agent) = (g.token("ada"), g.token("agent"));
    let bearer = format!("Bearer {ada}");
    let all: Vec<(&str, &str)> = ["X-Actor-Token", "x_actor_token", "X.Actor.Token", "X-Actor_Token", "X-ACTOR-TOKEN_"]
        .map(|name| (name, agent.as_str()))
        .into_iter()
        .chain([("authorization", bearer.as_str())])
        .collect();
    for (path, backend) in [("/agents", &g.world.orders), ("/plain", &g.world.orders), ("/strip", &g.world.open)] {
        assert_eq!(g.send(Method::GET, path, &all, "").await.status, 200, "{path}");
        assert!(!format!("{:?}", backend.last().unwrap().headers).contains(&agent), "{path}");
    }
    // A copy under a name that is nobody's would reach the backend.
    let copied = [("authorization", bearer.as_str()), ("X-Actor-Token", &agent), ("X-Trace", &agent)];
    assert_eq!(said(&g.send(Method::GET, "/agents", &copied, "").await), (400, "bad_request".into()));
    let twice = [("authorization", bearer.as_str()), ("X-Actor-Token", &agent), ("x-actor-token", &agent)];
    assert_eq!(said(&g.send(Method::GET, "/agents", &twice, "").await), (400, "bad_request".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_is_verified_as_a_caller_is() {
    let g = delegating().await;
    let ada = g.token("ada");
    let actor = || g.world.iam.caller("agent");
    let bad = [
        actor().forged().token().unwrap(),
        actor().expires_in(-60).token().unwrap(),
        actor().audience("orders-api").token().unwrap(),
        actor().claim("typ", json!("Refresh")).token().unwrap(),
        "opaque".to_owned(),
    ];
    for token in &bad {
        assert_eq!(said(&g.acted("/agents", &ada, token).await), (401, "invalid_token".into()));
        let failure = &g.gateway.failures()[0];
        assert!(failure.cause.starts_with("of the actor's token in x-actor-token: "), "{failure:?}");
    }
    assert_eq!(said(&g.get("/agents", &ada).await), (400, "bad_request".into()), "nobody acts");
    assert_eq!(said(&g.acted("/agents", &ada, "a b").await), (400, "bad_request".into()));
    assert_eq!(said(&g.acted("/agents", &bad[0], &g.token("agent")).await), (401, "invalid_token".into()));
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delegated_ends_with_the_actors_token() {
    let g = delegating().await;
    let (ada, actor) = (g.token("ada"), g.world.iam.caller("agent").expires_in(100).token().unwrap());
    assert_eq!(g.acted("/agents", &ada, &actor).await.status, 200);
    g.turn(Duration::from_secs(131)).await;
    assert_eq!(said(&g.acted("/agents", &ada, &actor).await), (401, "invalid_token".into()), "although the caller's own lives");
    assert_eq!(g.get("/plain", &ada).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_say_who_acts_is_not_used() {
    let g = delegating().await;
    let (ada, agent) = (g.token("ada"), g.token("agent"));
    // Keycloak 26.7 ignores an actor without a word: a delegation would become an impersonation.
    g.world.iam.delegates(false);
    for path in ["/agents", "/gateway"] {
        assert_eq!(said(&g.acted(path, &ada, &agent).await), (502, "bad_issuer_answer".into()), "{path}");
        assert!(g.gateway.failures()[0].cure.contains("ignores actor_token"));
    }
    let nobody =
        [json!("agent"), json!(null), json!([]), json!({}), json!({"sub": ""}), json!({"sub": ["agent"]}), json!({"client_id": "agent"})];
    let other = [json!({"sub": "somebody-else"}), json!({"sub": "agent "}), json!({"sub": "somebody-else", "act": {"sub": "agent"}})];
    for act in nobody.into_iter().chain(other) {
        for path in ["/agents", "/gateway"] {
            g.world.iam.script_always(Endpoint::Token, Misbehave::claim("act", Some(act.clone())));
            assert_eq!(said(&g.acted(path, &ada, &agent).await), (502, "bad_issuer_answer".into()), "{path} {act}");
            assert!(g.gateway.failures()[0].cause.contains("act"), "{act}: {:?}", g.gateway.failures()[0]);
        }
    }
    assert_eq!(g.world.orders.requests(), 0);
    // A chain: who acts now, and who did before.
    g.world.iam.script(Endpoint::Token, Misbehave::claim("act", Some(json!({"sub": "agent", "act": {"sub": "somebody-else"}}))));
    assert_eq!(g.acted("/agents", &ada, &agent).await.status, 200, "{:?}", g.gateway.failures());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_acts_with_one_token_of_its_own() {
    let g = delegating().await;
    let tokens: Vec<String> = (0..20).map(|i| g.token(&format!("user-{i}"))).collect();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| g.get("/gateway", token))).await;
    assert!(answers.iter().all(|a| a.status == 200), "{:?}", g.gateway.failures());
    let seen = g.world.orders.last().unwrap();
    assert_eq!(seen.claims.unwrap()["act"]["sub"], "service-account-gateway");
    assert_eq!(g.world.iam.exchanges(), 20);
    assert_eq!(g.world.iam.requests(Endpoint::Token), 21, "its own token is got once, however many need it");

    // It is got anew before its end (300 s), and at once where the issuer does not take it any more.
    g.turn(Duration::from_secs(280)).await;
    assert_eq!(g.get("/gateway", &g.token("late")).await.status, 200);
    assert_eq!(g.world.iam.requests(Endpoint::Token), 23);
    g.world.iam.logout("service-account-gateway");
    assert_eq!(g.get("/gateway", &g.token("unlucky")).await.status, 401);
    assert_eq!(g.get("/gateway", &g.token("lucky")).await.status, 200);
}
