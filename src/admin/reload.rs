//! `POST /v1/reload`: an operator has the configuration file read again now, and is told what came of it. A file that cannot be used
//! changes nothing, and the answer says what is wrong with it.

use super::Program;
use super::answer::{Answer, answer, json, text};
use http::{Request, StatusCode};
use http_body::Body;
use serde_json::Value;
use std::sync::Arc;

pub(super) const PATH: &str = "/v1/reload";

/// What came of reading the configuration again; the values are for the operator's eyes.
pub enum Reload {
    /// It is in force, or was already.
    InForce(Value),
    /// Nothing has changed.
    Refused(Value),
    /// This gateway was not started from a file.
    NoFile,
}

pub(super) async fn answer_to(program: &Arc<dyn Program>, request: &Request<impl Body>) -> Answer {
    if !request.body().is_end_stream() {
        return text(StatusCode::BAD_REQUEST, "a body is not read here: the configuration is in the gateway's file\n");
    }
    match program.reload().await {
        Reload::InForce(told) => json(&told),
        Reload::Refused(told) => answer(StatusCode::UNPROCESSABLE_ENTITY, "application/json", told.to_string()),
        Reload::NoFile => text(StatusCode::CONFLICT, "this gateway keeps in step with no file\n"),
    }
}
