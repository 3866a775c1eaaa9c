//! The answers that the gateway gives itself: problem details (RFC 9457), or gRPC's trailers-only answer. They hold what the
//! table says and nothing else: no issuer's words, no audience, no claim.

use super::body::Body;
use super::journal::Journal;
use crate::fault::{Fault, Quota, Row};
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Response, StatusCode, Version};
use std::time::Duration;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// draft-ietf-httpapi-ratelimit-headers-10.
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub(super) fn to(fault: &Fault, journal: &Journal) -> Response<Body> {
    let row = fault.row();
    let mut answer = if journal.grpc { grpc(&row) } else { problem(&row, journal) };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(after) = retry_after(fault) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    // To callers of gRPC it is metadata: what they have to do about it stands nowhere else.
    if let Some(challenge) = fault.challenge().and_then(|c| HeaderValue::try_from(c).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
        // A browser's script sees the challenge only if it is exposed to it.
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate"));
    }
    if !journal.grpc {
        fields(fault, headers);
    }
    if fault.closes() && journal.version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Fault::NoTunnel(_) = fault {
        // All that most clients show of an answer to CONNECT.
        answer.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b"No tunnels here: use http:// URLs"));
    }
    answer
}

fn fields(fault: &Fault, headers: &mut HeaderMap) {
    if let Fault::MethodNotAllowed { allow } = fault
        && let Ok(allow) = HeaderValue::from_str(allow)
    {
        headers.insert(header::ALLOW, allow);
    }
    if let Fault::NoTunnel(_) = fault {
        headers.insert(header::ALLOW, HeaderValue::from_static(""));
    }
    if let Fault::RateLimited { retry_after, quota: Some(quota) } = fault {
        tell_rate(headers, ratelimit_policy(*quota), 0, *retry_after);
    }
}

/// What a route allows (draft-ietf-httpapi-ratelimit-headers-10 §3).
pub(super) fn ratelimit_policy(Quota { requests, window }: Quota) -> HeaderValue {
    HeaderValue::try_from(format!("\"route\";q={requests};w={window}")).unwrap_or_else(|_| HeaderValue::from_static("\"route\""))
}

/// What is left of it (§4). Both fields are lists: those of a backend stay beside them.
pub(super) fn tell_rate(headers: &mut HeaderMap, policy: HeaderValue, left: u64, more_in: Duration) {
    headers.append(RATELIMIT_POLICY, policy);
    if let Ok(left) = HeaderValue::try_from(format!("\"route\";r={left};t={}", whole_seconds(more_in))) {
        headers.append(RATELIMIT, left);
    }
}

fn problem(row: &Row, journal: &Journal) -> Response<Body> {
    let body = serde_json::json!({
        "type": format!("urn:cambist:fault:{}", row.code),
        "title": row.title,
        "status": row.status.as_u16(),
        "detail": row.detail,
        "code": row.code,
        "trace_id": journal.trace().to_string(),
    });
    let mut answer = Response::new(Body::fixed(body.to_string()));
    *answer.status_mut() = row.status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    answer
}

/// gRPC looks for its status in trailers, or in the headers of an answer that has no body.
fn grpc(row: &Row) -> Response<Body> {
    let mut answer = Response::new(Body::fixed(""));
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(row.grpc)));
    // The table's texts are plain ASCII without `%`, so that nothing has to be escaped.
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(row.detail));
    answer
}

/// Rounded up: who comes back earlier is refused again.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// 1 to 60 s, but for a rate, which knows when. Where an issuer is down, spread, so that its callers do not come back all at once.
fn retry_after(fault: &Fault) -> Option<Duration> {
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
    match fault {
        Fault::IssuerUnavailable { retry_after, .. } => {
            let asked = retry_after.unwrap_or(Duration::from_secs(5)).clamp(least, most);
            Some((asked + asked.mul_f64(rand::random::<f64>() * 0.5)).clamp(least, most))
        }
        Fault::RateLimited { retry_after, .. } => Some(*retry_after),
        Fault::Overloaded(_) | Fault::Draining => Some(least),
        _ => None,
    }
}
