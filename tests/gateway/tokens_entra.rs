//! Profile `entra_obo`: on behalf of the caller, asked by scopes, judged by who the user is in the tenant; and the claims challenge
//! that the caller has to answer.

use crate::kit::{Running, World, said};
use base64::Engine;
use cambist::demo::iam::{Endpoint, JWT_BEARER};
use cambist::demo::misbehave::Misbehave;
use http::{HeaderValue, StatusCode};
use serde_json::json;

const ISSUER: &str = "issuers: { main: { url: \"IAM\", profile: entra_obo, client_id: gateway, client_secret: gateway-secret, \
                      token_endpoint_auth_method: client_secret_post } }";
const ROUTES: &str = "\n  orders: { upstream: OPEN, scopes: [\"api://orders/.default\"], expect_audience: \"api://orders\" }\n";
const CLAIMS: &str = r#"{"access_token":{"polids":{"essential":true,"values":["a1"]}}}"#;

async fn entra() -> Running {
    World::new().await.gateway(ROUTES, ISSUER).await
}

impl Running {
    fn user(&self, oid: &str) -> String {
        self.world.iam.caller(oid).claim("oid", json!(oid)).claim("tid", json!("tenant-1")).token().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_the_same_though_sub_is_another() {
    let g = entra().await;
    let token = g.user("ada");
    for _ in 0..2 {
        assert_eq!(g.get("/", &token).await.status, 200, "{:?}", g.gateway.failures());
    }
    let seen = g.world.open.last().unwrap();
    assert_eq!((seen.claim("oid"), seen.claim("aud"), seen.claim("sub")), (Some("ada"), Some("api://orders"), Some("ada-in-api://orders")));
    assert_eq!(g.world.iam.requests(Endpoint::Token), 1);
    let form = g.world.iam.last(Endpoint::Token).unwrap();
    for (name, value) in [
        ("grant_type", Some(JWT_BEARER)),
        ("assertion", Some(&*token)),
        ("requested_token_use", Some("on_behalf_of")),
        ("scope", Some("api://orders/.default")),
        ("client_id", Some("gateway")),
        ("audience", None),
        ("subject_token", None),
        ("requested_token_type", None),
    ] {
        assert_eq!(form.field(name), value, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_another_user_tenant_or_resource_is_not_used() {
    let g = entra().await;
    for (name, value) in [
        ("oid", Some(json!("eve"))),
        ("oid", None),
        ("tid", Some(json!("tenant-2"))),
        ("tid", None),
        ("aud", Some(json!("api://stock"))),
        ("aud", None),
    ] {
        g.world.iam.script(Endpoint::Token, Misbehave::claim(name, value.clone()));
        assert_eq!(said(&g.get("/", &g.user("ada")).await), (502, "bad_issuer_answer".into()), "{name} {value:?}");
    }
    // Who the caller is, is not known: then it cannot be compared either.
    assert_eq!(said(&g.get("/", &g.token("ada")).await), (502, "bad_issuer_answer".into()));
    assert_eq!(g.world.open.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claims_challenge_reaches_the_caller_and_entras_words_do_not() {
    let g = entra().await;
    let base64 = base64::prelude::BASE64_STANDARD.encode(CLAIMS);
    let with_claims = |error: &str| json!({"error": error, "error_description": "AADSTS50076: MFA", "claims": CLAIMS});
    let cases = [
        (with_claims("interaction_required"), format!("Bearer realm=\"cambist\", error=\"insufficient_claims\", claims=\"{base64}\"")),
        (with_claims("invalid_grant"), format!("Bearer realm=\"cambist\", error=\"insufficient_claims\", claims=\"{base64}\"")),
        (
            json!({"error": "interaction_required", "error_description": "AADSTS1"}),
            "Bearer realm=\"cambist\", error=\"interaction_required\"".into(),
        ),
        (json!({"error": "consent_required"}), "Bearer realm=\"cambist\", error=\"interaction_required\"".into()),
    ];
    for (body, challenge) in cases {
        g.world.iam.script(Endpoint::Token, Misbehave::answer(StatusCode::BAD_REQUEST, "application/json", body.to_string()));
        let answer = g.get("/", &g.user("ada")).await;
        assert_eq!(said(&answer), (401, "interaction_required".into()), "{body}");
        assert_eq!(answer.headers["www-authenticate"], challenge);
        assert!(!String::from_utf8_lossy(&answer.body).contains("AADSTS"));
    }
    assert!(g.gateway.failures().iter().any(|f| f.issuer_words.as_deref().is_some_and(|w| w.contains("AADSTS50076"))));
    assert_eq!(g.world.open.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entras_other_refusals() {
    let refusal = |status: u16, error| Misbehave::refusal(StatusCode::from_u16(status).unwrap(), error, "AADSTS65001: whatever");
    let cases = [
        (refusal(400, "invalid_grant"), 401, "invalid_token"),
        (refusal(400, "invalid_resource"), 500, "misconfigured"),
        (refusal(400, "unauthorized_client"), 500, "misconfigured"),
        (refusal(401, "invalid_client"), 500, "misconfigured"),
        (refusal(400, "invalid_scope"), 403, "target_refused"),
        (refusal(400, "something_new"), 500, "misconfigured"),
        (refusal(429, "temporarily_unavailable").with(http::header::RETRY_AFTER, HeaderValue::from_static("7")), 503, "issuer_unavailable"),
    ];
    for (misbehave, status, code) in cases {
        let g = entra().await;
        g.world.iam.script(Endpoint::Token, misbehave);
        let answer = g.get("/", &g.user("ada")).await;
        assert_eq!(said(&answer), (status, code.into()));
        if status == 503 {
            let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((7..=60).contains(&after), "{after}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extra_parameters_go_along_and_the_routes_win() {
    let issuer = ISSUER.replace("profile: entra_obo", "extra_params: { tenant: acme, level: \"1\" }");
    let routes = "\n  orders: { upstream: ORDERS, audience: orders-api, extra_params: { level: \"2\" } }\n";
    let g = World::new().await.gateway(routes, &issuer).await;
    assert_eq!(g.get("/", &g.token("ada")).await.status, 200);
    let form = g.world.iam.last(Endpoint::Token).unwrap();
    assert_eq!((form.field("tenant"), form.field("level")), (Some("acme"), Some("2")));
    assert_eq!(form.form.iter().filter(|(name, _)| name == "level").count(), 1);
}
