//! The development IAM over real sockets: that it answers as Keycloak 26.7.3 was seen to answer, and misbehaves as told.

use super::*;
use crate::demo::fetch::{Answer, Connection};
use crate::demo::misbehave::Gate;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

const PATH: &str = "/realms/demo/protocol/openid-connect/token";

async fn iam() -> Iam {
    Iam::start(Settings::anywhere()).await.unwrap()
}

async fn post(iam: &Iam, fields: &[(&str, &str)]) -> Answer {
    Connection::open(iam.address()).await.unwrap().post_form(PATH, fields, None).await.unwrap()
}

/// An exchange as the gateway asks for it, with fields on top.
async fn exchange(iam: &Iam, token: &str, more: &[(&str, &str)]) -> Answer {
    let gateway = [("client_id", "gateway"), ("client_secret", "gateway-secret"), ("grant_type", GRANT)];
    let subject = [("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    post(iam, &[&gateway[..], &subject[..], more].concat()).await
}

/// One character of the signature is another.
fn tampered(token: &str) -> String {
    let (head, tail) = token.split_at(token.len() - 20);
    let other = if tail.starts_with('A') { "B" } else { "A" };
    format!("{head}{other}{}", &tail[1..])
}

fn refused(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), text("error"), text("error_description"))
}

fn claims(iam: &Iam, answer: &Answer) -> Map {
    iam.keys().verified(answer.json()["access_token"].as_str().unwrap()).unwrap()
}

type Map = serde_json::Map<String, Value>;
/// Fields on top of a good request, and the answer: status, error, description.
type Row = (&'static [(&'static str, &'static str)], u16, &'static str, &'static str);

#[tokio::test]
async fn an_exchange_looks_like_keycloaks() {
    let iam = iam().await;
    let caller = iam.caller("alice");
    let answer = exchange(&iam, &caller.token().unwrap(), &[("audience", "orders-api")]).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = [
        "access_token",
        "expires_in",
        "issued_token_type",
        "not-before-policy",
        "refresh_expires_in",
        "scope",
        "session_state",
        "token_type",
    ];
    assert_eq!(keys, wanted);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&Value::from("Bearer"), &Value::from(300)));
    let claims = claims(&iam, &answer);
    assert_eq!(claims["aud"], "orders-api");
    assert_eq!(claims["azp"], "gateway");
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["sid"], caller.sid());
    assert_eq!(claims["iss"], iam.issuer());
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn audiences_are_filtered_and_scopes_add_them() {
    let iam = iam().await;
    let token = iam.caller_token("alice").unwrap();
    let aud = async |more: &[(&str, &str)]| claims(&iam, &exchange(&iam, &token, more).await)["aud"].clone();
    assert_eq!(aud(&[]).await, "orders-api");
    assert_eq!(aud(&[("scope", "billing")]).await, serde_json::json!(["orders-api", "billing-api"]));
    assert_eq!(aud(&[("scope", "billing"), ("audience", "billing-api")]).await, "billing-api");
    assert_eq!(aud(&[("audience", "orders-api"), ("audience", "orders-api")]).await, "orders-api");
    assert_eq!(aud(&[("resource", "https://a.example"), ("actor_token", "ignored")]).await, "orders-api");
    let id = exchange(&iam, &token, &[("requested_token_type", "urn:ietf:params:oauth:token-type:id_token")]).await;
    assert_eq!(id.json()["token_type"], "N_A");
    assert_eq!(claims(&iam, &id)["aud"], "gateway");
}

#[tokio::test]
async fn targets_are_refused_in_keycloaks_words() {
    let iam = iam().await;
    let token = iam.caller_token("alice").unwrap();
    let rows: [Row; 14] = [
        (&[("audience", "payroll-api")], 400, "invalid_request", "Requested audience not available: payroll-api"),
        (&[("audience", "billing-api")], 400, "invalid_request", "Requested audience not available: billing-api"),
        (&[("audience", "gateway")], 400, "invalid_request", "Requested audience not available: gateway"),
        (&[("audience", "demo-app")], 400, "invalid_request", "Requested audience not available: demo-app"),
        (&[("audience", "nobody")], 400, "invalid_client", "Audience not found"),
        (&[("audience", "retired-api")], 400, "invalid_client", "Client disabled"),
        (&[("scope", "nonsense")], 400, "invalid_scope", "Invalid scopes: nonsense"),
        (&[("scope", "ledger")], 400, "invalid_scope", "Missing consents for Token Exchange in client gateway"),
        (&[("scope", "email"), ("scope", "email")], 400, "invalid_request", "duplicated parameter"),
        (&[("subject_token", "x")], 400, "invalid_request", "duplicated parameter"),
        (
            &[("requested_subject", "bob")],
            400,
            "invalid_request",
            "Parameter 'requested_subject' is not supported for standard token exchange",
        ),
        (&[("subject_issuer", "x")], 400, "invalid_request", "Parameter 'subject_issuer' is not supported for standard token exchange"),
        (&[("requested_token_type", "urn:ietf:params:oauth:token-type:jwt")], 400, "invalid_request", "requested_token_type unsupported"),
        (
            &[("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")],
            400,
            "invalid_request",
            "requested_token_type unsupported",
        ),
    ];
    for (more, status, error, description) in rows {
        let got = refused(&exchange(&iam, &token, more).await);
        assert_eq!(got, (status, error.to_owned(), description.to_owned()), "{more:?}");
    }
}

