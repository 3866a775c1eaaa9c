//! What an IAM says when it refuses, with everything in it that it was sent, and answers that hold a token but cannot be used.

use crate::stage::Stage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cambist::demo::iam::{ACCESS_TOKEN, Endpoint};
use cambist::demo::misbehave::Misbehave;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use url::form_urlencoded::byte_serialize;

const OPAQUE: &str = "C4nOpaqueTokenThatIsNeverUsed7f3a";

pub async fn refused(stage: &Stage<'_>) {
    stage.aviary.plant("a token in an answer that is refused", OPAQUE);
    for misbehave in echoes(stage).into_iter().chain(unusable()) {
        // A caller of its own each: nothing is remembered of the one before.
        let token = stage.token("C4nSubject");
        stage.running.world.iam.script(Endpoint::Token, misbehave.clone());
        let (status, code) = stage.get("/orders", &token).await;
        assert!(status >= 400 && !code.is_empty(), "{misbehave:?}: {status} {code}");
    }
    // Echoes of the very token that was sent, which nobody knows before.
    for status in [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::BAD_GATEWAY] {
        let token = stage.token("C4nSubject");
        let words = format!("Invalid token: {token} (Bearer {token}), of 'subject_token={token}&x=y'");
        for error in ["invalid_request", "access_denied", token.as_str()] {
            stage.running.world.iam.script(Endpoint::Token, Misbehave::refusal(status, error, &words));
            assert!(!stage.get("/orders", &token).await.1.is_empty());
        }
    }
}

/// Refusals with what only we and the IAM may know.
fn echoes(stage: &Stage<'_>) -> Vec<Misbehave> {
    let secret = stage.given.secret();
    let encoded: String = byte_serialize(secret.as_bytes()).collect();
    let percent: String =
        secret.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).into() } else { format!("%{b:02x}") }).collect();
    let basic = STANDARD.encode(format!("gateway:{encoded}"));
    let refusal = |words: String| Misbehave::refusal(StatusCode::UNAUTHORIZED, "invalid_client", &words);
    vec![
        refusal(format!("the secret {secret} is wrong")),
        refusal(format!("client_id=gateway&client_secret={encoded}")),
        refusal(format!("client_secret {percent}")),
        refusal(format!("Authorization: Basic {basic}")),
        refusal(format!("got \"{}\"", STANDARD.encode(&secret))),
        refusal(format!("gateway:{secret}")),
        Misbehave::refusal(StatusCode::BAD_REQUEST, &secret, "x"),
        Misbehave::answer(StatusCode::INTERNAL_SERVER_ERROR, "text/html", format!("<h1>{secret}</h1>{OPAQUE}")),
    ]
}

/// Answers that hold a token and are good for nothing.
fn unusable() -> Vec<Misbehave> {
    let good = json!({ "access_token": OPAQUE, "token_type": "Bearer", "issued_token_type": ACCESS_TOKEN, "expires_in": 60 });
    let with = |name: &str, value: serde_json::Value| {
        let mut fields = good.clone();
        fields[name] = value;
        Misbehave::answer(StatusCode::OK, "application/json", fields.to_string())
    };
    let text = |kind, body: String| Misbehave::answer(StatusCode::OK, kind, body);
    let location = HeaderValue::try_from(format!("http://127.0.0.1:1/?access_token={OPAQUE}#{OPAQUE}")).unwrap();
    vec![
        with("token_type", json!(OPAQUE)),
        with("issued_token_type", json!(OPAQUE)),
        with("expires_in", json!(OPAQUE)),
        with("expires_in", json!(-1)),
        with("access_token", json!(format!("{OPAQUE} and more"))),
        with("access_token", json!([OPAQUE])),
        with("access_token", json!(OPAQUE.repeat(600))),
        with("access_token", json!(format!("eyJ{OPAQUE}.{OPAQUE}.{OPAQUE}"))),
        text("application/json", format!("{{\"access_token\":\"{OPAQUE}\",\"access_token\":\"{OPAQUE}\"}}")),
        text("application/json", format!("{{\"{OPAQUE}\":1,\"{OPAQUE}\":2}}")),
        text("application/json", format!("[\"{OPAQUE}\"]")),
        text("application/json", format!("{{\"access_token\": \"{OPAQUE}")),
        text("text/html", format!("<p>{OPAQUE}</p>")),
        text("application/json", format!("\"{}\"", OPAQUE.repeat(4000))),
        Misbehave::redirect(location.clone()),
        Misbehave::answer(
            StatusCode::FOUND,
            "application/json",
            json!({ "error": "moved", "error_description": OPAQUE.repeat(3) }).to_string(),
        )
        .with(header::LOCATION, location),
        Misbehave::claim("aud", Some(json!("payroll-api"))),
        Misbehave::claim("sub", Some(json!("service-account-gateway"))),
        Misbehave::claim("sub", None),
        Misbehave::claim("exp", Some(json!("soon"))),
        Misbehave::ResetMidBody,
        Misbehave::status(StatusCode::SERVICE_UNAVAILABLE).with(header::RETRY_AFTER, HeaderValue::try_from(OPAQUE).unwrap()),
    ]
}
