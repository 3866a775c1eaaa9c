//! The rows of Entra, and those of the standards behind everybody's own. Like those of Keycloak, each has an anchor in `docs/errors.md`; it
//! reads no answer.

use super::Class;
use super::rows::{NO_EXCHANGE, NO_EXCHANGE_CURE, Rule, SECRET, rule};

const CONSENT: &str = "grant admin consent to the gateway's application, or list it in the resource's knownClientApplications";

/// Entra's own codes. Its AADSTS numbers come and go, and are not looked at.
pub(super) const ENTRA: &[Rule] = &[
    rule(
        "entra-is-keycloak",
        "invalid_grant",
        "JWT Authorization Grant is not supported",
        Class::Ours,
        "what answers is a Keycloak, and is asked as Entra is",
        Some("take `profile: entra_obo` out of the issuer"),
    ),
    rule(
        "entra-interaction-required",
        "interaction_required",
        "",
        Class::Interaction,
        "Entra wants the user to do something first (sign in again, MFA)",
        None,
    ),
    rule("entra-login-required", "login_required", "", Class::Interaction, "Entra wants the user to sign in again", None),
    rule(
        "entra-consent-required",
        "consent_required",
        "",
        Class::Interaction,
        "Entra wants the user's or an administrator's consent",
        Some(CONSENT),
    ),
    rule(
        "entra-invalid-resource",
        "invalid_resource",
        "",
        Class::Ours,
        "Entra does not know the resource that the route's scopes name",
        Some("correct the route's scopes, as in `api://APPLICATION-ID/.default`; the application must exist in the tenant"),
    ),
];

/// What RFC 6749 and RFC 8693 say; for Keycloak and Entra, behind their own.
pub(super) const STANDARDS: &[Rule] = &[
    rule(
        "issuer-invalid-grant",
        "invalid_grant",
        "",
        Class::Subject,
        "the IAM says that the caller's token is dead (expired, logged out or revoked)",
        None,
    ),
    rule(
        "issuer-invalid-target",
        "invalid_target",
        "",
        Class::Target,
        "the IAM does not issue tokens for this audience or resource to this caller",
        Some("check the route's audience and resource"),
    ),
    rule(
        "issuer-invalid-scope",
        "invalid_scope",
        "",
        Class::Target,
        "the IAM does not grant the route's scopes to this caller",
        Some("check the route's scopes against the IAM's client"),
    ),
    rule("issuer-access-denied", "access_denied", "", Class::Target, "the IAM's policy does not let this caller have this target", None),
    rule("issuer-invalid-client", "invalid_client", "", Class::Ours, "the IAM does not accept the gateway as a client", Some(SECRET)),
    rule(
        "issuer-unauthorized-client",
        "unauthorized_client",
        "",
        Class::Ours,
        "the gateway's client may not exchange tokens",
        Some("allow the grant token-exchange for the gateway's client in the IAM"),
    ),
    rule("issuer-unsupported-grant-type", "unsupported_grant_type", "", Class::Ours, NO_EXCHANGE, Some(NO_EXCHANGE_CURE)),
    rule("issuer-temporarily-unavailable", "temporarily_unavailable", "", Class::Later, "the IAM asks to come again later", None),
    rule("issuer-server-error", "server_error", "", Class::Broken, "the IAM reports an error of its own", Some("look into the IAM's log")),
    rule(
        "issuer-invalid-request",
        "invalid_request",
        "",
        Class::Ours,
        "the IAM does not accept the exchange as it was asked for",
        Some("its own words say why; if they say that the caller's token is dead, set the issuer's profile"),
    ),
];
