//! The rows that issuers' refusals are told apart by: whose words they are, whose fault they mean, and what the operator is told.
//! It reads no answer; `docs/errors.md` has an anchor for each row, and `tests.rs` holds them together.

use super::Class;

/// A row: an `error`, the beginning of its `error_description`, and what they mean.
pub(super) struct Rule {
    /// In `docs/errors.md`.
    pub anchor: &'static str,
    pub error: &'static str,
    pub begins: &'static str,
    pub class: Class,
    pub cause: &'static str,
    pub cure: Option<&'static str>,
}

pub(super) const fn rule(
    anchor: &'static str,
    error: &'static str,
    begins: &'static str,
    class: Class,
    cause: &'static str,
    cure: Option<&'static str>,
) -> Rule {
    Rule { anchor, error, begins, class, cause, cure }
}

pub(super) const SECRET: &str = "check client_id, token_endpoint_auth_method and what belongs to it (client_secret, private_key, client_certificate or \
    client_assertion_file) against the IAM's client";
const ACCOUNT: &str = "switch on Service accounts roles and Client authentication for the gateway's client in Keycloak";
const SWITCH: &str =
    "switch on Standard token exchange in the settings (Capability config) of the gateway's client in Keycloak, which must be confidential";

const NOT_THERE: &str = "there is nothing at that path of Keycloak's";
const ENDPOINT: &str = "correct token_endpoint, or leave it out: discovery knows it (it ends in /protocol/openid-connect/token)";
const AUTHENTICATOR: &str = "set token_endpoint_auth_method and what belongs to it (private_key, client_certificate, client_assertion_file) to the \
    Client Authenticator of the gateway's client in Keycloak, or set that to Client Id and Secret";
pub(super) const NO_EXCHANGE: &str = "the IAM does not know token exchange";
pub(super) const NO_EXCHANGE_CURE: &str =
    "switch the feature on in the IAM (Keycloak: 26.2 or later, feature token-exchange-standard), or check the token endpoint";

const OLDER: &str = "a parameter was sent that only Keycloak's older exchange takes";
const OLDER_CURE: &str = "take it out of extra_params of the issuer and of the route";

