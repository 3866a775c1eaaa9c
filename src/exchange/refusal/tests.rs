//! The tables, row by row, with the literal texts of Keycloak (its sources, and what 26.7.3 answered) and of the standards.

use super::*;
use crate::issuer::Reply;
use std::time::Duration;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, content_type: None, date: None, body: body.to_owned().into() }
}

fn said(profile: Profile, status: u16, error: &str, description: &str) -> Fault {
    let body = serde_json::json!({"error": error, "error_description": description}).to_string();
    fault(profile, Grant::TokenExchange, &reply(status, &body), str::to_owned)
}

/// Status, `error` and description; the code that they become; and a word of the cure.
const OF_KEYCLOAK: &[(u16, &str, &str, &str, &str)] = &[
    (400, "invalid_request", "Invalid token", "invalid_token", ""),
    (403, "access_denied", "Client is not within the token audience", "target_refused", "mapper of the type Audience"),
    (400, "invalid_client", "Audience not found", "misconfigured", "route's audience"),
    (400, "invalid_client", "Client disabled", "misconfigured", "enable it"),
    (
        400,
        "invalid_client",
        "Client authentication with signed JWT failed: Signature on JWT token failed validation",
        "misconfigured",
        "public half",
    ),
    (400, "invalid_client", "Token is not active", "misconfigured", "clocks"),
    (400, "invalid_client", "Token reuse detected", "misconfigured", "sends requests twice"),
    (400, "invalid_client", "Invalid token audience", "misconfigured", "issuer's url"),
    (400, "invalid_client", "Multiple audiences not allowed", "misconfigured", "issuer's url alone"),
    (400, "invalid_request", "Requested audience not available: billing-api", "target_refused", "route's scopes"),
    (400, "invalid_request", "Standard token exchange is not enabled for the requested client", "misconfigured", "Standard token exchange"),
    (400, "invalid_client", "Public client is not allowed to exchange token", "misconfigured", "Client authentication"),
    (400, "invalid_scope", "Invalid scopes: openid bogus", "target_refused", "optional client scopes"),
    (400, "invalid_scope", "Missing consents for Token Exchange in client gateway", "target_refused", "Consent required"),
    (401, "unauthorized_client", "Invalid client or Invalid client credentials", "misconfigured", "client_secret"),
    (401, "invalid_client", "Invalid client or Invalid client credentials", "misconfigured", "client_secret"),
    (400, "invalid_client", "Invalid client or Invalid client credentials", "misconfigured", "client_secret"),
    (400, "invalid_request", "duplicated parameter", "misconfigured", "form"),
    (400, "invalid_request", "requested_token_type unsupported", "misconfigured", "access_token"),
    (400, "invalid_request", "Parameter 'requested_subject' is not supported for standard token exchange", "misconfigured", "extra_params"),
    (400, "invalid_request", "Parameter 'subject_issuer' is not supported for standard token exchange", "misconfigured", "extra_params"),
    (400, "invalid_request", "Parameter 'subject_token' supports access tokens only", "misconfigured", "subject_token_type"),
    (400, "invalid_request", "Parameter 'subject_token_type' required for standard token exchange", "misconfigured", "form"),
    (400, "invalid_request", "Parameter 'subject_token' required for standard token exchange", "misconfigured", "form"),
    (
        400,
        "invalid_request",
        "Sender-constrained token exchange rejected as the token was not issued for the requesting client",
        "invalid_token",
        "bearer tokens",
    ),
    (404, "Realm does not exist", "", "misconfigured", "name of the realm"),
    (404, "Unable to find matching target resource method", "", "misconfigured", "token_endpoint"),
    (405, "HTTP 405 Method Not Allowed", "", "misconfigured", "token_endpoint"),
    (404, "not_found", "no such page", "misconfigured", "token_endpoint"),
    (403, "access_denied", "Realm not enabled", "misconfigured", "Enabled"),
    (403, "access_denied", "the policy says no", "target_refused", ""),
    (403, "invalid_request", "HTTPS required", "misconfigured", "Require SSL"),
    (400, "invalid_request", "DPoP proof is missing", "misconfigured", "Require DPoP bound tokens"),
    (400, "invalid_client", "Parameter client_assertion_type is missing", "misconfigured", "Client Authenticator"),
    (400, "invalid_client", "Missing client_id parameter", "misconfigured", "Client Authenticator"),
    (400, "invalid_client", "Bearer-only not allowed", "misconfigured", "bearerOnly"),
    (400, "invalid_client", "Wrong client protocol.", "misconfigured", "OpenID Connect"),
    (400, "invalid_request", "Requested audience not available: billing-api", "target_refused", "lightweight"),
    (400, "Invalid Request", "", "misconfigured", "token_endpoint"),
    (400, "invalid_request", "something new", "misconfigured", "words"),
    (400, "something_new", "", "misconfigured", "words"),
    (400, "unsupported_grant_type", "Unsupported grant_type", "misconfigured", "26.2"),
    (400, "invalid_grant", "Session not active", "invalid_token", ""),
    (401, "invalid_grant", "Invalid token", "misconfigured", "client_secret"),
    (401, "invalid_request", "Invalid token", "misconfigured", "client_secret"),
];

