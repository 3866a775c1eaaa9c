//! Every way a request can end badly, and the one table that says what the caller is told.
//! It holds no logic of any layer: a [`Fault`] is made where the trouble is, and turned into an answer by the stack's `rescue`.

mod cure;
mod why;

pub use why::{Explained, Reach, Why};

use http::StatusCode as S; // one letter, so that a row of the table stays a row
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A way to end badly. The variants are the rows of the table in [`TABLE`], in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ambiguous or malformed: framing, Host, path, several `Authorization`, a broken bearer. The connection is closed.
    BadRequest(Arc<Explained>),
    /// No `Authorization`, or another scheme.
    NoToken,
    /// Expired, forged, of another issuer or for another audience; or the issuer says that the subject is dead.
    InvalidToken(Arc<Explained>),
    /// Entra's claims challenge, handed on to the caller.
    InteractionRequired {
        claims: Option<String>,
        why: Arc<Explained>,
    },
    /// RFC 9470: the caller's sign-in was of another kind (`acr`) than the route requires.
    InsufficientAuthentication {
        acr_values: Option<String>,
        why: Arc<Explained>,
    },
    /// The route's required scopes or claims are missing.
    InsufficientScope {
        scope: Option<String>,
        why: Arc<Explained>,
    },
    /// The audience is the caller's own login client.
    LoginClient(Arc<Explained>),
    /// The issuer refuses this target for this caller.
    TargetRefused(Arc<Explained>),
    /// Nothing takes this host and path, or where they lead may not be dialled.
    NoRoute(Arc<Explained>),
    /// The path matches, the method does not. `allow` is the `Allow` field's value.
    MethodNotAllowed {
        allow: String,
    },
    /// `CONNECT` to an outbound proxy.
    NoTunnel(Arc<Explained>),
    /// The TLS server name and the Host belong to different certificates.
    Misdirected,
    BodyTooLarge,
    UriTooLong,
    HeadersTooLarge,
    RateLimited {
        retry_after: Duration,
        /// The limit that was met, where the caller may know it.
        quota: Option<Quota>,
    },
    /// The issuer refuses *us*: never the caller's fault, never a 401.
    Misconfigured(Arc<Explained>),
    /// The issuer answered, and the answer cannot be trusted.
    BadIssuerAnswer(Arc<Explained>),
    IssuerUnavailable {
        retry_after: Option<Duration>,
        why: Arc<Explained>,
    },
    IssuerTimeout(Arc<Explained>),
    Overloaded(Arc<Explained>),
    Draining,
    UpstreamUnreachable(Arc<Explained>),
    UpstreamError(Arc<Explained>),
    UpstreamTimeout(Arc<Explained>),
    /// A panic, caught.
    Internal(Arc<Explained>),
}

/// One row: what the caller sees of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Also the metric's `reason` and the anchor in `docs/errors.md`.
    pub code: &'static str,
    pub status: S,
    /// The `grpc-status` for gRPC requests.
    pub grpc: u8,
    pub title: &'static str,
    pub detail: &'static str,
}

const fn row(code: &'static str, status: S, grpc: u8, title: &'static str, detail: &'static str) -> Row {
    Row { code, status, grpc, title, detail }
}

