//! The caller's token becomes a `Subject`, by the issuer's keys. What was verified once is remembered by the token's digest
//! until the token expires or the issuer's keys or settings change. It asks the issuer for nothing but keys.

use std::time::Duration;

/// How an issuer's tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// One of these must stand in `aud`; a token without `aud` fails.
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    pub clock_skew: Duration,
    /// Only `typ: at+jwt` (RFC 9068).
    pub strict_at_jwt: bool,
}

/// Signature algorithms that may be configured (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}