#[tokio::test]
async fn subjects_are_refused_in_keycloaks_words() {
    let iam = iam().await;
    let other = self::iam().await;
    let alice = || iam.caller("alice");
    let logged_out = alice();
    iam.logout(logged_out.sid());
    let constrained = alice().claim("cnf", serde_json::json!({ "jkt": "x" }));
    let whole = alice().token().unwrap();
    let invalid = (400, "invalid_request", "Invalid token");
    let sender =
        (400, "invalid_request", "Sender-constrained token exchange rejected as the token was not issued for the requesting client");
    let outside = (403, "access_denied", "Client is not within the token audience");
    for (token, wanted) in [
        (String::new(), invalid),
        ("garbage".to_owned(), invalid),
        (tampered(&whole), invalid),
        (alice().expires_in(-1).token().unwrap(), invalid),
        (alice().forged().token().unwrap(), invalid),
        (alice().claim("iss", Value::from("https://elsewhere.example")).token().unwrap(), invalid),
        (other.caller_token("alice").unwrap(), invalid),
        (logged_out.token().unwrap(), invalid),
        (constrained.token().unwrap(), sender),
        (alice().audience("orders-api").token().unwrap(), outside),
        (alice().without("aud").token().unwrap(), outside),
    ] {
        let (status, error, description) = wanted;
        assert_eq!(refused(&exchange(&iam, &token, &[]).await), (status, error.to_owned(), description.to_owned()));
    }
    // The client that a token was issued to may exchange it, whoever it is for.
    assert_eq!(exchange(&iam, &alice().audience("x").azp("gateway").token().unwrap(), &[]).await.status, 200);
    assert_eq!(exchange(&iam, &alice().without("sid").token().unwrap(), &[]).await.status, 200);
}

