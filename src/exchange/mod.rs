//! A `TokenSource` over HTTP: one POST (RFC 8693) an exchange. The answer is trusted only as far as it fits what was asked;
//! what the issuer says of itself is classified, never pasted. It stores nothing.

/// What shapes an exchange besides the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub profile: Profile,
}

/// Whose errors and rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Keycloak,
    Rfc8693,
}