/// The table of `design.md` §7, whole, in the order of the variants.
const TABLE: [Row; 26] = [
    row("bad_request", S::BAD_REQUEST, 3, "Bad request", "The request is malformed or can be read in more than one way."),
    row("no_token", S::UNAUTHORIZED, 16, "No token", "This resource needs a bearer token in the Authorization header."),
    row("invalid_token", S::UNAUTHORIZED, 16, "Invalid token", "The token is expired, revoked, malformed or not meant for this gateway."),
    row("interaction_required", S::UNAUTHORIZED, 16, "Interaction required", "The identity provider wants the user to sign in again."),
    row(
        "insufficient_user_authentication",
        S::UNAUTHORIZED,
        16,
        "Insufficient user authentication",
        "This resource needs a stronger sign-in than the one that the token is from.",
    ),
    row("insufficient_scope", S::FORBIDDEN, 7, "Insufficient scope", "The token lacks a scope or claim that this resource requires."),
    row(
        "login_client",
        S::FORBIDDEN,
        7,
        "Audience is the login client",
        "A token cannot be exchanged for the client that it was issued to.",
    ),
    row("target_refused", S::FORBIDDEN, 7, "Target refused", "The identity provider does not grant this caller access to this resource."),
    row("no_route", S::NOT_FOUND, 12, "No route", "Nothing is configured for this host and path."),
    row("method_not_allowed", S::METHOD_NOT_ALLOWED, 12, "Method not allowed", "This path does not take this method."),
    row(
        "no_tunnel",
        S::METHOD_NOT_ALLOWED,
        12,
        "No tunnels",
        "CONNECT is refused: what goes through a tunnel cannot be given a token. Ask for an http:// URL; the gateway speaks TLS to the backend.",
    ),
    row(
        "misdirected",
        S::MISDIRECTED_REQUEST,
        12,
        "Misdirected request",
        "The TLS server name and the Host header do not belong together.",
    ),
    row("body_too_large", S::PAYLOAD_TOO_LARGE, 8, "Body too large", "The request body is larger than this resource takes."),
    row("uri_too_long", S::URI_TOO_LONG, 8, "URI too long", "The request target is longer than this gateway takes."),
    row(
        "headers_too_large",
        S::REQUEST_HEADER_FIELDS_TOO_LARGE,
        8,
        "Headers too large",
        "The request headers are larger or more than this gateway takes.",
    ),
    row("rate_limited", S::TOO_MANY_REQUESTS, 8, "Rate limited", "Too many requests; try again later."),
    row(
        "misconfigured",
        S::INTERNAL_SERVER_ERROR,
        13,
        "Gateway misconfigured",
        "The gateway is not set up correctly for this resource; its operator has been told.",
    ),
    row(
        "bad_issuer_answer",
        S::BAD_GATEWAY,
        14,
        "Bad answer from the identity provider",
        "The identity provider gave an answer that cannot be trusted.",
    ),
    row(
        "issuer_unavailable",
        S::SERVICE_UNAVAILABLE,
        14,
        "Identity provider unavailable",
        "The identity provider cannot be reached; try again later.",
    ),
    row("issuer_timeout", S::GATEWAY_TIMEOUT, 4, "Identity provider timed out", "The identity provider did not answer in time."),
    row("overloaded", S::SERVICE_UNAVAILABLE, 14, "Overloaded", "The gateway has too much to do; try again later."),
    row("draining", S::SERVICE_UNAVAILABLE, 14, "Shutting down", "This gateway is shutting down; try another."),
    row("upstream_unreachable", S::BAD_GATEWAY, 14, "Upstream unreachable", "The backend cannot be reached."),
    row("upstream_error", S::BAD_GATEWAY, 14, "Upstream error", "The backend broke off or answered nonsense."),
    row("upstream_timeout", S::GATEWAY_TIMEOUT, 4, "Upstream timed out", "The backend did not answer in time."),
    row("internal", S::INTERNAL_SERVER_ERROR, 13, "Internal error", "Something went wrong in the gateway."),
];

impl Fault {
    /// Every `code` there is, for metrics whose labels are closed.
    pub const CODES: [&'static str; 26] = {
        let mut codes = [""; 26];
        let mut i = 0;
        while i < codes.len() {
            codes[i] = TABLE[i].code;
            i += 1;
        }
        codes
    };

    pub fn row(&self) -> Row {
        TABLE[self.at()]
    }

    /// Where it stands in the table.
    fn at(&self) -> usize {
        match self {
            Self::BadRequest(_) => 0,
            Self::NoToken => 1,
            Self::InvalidToken(_) => 2,
            Self::InteractionRequired { .. } => 3,
            Self::InsufficientAuthentication { .. } => 4,
            Self::InsufficientScope { .. } => 5,
            Self::LoginClient(_) => 6,
            Self::TargetRefused(_) => 7,
            Self::NoRoute(_) => 8,
            Self::MethodNotAllowed { .. } => 9,
            Self::NoTunnel(_) => 10,
            Self::Misdirected => 11,
            Self::BodyTooLarge => 12,
            Self::UriTooLong => 13,
            Self::HeadersTooLarge => 14,
            Self::RateLimited { .. } => 15,
            Self::Misconfigured(_) => 16,
            Self::BadIssuerAnswer(_) => 17,
            Self::IssuerUnavailable { .. } => 18,
            Self::IssuerTimeout(_) => 19,
            Self::Overloaded(_) => 20,
            Self::Draining => 21,
            Self::UpstreamUnreachable(_) => 22,
            Self::UpstreamError(_) => 23,
            Self::UpstreamTimeout(_) => 24,
            Self::Internal(_) => 25,
        }
    }

    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// The place in `docs/errors.md` that is about it.
    pub fn anchor(&self) -> &'static str {
        self.why().and_then(|why| why.anchor).unwrap_or_else(|| self.code())
    }

    /// Where the documentation is about it.
    pub fn docs(&self) -> String {
        format!("docs/errors.md#{}", self.anchor())
    }

    /// What only the operator is told, where there is more to say than the code.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::BadRequest(w)
            | Self::InvalidToken(w)
            | Self::LoginClient(w)
            | Self::TargetRefused(w)
            | Self::NoRoute(w)
            | Self::NoTunnel(w)
            | Self::Misconfigured(w)
            | Self::BadIssuerAnswer(w)
            | Self::IssuerTimeout(w)
            | Self::Overloaded(w)
            | Self::UpstreamUnreachable(w)
            | Self::UpstreamError(w)
            | Self::UpstreamTimeout(w)
            | Self::Internal(w)
            | Self::InteractionRequired { why: w, .. }
            | Self::InsufficientAuthentication { why: w, .. }
            | Self::InsufficientScope { why: w, .. }
            | Self::IssuerUnavailable { why: w, .. } => Some(&w.0),
            Self::NoToken
            | Self::MethodNotAllowed { .. }
            | Self::Misdirected
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::HeadersTooLarge
            | Self::RateLimited { .. }
            | Self::Draining => None,
        }
    }

    /// Whom else an issuer's refusal concerns.
    pub fn reach(&self) -> Reach {
        self.why().map_or(Reach::Request, |why| why.reach)
    }

    /// The RFC 6750 challenge that goes with the fault, if one does.
    pub fn challenge(&self) -> Option<String> {
        let told = match self {
            // RFC 6750 §3.1: no error attribute where no credentials were given.
            Self::NoToken => String::new(),
            Self::InvalidToken(_) => {
                ", error=\"invalid_token\", error_description=\"The token is expired, revoked, malformed or not meant for this gateway\""
                    .to_owned()
            }
            Self::InteractionRequired { claims: Some(c), .. } => format!(", error=\"insufficient_claims\", claims=\"{}\"", quoted(c)),
            Self::InteractionRequired { claims: None, .. } => ", error=\"interaction_required\"".to_owned(),
            Self::InsufficientAuthentication { acr_values: Some(a), .. } => {
                format!(", error=\"insufficient_user_authentication\", acr_values=\"{}\"", quoted(a))
            }
            Self::InsufficientAuthentication { acr_values: None, .. } => ", error=\"insufficient_user_authentication\"".to_owned(),
            Self::InsufficientScope { scope: Some(s), .. } => format!(", error=\"insufficient_scope\", scope=\"{}\"", quoted(s)),
            Self::InsufficientScope { scope: None, .. } => ", error=\"insufficient_scope\"".to_owned(),
            _ => return None,
        };
        // The scheme alone is no challenge by RFC 6750 §3: an attribute must follow.
        Some(format!("Bearer realm=\"{REALM}\"{told}"))
    }

    /// Whether the connection must not carry another request: the framing of what follows can't be trusted.
    pub fn closes(&self) -> bool {
        matches!(self, Self::BadRequest(_) | Self::BodyTooLarge | Self::UriTooLong | Self::HeadersTooLarge)
    }
}

