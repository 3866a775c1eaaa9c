//! What is POSTed to the token endpoint, one file per grant. A grant puts a form together and neither sends nor judges anything.

mod client_credentials;
mod jwt_bearer;
mod token_exchange;

use super::Profile;
use crate::issuer::Form;
use crate::token::{Asker, Caller, Grant, Target};
use std::sync::Arc;

/// A grant with everything that it needs: one that lacks something cannot be asked for.
pub(super) enum Asking<'a> {
    TokenExchange { caller: &'a Caller, actor: Option<&'a Acting> },
    JwtBearer { caller: &'a Caller },
    ClientCredentials,
}

/// Who acts for the caller, and the token that proves it.
#[derive(Clone)]
pub(super) struct Acting {
    /// To be sent as it is: never printed, never logged.
    pub token: String,
    /// As the token says; `None` where it cannot be read.
    pub sub: Option<Arc<str>>,
    /// Seconds since 1970 until which it counts, the skew between the clocks included.
    pub until: u64,
}

impl<'a> Asking<'a> {
    /// `None`: the asker has not what the target's grant needs.
    pub fn of(asker: &'a Asker, target: &Target, actor: Option<&'a Acting>) -> Option<Self> {
        Some(match target.grant {
            Grant::TokenExchange => Self::TokenExchange { caller: asker.caller()?, actor },
            Grant::JwtBearer => Self::JwtBearer { caller: asker.caller()? },
            Grant::ClientCredentials => Self::ClientCredentials,
        })
    }

    pub fn caller(&self) -> Option<&'a Caller> {
        match self {
            Self::TokenExchange { caller, .. } | Self::JwtBearer { caller } => Some(caller),
            Self::ClientCredentials => None,
        }
    }

    pub fn actor(&self) -> Option<&'a Acting> {
        match self {
            Self::TokenExchange { actor, .. } => *actor,
            Self::JwtBearer { .. } | Self::ClientCredentials => None,
        }
    }

    /// What is sent and to be in nobody's words: the tokens, and whose they are.
    pub fn confided(&self) -> Vec<&'a str> {
        let caller = self.caller().into_iter().flat_map(|caller| [caller.token.expose(), &*caller.subject.sub]);
        let actor = self.actor().into_iter().flat_map(|actor| [Some(actor.token.as_str()), actor.sub.as_deref()]);
        caller.chain(actor.flatten()).collect()
    }

    pub fn form(&self, target: &Target, profile: Profile) -> Form {
        let form = match self {
            Self::TokenExchange { caller, actor } => token_exchange::form(&caller.token, *actor, target),
            Self::JwtBearer { caller } => jwt_bearer::form(&caller.token),
            Self::ClientCredentials => client_credentials::form(target, profile),
        };
        let extra = &target.settings.extra_params;
        extra.iter().fold(scoped(form, target), |form, (name, value)| form.with(name, value))
    }
}

/// The value of `grant_type`.
pub(super) fn name(grant: Grant) -> &'static str {
    match grant {
        Grant::TokenExchange => token_exchange::GRANT,
        Grant::JwtBearer => jwt_bearer::GRANT,
        Grant::ClientCredentials => client_credentials::GRANT,
    }
}

/// Once: Keycloak calls a second one a duplicated parameter.
fn scoped(form: Form, target: &Target) -> Form {
    match &*target.settings.scopes {
        [] => form,
        scopes => form.with("scope", &scopes.join(" ")),
    }
}

fn addressed(form: Form, target: &Target) -> Form {
    each(each(form, "audience", &target.settings.audiences), "resource", &target.settings.resources)
}

fn each(form: Form, name: &str, values: &[String]) -> Form {
    values.iter().fold(form, |form, value| form.with(name, value))
}
