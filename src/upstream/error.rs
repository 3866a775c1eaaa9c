//! Every way in which sending to an upstream can fail, and which fault each is. It tells the operator cause and cure; what the
//! caller is told stands in the fault table alone.

use crate::fault::{Fault, Why};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings cannot work; said when they load.
    #[error("upstream {upstream}: {why}")]
    Unusable { upstream: Arc<str>, why: String },
    /// No connection came about: name, TCP, TLS, or all of them too slow.
    #[error("upstream {upstream} cannot be reached: {why}")]
    Unreachable { upstream: Arc<str>, why: String },
    /// The caller named an address that nobody may have dialled.
    #[error("{why}")]
    Forbidden { upstream: Arc<str>, why: String },
    /// All connections it may have were in use, for as long as one may be waited for.
    #[error("upstream {upstream}: all {max} connections to its endpoint stayed in use for as long as `connect` allows")]
    Overloaded { upstream: Arc<str>, max: usize },
    #[error("upstream {upstream} {}", .waited.told())]
    Timeout { upstream: Arc<str>, waited: Waited },
    /// The answer broke off, before or after its headers, or was no HTTP.
    #[error("upstream {upstream} broke off: {why}")]
    Broken { upstream: Arc<str>, why: String },
    /// It said by itself that it has not looked at the request (RFC 9113 §8.7): that may be sent again, whatever the method.
    #[error("upstream {upstream} refused the request unread: {why}")]
    Refused { upstream: Arc<str>, why: String },
    /// The caller stopped sending before its request was whole.
    #[error("the caller stopped sending its request")]
    CallerStalled,
    /// The caller's request body ended in an error.
    #[error("the caller's request broke off: {0}")]
    CallerBroken(String),
}

/// What was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// `response`: the answer's headers.
    Response,
    /// `idle`: a byte of a body.
    Idle,
    /// `total`: the end of everything.
    Total,
}

impl Waited {
    fn told(self) -> &'static str {
        match self {
            Self::Response => "sent no headers within `response`",
            Self::Idle => "moved no byte of a body within `idle`",
            Self::Total => "was not done within `total`",
        }
    }
}

impl Error {
    /// The `code` of the fault that this error is.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unusable { .. } | Self::Unreachable { .. } => "upstream_unreachable",
            Self::Forbidden { .. } => "no_route",
            Self::Overloaded { .. } => "overloaded",
            Self::Timeout { .. } => "upstream_timeout",
            Self::Broken { .. } | Self::Refused { .. } => "upstream_error",
            Self::CallerStalled | Self::CallerBroken(_) => "bad_request",
        }
    }

    fn cure(&self) -> Option<&'static str> {
        match self {
            Self::Unusable { .. } => Some("correct the upstream's settings"),
            Self::Unreachable { why, .. } | Self::Broken { why, .. } if why.contains("CertificateRequired") => {
                Some("the backend wants a certificate of ours: write the upstream's tls.client_certificate")
            }
            Self::Unreachable { .. } => Some("see whether the backend runs and its name, port and TLS are as configured"),
            Self::Forbidden { .. } => {
                Some("if it is a backend after all, name it in a route with an upstream: what the configuration names is dialled")
            }
            Self::Overloaded { .. } => Some("find out why the backend is slow, add endpoints, or raise the upstream's max_connections"),
            Self::Timeout { waited: Waited::Response, .. } => Some("find out why the backend is slow, or raise timeouts.response"),
            Self::Timeout { waited: Waited::Idle, .. } => Some("raise timeouts.idle if this backend is silent for longer"),
            Self::Timeout { waited: Waited::Total, .. } => Some("raise or remove timeouts.total; it also ends streams"),
            Self::Broken { .. } => Some("look for a crash or a protocol error in the backend's log"),
            Self::Refused { .. } => Some("it is ending or has too much to do: add endpoints, or let it end more slowly"),
            Self::CallerStalled | Self::CallerBroken(_) => None,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let mut why = Why::new(error.to_string());
        if let Some(cure) = error.cure() {
            why = why.cure(cure);
        }
        let why = why.into();
        match error {
            Error::Unusable { .. } | Error::Unreachable { .. } => Self::UpstreamUnreachable(why),
            Error::Forbidden { .. } => Self::NoRoute(why),
            Error::Overloaded { .. } => Self::Overloaded(why),
            Error::Timeout { .. } => Self::UpstreamTimeout(why),
            Error::Broken { .. } | Error::Refused { .. } => Self::UpstreamError(why),
            Error::CallerStalled | Error::CallerBroken(_) => Self::BadRequest(why),
        }
    }
}

/// What an error and everything behind it say, in one line: hyper's own words hide the cause.
pub(super) fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        said = format!("{said}: {e}");
        next = e.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_code_is_its_faults() {
        let upstream: Arc<str> = "orders".into();
        let why = || "x".to_owned();
        let all = [
            Error::Unusable { upstream: upstream.clone(), why: why() },
            Error::Unreachable { upstream: upstream.clone(), why: why() },
            Error::Forbidden { upstream: upstream.clone(), why: why() },
            Error::Overloaded { upstream: upstream.clone(), max: 2 },
            Error::Timeout { upstream: upstream.clone(), waited: Waited::Idle },
            Error::Broken { upstream: upstream.clone(), why: why() },
            Error::Refused { upstream, why: why() },
            Error::CallerStalled,
            Error::CallerBroken(why()),
        ];
        for error in all {
            let code = error.code();
            let fault = Fault::from(error.clone());
            assert_eq!(fault.code(), code);
            assert_eq!(fault.why().map(|w| w.cause.to_string()), Some(error.to_string()));
        }
    }
}
