//! What the gateway answers itself instead of sending it on: the exchange API, for programs that want the token in their own
//! hands, and the word of issuers that somebody was logged out. It knows no socket and no stack; it is given requests whose path is its own, with the caller's token taken out.

mod exchange;
mod logout;
mod openapi;

pub use exchange::{Audience, ExchangeApi};
pub use logout::{Logout, Purger, Settings as LogoutSettings};
pub use openapi::description;

use crate::verify::Require;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use std::sync::Arc;
use std::time::Duration;

pub const EXCHANGE_PATH: &str = "/v1/exchange";
pub const OPENAPI_PATH: &str = "/v1/openapi.json";
/// The largest request body that is read.
pub const MAX_BODY: usize = 16 * 1024;
/// The same of a logout, which is a form around a token.
pub const MAX_LOGOUT: usize = 32 * 1024;

/// The exchange API, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Names of listeners.
    pub listeners: Vec<Arc<str>>,
    pub audiences: Vec<AudienceSettings>,
}

/// What may be asked for under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudienceSettings {
    pub name: String,
    /// The issuer's name in the configuration; `None`: the one whose url is the `iss` of the caller's token.
    pub issuer: Option<Arc<str>>,
    pub scopes: Vec<String>,
    pub resources: Vec<String>,
    /// Of the caller's token.
    pub require: Require,
    pub max_ttl: Duration,
}

/// Not to be kept by anybody: it holds a token, or is about one.
fn json(body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(body.into());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
