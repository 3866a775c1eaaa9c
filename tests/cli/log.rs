//! What the program logs: an access line a request, refusals with the issuer's words, cause and cure; in JSON and as text, and no
//! more than the configuration wants.

use crate::kit::{ROUTES, World};
use crate::program::{Program, free_port, get, get_as};
use crate::wire::Wire;
use cambist::demo::fetch::Connection;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use std::net::SocketAddr;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// Every access line has these, whatever became of its request.
pub const FIELDS: [&str; 14] = [
    "client",
    "method",
    "path",
    "route",
    "upstream",
    "status",
    "bytes",
    "whole",
    "total_us",
    "added_us",
    "upstream_us",
    "token",
    "reason",
    "trace_id",
];

/// A miss, a hit, a refusal, an unmatched path and a token that is missing, in this order.
async fn traffic(at: SocketAddr, world: &World) {
    let token = world.iam.caller_token("ada").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    headers.insert("traceparent", HeaderValue::try_from(format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap());
    let mut caller = Connection::open(at).await.unwrap();
    assert_eq!(caller.send(Method::POST, "/orders/7?secret=c4nary", headers, "body".into()).await.unwrap().status, 200);
    for (path, status) in [("/orders", 200), ("/payroll", 403), ("/nowhere", 404)] {
        assert_eq!(get_as(at, path, &token).await.status, status);
    }
    assert_eq!(get(at, "/strip").await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_its_line_in_json() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "").await;
    let at = program.listener().await;
    traffic(at, &world).await;
    let (access, _) = all(&mut program, 5).await;
    for line in &access {
        assert!(FIELDS.iter().all(|f| !line[f].is_null()) && line["level"] == "INFO" && line["timestamp"].is_string(), "{line}");
        assert_eq!(line.as_object().unwrap().len(), FIELDS.len() + 3, "{line}");
        assert_eq!((line["whole"].as_bool(), line["trace_id"].as_str().unwrap().len()), (Some(true), 32));
        let us = |f: &str| line[f].as_u64().unwrap();
        assert!(us("added_us") + us("upstream_us") <= us("total_us"), "{line}");
    }
    // A line is written when the answer's last byte is out, which the next request need not wait for.
    let mut seen: Vec<_> = access.iter().map(|l| ["method", "path", "route", "token", "reason"].map(|f| l[f].as_str().unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ["GET", "/nowhere", "-", "-", "no_route"],
            ["GET", "/orders", "orders", "hit", "-"],
            ["GET", "/payroll", "payroll", "-", "target_refused"],
            ["GET", "/strip", "strip", "-", "no_token"],
            ["POST", "/orders/7", "orders", "miss", "-"],
        ]
    );
    let first = of(&access, "/orders/7");
    assert_eq!((first["trace_id"].as_str(), first["status"].as_u64()), (Some(TRACE), Some(200)));
    assert_eq!(first["upstream"], world.orders.address().to_string());
    assert_eq!((of(&access, "/payroll")["status"].as_u64(), of(&access, "/nowhere")["upstream"].as_str()), (Some(403), Some("-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_the_operator_the_issuers_words_the_cause_and_the_cure() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "").await;
    let at = program.listener().await;
    traffic(at, &world).await;
    world.iam.edit_client("gateway", |c| c.secret = Some("another".to_owned()));
    assert_eq!(get_as(at, "/orders", &world.iam.caller_token("bob").unwrap()).await.status, 500);
    let (access, log) = all(&mut program, 6).await;
    let refusal = |reason: &str| log.iter().find(|l| l["message"] == "request refused" && l["reason"] == reason).unwrap().clone();
    let line = refusal("target_refused");
    assert_eq!((line["level"].as_str(), line["route"].as_str()), (Some("WARN"), Some("payroll")));
    assert_eq!(line["issuer_words"], "invalid_request: Requested audience not available: payroll-api");
    assert_eq!(line["docs"], "docs/errors.md#keycloak-audience-not-available");
    assert!(line["cause"].as_str().unwrap().contains("audience") && line["cure"].as_str().unwrap().contains("scope"), "{line}");
    assert_eq!(line["trace_id"], of(&access, "/payroll")["trace_id"], "the two lines find each other");
    let line = refusal("misconfigured");
    assert_eq!(line["level"], "ERROR", "loud: it is ours");
    assert!(line["issuer_words"].as_str().unwrap().contains("Invalid client credentials"), "{line}");
    assert!(line["cure"].as_str().unwrap().contains("client_secret"), "{line}");
    assert!(!program.out().join("\n").contains("gateway-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_client_as_audience_is_told_with_its_name_and_the_cure() {
    let world = World::new().await;
    let routes = "\n  own: { match: { path: /own }, upstream: OPEN, audience: demo-app }\n";
    let mut program = Program::in_world(&world, routes, "").await;
    let at = program.listener().await;
    assert_eq!(get_as(at, "/own", &world.iam.caller_token("ada").unwrap()).await.status, 403);
    let (_, log) = all(&mut program, 1).await;
    let line = log.iter().find(|l| l["message"] == "request refused" && l["reason"] == "login_client").unwrap();
    let (cause, cure) = (line["cause"].as_str().unwrap(), line["cure"].as_str().unwrap());
    assert!(cause.contains("the audience demo-app") && cause.contains("azp demo-app"), "{line}");
    assert!(cure.contains("the backend's own client") && cure.contains("allow_login_client: true"), "{line}");
}

/// The first is told at once, and a flood is one line more each while, not one a connection.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_turned_away_are_told_as_a_sum() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "limits: { max_connections: 1 }\n").await;
    let at = program.listener().await;
    let mut only = Connection::open(at).await.unwrap();
    assert_eq!(only.get("/strip", None).await.unwrap().status, 401);
    for _ in 0..40 {
        let mut wire = Wire::open(at).await;
        assert_eq!(wire.answer().await.status(), 503);
    }
    let told = |program: &Program| {
        let lines = program.log().into_iter().filter(|l| l["message"].as_str().is_some_and(|m| m.contains("turned away")));
        lines.collect::<Vec<_>>()
    };
    let sum = |lines: &[Value]| lines.iter().map(|l| l["count"].as_u64().unwrap()).sum::<u64>();
    for _ in 0..3000 {
        if sum(&told(&program)) == 40 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let lines = told(&program);
    assert_eq!(sum(&lines), 40, "none is forgotten: {lines:?}");
    assert!((2..10).contains(&lines.len()), "and none has a line of its own: {lines:?}");
    assert_eq!((&lines[0]["level"], &lines[0]["count"], &lines[0]["listener"]), (&"WARN".into(), &1.into(), &"main".into()));
    assert!(lines.iter().all(|l| l["max_connections"] == 1 && l["cure"].as_str().unwrap().contains("limits.max_connections")));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_for_people() {
    let world = World::new().await;
    let (mut program, at) = with_log(&world, "{ format: text }").await;
    traffic(at, &world).await;
    let out = ended(&mut program).await;
    let line = out.iter().find(|l| l.contains("/payroll") && l.contains(" access: ")).unwrap();
    for part in ["INFO", "method=\"GET\"", "status=403", "reason=\"target_refused\"", "trace_id="] {
        assert!(line.contains(part), "{part} {line}");
    }
    let line = out.iter().find(|l| l.contains("request refused") && l.contains("target_refused")).unwrap();
    assert!(line.contains("WARN") && line.contains("Requested audience not available: payroll-api"), "{line}");
    assert!(out.iter().all(|l| serde_json::from_str::<Value>(l).is_err() && !l.contains('\u{1b}')), "no JSON, and no colours in a pipe");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_logged_than_is_wanted() {
    for (wanted, access, refusals, infos, traces) in [
        ("{ level: error }", 5, 0, false, false),
        ("{ level: error, access: false }", 0, 0, false, false),
        ("{ level: warn, access: false }", 0, 1, false, false),
        ("{ level: info, access: false }", 0, 3, true, false),
        ("{ level: trace }", 5, 3, true, true),
    ] {
        let world = World::new().await;
        let (mut program, at) = with_log(&world, wanted).await;
        traffic(at, &world).await;
        ended(&mut program).await;
        let log = program.log();
        let refused = log.iter().filter(|l| l["message"] == "request refused").count();
        assert_eq!((program.access().len(), refused), (access, refusals), "{wanted}");
        assert_eq!(log.iter().any(|l| l["message"] == "started"), infos, "{wanted}");
        assert_eq!(log.iter().any(|l| l["level"] == "TRACE"), traces, "{wanted}");
        assert_eq!(program.err(), Vec::<String>::new(), "{wanted}");
    }
}

/// A program with this `log` section, ready: at addresses that the test chose, since the log may not tell them.
async fn with_log(world: &World, log: &str) -> (Program, SocketAddr) {
    let (at, metrics) = (free_port(), free_port());
    let text = world
        .yaml(ROUTES, &format!("log: {log}\nshutdown: {{ delay: 0s }}"))
        .replace("main: { address: 127.0.0.1:0 }", &format!("main: {{ address: 127.0.0.1:{at} }}"))
        .replace("metrics: { address: 127.0.0.1:0 }", &format!("metrics: {{ address: 127.0.0.1:{metrics} }}"));
    let mut program = Program::run(&text.replace("client_secret: gateway-secret", "client_secret: { env: SECRET_OF_THE_TEST }"));
    let probe = SocketAddr::from(([127, 0, 0, 1], metrics));
    program.until("it is ready", async || get(probe, "/readyz").await.is_some_and(|a| a.status == 200)).await;
    (program, SocketAddr::from(([127, 0, 0, 1], at)))
}

/// Ends the program and gives all it wrote.
async fn ended(program: &mut Program) -> Vec<String> {
    program.signal("TERM");
    assert!(program.ended().await.success());
    program.out()
}

/// The access line of a path.
fn of<'a>(access: &'a [Value], path: &str) -> &'a Value {
    access.iter().find(|l| l["path"] == path).unwrap()
}

/// The access lines, once there are `n`, in the order of their requests' ends, and the whole log.
async fn all(program: &mut Program, n: usize) -> (Vec<Value>, Vec<Value>) {
    for _ in 0..500 {
        if program.access().len() >= n {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(program.access().len(), n);
    (program.access(), program.log())
}
