//! `DELETE /v1/tokens`: what an operator throws out is exchanged anew the next time, what they did not name stays warm, and nobody
//! is logged out by it.

use crate::kit::{ROUTES, Running, World};
use cambist::demo::fetch::{Answer, Connection};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

const ADMIN: &str = "admin: { address: 127.0.0.1:0, token: of-the-operator }\n";
const TWO: &str = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  billing: { match: { path: /billing }, upstream: OPEN, audience: billing-api, scopes: [billing] }
";

async fn world() -> Running {
    World::new().await.gateway(TWO, ADMIN).await
}

async fn ask(r: &Running, query: &str, body: &'static str) -> Answer {
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer of-the-operator"))]);
    let mut connection = Connection::open(r.gateway.admin_address().unwrap()).await.unwrap();
    connection.send(Method::DELETE, &format!("/v1/tokens{query}"), headers, body.into()).await.unwrap()
}

async fn purge(r: &Running, query: &str) -> Value {
    let answer = ask(r, query, "").await;
    assert_eq!((answer.status.as_u16(), &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()), "{:?}", answer.body);
    answer.json()
}

fn gone(held: u64, under_way: u64) -> Value {
    json!({ "held": held, "under_way": under_way })
}

/// How many of these requests had to be exchanged for.
async fn exchanged(r: &Running, requests: &[(&str, &str)]) -> Vec<bool> {
    let mut anew = Vec::new();
    for (path, token) in requests {
        let before = r.world.iam.exchanges();
        assert_eq!(r.get(path, token).await.status, 200, "{path}");
        anew.push(r.world.iam.exchanges() > before);
    }
    anew
}

