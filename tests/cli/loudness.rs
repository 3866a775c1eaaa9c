//! How much is logged, while the gateway runs: changed at the admin listener by who has the token, by a configuration that comes into
//! force, and shown to whoever looks.

use crate::kit::{ROUTES, World};
use crate::program::{Program, get, get_as};
use cambist::demo::fetch::{Answer, Connection};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::net::SocketAddr;

const ADMIN: &str = "admin: { address: 127.0.0.1:0, token: admin-token-of-the-test }\n";

async fn put(at: SocketAddr, token: Option<&str>, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    }
    Connection::open(at).await.unwrap().send(Method::PUT, "/v1/log", headers, body.to_owned().into()).await.unwrap()
}

async fn json(at: SocketAddr, path: &str) -> Value {
    get(at, path).await.unwrap().json()
}

fn count(program: &Program, message: &str) -> usize {
    program.log().iter().filter(|l| l["message"] == message).count()
}

async fn started(world: &World) -> (Program, SocketAddr, SocketAddr) {
    let mut program = Program::in_world(world, ROUTES, ADMIN).await;
    let (at, admin) = (program.listener().await, program.told("started", "admin").await);
    (program, at, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_more_or_less_logged_at_once() {
    let world = World::new().await;
    let (program, at, admin) = started(&world).await;
    let token = world.iam.caller_token("ada").unwrap();
    let right = Some("admin-token-of-the-test");
    assert_eq!(json(admin, "/v1/log").await, json!({ "level": "info", "access": true, "format": "json" }));

    let quiet = put(admin, right, r#"{"level":"error","access":false}"#).await;
    assert_eq!((quiet.status.as_u16(), quiet.json()), (200, json!({ "level": "error", "access": false, "format": "json" })));
    assert_eq!(json(admin, "/v1/status").await["log"]["as_configured"], false);
    assert_eq!(get_as(at, "/payroll/quiet", &token).await.status, 403);
    let loud = put(admin, right, r#"{"level":"trace"}"#).await;
    assert_eq!((loud.json()["level"].as_str(), loud.json()["access"].as_bool()), (Some("trace"), Some(false)));
    assert_eq!(get_as(at, "/orders/traced", &token).await.status, 200);
    for _ in 0..500 {
        if program.log().iter().any(|l| l["level"] == "TRACE") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(program.log().iter().any(|l| l["level"] == "TRACE"));
    assert_eq!(put(admin, right, r#"{"level":"info","access":true}"#).await.status, 200);
    assert_eq!(get_as(at, "/orders/said", &token).await.status, 200);
    for _ in 0..500 {
        if !program.access().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let paths: Vec<Value> = program.access().iter().map(|l| l["path"].clone()).collect();
    assert_eq!((paths, count(&program, "request refused")), (vec![json!("/orders/said")], 0));
    assert_eq!(count(&program, "how much is logged has changed"), 3, "each is told where either level allows it");
    let status = json(admin, "/v1/status").await["log"].clone();
    let shown =
        json!({ "level": "info", "access": true, "format": "json", "as_configured": true, "lines_dropped": 0, "lines_held_back": 0 });
    assert_eq!(status, shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_shows_the_admin_token_may_and_nonsense_changes_nothing() {
    let world = World::new().await;
    let (_program, at, admin) = started(&world).await;
    let right = Some("admin-token-of-the-test");
    for (token, body, status, words) in [
        (None, r#"{"level":"error"}"#, 401, "admin token"),
        (Some("another"), r#"{"level":"error"}"#, 401, "not the admin token"),
        (right, r#"{"level":"loud"}"#, 400, "error, warn, info, debug or trace"),
        (right, "{}", 400, "Neither"),
        (right, r#"{"format":"text"}"#, 400, "curl -X PUT"),
        (right, &"x".repeat(5000), 400, "too long"),
    ] {
        let answer = put(admin, token, body).await;
        let told = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(answer.status == status && told.contains(words), "{body}: {} {told}", answer.status);
    }
    let mut foreign = HeaderMap::new();
    foreign.insert("authorization", HeaderValue::from_static("Bearer admin-token-of-the-test"));
    foreign.insert("origin", HeaderValue::from_static("http://evil.example"));
    let mut connection = Connection::open(admin).await.unwrap();
    let answer = connection.send(Method::PUT, "/v1/log", foreign, r#"{"level":"error"}"#.into()).await.unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(connection.send(Method::POST, "/v1/log", auth(), "".into()).await.unwrap().status, 405);
    assert_eq!(json(admin, "/v1/log").await["level"], "info");
    assert_eq!(get(at, "/v1/log").await.unwrap().status, 404, "callers have no part in it");
}

fn auth() -> HeaderMap {
    HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer admin-token-of-the-test"))])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_set_holds_until_a_configuration_says_otherwise() {
    let world = World::new().await;
    let (mut program, _, admin) = started(&world).await;
    assert_eq!(put(admin, Some("admin-token-of-the-test"), r#"{"level":"debug"}"#).await.status, 200);
    // Another configuration with the same log leaves it as it is.
    let more = format!("{ROUTES}  more: {{ match: {{ path: /more }}, upstream: OPEN, token: strip }}\n");
    program.rewrite(&world.yaml(&more, ADMIN));
    program.signal("HUP");
    program.until_said("another configuration is in force", 1).await;
    assert_eq!(json(admin, "/v1/log").await["level"], "debug");
    program.rewrite(&world.yaml(&more, &format!("{ADMIN}log: {{ level: warn, access: false }}\n")));
    program.signal("HUP");
    program.until("the level is the written one", async || json(admin, "/v1/log").await["level"] == "warn").await;
    assert_eq!(json(admin, "/v1/status").await["log"]["as_configured"], true);
    assert_eq!(json(admin, "/v1/log").await["access"], false);
    let needs_restart = "this key of the configuration counts from the next start on; all else is in force";
    assert_eq!(count(&program, needs_restart), 0);
    program.rewrite(&world.yaml(&more, &format!("{ADMIN}log: {{ level: warn, access: false, format: text }}\n")));
    program.signal("HUP");
    program.until_said(needs_restart, 1).await;
    assert!(program.log().iter().any(|l| l["key"] == "log.format"), "{:?}", program.out());
}