/// One for the whole gateway: which routes there are is nobody's business who has no token.
const REALM: &str = "cambist";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why() {
            Some(why) => write!(f, "{}: {}", self.code(), why.cause),
            None => f.write_str(self.code()),
        }
    }
}

impl std::error::Error for Fault {}

/// A quoted-string's inside (RFC 9110 §5.6.4); what cannot stand there is dropped.
fn quoted(s: &str) -> String {
    let ok = s.chars().filter(|c| (' '..='~').contains(c));
    ok.flat_map(|c| if c == '"' || c == '\\' { vec!['\\', c] } else { vec![c] }).collect()
}

/// Short forms for the places where faults are made.
pub fn bad_request(cause: impl Into<Cow<'static, str>>) -> Fault {
    Fault::BadRequest(Why::new(cause).into())
}

pub fn invalid_token(cause: impl Into<Cow<'static, str>>) -> Fault {
    Fault::InvalidToken(Why::new(cause).into())
}

pub fn no_route(why: Why) -> Fault {
    Fault::NoRoute(why.into())
}

/// So many requests in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub requests: u32,
    pub window: u64,
}

/// One fault of every variant, for tests that drive the whole table.
pub fn samples(why: Why) -> Vec<Fault> {
    let w = || Arc::new(Explained(why.clone()));
    let second = Duration::from_secs(1);
    vec![
        Fault::BadRequest(w()),
        Fault::NoToken,
        Fault::InvalidToken(w()),
        Fault::InteractionRequired { claims: Some("{\"access_token\":{}}".into()), why: w() },
        Fault::InsufficientAuthentication { acr_values: Some("gold".into()), why: w() },
        Fault::InsufficientScope { scope: Some("orders.read".into()), why: w() },
        Fault::LoginClient(w()),
        Fault::TargetRefused(w()),
        Fault::NoRoute(w()),
        Fault::MethodNotAllowed { allow: "GET".into() },
        Fault::NoTunnel(w()),
        Fault::Misdirected,
        Fault::BodyTooLarge,
        Fault::UriTooLong,
        Fault::HeadersTooLarge,
        Fault::RateLimited { retry_after: second, quota: Some(Quota { requests: 2, window: 1 }) },
        Fault::Misconfigured(w()),
        Fault::BadIssuerAnswer(w()),
        Fault::IssuerUnavailable { retry_after: Some(second), why: w() },
        Fault::IssuerTimeout(w()),
        Fault::Overloaded(w()),
        Fault::Draining,
        Fault::UpstreamUnreachable(w()),
        Fault::UpstreamError(w()),
        Fault::UpstreamTimeout(w()),
        Fault::Internal(w()),
    ]
}

#[cfg(test)]
mod tests;
