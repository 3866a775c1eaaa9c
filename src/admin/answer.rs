//! Answers to operators: a line of plain text, or JSON. Nothing a request says is ever repeated in one.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

pub(super) type Answer = Response<Full<Bytes>>;

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

pub(super) fn json(value: &serde_json::Value) -> Answer {
    answer(StatusCode::OK, "application/json", value.to_string())
}

/// `allow`: the methods that this path takes.
pub(super) fn method_not_allowed(allow: &[&Method]) -> Answer {
    let list = allow.iter().map(|m| m.as_str()).collect::<Vec<_>>().join(", ");
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {list}\n"));
    // Names of methods are tokens.
    if let Ok(list) = HeaderValue::try_from(list) {
        refused.headers_mut().insert(header::ALLOW, list);
    }
    refused
}

pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
