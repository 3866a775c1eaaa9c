//! `/v1/explain` on the admin listener: anybody who may look may ask which route wins and why no other; what the cache would do for a
//! caller takes the admin token, and a caller's token comes in no URL. Looking changes nothing.

use crate::kit::{ROUTES, Running, World, until};
use cambist::demo::fetch::Connection;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{HeaderMap, Method, header};
use serde_json::{Value, json};
use std::time::Duration;

const ADMIN: &str = "admin: { address: 127.0.0.1:0, token: of-the-operator }\n";

async fn ask(r: &Running, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut headers = HeaderMap::new();
    if body.is_some() {
        headers.insert(header::AUTHORIZATION, "Bearer of-the-operator".parse().unwrap());
    }
    let mut connection = Connection::open(r.gateway.admin_address().unwrap()).await.unwrap();
    let body = body.map(|b| b.to_string()).unwrap_or_default();
    let answer = connection.send(method, path, headers, body.into()).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains("eyJ"), "no token comes back: {text}");
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or(Value::String(text)))
}

/// What the cache would do for who comes with `token` to `path`.
async fn cache(r: &Running, path: &str, token: Option<&str>) -> Value {
    let (status, told) = ask(r, Method::POST, "/v1/explain", Some(json!({ "url": path, "token": token }))).await;
    assert_eq!(status, 200, "{told}");
    told["answers"][0]["cache"][0].clone()
}

