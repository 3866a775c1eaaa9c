//! What a trace says of a request that went to an upstream: where it went and what came of it. It says nothing that the caller
//! made up, but the path as the access line has it.

use super::journal::{known_method, protocol_version};
use super::route::Towards;
use crate::telemetry::Span;
use crate::upstream::{self, Terms};
use http::{Request, Response};

/// `times`: how often it has been sent before.
pub(super) fn asked<B>(span: &mut Span, terms: &mut Terms, request: &Request<B>, towards: &Towards, times: u32) {
    span.note(|notes| {
        // Where the caller says where to, its word is not told.
        terms.remember = matches!(towards, Towards::Upstream(_));
        let method = known_method(request.method());
        notes.name(method);
        notes.word("http.request.method", method);
        notes.text("cambist.upstream", &**towards.name());
        if times > 0 {
            notes.number("http.request.resend_count", times);
        }
    });
}

/// The head of the answer is here, or none will come.
pub(super) fn answered<B>(mut span: Span, terms: &Terms, sent: &Result<Response<B>, upstream::Error>) {
    span.note(|notes| {
        if let Some((host, port)) = terms.reached() {
            notes.text("server.address", host);
            notes.number("server.port", port);
        }
        match sent {
            Ok(answer) => {
                let status = answer.status().as_u16();
                notes.number("http.response.status_code", status);
                notes.word("network.protocol.version", protocol_version(answer.version()));
                if status >= 400 {
                    notes.failed(status.to_string());
                }
            }
            Err(error) => notes.failed(error.code()),
        }
    });
    span.end();
}
