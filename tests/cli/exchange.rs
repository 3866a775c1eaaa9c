//! `exchange`: one exchange from the terminal, what it explains, what it keeps to itself, and how it ends.

use crate::kit::{ROUTES, World};
use crate::program::{File, Said, cambist, file, say};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::Misbehave;
use http::StatusCode;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

fn exchange(config: &File, route: &str, more: &[&str]) -> Command {
    let mut command = cambist();
    command.arg("exchange").arg("--config").arg(&config.path).args(["--route", route]).args(more);
    command
}

fn given(mut command: Command, token: &str) -> Said {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// No part of a token, and nothing about a person.
fn keeps(said: &Said, token: &str) {
    let shown = format!("{}{}", said.out, said.err);
    assert!(!shown.contains("eyJ") && !shown.contains(token.rsplit('.').next().unwrap()) && !shown.contains("ada"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_stand_side_by_side_and_say_nothing_about_the_person() {
    let world = World::new().await;
    let (config, token) = (file(&world.yaml(ROUTES, "")), world.iam.caller_token("ada").unwrap());
    let said = given(exchange(&config, "orders", &[]), &format!("{token}\n"));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    keeps(&said, &token);
    let row = |name: &str| said.out.lines().find(|l| l.trim_start().starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row("aud"), ["aud", "gateway", "orders-api"]);
    assert_eq!(row("azp"), ["azp", "demo-app", "gateway"]);
    assert_eq!(row("sub"), ["sub", "[hidden]", "the", "same"]);
    assert!(said.out.contains("exchanged: good for ") && said.out.contains("bounded by "), "{}", said.out);
    assert_eq!((world.iam.exchanges(), world.orders.requests()), (1, 0), "the issuer is asked, and no backend");

    let shown = given(exchange(&config, "orders", &["--show-claims", "-o", "json"]), &token);
    let json: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&json["caller"]["claims"]["sub"], &json["exchanged"]["claims"]["aud"]), (&"ada".into(), &"orders-api".into()));
    assert!(json["exchanged"]["lifetime_seconds"].as_u64().is_some_and(|s| (1..=300).contains(&s)), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_comes_out_only_for_who_asks() {
    let world = World::new().await;
    let (config, token) = (file(&world.yaml(ROUTES, "")), world.iam.caller_token("ada").unwrap());
    let kept = file(&format!("Bearer {token}"));
    let path = kept.path.display().to_string();
    let said = say(&mut exchange(&config, "orders", &["--token-file", &path, "--print-token"]));
    assert_eq!(said.code, 0, "{said:?}");
    let claims = world.iam.keys().verified(said.out.trim()).expect("stdout holds the exchanged token and nothing else");
    assert_eq!((claims["aud"].as_str(), claims["sub"].as_str()), (Some("orders-api"), Some("ada")));
    assert!(said.err.contains("exchanged: good for ") && !said.err.contains("eyJ"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_with_the_issuers_words_its_cause_and_its_cure() {
    let world = World::new().await;
    let (config, token) = (file(&world.yaml(ROUTES, "")), world.iam.caller_token("ada").unwrap());
    let said = given(exchange(&config, "payroll", &[]), &token);
    assert_eq!(said.code, 1);
    keeps(&said, &token);
    for part in [
        "target_refused (HTTP 403)",
        "issuer  invalid_request: Requested audience not available",
        "cure    ",
        "#keycloak-audience-not-available",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    let other = given(exchange(&config, "orders", &["--audience", "retired-api", "-o", "json"]), &token);
    let json: Value = serde_json::from_str(&other.out).unwrap();
    assert_eq!((other.code, &json["refused"]["code"], &json["audience"][0]), (1, &"misconfigured".into(), &"retired-api".into()));

    let asked = world.iam.exchanges();
    let required = ROUTES.replacen("audience: orders-api", "audience: orders-api, require: { scopes: [nonsense] }", 1);
    let said = given(exchange(&file(&world.yaml(&required, "")), "orders", &[]), &token);
    assert!(said.code == 1 && said.out.contains("insufficient_scope (HTTP 403)"), "{said:?}");
    for (token, code) in [
        (world.iam.caller("ada").expires_in(-60).token().unwrap(), "invalid_token"),
        (world.iam.caller("ada").audience("other").token().unwrap(), "invalid_token"),
        ("two words".to_owned(), "no_token"),
        ("a,b".to_owned(), "bad_request"),
    ] {
        let said = given(exchange(&config, "orders", &[]), &token);
        assert!(said.code == 1 && said.out.contains(code) && said.out.contains("no exchange was asked for"), "{said:?}");
        assert!(said.out.contains("\n  cure    "), "{said:?}");
        keeps(&said, "nothing.of-it");
    }
    assert_eq!(world.iam.exchanges(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_wrong_usage() {
    let world = World::new().await;
    let config = file(&world.yaml(ROUTES, ""));
    for (route, more, words) in [
        ("orders", vec!["--actor-token-file", "x"], "takes no token of who acts"),
        ("oders", vec![], "there is no route `oders` (have: orders, pass, payroll, strip)"),
        ("strip", vec![], "exchanges nothing"),
        ("orders", vec!["--audience", "gateway"], "the gateway's own client"),
        ("orders", vec!["--token", "x"], "--token"),
    ] {
        let said = say(&mut exchange(&config, route, &more));
        assert!(said.code == 2 && said.out.is_empty() && said.err.contains(words), "{said:?}");
    }
    assert_eq!(say(&mut exchange(&config, "orders", &[])).code, 1, "there is no token on stdin");
    assert_eq!(say(&mut exchange(&config, "orders", &["--token-file", "/nowhere"])).code, 1);
    assert_eq!(say(&mut exchange(&file("routes: {}\n"), "orders", &[])).code, 1);
}

fn asked(config: &File, more: &[&str]) -> Command {
    let mut command = cambist();
    command.arg("exchange").arg("--config").arg(&config.path).args(more);
    command
}

const WAYS: &str = "
  own: { match: { path: /own }, upstream: ORDERS, issuer: main, token: client_credentials, audience: orders-api }
  any: { match: { path: /any }, upstream: ORDERS, issuer: by_token, audience: orders-api }
  agents: { match: { path: /agents }, upstream: ORDERS, issuer: main, audience: orders-api, actor: { header: X-Actor-Token } }
";

/// Two issuers, of which callers are from the one.
fn two(world: &World) -> File {
    let other = "other: { url: \"https://other.example/realms/x\", client_id: gateway, client_secret: s }";
    let issuers = format!("issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret }}, {other} }}");
    let api = "exchange_api: { listeners: [main], audiences: { payroll-api: { issuer: by_token }, orders-api: { issuer: main } } }";
    file(&world.yaml(WAYS, &format!("{issuers}\n{api}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_token_needs_no_callers() {
    let world = World::new().await;
    let config = two(&world);
    let said = say(&mut exchange(&config, "own", &[]));
    assert!(said.out.contains("the token is the gateway's own") && !said.out.contains("caller's token"), "{said:?}");
    assert!(said.out.contains("at issuer main"), "{said:?}");
    assert_eq!(world.iam.last(Endpoint::Token).unwrap().field("grant_type"), Some("client_credentials"));
    let dead = world.iam.caller("ada").expires_in(-60).token().unwrap();
    let (asked, said) = (world.iam.exchanges(), given(exchange(&config, "own", &["--token-file", "-"]), &dead));
    assert!(said.code == 1 && said.out.contains("invalid_token"), "a caller's token that is given is looked at: {said:?}");
    assert_eq!(world.iam.exchanges(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_chooses_the_issuer_where_the_route_goes_by_it() {
    let world = World::new().await;
    let (config, token) = (two(&world), world.iam.caller_token("ada").unwrap());
    let said = given(exchange(&config, "any", &[]), &token);
    assert!(said.code == 0 && said.out.contains("route any: audience orders-api, at issuer main\n"), "{said:?}");
    let said = given(exchange(&config, "any", &["--audience", "no-such-client"]), &token);
    assert!(said.code == 1 && said.out.contains("issuer  invalid_client: Audience not found"), "{said:?}");
    let said = given(exchange(&config, "any", &[]), "opaque");
    assert!(said.code == 1 && said.out.contains("does not say which issuer it is from"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acts_comes_in_a_file_of_its_own() {
    let world = World::new().await;
    world.iam.delegates(true);
    let (config, ada) = (two(&world), world.iam.caller_token("ada").unwrap());
    let (agent, dead) = (file(&world.iam.caller_token("agent").unwrap()), file(&world.iam.caller("x").expires_in(-60).token().unwrap()));
    let with = |file: &File| given(exchange(&config, "agents", &["--actor-token-file", &file.path.display().to_string()]), &ada);
    let said = with(&agent);
    assert!(said.code == 0 && said.out.contains("  act "), "{said:?}");
    let said = with(&dead);
    assert!(said.code == 1 && said.out.contains("of the actor's token in x-actor-token"), "{said:?}");
    for (more, words) in [(&[][..], "give it with --actor-token-file"), (&["--actor-token-file", "-"], "both come from")] {
        let said = given(exchange(&config, "agents", more), &ada);
        assert!(said.code == 2 && said.err.contains(words), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_without_a_route_is_the_exchange_apis() {
    let world = World::new().await;
    let (config, token) = (two(&world), world.iam.caller_token("ada").unwrap());
    let said = given(asked(&config, &["--audience", "orders-api"]), &token);
    assert!(said.code == 0 && said.out.contains("the exchange API: audience orders-api, at issuer main\n"), "{said:?}");
    let said = given(asked(&config, &["--audience", "payroll-api", "-o", "json"]), &token);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &json["refused"]["code"], &json["route"]), (1, &"target_refused".into(), &Value::Null));
    assert_eq!(json["refused"]["docs"], "docs/errors.md#keycloak-audience-not-available");
    let said = given(asked(&config, &["--audience", "stock-api"]), &token);
    assert!(said.code == 2 && said.err.contains("exchange_api has no audience `stock-api`"), "{said:?}");
    assert_eq!(given(asked(&config, &[]), &token).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_introspection_that_is_refused_shows_the_issuers_words_and_a_short_secret_takes_no_letters_out_of_them() {
    let world = World::new().await;
    let token = world.iam.caller_token("ada").unwrap();
    let config = |secret: &str, verify: &str| {
        let issuer = format!("issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: {secret}{verify} }} }}");
        file(&world.yaml(ROUTES, &issuer))
    };
    world
        .iam
        .script(Endpoint::Introspection, Misbehave::refusal(StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed."));
    let said = given(exchange(&config("wrong", ", verify: { by: introspection }"), "orders", &[]), &token);
    assert!(said.out.contains("issuer  invalid_client: Client authentication failed."), "{said:?}");
    assert!(said.out.contains("code    misconfigured") && said.out.contains("#introspection-refused"), "{said:?}");
    let opaque = world.iam.opaque(&world.iam.caller("ada")).unwrap();
    let echo = Misbehave::refusal(StatusCode::FORBIDDEN, "invalid_request", &format!("not allowed to ask about {opaque}"));
    world.iam.script(Endpoint::Introspection, echo);
    let said = given(exchange(&config("gateway-secret", ", verify: { by: introspection }"), "orders", &[]), &opaque);
    assert!(said.out.contains("issuer  invalid_request: not allowed to ask about [removed]\n"), "{said:?}");
    let echo = Misbehave::refusal(StatusCode::BAD_REQUEST, "invalid_request", &format!("the token {opaque} is unknown"));
    world.iam.script(Endpoint::Token, echo);
    let said = given(exchange(&config("gateway-secret", ", verify: { by: introspection }"), "orders", &[]), &opaque);
    assert!(said.out.contains("issuer  invalid_request: the token [removed] is unknown\n"), "{said:?}");
    assert!(!format!("{said:?}").contains(&opaque), "{said:?}");
    let words = "Public client is not allowed to exchange token";
    world.iam.script(Endpoint::Token, Misbehave::refusal(StatusCode::BAD_REQUEST, "invalid_client", words));
    let said = given(exchange(&config("x", ""), "orders", &[]), &token);
    assert!(said.out.contains(&format!("issuer  invalid_client: {words}\n")), "{said:?}");
}
