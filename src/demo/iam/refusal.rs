//! Keycloak's refusals, word for word as 26.7.3 gives them at the token endpoint. The table is the whole of it: who is refused,
//! and when, is decided elsewhere.

use crate::demo::serve::{Body, full};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// An OAuth error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub error: &'static str,
    pub description: String,
}

impl Refusal {
    pub(super) fn unknown_client() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "Invalid client or Invalid client credentials")
    }

    pub(super) fn wrong_secret() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized_client", "Invalid client or Invalid client credentials")
    }

    /// What is wrong with a client's assertion: Keycloak says 400 here, where a wrong secret is a 401.
    pub(super) fn assertion(description: &str) -> Self {
        Self::bad("invalid_client", description)
    }

    pub(super) fn no_grant_type() -> Self {
        Self::request("Missing form parameter: grant_type")
    }

    pub(super) fn unsupported_grant_type() -> Self {
        Self::bad("unsupported_grant_type", "Unsupported grant_type")
    }

    pub(super) fn duplicated() -> Self {
        Self::request("duplicated parameter")
    }

    pub(super) fn bad_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_grant", "Invalid user credentials")
    }

    pub(super) fn no_service_account() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized_client", "Public client not allowed to retrieve service account")
    }

    pub(super) fn switch_off() -> Self {
        Self::request("Standard token exchange is not enabled for the requested client")
    }

    pub(super) fn unsupported_parameter(name: &str) -> Self {
        Self::request(format!("Parameter '{name}' is not supported for standard token exchange"))
    }

    pub(super) fn required_parameter(name: &str) -> Self {
        Self::request(format!("Parameter '{name}' required for standard token exchange"))
    }

    pub(super) fn subject_type() -> Self {
        Self::request("Parameter 'subject_token' supports access tokens only")
    }

    pub(super) fn invalid_token() -> Self {
        Self::request("Invalid token")
    }

    pub(super) fn sender_constrained() -> Self {
        Self::request("Sender-constrained token exchange rejected as the token was not issued for the requesting client")
    }

    pub(super) fn requested_type() -> Self {
        Self::request("requested_token_type unsupported")
    }

    pub(super) fn audience_not_found() -> Self {
        Self::bad("invalid_client", "Audience not found")
    }

    pub(super) fn client_disabled() -> Self {
        Self::bad("invalid_client", "Client disabled")
    }

    pub(super) fn not_in_audience() -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", "Client is not within the token audience")
    }

    pub(super) fn invalid_scopes(scope: &str) -> Self {
        Self::bad("invalid_scope", format!("Invalid scopes: {scope}"))
    }

    pub(super) fn missing_consents(client: &str) -> Self {
        Self::bad("invalid_scope", format!("Missing consents for Token Exchange in client {client}"))
    }

    pub(super) fn audience_not_available(audiences: &[&str]) -> Self {
        Self::request(format!("Requested audience not available: {}", audiences.join(", ")))
    }

    /// Auth0's words.
    pub(super) fn no_audience() -> Self {
        let words = "No audience parameter was provided, and no default audience has been configured";
        Self::new(StatusCode::FORBIDDEN, "access_denied", words)
    }

    /// Entra's codes, with a number that is not to be relied on.
    pub(super) fn entra(error: &'static str, description: &str) -> Self {
        Self::bad(error, description)
    }

    fn request(description: impl Into<String>) -> Self {
        Self::bad("invalid_request", description)
    }

    fn bad(error: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, description)
    }

    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into() }
    }
}

/// A token endpoint's answer, granted or refused.
pub(super) fn answer(outcome: &Result<Value, Refusal>) -> Response<Body> {
    let (status, body) = match outcome {
        Ok(granted) => (StatusCode::OK, granted.clone()),
        Err(r) => (r.status, json!({ "error": r.error, "error_description": r.description })),
    };
    let mut response = json_answer(status, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