#[tokio::test]
async fn the_gateway_is_refused_in_keycloaks_words() {
    let iam = iam().await;
    iam.edit_client("orders-api", |c| c.enabled = false);
    let token = iam.caller_token("alice").unwrap();
    let subject = [("grant_type", GRANT), ("subject_token", token.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    let ask = async |fields: &[(&str, &str)]| refused(&post(&iam, fields).await);
    let both = "Invalid client or Invalid client credentials";
    let off = "Standard token exchange is not enabled for the requested client";
    let required = "required for standard token exchange";
    let by = |id, secret| [&[("client_id", id), ("client_secret", secret)][..], &subject[..]].concat();
    assert_eq!(ask(&by("gateway", "wrong")).await, (401, "unauthorized_client".into(), both.into()));
    assert_eq!(ask(&by("nobody", "x")).await, (401, "invalid_client".into(), both.into()));
    assert_eq!(ask(&by("orders-api", "orders-secret")).await, (401, "invalid_client".into(), both.into()));
    assert_eq!(ask(&subject).await, (401, "invalid_client".into(), both.into()));
    assert_eq!(ask(&by("no-exchange", "no-exchange-secret")).await, (400, "invalid_request".into(), off.into()));
    let public = [&[("client_id", "demo-app")][..], &subject[..]].concat();
    assert_eq!(ask(&public).await, (400, "invalid_request".into(), off.into()));
    let gateway = [("client_id", "gateway"), ("client_secret", "gateway-secret")];
    let bare = [&gateway[..], &subject[..1]].concat();
    assert_eq!(ask(&bare).await, (400, "invalid_request".into(), format!("Parameter 'subject_token' {required}")));
    let untyped = [&gateway[..], &subject[..2]].concat();
    assert_eq!(ask(&untyped).await, (400, "invalid_request".into(), format!("Parameter 'subject_token_type' {required}")));
    assert_eq!(ask(&gateway).await.1, "invalid_request");
    assert_eq!(ask(&[("grant_type", "implicit")]).await.1, "unsupported_grant_type");
}

#[tokio::test]
async fn basic_and_post_both_work_and_a_user_can_log_in() {
    let iam = iam().await;
    iam.edit_client("gateway", |c| c.secret = Some("a+b:%&=".to_owned()));
    let login = [("grant_type", "password"), ("client_id", "demo-app"), ("username", "alice"), ("password", "alice")];
    let token = post(&iam, &login).await.json()["access_token"].as_str().unwrap().to_owned();
    let fields = [("grant_type", GRANT), ("subject_token", &token), ("subject_token_type", ACCESS_TOKEN)];
    let mut connection = Connection::open(iam.address()).await.unwrap();
    // `gateway:a%2Bb%3A%25%26%3D`, and the same not form-encoded.
    let good = connection.post_form(PATH, &fields, Some("Z2F0ZXdheTphJTJCYiUzQSUyNSUyNiUzRA==")).await.unwrap();
    assert_eq!(good.status, 200);
    assert_eq!(claims(&iam, &good)["sub"], "alice");
    let raw = connection.post_form(PATH, &fields, Some("Z2F0ZXdheTphK2I6JSY9")).await.unwrap();
    assert_eq!(raw.status, 401);
    let wrong = [("grant_type", "password"), ("client_id", "demo-app"), ("username", "alice"), ("password", "x")];
    assert_eq!(refused(&post(&iam, &wrong).await).1, "invalid_grant");
    let service = [("grant_type", "client_credentials"), ("client_id", "gateway"), ("client_secret", "a+b:%&=")];
    assert_eq!(claims(&iam, &post(&iam, &service).await)["sub"], "service-account-gateway");
    let seen = iam.last(Endpoint::Token).unwrap();
    assert_eq!(seen.field("grant_type"), Some("client_credentials"));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn keys_rotate_and_every_algorithm_signs() {
    let iam = iam().await;
    let before = iam.caller_token("alice").unwrap();
    let kid = iam.keys().kid(Algorithm::RS256);
    iam.rotate(OldKeys::Kept).unwrap();
    assert_ne!(iam.keys().kid(Algorithm::RS256), kid);
    assert!(iam.keys().verified(&before).is_some());
    assert_eq!(exchange(&iam, &before, &[]).await.status, 200);
    iam.rotate(OldKeys::Withdrawn).unwrap();
    assert!(iam.keys().verified(&before).is_none());
    assert_eq!(refused(&exchange(&iam, &before, &[]).await).2, "Invalid token");
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256] {
        iam.sign_with(algorithm).unwrap();
        let answer = exchange(&iam, &iam.caller("alice").algorithm(algorithm).token().unwrap(), &[]).await;
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, algorithm);
        assert!(iam.keys().verified(&token).is_some());
    }
    let mut connection = Connection::open(iam.address()).await.unwrap();
    let jwks = connection.get("/realms/demo/protocol/openid-connect/certs", None).await.unwrap().json();
    let uses: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|k| format!("{}{}", k["use"], k["alg"])).collect();
    assert_eq!(uses, ["\"enc\"\"RSA-OAEP\"", "\"sig\"\"RS256\"", "\"sig\"\"ES256\"", "\"sig\"\"EdDSA\"", "\"sig\"\"PS256\""]);
    let discovery = connection.get("/realms/demo/.well-known/openid-configuration", None).await.unwrap().json();
    assert_eq!(discovery["issuer"], iam.issuer());
    assert_eq!(connection.get("/realms/other/protocol/openid-connect/certs", None).await.unwrap().status, 404);
    assert_eq!((iam.requests(Endpoint::Jwks), iam.requests(Endpoint::Discovery)), (1, 1));
}

#[tokio::test]
async fn exchanges_are_counted_and_recorded() {
    let iam = iam().await;
    let (alice, bob) = (iam.caller_token("alice").unwrap(), iam.caller_token("bob").unwrap());
    exchange(&iam, &alice, &[("audience", "orders-api")]).await;
    exchange(&iam, &alice, &[("audience", "payroll-api")]).await;
    exchange(&iam, &bob, &[]).await;
    iam.script(Endpoint::Token, Misbehave::status(StatusCode::SERVICE_UNAVAILABLE));
    exchange(&iam, &bob, &[]).await;
    assert_eq!((iam.exchanges(), iam.exchanges_of("alice"), iam.exchanges_of("bob"), iam.exchanges_of("eve")), (4, 2, 2, 0));
    let record = iam.record();
    assert_eq!(record.len(), 3);
    assert_eq!(record[1].refused.as_ref().unwrap().description, "Requested audience not available: payroll-api");
    assert_eq!((record[0].sub.as_deref(), record[0].audiences.as_slice()), (Some("alice"), &["orders-api".to_owned()][..]));
}

