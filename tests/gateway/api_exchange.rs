//! The exchange API: a program gets the token itself, for the audiences that are named and for no other; and its description
//! says what is answered.

use crate::kit::{ROUTES, Running, World, running, said};
use cambist::demo::fetch::Answer;
use cambist::demo::iam::Endpoint;
use http::Method;
use serde_json::{Value, json};

const API: &str = "exchange_api: { listeners: [main], audiences: { orders-api: {}, payroll-api: {}, demo-app: {}, billing-api: { scopes: [billing] } } }\n";
const PATH: &str = "/v1/exchange";

async fn with_api() -> Running {
    World::new().await.gateway(ROUTES, &format!("listeners: {{ main: {{ address: 127.0.0.1:0 }} }}\n{API}")).await
}

async fn ask(r: &Running, token: Option<&str>, body: impl AsRef<str>) -> Answer {
    let bearer = token.map(|t| format!("Bearer {t}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|b| ("authorization", b)));
    r.send(Method::POST, PATH, &headers, body.as_ref().to_owned()).await
}

fn wanted(audience: &str) -> String {
    json!({ "audience": audience }).to_string()
}

#[tokio::test]
async fn a_program_gets_the_token_itself_from_the_cache_that_routes_use() {
    let r = with_api().await;
    let token = r.token("ada");
    let answer = ask(&r, Some(&token), wanted("orders-api")).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["audience"], body.as_object().unwrap().len()), (&"Bearer".into(), &"orders-api".into(), 4));
    assert!(body["expires_in"].as_u64().is_some_and(|s| (290..=300).contains(&s)), "{}", body["expires_in"]);
    let claims = r.world.iam.keys().verified(body["token"].as_str().unwrap()).unwrap();
    assert_eq!((claims["aud"].as_str(), claims["sub"].as_str()), (Some("orders-api"), Some("ada")));

    assert_eq!(ask(&r, Some(&token), wanted("orders-api")).await.json()["token"], body["token"]);
    assert_eq!(r.get("/orders", &token).await.status, 200);
    assert_eq!(r.world.iam.exchanges(), 1, "a route for the same target found it there");
    let scoped = ask(&r, Some(&token), wanted("billing-api")).await.json();
    assert_eq!(r.world.iam.keys().verified(scoped["token"].as_str().unwrap()).unwrap()["aud"], "billing-api");
    r.counted("cambist_http_requests_total{code=\"200\",method=\"POST\",route=\"/v1/exchange\"}", 3.0).await;
}

