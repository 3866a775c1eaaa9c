//! RFC 8693: the caller's token for one that is good at the target. Both token types are said explicitly, for a server that
//! chooses by itself may choose a refresh token; an actor is never sent.

use crate::issuer::Form;
use crate::token::{SubjectToken, Target};

pub(in crate::exchange) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The type of what is sent, of what is asked for, and so of what must come.
pub(in crate::exchange) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(in crate::exchange) fn form(subject: &SubjectToken, target: &Target) -> Form {
    let mut form = Form::new()
        .with("grant_type", GRANT)
        .with("subject_token", subject.expose())
        .with("subject_token_type", ACCESS_TOKEN)
        .with("requested_token_type", ACCESS_TOKEN);
    for audience in &target.audiences {
        form = form.with("audience", audience);
    }
    for resource in &target.resources {
        form = form.with("resource", resource);
    }
    // Once: Keycloak calls a second one a duplicated parameter.
    if !target.scopes.is_empty() {
        form = form.with("scope", &target.scopes.join(" "));
    }
    form
}
