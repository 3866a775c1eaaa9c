//! What a trace says of a request that went to an upstream: where it went and what came of it. It says nothing that the caller
//! made up, but the path as the access line has it.

use super::journal::{cut, protocol_version, without_jwts};
use super::route::Towards;
use crate::telemetry::{Notes, Span};
use crate::upstream::{self, Terms, Upstream};
use http::{Method, Request, Response, StatusCode};

/// Instead of a method that only its caller knows.
const OTHER: &str = "_OTHER";

/// Notes the method in the words of the semantic conventions, and returns what it is in a span's name.
pub(super) fn note_method(notes: &mut Notes, method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    notes.word("http.request.method", known.unwrap_or(OTHER));
    if let Some(original) = Some(method.as_str()).filter(|m| known.is_none() && looks_like_a_method(m)) {
        notes.text("http.request.method_original", original);
    }
    known.unwrap_or("HTTP")
}

/// As those of WebDAV and its like do: a caller may write anything there, a token too.
fn looks_like_a_method(name: &str) -> bool {
    let of = |letter: fn(&u8) -> bool| name.bytes().all(|b| letter(&b) || b == b'-' || b == b'_');
    name.len() <= 32 && (of(u8::is_ascii_uppercase) || of(u8::is_ascii_lowercase))
}

/// One time that a request is sent.
pub(super) struct Sending {
    span: Span,
    /// As far as it may be told; kept where it is recorded.
    path: Option<String>,
}

impl Sending {
    /// `times`: how often it has been sent before.
    pub(super) fn of<B>(mut span: Span, terms: &mut Terms, request: &Request<B>, towards: &Towards, times: u32) -> Self {
        let mut path = None;
        span.note(|notes| {
            // Where the caller says where to, its word is not told.
            terms.remember = matches!(towards, Towards::Upstream(_));
            path = Some(cut(&without_jwts(request.uri().path()), 256).to_owned());
            let method = note_method(notes, request.method());
            notes.name(method);
            notes.text("cambist.upstream", &**towards.name());
            if times > 0 {
                notes.number("http.request.resend_count", times);
            }
        });
        Self { span, path }
    }

    /// The head of the answer is here, or none will come. The span goes on in the answer's body.
    pub(super) fn answered(self, upstream: &Upstream, terms: &Terms, sent: &Result<Response<upstream::Body>, upstream::Error>) -> Span {
        let Self { mut span, path } = self;
        span.note(|notes| {
            if let Some(endpoint) = terms.tried_last(upstream) {
                notes.text("server.address", endpoint.host.as_str());
                notes.number("server.port", endpoint.port);
                let scheme = if endpoint.tls { "https" } else { "http" };
                notes.text("url.full", format!("{scheme}://{}{}", endpoint.authority(), path.unwrap_or_default()));
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
        // What follows a 101 is no body, and of the server's span alone.
        if !matches!(sent, Ok(answer) if answer.status() != StatusCode::SWITCHING_PROTOCOLS) {
            span.end_now();
        }
        span
    }
}