#[tokio::test]
async fn a_forced_update_is_a_new_exchange_and_takes_the_old_ones_place() {
    let r = with_api().await;
    let token = r.token("ada");
    let first = ask(&r, Some(&token), wanted("orders-api")).await.json();
    let forced = ask(&r, Some(&token), r#"{"audience":"orders-api","force_update":true}"#).await.json();
    assert_ne!(first["token"], forced["token"]);
    assert_eq!(ask(&r, Some(&token), wanted("orders-api")).await.json()["token"], forced["token"]);
    assert_eq!(r.world.iam.exchanges(), 2);
}

#[tokio::test]
async fn what_it_does_is_counted_as_on_routes() {
    let r = with_api().await;
    let token = r.token("ada");
    for body in [r#"{"audience":"orders-api"}"#, r#"{"audience":"orders-api","force_update":true}"#, r#"{"audience":"orders-api"}"#] {
        assert_eq!(ask(&r, Some(&token), body).await.status, 200);
    }
    for body in [r#"{"audience":"payroll-api"}"#, r#"{"audience":"payroll-api"}"#, r#"{"audience":"payroll-api","force_update":true}"#] {
        assert_eq!(ask(&r, Some(&token), body).await.status, 403);
    }
    for (result, times) in [("miss", 2.0), ("forced", 2.0), ("hit", 1.0), ("denied", 1.0)] {
        r.counted(&format!("cambist_token_cache_lookups_total{{result=\"{result}\",route=\"{PATH}\"}}"), times).await;
    }
    for (result, times) in [("success", 1.0), ("denied", 1.0), ("failed", 0.0)] {
        r.counted(&format!("cambist_forced_updates_total{{cause=\"api\",result=\"{result}\"}}"), times).await;
    }
}

#[tokio::test]
async fn refusals_are_those_of_routes_and_tell_strangers_nothing() {
    let r = with_api().await;
    let (token, expired) = (r.token("ada"), r.world.iam.caller("ada").expires_in(-60).token().unwrap());
    for (token, body, status, code) in [
        (None, wanted("orders-api"), 401, "no_token"),
        (None, wanted("nobody-knows"), 401, "no_token"),
        (Some(&expired), wanted("orders-api"), 401, "invalid_token"),
        (Some(&expired), wanted("nobody-knows"), 401, "invalid_token"),
        (Some(&token), wanted("nobody-knows"), 403, "target_refused"),
        (Some(&token), wanted("payroll-api"), 403, "target_refused"),
        (Some(&token), wanted("demo-app"), 403, "login_client"),
        (Some(&token), r#"{"audience":"orders-api","audience":"payroll-api"}"#.to_owned(), 400, "bad_request"),
        (Some(&token), r#"{"audience":"orders-api","scope":"x"}"#.to_owned(), 400, "bad_request"),
        (Some(&token), format!("{{\"audience\":\"{}\"}}", "x".repeat(16 * 1024)), 413, "body_too_large"),
    ] {
        let answer = ask(&r, token.map(String::as_str), &body).await;
        assert_eq!(said(&answer), (status, code.to_owned()), "{body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(r.world.iam.exchanges(), 1, "of all these, the issuer was asked about payroll-api alone");
    let bearer = format!("Bearer {token}");
    let as_text = r.send(Method::POST, PATH, &[("authorization", &bearer), ("content-type", "text/plain")], wanted("orders-api")).await;
    assert_eq!(said(&as_text), (400, "bad_request".to_owned()));
    let got = r.get(PATH, &token).await;
    assert_eq!((said(&got), &got.headers["allow"]), ((405, "method_not_allowed".to_owned()), &"POST".parse().unwrap()));
    r.counted("cambist_rejections_total{reason=\"login_client\",route=\"/v1/exchange\"}", 1.0).await;
}

#[tokio::test]
async fn only_where_it_is_switched_on_and_by_its_plain_name() {
    let off = running().await;
    let token = off.token("ada");
    assert_eq!(said(&ask(&off, Some(&token), wanted("orders-api")).await), (404, "no_route".to_owned()));

    // A route that takes everything takes neither the API's paths nor what could be read as one of them.
    let all = "\n  all: { upstream: OPEN, token: passthrough }\n";
    let two = "listeners: { main: { address: 127.0.0.1:0 }, other: { address: 127.0.0.1:0 } }\n";
    let r = World::new().await.gateway(all, &format!("{two}{API}")).await;
    let token = r.token("ada");
    assert_eq!(ask(&r, Some(&token), wanted("orders-api")).await.status, 200);
    for path in ["/v1/Exchange", "/v1%2Fexchange", "//v1/exchange", "/v1/exchange;x=1"] {
        assert_eq!(said(&r.get(path, &token).await), (400, "bad_request".to_owned()), "{path}");
    }
    assert_eq!(r.world.open.requests(), 0);
    assert_eq!(r.get("/v1/exchange/more", &token).await.status, 200);
    let other = r.gateway.listener("other").unwrap();
    let there = cambist::demo::fetch::Connection::open(other).await.unwrap().get(PATH, Some(&token)).await.unwrap();
    assert_eq!((there.status.as_u16(), r.world.open.requests()), (200, 2), "there it is a path like any other");
}

#[tokio::test]
async fn the_description_says_what_is_answered() {
    let r = with_api().await;
    let served = r.get_without_token("/v1/openapi.json").await;
    assert_eq!((served.status.as_u16(), &served.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    let described = served.json();
    assert_eq!(described["openapi"], "3.1.0");
    let post = &described["paths"][PATH]["post"];
    let schema = |name: &str| described["components"]["schemas"][name].clone();
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();

    let token = r.token("ada");
    let granted = ask(&r, Some(&token), wanted("orders-api")).await.json();
    assert_eq!(keys(&granted), keys(&schema("Token")["properties"]));
    assert_eq!(schema("Token")["properties"]["token_type"]["const"], granted["token_type"]);
    let both = json!({ "audience": "orders-api", "force_update": false });
    assert_eq!(keys(&both), keys(&schema("Request")["properties"]));
    assert_eq!(ask(&r, Some(&token), both.to_string()).await.status, 200);

    for (token, body) in [(None, wanted("orders-api")), (Some(token.as_str()), wanted("x")), (Some(token.as_str()), "{}".to_owned())] {
        let refused = ask(&r, token, &body).await;
        let status = refused.status.as_u16().to_string();
        let description = post["responses"][&status]["description"].as_str().unwrap_or_default();
        assert!(description.contains(refused.json()["code"].as_str().unwrap()), "{status} {description}");
        assert!(schema("Problem")["properties"]["code"]["enum"].as_array().unwrap().contains(&refused.json()["code"]));
        let mut required: Vec<String> =
            schema("Problem")["required"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
        required.sort();
        assert_eq!(keys(&refused.json()), required);
    }
    for audience in ["orders-api", "payroll-api", "billing"] {
        assert!(!String::from_utf8_lossy(&served.body).contains(audience), "strangers may read it");
    }
}

#[tokio::test]
async fn forced_updates_are_counted_by_what_they_came_to() {
    let r = with_api().await;
    let token = r.token("ada");
    for audience in ["orders-api", "payroll-api"] {
        let body = json!({ "audience": audience, "force_update": true }).to_string();
        ask(&r, Some(&token), body).await;
        ask(&r, Some(&token), wanted(audience)).await;
    }
    for (result, count) in [("success", 1.0), ("denied", 1.0), ("failed", 0.0)] {
        r.counted(&format!("cambist_forced_updates_total{{cause=\"api\",result=\"{result}\"}}"), count).await;
    }
    let lookups = |result: &str| format!("cambist_token_cache_lookups_total{{result=\"{result}\",route=\"/v1/exchange\"}}");
    for (result, count) in [("forced", 2.0), ("hit", 1.0), ("denied", 1.0)] {
        r.counted(&lookups(result), count).await;
    }
}

#[tokio::test]
async fn an_audience_requires_of_callers_what_a_route_could() {
    let api = "listeners: { main: { address: 127.0.0.1:0 } }
exchange_api:
  listeners: [main]
  audiences:
    orders-api: { require: { scopes: [buy], claims: { tenant: [acme] } } }
    billing-api: { scopes: [billing] }
";
    let r = World::new().await.gateway(ROUTES, api).await;
    let of =
        |scope: &str, tenant: &str| r.world.iam.caller("ada").claim("scope", json!(scope)).claim("tenant", json!(tenant)).token().unwrap();
    let status = async |token: &str, audience: &str| said(&ask(&r, Some(token), wanted(audience)).await);
    let (good, without, elsewhere) = (of("a buy", "acme"), of("a", "acme"), of("buy", "umbrella"));
    assert_eq!(status(&good, "orders-api").await.0, 200);
    for token in [&without, &elsewhere] {
        assert_eq!(status(token, "orders-api").await, (403, "insufficient_scope".to_owned()));
        assert_eq!(status(token, "billing-api").await.0, 200);
    }
    let refused = ask(&r, Some(&without), wanted("orders-api")).await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"cambist\", error=\"insufficient_scope\", scope=\"buy\"");
    assert_eq!(r.world.iam.exchanges(), 3, "the issuer was not asked for what was refused");
}

#[tokio::test]
async fn the_issuer_is_the_named_one_or_that_of_the_token() {
    let other = World::new().await;
    let more = format!(
        "listeners: {{ main: {{ address: 127.0.0.1:0 }} }}
issuers:
  one: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret }}
  two: {{ url: \"{}\", client_id: gateway, client_secret: gateway-secret }}
exchange_api:
  listeners: [main]
  audiences:
    orders-api: {{ issuer: by_token }}
    billing-api: {{ issuer: two, scopes: [billing], resource: [\"https://billing.example.com/\"] }}
",
        other.iam.issuer()
    );
    let routes = "\n  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api, issuer: by_token }\n";
    let r = World::new().await.gateway(routes, &more).await;
    let (one, two) = (r.token("ada"), other.iam.caller_token("bob").unwrap());
    for token in [&one, &two] {
        // The keys of one of the two may still be on their way.
        for _ in 0..500 {
            if r.get("/orders", token).await.status != 503 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    for (token, iam, sub) in [(&one, &r.world.iam, "ada"), (&two, &other.iam, "bob")] {
        let said = ask(&r, Some(token), wanted("orders-api")).await.json();
        let claims = iam.keys().verified(said["token"].as_str().unwrap_or_default()).unwrap();
        assert_eq!((claims["sub"].as_str(), claims["aud"].as_str()), (Some(sub), Some("orders-api")));
    }
    assert_eq!(said(&ask(&r, Some(&one), wanted("billing-api")).await), (401, "invalid_token".to_owned()), "a token of the other issuer");
    assert_eq!(ask(&r, Some(&two), wanted("billing-api")).await.status, 200);
    assert_eq!(other.iam.last(Endpoint::Token).unwrap().field("resource"), Some("https://billing.example.com/"));
    assert_eq!(said(&ask(&r, Some(&two), wanted("nobody-knows")).await), (403, "target_refused".to_owned()));
}

#[tokio::test]
async fn a_caller_who_is_let_in_by_the_skew_gets_a_token_with_a_life() {
    let r = with_api().await;
    let token = r.world.iam.caller("ada").expires_in(3).token().unwrap();
    for _ in 0..2 {
        let answer = ask(&r, Some(&token), wanted("orders-api")).await;
        assert_eq!(answer.status, 200);
        let left = answer.json()["expires_in"].as_u64().unwrap();
        assert!((20..=33).contains(&left), "{left}");
        r.turn(std::time::Duration::from_secs(8)).await;
    }
}