#[tokio::test(flavor = "multi_thread")]
async fn by_subject_session_audience_and_all() {
    let r = world().await;
    let (one, two, bob) = (r.world.iam.caller("ada"), r.world.iam.caller("ada"), r.token("bob"));
    let (first, second) = (one.token().unwrap(), two.token().unwrap());
    let all = [("/orders", &*first), ("/billing", &*first), ("/orders", &*second), ("/orders", &*bob), ("/billing", &*bob)];
    assert_eq!(exchanged(&r, &all).await, [true; 5]);
    assert_eq!(exchanged(&r, &all).await, [false; 5]);

    assert_eq!(purge(&r, "?subject=ada").await, gone(3, 0));
    assert_eq!(exchanged(&r, &all).await, [true, true, true, false, false]);
    assert_eq!(purge(&r, "?subject=ada&issuer=main").await, gone(3, 0));
    assert_eq!(exchanged(&r, &all).await, [true, true, true, false, false]);
    assert_eq!(purge(&r, &format!("?session={}", one.sid())).await, gone(2, 0));
    assert_eq!(exchanged(&r, &all).await, [true, true, false, false, false]);
    assert_eq!(purge(&r, "?audience=billing-api").await, gone(2, 0));
    assert_eq!(exchanged(&r, &all).await, [false, true, false, false, true]);
    assert_eq!(purge(&r, "?all").await, gone(5, 0));
    assert_eq!(exchanged(&r, &all).await, [true; 5]);
    for nobody in ["?subject=carol", "?subject=ad", "?session=ada", "?audience=orders"] {
        assert_eq!(purge(&r, nobody).await, gone(0, 0), "{nobody}");
    }
    assert_eq!(exchanged(&r, &all).await, [false; 5]);
    r.counted("cambist_token_cache_evictions_total{cause=\"forced\"}", 15.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_by_the_name_in_the_configuration() {
    let two = "issuers:
  main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret }
  other: { url: \"https://iam.example.com/other\", client_id: gateway, client_secret: x, token_endpoint: \"https://iam.example.com/t\", \
           jwks_uri: \"https://iam.example.com/j\" }
";
    let routes = "\n  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api, issuer: main }
  other: { match: { path: /other }, upstream: ORDERS, audience: orders-api, issuer: other }\n";
    let r = World::new().await.gateway(routes, &format!("{ADMIN}{two}")).await;
    let token = r.token("ada");
    let all = [("/orders", &*token)];
    assert_eq!(exchanged(&r, &all).await, [true]);
    assert_eq!(purge(&r, "?subject=ada&issuer=other").await, gone(0, 0));
    assert_eq!(exchanged(&r, &all).await, [false]);
    assert_eq!(purge(&r, "?subject=ada").await, gone(1, 0));
    assert_eq!(exchanged(&r, &all).await, [true]);
    let unknown = ask(&r, "?subject=ada&issuer=mian", "").await;
    assert_eq!(unknown.status, 400);
    assert!(String::from_utf8_lossy(&unknown.body).contains("have: "), "{:?}", unknown.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_exchanged_at_that_moment_is_neither_kept_nor_handed_out() {
    for query in ["?subject=ada", "?audience=orders-api", "?all"] {
        let r = world().await;
        let (token, gate) = (r.token("ada"), Gate::new());
        r.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
        let waiting = {
            let (mut connection, token) = (r.connect().await, token.clone());
            tokio::spawn(async move { connection.get("/orders", Some(&token)).await })
        };
        gate.reached(1).await;
        assert_eq!(purge(&r, query).await, gone(0, 1), "{query}");
        gate.open();
        assert_eq!(waiting.await.unwrap().unwrap().status, 200, "{query}: nobody's session is over");
        assert_eq!(r.world.iam.exchanges(), 2, "{query}: what was asked for before counts for nothing");
        assert_eq!(exchanged(&r, &[("/orders", &token)]).await, [false]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_asked_about_is_asked_about_anew() {
    let by_asking =
        "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, verify: { by: introspection } } }\n";
    let r = World::new().await.gateway(ROUTES, &format!("{ADMIN}{by_asking}")).await;
    let ada = r.world.iam.caller("ada");
    let (token, bob) = (ada.token().unwrap(), r.token("bob"));
    let asked = async |query: &str, token: &str| {
        if !query.is_empty() {
            purge(&r, query).await;
        }
        let before = r.world.iam.introspections();
        assert_eq!(r.get("/orders", token).await.status, 200);
        r.world.iam.introspections() - before
    };
    assert_eq!((asked("", &token).await, asked("", &bob).await), (1, 1));
    assert_eq!((asked("", &token).await, asked("?audience=orders-api", &token).await), (0, 0));
    for query in ["?subject=ada".to_owned(), format!("?session={}", ada.sid())] {
        assert_eq!((asked(&query, &token).await, asked("", &bob).await), (1, 0), "{query}");
    }
    assert_eq!((asked("?all", &token).await, asked("", &bob).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_in_one_way_is_refused_and_nothing_goes() {
    let r = world().await;
    let token = r.token("ada");
    assert_eq!(exchanged(&r, &[("/orders", &token)]).await, [true]);
    for query in ["", "?", "?subject=", "?subject=ada&subject=ada", "?subject=ada&all", "?all=1", "?al", "?all&issuer=main", "?subject=a+b"]
    {
        let answer = ask(&r, query, "").await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 400, "{query}");
        assert!(text.contains("curl -X DELETE") && text.contains("?audience=NAME"), "{query}: {text}");
    }
    assert_eq!(ask(&r, "?all", "{\"subject\":\"ada\"}").await.status, 400, "what a body says might be meant");
    assert_eq!(exchanged(&r, &[("/orders", &token)]).await, [false]);
}

/// A name stands for the issuer that it names: what it has under another name goes too.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_of_two_names_is_one_issuer() {
    let two = "issuers:
  main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret }
  asking: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, verify: { by: introspection } }
";
    let routes = "\n  main: { match: { path: /main }, upstream: ORDERS, audience: orders-api, issuer: main }
  asking: { match: { path: /asking }, upstream: ORDERS, audience: orders-api, scopes: [billing], issuer: asking }\n";
    let r = World::new().await.gateway(routes, &format!("{ADMIN}{two}")).await;
    let ada = r.world.iam.caller("ada");
    let (one, two) = (ada.token().unwrap(), ada.claim("jti", json!("another")).token().unwrap());
    crate::kit::served(&r, "/main", &one).await;
    crate::kit::served(&r, "/asking", &two).await;
    for query in ["?subject=ada&issuer=main".to_owned(), "?subject=ada&issuer=asking".to_owned()] {
        let all = [("/main", &*one), ("/asking", &*two)];
        exchanged(&r, &all).await;
        assert_eq!(purge(&r, &query).await, gone(2, 0), "{query}");
        assert_eq!(exchanged(&r, &all).await, [true, true], "{query}");
    }
}

/// What the gateway acts with is a token too.
#[tokio::test(flavor = "multi_thread")]
async fn all_is_the_gateways_own_too() {
    let routes = "\n  acting: { match: { path: /acting }, upstream: ORDERS, audience: orders-api, actor: { gateway: true } }\n";
    let r = World::new().await.gateway(routes, ADMIN).await;
    r.world.iam.delegates(true);
    let acted = async |sub: &str| {
        assert_eq!(r.get("/acting", &r.token(sub)).await.status, 200);
        let sent = r.world.iam.last(Endpoint::Token).unwrap();
        sent.field("actor_token").unwrap().to_owned()
    };
    let own = acted("ada").await;
    assert_eq!(purge(&r, "?subject=ada").await, gone(1, 0));
    assert_eq!(acted("ada").await, own);
    assert_eq!(purge(&r, "?all").await, gone(1, 0));
    assert_ne!(acted("ada").await, own);
    assert_eq!(r.world.iam.requests(Endpoint::Token), 5, "three exchanges, and a token of its own twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_to_a_user_is_forgotten_with_what_was_granted() {
    let r = world().await;
    let (ada, bob) = (r.token("ada"), r.token("bob"));
    for token in [&ada, &bob] {
        let dead = Misbehave::refusal(http::StatusCode::BAD_REQUEST, "invalid_request", "Invalid token");
        r.world.iam.script(Endpoint::Token, dead);
        for _ in 0..2 {
            assert_eq!(r.get("/orders", token).await.status, 401, "the second time from memory");
        }
    }
    assert_eq!(r.world.iam.requests(Endpoint::Token), 2);
    assert_eq!(purge(&r, "?subject=ada").await, gone(0, 0));
    assert_eq!((r.get("/orders", &ada).await.status.as_u16(), r.get("/orders", &bob).await.status.as_u16()), (200, 401));
    assert_eq!(r.world.iam.requests(Endpoint::Token), 3);
}
