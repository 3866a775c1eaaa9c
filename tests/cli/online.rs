//! `check --online`: each step of each issuer with a tick, or with words, cause and cure; and nobody's token or secret in it.

use crate::kit::{ROUTES, World};
use crate::program::{Said, cambist, file, say};
use crate::said::as_expected;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::Misbehave;
use http::StatusCode;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;

fn check(text: &str, token: Option<&str>, more: &[&str]) -> Said {
    let (config, token) = (file(text), token.map(file));
    let mut command = cambist();
    command.args(["check", "--online"]).arg(&config.path).args(more);
    if let Some(token) = &token {
        command.arg("--token-file").arg(&token.path);
    }
    let mut said = say(&mut command);
    assert!(!said.out.contains("gateway-secret") && !said.out.contains("eyJ"), "{}", said.out);
    said.out = said.out.replace(&config.path.display().to_string(), "FILE");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_told() {
    let world = World::new().await;
    let text = world.yaml(ROUTES, "");
    let issuer = world.iam.issuer().to_owned();
    let said = check(&text, None, &[]);
    assert_eq!(said.code, 0, "{said:?}");
    let hide = [(issuer.as_str(), "ISSUER"), ("differ by 1 s", "differ by 0 s")];
    let said = Said { err: String::new(), ..said };
    as_expected("check_online.txt", &said, &hide);

    let token = world.iam.caller_token("ada").unwrap();
    let said = Said { err: String::new(), ..check(&text, Some(&token), &[]) };
    assert_eq!(said.code, 1, "one of the audiences is refused: {said:?}");
    as_expected("check_online_with_a_token.txt", &said, &hide);

    let said = check(&text, Some(&format!("Bearer {token}\n")), &["-o", "json"]);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    let steps: Vec<_> = json["online"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (&s["step"], &s["outcome"]))
        .map(|(s, o)| (s.as_str().unwrap(), o.as_str().unwrap()))
        .collect();
    assert_eq!(
        steps,
        [("discovery", "ok"), ("clock", "ok"), ("keys", "ok"), ("client", "ok"), ("route orders", "ok"), ("route payroll", "failed")]
    );
    assert_eq!((said.code, &json["ok"], &json["complaints"][0]["code"]), (1, &false.into(), &"C036".into()));
    assert_eq!(json["online"][5]["docs"], "docs/errors.md#keycloak-audience-not-available");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_with_its_cure() {
    let world = World::new().await;
    let text = world.yaml(ROUTES, "");
    let failed = |said: &Said, parts: &[&str]| {
        assert_eq!(said.code, 1, "{said:?}");
        for part in parts {
            assert!(said.out.contains(part), "{part}\n{}", said.out);
        }
    };
    let wrong = check(&text.replace("gateway-secret", "another"), None, &[]);
    failed(&wrong, &["✓ keys", "✗ client", "issuer  ", "cure    ", "docs/errors.md#keycloak-wrong-secret"]);
    let nowhere = check(&text.replace(world.iam.issuer(), "http://127.0.0.1:1/realms/demo"), None, &[]);
    failed(&nowhere, &["✗ discovery", "cannot be reached", "cure    ", "docs/errors.md#issuer_unavailable"]);
    assert!(!nowhere.out.contains("client  "), "what needs discovery is not asked: {}", nowhere.out);
    let other = check(&text.replace("client_id: gateway", "verify: { algorithms: [ES384] }, client_id: gateway"), None, &[]);
    failed(&other, &["✗ keys", "verify.algorithms"]);
    let required = text.replacen("audience: orders-api", "audience: orders-api, require: { scopes: [nonsense] }", 1);
    let token = world.iam.caller_token("ada").unwrap();
    failed(&check(&required, Some(&token), &[]), &["✗ route orders", "docs/errors.md#insufficient_scope"]);
    let expired = world.iam.caller("ada").expires_in(-600).token().unwrap();
    failed(&check(&text, Some(&expired), &[]), &["✗ route orders", "docs/errors.md#invalid_token"]);
    let no_file = say(cambist().args(["check", "--online", "--token-file", "/nowhere"]).arg(&file(&text).path));
    assert!(no_file.code == 1 && no_file.err.contains("/nowhere"), "{no_file:?}");
    assert_eq!(say(cambist().args(["check", "a.yaml", "--token-file", "-"])).code, 2, "only with --online");
}

/// An issuer that believes it is another year, for as long as the test goes on.
fn of_the_past(jwks: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let document = json!({ "issuer": issuer, "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys") });
    let (document, keys) = (document.to_string(), jwks.to_string());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let read = socket.read(&mut head).unwrap_or(0);
            let body = if String::from_utf8_lossy(&head[..read]).contains("/keys") { &keys } else { &document };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nDate: Wed, 01 Jan 2020 00:00:00 GMT\r\n";
            let _ = write!(socket, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    issuer
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_are_told() {
    let world = World::new().await;
    let issuer = of_the_past(&world.iam.keys().jwks());
    let said = check(&world.yaml(ROUTES, "").replace(world.iam.issuer(), &issuer), None, &[]);
    assert_eq!(said.code, 1);
    for part in ["✓ discovery", "✗ clock", "behind ours, and verify.clock_skew allows 30 s", "NTP", "✓ keys"] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
}

#[test]
fn complaints_are_data_too() {
    let said = say(cambist().args(["check", "-o", "json"]).arg(&file("routes: { a: { upsteam: x } }\n").path));
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, said.err.as_str(), &json["ok"], &json["online"]), (1, "", &false.into(), &Value::Null));
    let first = &json["complaints"][0];
    assert!(first["code"].is_string() && first["docs"].as_str().unwrap().starts_with("docs/errors.md#c0"), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_an_actor_is_tried_with_the_actors_token() {
    let world = World::new().await;
    world.iam.delegates(true);
    let routes = "
  agents: { match: { path: /a }, upstream: ORDERS, audience: orders-api, actor: { header: X-Actor-Token } }
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }\n";
    let text = world.yaml(routes, "");
    let ada = world.iam.caller_token("ada").unwrap();
    let skipped = check(&text, Some(&ada), &[]);
    assert!(skipped.code == 0 && skipped.out.contains("- route agents") && skipped.out.contains("--actor-token-file"), "{skipped:?}");
    let actor = |token: String| file(&token);
    let good = actor(world.iam.caller_token("agent").unwrap());
    let said = check(&text, Some(&ada), &["--actor-token-file", &good.path.display().to_string()]);
    assert!(said.code == 0 && said.out.contains("✓ route agents") && said.out.contains("✓ route orders"), "{said:?}");
    let dead = actor(world.iam.caller("x").expires_in(-600).token().unwrap());
    let said = check(&text, Some(&ada), &["--actor-token-file", &dead.path.display().to_string()]);
    assert!(
        said.code == 1 && said.out.contains("of the actor's token in x-actor-token") && said.out.contains("✓ route orders"),
        "{said:?}"
    );
    let alone = say(cambist().args(["check", "--online", "--actor-token-file", "-"]).arg(&file(&text).path));
    assert_eq!(alone.code, 2, "with a caller's token only");
    let same = say(cambist().args(["check", "--online", "--token-file", "-", "--actor-token-file", "-"]).arg(&file(&text).path));
    assert!(same.code == 1 && same.err.contains("cannot both come from"), "{same:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audiences_of_the_exchange_api_are_tried_too() {
    let world = World::new().await;
    let api = "exchange_api: { listeners: [main], audiences: { orders-api: {}, payroll-api: {} } }";
    let text = world.yaml("\n  open: { match: { path: /open }, upstream: OPEN, token: strip, callers: anonymous }\n", api);
    let steps = |token: Option<&str>| {
        let json: Value = serde_json::from_str(&check(&text, token, &["-o", "json"]).out).unwrap();
        let steps = json["online"].as_array().unwrap().iter().filter(|s| s["step"].as_str().unwrap().starts_with("audience "));
        steps.map(|s| format!("{}: {}", s["step"].as_str().unwrap(), s["outcome"].as_str().unwrap())).collect::<Vec<_>>()
    };
    let of = |audience: &str, outcome: &str| format!("audience {audience} of the exchange API: {outcome}");
    assert_eq!(steps(None), [of("orders-api", "skipped"), of("payroll-api", "skipped")]);
    let token = world.iam.caller_token("ada").unwrap();
    assert_eq!(steps(Some(&token)), [of("orders-api", "ok"), of("payroll-api", "failed")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_by_the_rfc_takes_our_client_when_it_refuses_the_request() {
    let world = World::new().await;
    let text = world.yaml(ROUTES, "").replacen("client_id:", "profile: rfc8693, client_id:", 1);
    for (error, outcome) in
        [("invalid_request", "ok"), ("invalid_target", "ok"), ("invalid_client", "failed"), ("unauthorized_client", "failed")]
    {
        world.iam.script_always(Endpoint::Token, Misbehave::refusal(StatusCode::BAD_REQUEST, error, "no"));
        let json: Value = serde_json::from_str(&check(&text, None, &["-o", "json"]).out).unwrap();
        let client = json["online"].as_array().unwrap().iter().find(|s| s["step"] == "client").unwrap();
        assert_eq!(client["outcome"], outcome, "{error}: {client}");
    }
}
