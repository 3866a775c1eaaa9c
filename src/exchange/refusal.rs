//! What an issuer's refusal means: one table a profile, first row that fits. The words are hints for the operator and for
//! telling the caller's fault from ours; where no row fits it is held to be ours, so that no caller is sent away in vain.

use super::Profile;
use crate::fault::{Fault, Reach, Why};
use crate::issuer::{Reply, json};
use crate::token::Grant;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The caller's token is dead: 401.
    Subject,
    /// This caller does not get this target: 403.
    Target,
    /// The gateway's or the IAM's configuration: 500, never the caller's fault.
    Ours,
    /// The same, and of this target alone.
    OursForTarget,
    /// Ask again later.
    Later,
    /// It is broken.
    Broken,
    /// The caller has to do something about it, with the IAM: 401 with its claims.
    Interaction,
}

/// A row: an `error`, the beginning of its `error_description`, and what they mean.
struct Rule {
    error: &'static str,
    begins: &'static str,
    class: Class,
    cause: &'static str,
    cure: Option<&'static str>,
}

const fn rule(error: &'static str, begins: &'static str, class: Class, cause: &'static str, cure: Option<&'static str>) -> Rule {
    Rule { error, begins, class, cause, cure }
}

const SECRET: &str = "check client_id, token_endpoint_auth_method and what belongs to it (client_secret, private_key, client_certificate or \
    client_assertion_file) against the IAM's client";
const ACCOUNT: &str = "switch on Service accounts roles and Client authentication for the gateway's client in Keycloak";
const CONSENT: &str = "grant admin consent to the gateway's application, or list it in the resource's knownClientApplications";
const SWITCH: &str =
    "switch on Standard token exchange in the settings (Capability config) of the gateway's client in Keycloak, which must be confidential";

const OLDER: &str = "a parameter was sent that only Keycloak's older exchange takes";
const OLDER_CURE: &str = "take it out of extra_params of the issuer and of the route";

/// Keycloak's own texts, as its sources and a running 26.7 have them.
const KEYCLOAK: &[Rule] = &[
    rule(
        "invalid_request",
        "Invalid token",
        Class::Subject,
        "the IAM says that the caller's token is dead (expired, logged out or revoked)",
        None,
    ),
    rule(
        "invalid_request",
        "Sender-constrained token exchange rejected",
        Class::Subject,
        "the caller's token is bound to a key of the caller, and Keycloak does not exchange it",
        Some("have the login client fetch plain bearer tokens (Require DPoP bound tokens, and mutual TLS binding, off)"),
    ),
    rule(
        "access_denied",
        "Client is not within the token audience",
        Class::Target,
        "the gateway's client does not stand in aud of the caller's token",
        Some(
            "give the login client a mapper of the type Audience with Included Client Audience = the gateway's client, Add to access token on",
        ),
    ),
    rule(
        "invalid_request",
        "Requested audience not available",
        Class::Target,
        "the audience cannot be reached by this caller through the gateway's client",
        Some(
            "set the route's scopes if an optional client scope adds the audience; otherwise give the gateway's client the scope \
             or role of that audience, and the user the role",
        ),
    ),
    rule(
        "invalid_request",
        "Standard token exchange is not enabled",
        Class::Ours,
        "token exchange is switched off for the gateway's client, or the client is public",
        Some(SWITCH),
    ),
    rule(
        "invalid_client",
        "Public client is not allowed",
        Class::Ours,
        "the gateway's client is public",
        Some("switch on Client authentication for it in Keycloak"),
    ),
    rule(
        "invalid_client",
        "Audience not found",
        Class::OursForTarget,
        "the route's audience is no client of the realm",
        Some("correct the route's audience: it must be the client ID of the backend's client in Keycloak"),
    ),
    rule(
        "invalid_client",
        "Client disabled",
        Class::OursForTarget,
        "the audience's client is disabled in Keycloak",
        Some("enable it, or take the route out"),
    ),
    rule(
        "invalid_request",
        "duplicated parameter",
        Class::Ours,
        "a parameter was sent twice that Keycloak takes once",
        Some("Keycloak repeats only audience and resource; look for something between that rewrites the form"),
    ),
    rule(
        "invalid_request",
        "requested_token_type unsupported",
        Class::Ours,
        "Keycloak does not issue the type of token that was asked for",
        Some("leave the route's requested_token_type at access_token"),
    ),
    rule("invalid_request", "Parameter 'requested_", Class::Ours, OLDER, Some(OLDER_CURE)),
    rule("invalid_request", "Parameter 'subject_issuer'", Class::Ours, OLDER, Some(OLDER_CURE)),
    rule(
        "invalid_request",
        "Parameter 'subject_token' supports access tokens only",
        Class::Ours,
        "the route says that callers' tokens are of a type that Keycloak does not exchange",
        Some("leave the route's subject_token_type at access_token"),
    ),
    rule(
        "invalid_request",
        "Parameter 'subject_token",
        Class::Ours,
        "Keycloak did not get the caller's token or its type",
        Some("look for something between that rewrites the form"),
    ),
    rule(
        "invalid_scope",
        "Missing consents",
        Class::Target,
        "the user has not consented to the gateway's client",
        Some("switch off Consent required for the gateway's client in Keycloak, or have users consent"),
    ),
    rule(
        "invalid_scope",
        "Invalid scopes",
        Class::Target,
        "the route asks for scopes that the gateway's client does not have",
        Some("assign them to the gateway's client as optional client scopes, or correct the route's scopes"),
    ),
    rule(
        "unauthorized_client",
        "Client not enabled to retrieve service account",
        Class::Ours,
        "the gateway's client may not have a token of its own",
        Some(ACCOUNT),
    ),
    rule(
        "unauthorized_client",
        "Public client not allowed to retrieve service account",
        Class::Ours,
        "the gateway's client is public",
        Some(ACCOUNT),
    ),
    rule(
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
        "invalid_client",
        "Token is not active",
        Class::Ours,
        "the gateway's client assertion has expired, or is not good yet",
        Some("compare the clocks of the IAM and of this machine; client_assertion: see that the file is renewed"),
    ),
    rule(
        "invalid_client",
        "Token reuse detected",
        Class::Ours,
        "the IAM has seen the gateway's client assertion before",
        Some("look for something between that sends requests twice; client_assertion: allow the IAM to take such a token more than once"),
    ),
    rule(
        "invalid_client",
        "Invalid token audience",
        Class::Ours,
        "the gateway's client assertion is for another issuer",
        Some("set the issuer's url to what the realm calls itself; client_assertion: have the token made for that audience alone"),
    ),
    rule(
        "invalid_client",
        "Multiple audiences not allowed",
        Class::Ours,
        "the gateway's client assertion is for several audiences",
        Some("client_assertion: have the token made for the issuer's url alone"),
    ),
    rule("unauthorized_client", "Invalid client", Class::Ours, "the IAM does not accept the gateway's client credentials", Some(SECRET)),
    rule("invalid_client", "Invalid client", Class::Ours, "the IAM does not know the gateway's client, or it is disabled", Some(SECRET)),
];

