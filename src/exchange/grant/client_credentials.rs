//! RFC 6749 §4.4: a token of the gateway's own. No caller's token is in it. Audiences and resources are no part of the standard: they are
//! said to whoever may listen, and never in a way that makes a server refuse what it would only pass over.

use super::super::Profile;
use super::{addressed, each};
use crate::issuer::Form;
use crate::token::Target;

pub(super) const GRANT: &str = "client_credentials";

pub(super) fn form(target: &Target, profile: Profile) -> Form {
    let form = Form::new().with("grant_type", GRANT);
    let (audiences, resources) = (&*target.settings.audiences, &*target.settings.resources);
    match profile {
        Profile::Rfc8693 => addressed(form, target),
        // Keycloak goes by scopes and passes both over, and refuses any parameter that comes twice with this grant.
        Profile::Keycloak => each(each(form, "audience", lone(audiences)), "resource", lone(resources)),
        // Its scopes say which resource.
        Profile::EntraObo => form,
    }
}

fn lone(names: &[String]) -> &[String] {
    if names.len() == 1 { names } else { &[] }
}
