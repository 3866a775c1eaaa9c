//! What the status says of the last ten minutes, of what callers need, and of what is wrong; and that its history stays where it is.

use crate::kit::{ROUTES, Running, World, until};
use cambist::demo::fetch::Connection;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::Misbehave;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

const STEP: Duration = Duration::from_secs(10);

fn one<'a>(status: &'a Value, list: &str, name: &str) -> &'a Value {
    status[list].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()
}

fn steps(status: &Value) -> usize {
    status["cache"]["lookups_steps"].as_array().unwrap().len()
}

/// Lets a step of the history go by, and waits until it has been looked at.
async fn step(g: &Running) {
    let before = steps(&g.status().await);
    g.world.clock.turn(STEP);
    for _ in 0..500 {
        if steps(&g.status().await) > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody looked");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_of_a_route_of_its_issuer_and_of_its_upstream() {
    let g = World::new().await.gateway(ROUTES, "").await;
    let token = g.token("ada");
    for _ in 0..4 {
        assert_eq!(g.get("/orders", &token).await.status, 200);
    }
    assert_eq!(g.get("/payroll", &token).await.status, 403);
    g.counted("cambist_http_request_duration_seconds_count{route=\"orders\"}", 4.0).await;
    g.counted("cambist_http_request_duration_seconds_count{route=\"payroll\"}", 1.0).await;
    step(&g).await;
    let status = g.status().await;
    let traffic = &one(&status, "routes", "orders")["traffic"];
    let lookups = json!({ "hit": 3, "refresh": 0, "coalesced": 0, "miss": 1, "forced": 0, "denied": 0 });
    assert_eq!((&traffic["requests"], &traffic["lookups"], &traffic["hit_ratio"]), (&json!(4), &lookups, &json!(0.75)));
    assert!(traffic["added_p99_seconds"].as_f64().unwrap() > 0.0 && traffic["requests_per_second_steps"][0].as_f64().unwrap() > 0.0);
    assert_eq!(one(&status, "routes", "payroll")["traffic"]["refused"], 1);
    assert_eq!(one(&status, "routes", "pass")["traffic"]["added_p99_seconds"], Value::Null, "nothing came: nothing is said");
    let issuer = one(&status, "issuers", "main");
    assert_eq!((&issuer["exchanges"]["count"], &issuer["up"], &issuer["circuit"]), (&json!(2), &json!(true), &json!("closed")));
    let counts: u64 = issuer["exchanges"]["counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    let bounds = issuer["exchanges"]["bounds_seconds"].as_array().unwrap().len();
    assert_eq!((counts, bounds + 1), (2, issuer["exchanges"]["counts"].as_array().unwrap().len()));
    assert!(issuer["keys_age_seconds"].as_u64().unwrap() >= 10);
    let upstream = one(&status, "upstreams", &g.world.orders.address().to_string());
    assert_eq!((&upstream["answers"], &upstream["failed"], &upstream["endpoints_good"]), (&json!(4), &json!(0), &json!(1)));
    let cache = &status["cache"];
    assert_eq!((&cache["lookups"]["hit"], &cache["lookups"]["miss"]), (&json!(3), &json!(2)));
    assert!(cache["bytes"].as_u64().unwrap() > 0 && cache["bytes"].as_u64() < cache["max_bytes"].as_u64());
    assert_eq!(status["problems"], json!([]), "a caller's refusal is nobody's trouble");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_is_forgotten_after_ten_minutes_and_the_history_never_grows() {
    let g = World::new().await.gateway(ROUTES, "").await;
    g.get_without_token("/strip").await;
    g.counted("cambist_http_request_duration_seconds_count{route=\"strip\"}", 1.0).await;
    step(&g).await;
    assert_eq!(one(&g.status().await, "routes", "strip")["traffic"]["requests"], 1);
    for _ in 0..59 {
        step(&g).await;
    }
    g.world.clock.turn(STEP);
    let mut last = Value::Null;
    for _ in 0..500 {
        last = g.status().await;
        if one(&last, "routes", "strip")["traffic"]["requests"] == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let traffic = &one(&last, "routes", "strip")["traffic"];
    assert_eq!((&traffic["requests"], &traffic["requests_total"]), (&json!(0), &json!(1)));
    assert_eq!(steps(&last), 61, "sixty steps, and the one that has begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_needs_stands_there_and_no_value_that_may_be_a_secret() {
    let routes = "
  orders: { match: { hosts: [api.example.com], path: { exact: /orders }, methods: [GET], headers: { x-key: \"c4nary-value\" } }, upstream: ORDERS,
            audience: orders-api, require: { scopes: [read], claims: { tenant: [acme] } } }
  open: { match: { path: /open }, upstream: OPEN, token: strip, callers: anonymous }
";
    let more = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret,
      verify: { strict_at_jwt: true, algorithms: [ES256, EdDSA], clock_skew: 7s } } }
exchange_api: { listeners: [main], audiences: { other-api: {} } }";
    let g = World::new().await.gateway(routes, more).await;
    let status = g.status().await;
    assert_eq!(status["exchange_api"], json!({ "audiences": ["other-api"] }));
    let (orders, open) = (one(&status, "routes", "orders"), one(&status, "routes", "open"));
    let rule = json!({ "hosts": ["api.example.com"], "path": "/orders", "path_is": "exact", "methods": ["GET"], "headers": ["x-key"] });
    assert_eq!(orders["rule"], rule);
    assert!(!status.to_string().contains("c4nary"));
    let needs = &orders["needs"];
    assert_eq!((&needs["scopes"], &needs["claims"]), (&json!(["read"]), &json!([{ "name": "tenant", "one_of": ["acme"] }])));
    assert_eq!((&needs["issuers"][0]["url"], &needs["login_client_is_not"]), (&json!(g.world.iam.issuer()), &json!(["orders-api"])));
    let issuer = json!({ "name": "main", "url": g.world.iam.issuer(), "verified_by": "jwks", "audiences": ["gateway"],
                         "algorithms": ["ES256", "EdDSA"], "strict_at_jwt": true, "clock_skew_seconds": 7 });
    assert_eq!(needs["issuers"], json!([issuer]));
    assert_eq!((&open["needs"], &open["token"]), (&Value::Null, &json!("strip")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_fails_is_a_problem_in_words_and_mends() {
    let issuers = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, retries: { attempts: 0 },
      circuit_breaker: { failures: 2, open_for: 5s } } }";
    let g = World::new().await.gateway(ROUTES, issuers).await;
    for n in 0..2 {
        g.world.iam.script(Endpoint::Token, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
        assert!(g.get("/orders", &g.token(&format!("caller-{n}"))).await.status.is_server_error());
    }
    let status = g.status().await;
    let issuer = one(&status, "issuers", "main");
    assert_eq!((&issuer["circuit"], &issuer["up"]), (&json!("open"), &json!(false)));
    assert!(issuer["last_error"]["cause"].as_str().unwrap().contains("HTTP 500"), "{issuer}");
    let first = &status["problems"][0];
    assert!(first["weight"] == "broken" && first["words"].as_str().unwrap().contains("the issuer main fails again and again"), "{first}");
    g.turn(Duration::from_secs(6)).await;
    assert_eq!(g.get("/orders", &g.token("late")).await.status, 200);
    let status = g.status().await;
    let issuer = one(&status, "issuers", "main");
    assert_eq!((&issuer["circuit"], &issuer["up"], &issuer["last_error"]["goes_on"]), (&json!("closed"), &json!(true), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_there_for_whoever_may_look() {
    let g = World::new().await.gateway(ROUTES, "").await;
    until("it is ready", || g.gateway.ready()).await;
    let mut connection = Connection::open(g.gateway.admin_address().unwrap()).await.unwrap();
    for (path, kind) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/page.svg", "image/svg+xml")] {
        let answer = connection.get(path, None).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with(kind), "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(answer.headers["cache-control"] == "no-store" && answer.headers["referrer-policy"] == "no-referrer");
    }
    let answer = connection.get("/v1/status", None).await.unwrap();
    assert_eq!(answer.headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'", "data is no page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_of_the_clocks_time_and_says_where_more_is_said_of_it() {
    let g = World::new().await.gateway(ROUTES, "").await;
    g.turn(Duration::from_secs(7200)).await;
    assert_eq!(g.get_without_token("/orders").await.status, 401);
    let (status, now) = (g.status().await, g.world.clock.unix());
    let failure = &status["failures"][0];
    assert!(failure["time"].as_u64().is_some_and(|at| at <= now && at + 60 > now), "{failure} {now}");
    assert_eq!(failure["docs"], "docs/errors.md#no_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_names_the_caller_names_nobody_here() {
    let g = World::new().await.gateway(ROUTES, "").await;
    let token = g.token("subj-777");
    let words = "User subj-777 (subj@example.com) is not allowed to exchange, {\"sub\":\"subj-777\"}";
    g.world.iam.script(Endpoint::Token, Misbehave::refusal(StatusCode::FORBIDDEN, "access_denied", words));
    assert_eq!(g.get("/orders", &token).await.status, 403);
    let status = g.status().await;
    assert_eq!(
        status["failures"][0]["issuer_words"],
        "access_denied: User [removed] ([removed]) is not allowed to exchange, {\"sub\":\"[removed]\"}"
    );
    assert!(!status.to_string().contains("subj"));
}