/// Entra's own codes. Its AADSTS numbers come and go, and are not looked at.
const ENTRA: &[Rule] = &[
    rule("interaction_required", "", Class::Interaction, "Entra wants the user to do something first (sign in again, MFA)", None),
    rule("login_required", "", Class::Interaction, "Entra wants the user to sign in again", None),
    rule("consent_required", "", Class::Interaction, "Entra wants the user's or an administrator's consent", Some(CONSENT)),
    rule(
        "invalid_resource",
        "",
        Class::Ours,
        "Entra does not know the resource that the route's scopes name",
        Some("correct the route's scopes, as in `api://APPLICATION-ID/.default`; the application must exist in the tenant"),
    ),
];

/// What RFC 6749 and RFC 8693 say; for Keycloak and Entra, behind their own.
const STANDARDS: &[Rule] = &[
    rule("invalid_grant", "", Class::Subject, "the IAM says that the caller's token is dead (expired, logged out or revoked)", None),
    rule(
        "invalid_target",
        "",
        Class::Target,
        "the IAM does not issue tokens for this audience or resource to this caller",
        Some("check the route's audience and resource"),
    ),
    rule(
        "invalid_scope",
        "",
        Class::Target,
        "the IAM does not grant the route's scopes to this caller",
        Some("check the route's scopes against the IAM's client"),
    ),
    rule("access_denied", "", Class::Target, "the IAM's policy does not let this caller have this target", None),
    rule("invalid_client", "", Class::Ours, "the IAM does not accept the gateway as a client", Some(SECRET)),
    rule(
        "unauthorized_client",
        "",
        Class::Ours,
        "the gateway's client may not exchange tokens",
        Some("allow the grant token-exchange for the gateway's client in the IAM"),
    ),
    rule(
        "unsupported_grant_type",
        "",
        Class::Ours,
        "the IAM does not know token exchange",
        Some("switch the feature on in the IAM (Keycloak: 26.2 or later, feature token-exchange-standard), or check the token endpoint"),
    ),
    rule("temporarily_unavailable", "", Class::Later, "the IAM asks to come again later", None),
    rule("server_error", "", Class::Broken, "the IAM reports an error of its own", Some("look into the IAM's log")),
    rule(
        "invalid_request",
        "",
        Class::Ours,
        "the IAM does not accept the exchange as it was asked for",
        Some("its own words say why; if they say that the caller's token is dead, set the issuer's profile"),
    ),
];