#[test]
fn keycloak_row_by_row() {
    for &(status, error, description, code, cure) in OF_KEYCLOAK {
        let fault = said(Profile::Keycloak, status, error, description);
        let why = fault.why().unwrap();
        assert_eq!(fault.code(), code, "{error}: {description}");
        assert!(why.cure.as_deref().unwrap_or_default().contains(cure), "{description}: {why:?}");
        let words = if description.is_empty() { error.to_owned() } else { format!("{error}: {description}") };
        assert_eq!(why.issuer_words.as_deref(), Some(words.as_str()));
    }
}

#[test]
fn plain_rfc_8693_row_by_row() {
    let rows = [
        (400, "invalid_grant", "invalid_token"),
        (400, "invalid_target", "target_refused"),
        (400, "invalid_scope", "target_refused"),
        (403, "access_denied", "target_refused"),
        (401, "invalid_client", "misconfigured"),
        (400, "invalid_client", "misconfigured"),
        (400, "unauthorized_client", "misconfigured"),
        (400, "unsupported_grant_type", "misconfigured"),
        (400, "invalid_request", "misconfigured"),
        (400, "temporarily_unavailable", "issuer_unavailable"),
        (400, "server_error", "bad_issuer_answer"),
        (400, "what_is_this", "misconfigured"),
    ];
    for (status, error, code) in rows {
        let fault = said(Profile::Rfc8693, status, error, "words");
        assert_eq!((fault.code(), fault.why().unwrap().issuer_words.as_deref()), (code, Some(&*format!("{error}: words"))));
    }
    assert_eq!(
        said(Profile::Rfc8693, 400, "invalid_request", "Invalid token").code(),
        "misconfigured",
        "Keycloak's words mean nothing here"
    );
}

#[test]
fn by_status_where_there_are_no_words() {
    for (status, code) in [
        (429, "issuer_unavailable"),
        (503, "issuer_unavailable"),
        (500, "bad_issuer_answer"),
        (502, "bad_issuer_answer"),
        (504, "bad_issuer_answer"),
        (204, "bad_issuer_answer"),
        (302, "bad_issuer_answer"),
        (400, "bad_issuer_answer"),
        (401, "misconfigured"),
        (404, "bad_issuer_answer"),
    ] {
        for body in ["", "<html>", "[]", "{}", r#"{"error":1}"#, r#"{"error":"invalid_grant","error":"x"}"#] {
            assert_eq!(fault(Profile::Keycloak, Grant::TokenExchange, &reply(status, body), str::to_owned).code(), code, "{status} {body}");
        }
    }
    for status in [429, 503] {
        let words = r#"{"error":"invalid_grant","error_description":"no"}"#;
        let later = Reply { retry_after: Some(Duration::from_secs(9)), ..reply(status, words) };
        let fault = fault(Profile::Keycloak, Grant::TokenExchange, &later, str::to_owned);
        assert!(matches!(&fault, Fault::IssuerUnavailable { retry_after: Some(t), .. } if t.as_secs() == 9), "{fault:?}");
    }
    assert_eq!(said(Profile::Keycloak, 500, "invalid_grant", "").code(), "bad_issuer_answer", "a broken IAM kills no session");
}

#[test]
fn a_refusal_says_whom_else_it_concerns() {
    let rows = [
        (400, "invalid_request", "Invalid token", Reach::Subject),
        (400, "invalid_grant", "Session not active", Reach::Subject),
        (400, "invalid_request", "Requested audience not available: billing-api", Reach::Target),
        (400, "invalid_client", "Audience not found", Reach::Target),
        (400, "invalid_client", "Client disabled", Reach::Target),
        (401, "unauthorized_client", "Invalid client or Invalid client credentials", Reach::Client),
        (401, "invalid_client", "Audience not found", Reach::Client),
        (401, "invalid_grant", "Invalid token", Reach::Client),
        (401, "", "", Reach::Client),
        (403, "access_denied", "Realm not enabled", Reach::Request),
        (404, "Realm does not exist", "", Reach::Request),
        (400, "invalid_request", "Standard token exchange is not enabled for the requested client", Reach::Request),
        (400, "something_new", "", Reach::Request),
        (429, "temporarily_unavailable", "", Reach::Request),
        (503, "invalid_request", "Invalid token", Reach::Request),
        (500, "invalid_grant", "", Reach::Request),
    ];
    for (status, error, description, reach) in rows {
        assert_eq!(said(Profile::Keycloak, status, error, description).reach(), reach, "{status} {error}: {description}");
    }
}