#[tokio::test]
async fn it_misbehaves_as_told_and_then_behaves() {
    let iam = iam().await;
    let token = iam.caller_token("alice").unwrap();
    let told = async |misbehave: Misbehave| {
        iam.script(Endpoint::Token, misbehave);
        exchange(&iam, &token, &[]).await
    };
    let retry = Misbehave::status(StatusCode::TOO_MANY_REQUESTS).with(header::RETRY_AFTER, HeaderValue::from_static("7"));
    assert_eq!(told(retry).await.headers[header::RETRY_AFTER], "7");
    let moved = told(Misbehave::redirect(HeaderValue::from_static("http://127.0.0.1:1/"))).await;
    assert_eq!((moved.status.as_u16(), &moved.headers[header::LOCATION]), (302, &HeaderValue::from_static("http://127.0.0.1:1/")));
    assert_eq!(told(Misbehave::answer(StatusCode::OK, "application/json", "{")).await.body, "{");
    assert_eq!(told(Misbehave::content_type(HeaderValue::from_static("text/html"))).await.headers[header::CONTENT_TYPE], "text/html");
    assert_eq!(told(Misbehave::Huge(70_000)).await.body.len(), 70_000);
    assert_eq!(told(Misbehave::member("expires_in", None)).await.json().get("expires_in"), None);
    assert_eq!(told(Misbehave::member("expires_in", Some((-103).into()))).await.json()["expires_in"], -103);
    assert_eq!(claims(&iam, &told(Misbehave::claim("aud", Some("payroll-api".into()))).await)["aud"], "payroll-api");
    assert_eq!(claims(&iam, &told(Misbehave::claim("sub", Some("mallory".into()))).await)["sub"], "mallory");
    assert_eq!(told(Misbehave::Drip(Duration::from_micros(10))).await.status, 200);
    iam.script_always(Endpoint::Token, Misbehave::status(StatusCode::BAD_GATEWAY));
    assert_eq!(exchange(&iam, &token, &[]).await.status, 502);
    assert_eq!(exchange(&iam, &token, &[]).await.status, 502);
    iam.behave();
    assert_eq!(exchange(&iam, &token, &[]).await.status, 200);
}

#[tokio::test]
async fn it_holds_back_breaks_off_goes_down_and_comes_back() {
    let iam = iam().await;
    let gate = Gate::new();
    iam.script(Endpoint::Jwks, Misbehave::Delay(gate.clone()));
    let get = || {
        let address = iam.address();
        async move { Connection::open(address).await?.get("/realms/demo/protocol/openid-connect/certs", None).await }
    };
    let held = tokio::spawn(get());
    gate.reached(1).await;
    assert!(!held.is_finished());
    gate.open();
    assert_eq!(held.await.unwrap().unwrap().status, 200);
    for broken in [Misbehave::Reset, Misbehave::ResetMidBody] {
        iam.script(Endpoint::Jwks, broken);
        let error = format!("{:#}", get().await.unwrap_err());
        assert!(!error.contains("no answer"), "{error}");
    }
    iam.script(Endpoint::Jwks, Misbehave::Hang);
    let hung = tokio::spawn(get());
    iam.down().await;
    assert!(hung.await.unwrap().is_err());
    assert!(get().await.unwrap_err().to_string().contains("cannot connect"));
    iam.up().unwrap();
    iam.behave();
    assert_eq!(get().await.unwrap().status, 200);
}

#[tokio::test]
async fn it_serves_loopback_only_and_follows_a_turned_clock() {
    let mut settings = Settings::anywhere();
    settings.address.set_ip([0, 0, 0, 0].into());
    assert!(Iam::start(settings).await.err().unwrap().to_string().contains("not a loopback"));
    let clock = Clock::turned();
    let iam = Iam::start(Settings { clock: clock.clone(), ..Settings::anywhere() }).await.unwrap();
    let token = iam.caller_token("alice").unwrap();
    assert_eq!(exchange(&iam, &token, &[]).await.status, 200);
    clock.turn(Duration::from_secs(601));
    assert_eq!(refused(&exchange(&iam, &token, &[]).await).2, "Invalid token");
    let answer = exchange(&iam, &iam.caller_token("alice").unwrap(), &[]).await;
    assert!(claims(&iam, &answer)["exp"].as_u64().unwrap() >= clock.unix() + 299);
    iam.logout("alice");
    assert_eq!(refused(&exchange(&iam, &token, &[]).await).2, "Invalid token");
}