/// The fault for an answer whose status is not 200. `clean` takes secrets out of the issuer's words.
pub(super) fn fault(profile: Profile, grant: Grant, reply: &Reply, clean: impl Fn(&str) -> String) -> Fault {
    let said = json::object(&reply.body).ok();
    let text = |key| said.as_ref().and_then(|s| json::string(s, key).ok().flatten()).unwrap_or_default();
    let (error, description) = (text("error"), text("error_description"));
    let claims = Some(text("claims")).filter(|claims| profile == Profile::EntraObo && !claims.is_empty());
    let with_words = |why: Why| match (error, description) {
        ("", _) => why,
        (error, "") => why.words(&clean(error)),
        (error, description) => why.words(&clean(&format!("{error}: {description}"))),
    };
    let (class, why) = match reply.status {
        429 | 503 => (Class::Later, Why::new(format!("the IAM turns requests away (HTTP {})", reply.status))),
        500.. => (Class::Broken, Why::new(format!("the token endpoint answered HTTP {}", reply.status)).cure("look into the IAM's log")),
        400 | 402..=499 if claims.is_some() => (Class::Interaction, Why::new("Entra wants the user to fulfil a claims challenge")),
        400..=499 if !error.is_empty() => meaning(profile, reply.status, error, description),
        401 => unauthorized(),
        status => (
            Class::Broken,
            Why::new(format!("the token endpoint answered HTTP {status} and nothing that OAuth knows"))
                .cure("check the issuer's token_endpoint; redirects are not followed"),
        ),
    };
    let (class, why) = if grant == Grant::ClientCredentials { our_own(class, why) } else { (class, why) };
    let why = with_words(why).reaching(reach(class, reply.status)).into();
    match class {
        Class::Subject => Fault::InvalidToken(why),
        Class::Target => Fault::TargetRefused(why),
        Class::Ours | Class::OursForTarget => Fault::Misconfigured(why),
        Class::Later => Fault::IssuerUnavailable { retry_after: reply.retry_after, why },
        Class::Broken => Fault::BadIssuerAnswer(why),
        Class::Interaction => Fault::InteractionRequired { claims: claims.and_then(challenge), why },
    }
}

/// In base64, as clients of Entra expect it in a challenge; `None` where it is too long for a header.
fn challenge(claims: &str) -> Option<String> {
    const LONGEST: usize = 4096;
    (claims.len() <= LONGEST).then(|| STANDARD.encode(claims))
}

/// Where no caller's token was sent, no caller is to blame.
fn our_own(class: Class, why: Why) -> (Class, Why) {
    match class {
        Class::Subject | Class::Target | Class::Interaction => {
            let why = Why::new("the IAM does not grant the gateway a token of its own");
            (Class::OursForTarget, why.cure("check the route's scopes, and that the gateway's client has the grant client_credentials"))
        }
        Class::Ours | Class::OursForTarget | Class::Later | Class::Broken => (class, why),
    }
}

/// Who would be told the same.
fn reach(class: Class, status: u16) -> Reach {
    match class {
        Class::Subject => Reach::Subject,
        Class::Ours | Class::OursForTarget if status == 401 => Reach::Client,
        Class::Target | Class::Interaction | Class::OursForTarget => Reach::Target,
        Class::Ours | Class::Later | Class::Broken => Reach::Request,
    }
}

fn unauthorized() -> (Class, Why) {
    (Class::Ours, Why::new("the IAM does not accept the gateway's client credentials (HTTP 401)").cure(SECRET))
}

fn meaning(profile: Profile, status: u16, error: &str, description: &str) -> (Class, Why) {
    let own = match profile {
        Profile::Keycloak => KEYCLOAK,
        Profile::EntraObo => ENTRA,
        Profile::Rfc8693 => &[],
    };
    let fits = |r: &&Rule| r.error == error && description.starts_with(r.begins);
    let (class, cause, cure) = match own.iter().chain(STANDARDS).find(fits) {
        Some(r) => (r.class, r.cause, r.cure),
        None => (Class::Ours, "the IAM refuses the exchange for a reason that is not known here", Some("its own words say why")),
    };
    // A 401 is the answer to *our* authentication, whatever the words: no caller is to blame for it.
    if status == 401 && !matches!(class, Class::Ours | Class::OursForTarget) {
        return unauthorized();
    }
    let why = Why::new(cause);
    (class, if let Some(cure) = cure { why.cure(cure) } else { why })
}

#[cfg(test)]
mod tests;