#[test]
fn entra_goes_by_error_and_claims_alone() {
    let of = |status, body: serde_json::Value| fault(Profile::EntraObo, Grant::JwtBearer, &reply(status, &body.to_string()), str::to_owned);
    let said = |error: &str| serde_json::json!({"error": error, "error_description": "AADSTS50076: whatever", "suberror": "basic_action"});
    for (error, code) in [
        ("interaction_required", "interaction_required"),
        ("login_required", "interaction_required"),
        ("consent_required", "interaction_required"),
        ("invalid_grant", "invalid_token"),
        ("invalid_scope", "target_refused"),
        ("invalid_resource", "misconfigured"),
        ("invalid_client", "misconfigured"),
    ] {
        assert_eq!(of(400, said(error)).code(), code, "{error}");
    }
    let with = |claims: serde_json::Value| {
        let mut body = said("invalid_grant");
        body["claims"] = claims;
        body
    };
    let challenged = |body| match of(400, body) {
        Fault::InteractionRequired { claims, why } => (claims, why.0.issuer_words.clone().unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(challenged(with("{\"a\":1}".into())), (Some("eyJhIjoxfQ==".into()), "invalid_grant: AADSTS50076: whatever".into()));
    assert_eq!(challenged(with("x".repeat(5000).into())).0, None, "too long for a header");
    assert_eq!(of(400, with("".into())).code(), "invalid_token");
    assert_eq!(of(400, with(serde_json::json!({"a": 1}))).code(), "invalid_token", "claims are text");
    assert_eq!(of(401, with("{}".into())).code(), "misconfigured", "a 401 is about us");
    let body = with("{}".into()).to_string();
    assert_eq!(fault(Profile::Keycloak, Grant::TokenExchange, &reply(400, &body), str::to_owned).code(), "invalid_token", "Entra's alone");
}

#[test]
fn where_no_callers_token_was_sent_no_caller_is_to_blame() {
    let of = |profile, status, error: &str| {
        let body = serde_json::json!({"error": error, "claims": "{}"}).to_string();
        fault(profile, Grant::ClientCredentials, &reply(status, &body), str::to_owned)
    };
    for profile in [Profile::Keycloak, Profile::Rfc8693, Profile::EntraObo] {
        for error in ["invalid_grant", "invalid_scope", "invalid_target", "access_denied", "interaction_required", "unauthorized_client"] {
            let fault = of(profile, 400, error);
            assert_eq!(fault.code(), "misconfigured", "{profile:?} {error}");
            assert!(fault.why().unwrap().cure.is_some());
        }
        assert_eq!(of(profile, 503, "x").code(), "issuer_unavailable");
        assert_eq!(of(profile, 500, "x").code(), "bad_issuer_answer");
    }
}

#[test]
fn each_row_has_an_anchor_of_its_own_on_the_page_of_errors() {
    let page = include_str!("../../../docs/errors.md");
    let anchors: Vec<&str> = page.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for anchor in [KEYCLOAK, ENTRA, STANDARDS].into_iter().flatten().map(|row| row.anchor) {
        assert_eq!(anchors.iter().filter(|known| **known == anchor).count(), 1, "{anchor}");
    }
    let rows: Vec<&str> = [KEYCLOAK, ENTRA, STANDARDS].into_iter().flatten().map(|row| row.anchor).collect();
    let elsewhere = ["keycloak-full", "issuer-no-endpoint", "issuer-401", "issuer-own-token"];
    for anchor in anchors.iter().filter(|a| ["keycloak-", "entra-", "issuer-"].iter().any(|kind| a.starts_with(kind))) {
        assert!(rows.contains(anchor) || elsewhere.contains(anchor), "{anchor} is no row's");
    }
    let docs = |fault: Fault| fault.docs();
    assert_eq!(docs(said(Profile::Keycloak, 400, "invalid_client", "Audience not found")), "docs/errors.md#keycloak-audience-not-found");
    assert_eq!(docs(said(Profile::Keycloak, 503, "", "")), "docs/errors.md#keycloak-full");
    assert_eq!(docs(said(Profile::Rfc8693, 404, "Not Found", "")), "docs/errors.md#issuer-no-endpoint");
    assert_eq!(docs(said(Profile::Rfc8693, 401, "invalid_grant", "")), "docs/errors.md#issuer-401");
    assert_eq!(docs(said(Profile::Keycloak, 400, "something_new", "")), "docs/errors.md#misconfigured");
}

#[test]
fn what_an_operator_did_is_never_the_callers_doing() {
    for (profile, status, error, description, anchor) in [
        (
            Profile::Keycloak,
            401,
            "unauthorized_client",
            "Invalid method used to get client secret. Client requires method 'client_secret_post'",
            "secret-method",
        ),
        (Profile::Keycloak, 400, "unauthorized_client", "Client authentication with client secret signed JWT failed: x", "secret-jwt"),
        (Profile::Keycloak, 400, "invalid_client", "Invalid signature algorithm", "signature-algorithm"),
        (Profile::Keycloak, 400, "invalid_request", "User 'service-account-gateway' disabled", "service-account-disabled"),
        (Profile::Keycloak, 400, "invalid_request", "Token not provided", "other-endpoint"),
        (Profile::EntraObo, 400, "invalid_grant", "JWT Authorization Grant is not supported for the requested client", "is-keycloak"),
    ] {
        let fault = said(profile, status, error, description);
        assert_eq!((fault.code(), fault.anchor().split_once('-').unwrap().1), ("misconfigured", anchor));
        assert!(fault.why().unwrap().cure.is_some() && fault.reach() != Reach::Subject, "{anchor}");
    }
}
