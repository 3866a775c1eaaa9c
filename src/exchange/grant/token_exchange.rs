//! RFC 8693: the caller's token for one that is good at the target. Both token types are said explicitly, for a server that
//! chooses by itself may choose a refresh token; an actor's token is sent only where the target wants one to act.

use super::{Acting, addressed};
use crate::issuer::Form;
use crate::token::{ACCESS_TOKEN, SubjectToken, Target};

pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

pub(super) fn form(subject: &SubjectToken, actor: Option<&Acting>, target: &Target) -> Form {
    let form = Form::new()
        .with("grant_type", GRANT)
        .with("subject_token", subject.expose())
        .with("subject_token_type", &target.settings.subject_token_type)
        .with("requested_token_type", &target.settings.requested_token_type);
    let form = match actor {
        Some(actor) => form.with("actor_token", &actor.token).with("actor_token_type", ACCESS_TOKEN),
        None => form,
    };
    addressed(form, target)
}
