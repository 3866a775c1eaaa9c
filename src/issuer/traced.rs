//! One question to an issuer as its trace sees it: the headers that continue the trace there, and how long the issuer took. Neither
//! what is asked nor what is answered is noted, and nothing of a caller's baggage is sent.

use super::{CallError, Reply};
use crate::telemetry::{Kind, Span, TraceContext, around};
use reqwest::RequestBuilder;
use url::Url;

pub(super) struct Question {
    span: Span,
    context: Option<TraceContext>,
}

impl Question {
    pub(super) fn of(method: &'static str, url: &Url) -> Self {
        let above = around();
        let mut span = Span::below(above.as_ref(), method, Kind::Client);
        span.note(|notes| {
            notes.word("http.request.method", method);
            notes.text("server.address", url.host_str().unwrap_or_default());
            notes.number("server.port", url.port_or_known_default().unwrap_or_default());
            // A query is no part of it: some issuers want a key there.
            notes.text("url.full", format!("{}://{}{}", url.scheme(), url.authority(), url.path()));
        });
        let context = span.context().or(above);
        Self { span, context }
    }

    pub(super) fn marked(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.context {
            Some(context) => request.headers(context.headers()),
            None => request,
        }
    }

    pub(super) fn answered(self, outcome: Result<Reply, CallError>) -> Result<Reply, CallError> {
        let mut span = self.span;
        span.note(|notes| match &outcome {
            Ok(reply) => {
                notes.number("http.response.status_code", reply.status);
                if reply.status >= 400 {
                    notes.failed(reply.status.to_string());
                }
            }
            Err(error) => notes.failed(kind(error)),
        });
        span.end();
        outcome
    }
}

fn kind(error: &CallError) -> &'static str {
    match error {
        CallError::Timeout => "timeout",
        CallError::Unreachable(_) => "unreachable",
        CallError::TooLarge(_) => "too_large",
        CallError::Broken(_) => "broken",
        CallError::NoEndpoint | CallError::Busy | CallError::CircuitOpen { .. } | CallError::Paused { .. } | CallError::Unsigned => {
            "not_asked"
        }
    }
}
