//! The tables, row by row, with the literal texts of Keycloak (its sources, and what 26.7.3 answered) and of the standards.

use super::*;
use crate::issuer::Reply;
use std::time::Duration;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, content_type: None, body: body.to_owned().into() }
}

fn said(profile: Profile, status: u16, error: &str, description: &str) -> Fault {
    let body = serde_json::json!({"error": error, "error_description": description}).to_string();
    fault(profile, &reply(status, &body), str::to_owned)
}

#[test]
fn keycloak_row_by_row() {
    let rows = [
        (400, "invalid_request", "Invalid token", "invalid_token", ""),
        (403, "access_denied", "Client is not within the token audience", "target_refused", "mapper of the type Audience"),
        (400, "invalid_client", "Audience not found", "misconfigured", "route's audience"),
        (400, "invalid_client", "Client disabled", "misconfigured", "enable it"),
        (400, "invalid_request", "Requested audience not available: billing-api", "target_refused", "route's scopes"),
        (
            400,
            "invalid_request",
            "Standard token exchange is not enabled for the requested client",
            "misconfigured",
            "Standard token exchange",
        ),
        (400, "invalid_client", "Public client is not allowed to exchange token", "misconfigured", "Client authentication"),
        (400, "invalid_scope", "Invalid scopes: openid bogus", "target_refused", "optional client scopes"),
        (400, "invalid_scope", "Missing consents for Token Exchange in client gateway", "target_refused", "Consent required"),
        (401, "unauthorized_client", "Invalid client or Invalid client credentials", "misconfigured", "client_secret"),
        (401, "invalid_client", "Invalid client or Invalid client credentials", "misconfigured", "client_secret"),
        (400, "invalid_client", "Invalid client or Invalid client credentials", "misconfigured", "client_secret"),
        (400, "invalid_client", "Token reuse detected", "misconfigured", "client_secret"),
        (400, "invalid_request", "duplicated parameter", "misconfigured", "form"),
        (400, "invalid_request", "requested_token_type unsupported", "misconfigured", "access_token"),
        (400, "invalid_request", "Parameter 'requested_subject' is not supported for standard token exchange", "misconfigured", "form"),
        (400, "invalid_request", "Parameter 'subject_token_type' required for standard token exchange", "misconfigured", "form"),
        (400, "invalid_request", "Parameter 'subject_token' required for standard token exchange", "misconfigured", "form"),
        (
            400,
            "invalid_request",
            "Sender-constrained token exchange rejected as the token was not issued for the requesting client",
            "invalid_token",
            "bearer tokens",
        ),
        (400, "invalid_request", "something new", "misconfigured", "words"),
        (400, "something_new", "", "misconfigured", "words"),
        (400, "unsupported_grant_type", "Unsupported grant_type", "misconfigured", "26.2"),
        (400, "invalid_grant", "Session not active", "invalid_token", ""),
        (401, "invalid_grant", "Invalid token", "misconfigured", "client_secret"),
        (401, "invalid_request", "Invalid token", "misconfigured", "client_secret"),
    ];
    for (status, error, description, code, cure) in rows {
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
            assert_eq!(fault(Profile::Keycloak, &reply(status, body), str::to_owned).code(), code, "{status} {body}");
        }
    }
    for status in [429, 503] {
        let words = r#"{"error":"invalid_grant","error_description":"no"}"#;
        let later = Reply { retry_after: Some(Duration::from_secs(9)), ..reply(status, words) };
        let fault = fault(Profile::Keycloak, &later, str::to_owned);
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