/// Keycloak's own texts, as its sources and a running 26.7 have them.
pub(super) const KEYCLOAK: &[Rule] = &[
    rule(
        "keycloak-invalid-token",
        "invalid_request",
        "Invalid token",
        Class::Subject,
        "the IAM says that the caller's token is dead (expired, logged out or revoked)",
        None,
    ),
    rule(
        "keycloak-sender-constrained",
        "invalid_request",
        "Sender-constrained token exchange rejected",
        Class::Subject,
        "the caller's token is bound to a key of the caller, and Keycloak does not exchange it",
        Some("have the login client fetch plain bearer tokens (Require DPoP bound tokens, and mutual TLS binding, off)"),
    ),
    rule(
        "keycloak-not-in-audience",
        "access_denied",
        "Client is not within the token audience",
        Class::Target,
        "the gateway's client does not stand in aud of the caller's token",
        Some(
            "give the login client a mapper of the type Audience with Included Client Audience = the gateway's client, Add to access token on",
        ),
    ),
    rule(
        "keycloak-audience-not-available",
        "invalid_request",
        "Requested audience not available",
        Class::Target,
        "the audience cannot be reached by this caller through the gateway's client; or that client issues lightweight access tokens",
        Some(
            "set the route's scopes if an optional client scope adds the audience; otherwise give the gateway's client the scope \
             or role of that audience, and the user the role; where Always use lightweight access token is on for the gateway's client, \
             switch it off",
        ),
    ),
    rule(
        "keycloak-switch-off",
        "invalid_request",
        "Standard token exchange is not enabled",
        Class::Ours,
        "token exchange is switched off for the gateway's client, or the client is public",
        Some(SWITCH),
    ),
    rule(
        "keycloak-public-client",
        "invalid_client",
        "Public client is not allowed",
        Class::Ours,
        "the gateway's client is public",
        Some("switch on Client authentication for the gateway's client in Keycloak"),
    ),
    rule(
        "keycloak-audience-not-found",
        "invalid_client",
        "Audience not found",
        Class::OursForTarget,
        "the route's audience is no client of the realm",
        Some("correct the route's audience: it must be the client ID of the backend's client in Keycloak"),
    ),
    rule(
        "keycloak-client-disabled",
        "invalid_client",
        "Client disabled",
        Class::OursForTarget,
        "the audience's client is disabled in Keycloak",
        Some("enable it, or take the route out"),
    ),
    rule(
        "keycloak-duplicated-parameter",
        "invalid_request",
        "duplicated parameter",
        Class::Ours,
        "a parameter was sent twice that Keycloak takes once",
        Some("Keycloak repeats only audience and resource; look for something between that rewrites the form"),
    ),
    rule(
        "keycloak-requested-token-type",
        "invalid_request",
        "requested_token_type unsupported",
        Class::Ours,
        "Keycloak does not issue the type of token that was asked for",
        Some("leave the route's requested_token_type at access_token"),
    ),
    rule("keycloak-parameter-not-supported", "invalid_request", "Parameter 'requested_", Class::Ours, OLDER, Some(OLDER_CURE)),
    rule("keycloak-subject-issuer", "invalid_request", "Parameter 'subject_issuer'", Class::Ours, OLDER, Some(OLDER_CURE)),
    rule(
        "keycloak-subject-token-type",
        "invalid_request",
        "Parameter 'subject_token' supports access tokens only",
        Class::Ours,
        "the route says that callers' tokens are of a type that Keycloak does not exchange",
        Some("leave the route's subject_token_type at access_token"),
    ),
    rule(
        "keycloak-parameter-required",
        "invalid_request",
        "Parameter 'subject_token",
        Class::Ours,
        "Keycloak did not get the caller's token or its type",
        Some("look for something between that rewrites the form"),
    ),
    rule(
        "keycloak-missing-consents",
        "invalid_scope",
        "Missing consents",
        Class::Target,
        "the user has not consented to the gateway's client",
        Some("switch off Consent required for the gateway's client in Keycloak, or have users consent"),
    ),
    rule(
        "keycloak-invalid-scopes",
        "invalid_scope",
        "Invalid scopes",
        Class::Target,
        "the route asks for scopes that the gateway's client does not have",
        Some("assign them to the gateway's client as optional client scopes, or correct the route's scopes"),
    ),
    rule(
        "keycloak-no-service-account",
        "unauthorized_client",
        "Client not enabled to retrieve service account",
        Class::Ours,
        "the gateway's client may not have a token of its own",
        Some(ACCOUNT),
    ),
    rule(
        "keycloak-public-service-account",
        "unauthorized_client",
        "Public client not allowed to retrieve service account",
        Class::Ours,
        "the gateway's client is public",
        Some(ACCOUNT),
    ),
    rule(
        "keycloak-service-account-disabled",
        "invalid_request",
        "User 'service-account-",
        Class::Ours,
        "the user behind the gateway's own account is disabled in Keycloak",
        Some("enable the user service-account-NAME of the gateway's client NAME (Users, Enabled)"),
    ),
    rule(
        "keycloak-secret-method",
        "unauthorized_client",
        "Invalid method used to get client secret",
        Class::Ours,
        "Keycloak takes the secret of the gateway's client in one way alone, and it was sent in another",
        Some("set token_endpoint_auth_method to the method that its words name (client_secret_basic or client_secret_post)"),
    ),
    rule(
        "keycloak-secret-jwt",
        "unauthorized_client",
        "Client authentication with client secret signed JWT failed",
        Class::Ours,
        "the Client Authenticator of the gateway's client is Signed JWT with Client Secret, which the gateway does not do",
        Some(AUTHENTICATOR),
    ),
    rule(
        "keycloak-signature-algorithm",
        "invalid_client",
        "Invalid signature algorithm",
        Class::Ours,
        "Keycloak wants the gateway's assertion signed with another algorithm than it is",
        Some(
            "make private_key (and its algorithm) fit the Signature Algorithm under Credentials of the gateway's client, or set that to Any",
        ),
    ),
    rule(
        "keycloak-login-page",
        "Invalid Request",
        "",
        Class::Ours,
        "what answers at token_endpoint is another endpoint of Keycloak's (that of the login page)",
        Some(ENDPOINT),
    ),
    rule(
        "keycloak-other-endpoint",
        "invalid_request",
        "Token not provided",
        Class::Ours,
        "what answers at token_endpoint is another endpoint of Keycloak's (introspection or revocation)",
        Some(ENDPOINT),
    ),
    rule(
        "keycloak-signed-jwt-failed",
        "invalid_client",
        "Client authentication with signed JWT failed",
        Class::Ours,
        "the IAM cannot verify the gateway's client assertion",
        Some(
            "give the IAM's client the public half of private_key under the name of its key_id, with the same algorithm \
             (token_endpoint_auth_method: private_key_jwt; Keycloak: Clients, Keys)",
        ),
    ),
    rule(
        "keycloak-token-not-active",
        "invalid_client",
        "Token is not active",
        Class::Ours,
        "the gateway's client assertion has expired, or is not good yet",
        Some("compare the clocks of the IAM and of this machine; client_assertion: see that the file is renewed"),
    ),
    rule(
        "keycloak-token-reuse",
        "invalid_client",
        "Token reuse detected",
        Class::Ours,
        "the IAM has seen the gateway's client assertion before",
        Some("look for something between that sends requests twice; client_assertion: allow the IAM to take such a token more than once"),
    ),
    rule(
        "keycloak-invalid-audience",
        "invalid_client",
        "Invalid token audience",
        Class::Ours,
        "the gateway's client assertion is for another issuer",
        Some("set the issuer's url to what the realm calls itself; client_assertion: have the token made for that audience alone"),
    ),
    rule(
        "keycloak-multiple-audiences",
        "invalid_client",
        "Multiple audiences not allowed",
        Class::Ours,
        "the gateway's client assertion is for several audiences",
        Some("client_assertion: have the token made for the issuer's url alone"),
    ),
    rule(
        "keycloak-no-realm",
        "Realm does not exist",
        "",
        Class::Ours,
        "there is no such realm at the token endpoint",
        Some("correct the name of the realm in the issuer's url, and in token_endpoint if it is set"),
    ),
    rule("keycloak-no-endpoint", "Unable to find matching target resource method", "", Class::Ours, NOT_THERE, Some(ENDPOINT)),
    rule(
        "keycloak-wrong-endpoint",
        "HTTP 405 Method Not Allowed",
        "",
        Class::Ours,
        "another of Keycloak's endpoints was asked for a token",
        Some(ENDPOINT),
    ),
    rule(
        "keycloak-realm-disabled",
        "access_denied",
        "Realm not enabled",
        Class::Ours,
        "the realm is switched off in Keycloak",
        Some("switch Enabled on in the realm's settings, or take the issuer out"),
    ),
    rule(
        "keycloak-https-required",
        "invalid_request",
        "HTTPS required",
        Class::Ours,
        "Keycloak was asked over http, and the realm requires https",
        Some(
            "set the issuer's url and token_endpoint to https; where a proxy in front ends TLS, let Keycloak believe it (proxy-headers), or \
             relax Require SSL in the realm's settings",
        ),
    ),
    rule(
        "keycloak-dpop-required",
        "invalid_request",
        "DPoP proof is missing",
        Class::Ours,
        "the gateway's client may have DPoP-bound tokens only, and the gateway fetches plain bearer tokens",
        Some("switch off Require DPoP bound tokens for the gateway's client in Keycloak"),
    ),
    rule(
        "keycloak-client-assertion-missing",
        "invalid_client",
        "Parameter client_assertion_type is missing",
        Class::Ours,
        "the gateway's client proves itself by a signed JWT in Keycloak, and the gateway sent a secret",
        Some(AUTHENTICATOR),
    ),
    rule(
        "keycloak-client-id-missing",
        "invalid_client",
        "Missing client_id parameter",
        Class::Ours,
        "the gateway's client proves itself by a certificate (X509) in Keycloak, and the gateway sent a secret in the header",
        Some(AUTHENTICATOR),
    ),
    rule(
        "keycloak-bearer-only",
        "invalid_client",
        "Bearer-only not allowed",
        Class::Ours,
        "the gateway's client is a bearer-only client: it may have no tokens",
        Some("take bearerOnly off the gateway's client in Keycloak, or name another client"),
    ),
    rule(
        "keycloak-wrong-protocol",
        "invalid_client",
        "Wrong client protocol",
        Class::Ours,
        "the gateway's client_id is a SAML client's",
        Some("name a client of the type OpenID Connect"),
    ),
    rule("keycloak-unsupported-grant-type", "unsupported_grant_type", "", Class::Ours, NO_EXCHANGE, Some(NO_EXCHANGE_CURE)),
    rule(
        "keycloak-wrong-secret",
        "unauthorized_client",
        "Invalid client",
        Class::Ours,
        "the IAM does not accept the gateway's client credentials",
        Some(SECRET),
    ),
    rule(
        "keycloak-unknown-client",
        "invalid_client",
        "Invalid client",
        Class::Ours,
        "the IAM does not know the gateway's client, or it is disabled",
        Some(SECRET),
    ),
];