async fn with(more: &str) -> Running {
    World::new().await.gateway(ROUTES, &format!("{ADMIN}{more}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_tells_who_wins_and_why_the_others_do_not() {
    let r = with("").await;
    let (status, told) = ask(&r, Method::GET, "/v1/explain?method=GET&url=/orders/1&header=Host:%20a", None).await;
    assert_eq!(status, 200);
    let answer = &told["answers"][0];
    assert_eq!((&answer["outcome"], &answer["route"], &answer["listener"]), (&json!("route"), &json!("orders"), &json!("main")));
    assert_eq!(answer["token"]["audience"], json!(["orders-api"]));
    assert_eq!(answer["cache"][0]["verdict"], "unknown", "it depends on a token that nobody gave");
    let verdicts: Vec<_> = answer["routes"].as_array().unwrap().iter().map(|r| r["verdict"].as_str().unwrap()).collect();
    assert_eq!((verdicts[0], &verdicts[1..]), ("won", &["path"; 3][..]));
    // The very same as the gateway does.
    for (path, code) in [("/nowhere", "no_route"), ("/ORDERS", "bad_request"), ("/orders/../payroll", "bad_request")] {
        let target = format!("/v1/explain?url={}", path.replace('/', "%2F"));
        let refused = &ask(&r, Method::GET, &target, None).await.1["answers"][0]["refused"];
        let really = r.get(path, &r.token("ada")).await;
        assert_eq!(
            (refused["code"].as_str().unwrap(), refused["status"].as_u64().unwrap()),
            (code, u64::from(really.status.as_u16())),
            "{path}"
        );
    }
    assert_eq!(r.world.iam.exchanges(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_looked_into_and_left_as_it_is() {
    let r = with("").await;
    let (ada, bob) = (r.token("ada"), r.token("bob"));
    let verdict = async |path: &str, token: &str| cache(&r, path, Some(token)).await["verdict"].as_str().unwrap().to_owned();
    assert_eq!(verdict("/orders", &ada).await, "miss");
    assert_eq!(r.get("/orders", &ada).await.status, 200);
    for token in [ada.clone(), format!("Bearer {ada}")] {
        assert_eq!(verdict("/orders", &token).await, "hit");
    }
    let held = cache(&r, "/orders", Some(&ada)).await;
    assert!(held["left_seconds"].as_u64().is_some_and(|s| (1..=300).contains(&s)), "{held}");
    assert_eq!((verdict("/orders", &bob).await.as_str(), verdict("/payroll", &ada).await.as_str()), ("miss", "miss"));
    assert_eq!(r.get("/payroll", &ada).await.status, 403);
    let refused = cache(&r, "/payroll", Some(&ada)).await;
    assert_eq!((&refused["verdict"], &refused["refused"]["code"]), (&json!("refused"), &json!("target_refused")));
    let words = refused["refused"]["issuer_words"].as_str().unwrap();
    assert!(words.contains("Requested audience not available") && refused["refused"]["for_seconds"].as_u64() <= Some(30), "{refused}");
    assert_eq!(cache(&r, "/orders", None).await["verdict"], "unknown");
    assert_eq!(r.world.iam.exchanges(), 2, "nothing was exchanged for an answer");

    r.turn(Duration::from_secs(400)).await;
    assert_eq!(verdict("/orders", &ada).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_is_due_stays_due_and_one_under_way_is_seen() {
    let r = with("").await;
    let token = r.world.iam.caller("ada").expires_in(3600).token().unwrap();
    assert_eq!(r.get("/orders", &token).await.status, 200);
    r.turn(Duration::from_secs(260)).await;
    for _ in 0..2 {
        let due = cache(&r, "/orders", Some(&token)).await;
        assert_eq!((&due["verdict"], &due["renews_in_seconds"]), (&json!("renew"), &json!(0)), "{due}");
    }
    assert_eq!(r.get("/orders", &token).await.status, 200);
    until("the renewal has been made", || r.world.iam.exchanges() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_under_way_is_seen_and_not_waited_for() {
    let r = with("").await;
    let (token, gate) = (r.token("ada"), Gate::new());
    r.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let look = async {
        gate.reached(1).await;
        let seen = cache(&r, "/orders", Some(&token)).await;
        gate.open();
        seen
    };
    let (answer, seen) = tokio::join!(r.get("/orders", &token), look);
    assert_eq!((answer.status.as_u16(), &seen["verdict"], &seen["in_flight"]), (200, &json!("in_flight"), &json!(true)), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_in_no_url_and_questions_that_make_no_sense_are_told_so() {
    let r = with("").await;
    for (query, words) in [
        ("url=/&token=x", "no place in a URL"),
        ("url=/&header=authorization:%20Bearer%20x", "no place in a URL"),
        ("method=GET", "`url` is missing"),
        ("url=orders", "begin with"),
        ("url=/&header=nothing", "x-tenant: acme"),
        ("url=/&listener=other", "have: main"),
        ("url=/&method=G%20T", "no method"),
    ] {
        let (status, told) = ask(&r, Method::GET, &format!("/v1/explain?{query}"), None).await;
        assert!(status == 400 && told.as_str().unwrap().contains(words), "{query}: {status} {told}");
    }
    for body in [json!({}), json!({ "url": "/", "more": 1 }), json!({ "url": "/", "token": "a b c,d" }), json!("text")] {
        let (status, told) = ask(&r, Method::POST, "/v1/explain", Some(body)).await;
        assert!(status == 400 && !told.as_str().unwrap().contains("a b c"), "{status} {told}");
    }
    assert_eq!(ask(&r, Method::POST, "/v1/explain", None).await.0, 401);
    assert_eq!(ask(&r, Method::PUT, "/v1/explain", Some(json!({}))).await.0, 405);
}

/// Some headers that choose routes are shared secrets.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_headers_that_choose_routes_are_for_who_shows_the_admin_token() {
    let routes =
        "\n  inner: { match: { path: /orders, headers: { X-Key: s3cret-of-a-partner } }, upstream: ORDERS, audience: orders-api }\n";
    let r = World::new().await.gateway(routes, ADMIN).await;
    let (status, seen) = ask(&r, Method::GET, "/v1/explain?url=/orders&header=x-key:%20guess", None).await;
    let why = seen["answers"][0]["routes"][0]["why"].as_str().unwrap();
    assert!(status == 200 && why.contains("`x-key`") && !seen.to_string().contains("s3cret"), "{seen}");
    assert!(!r.status().await.to_string().contains("s3cret"));
    let (_, told) = ask(&r, Method::POST, "/v1/explain", Some(json!({ "url": "/orders" }))).await;
    assert!(told["answers"][0]["routes"][0]["why"].as_str().unwrap().contains("`x-key: s3cret-of-a-partner`"), "{told}");
}
