//! RFC 6749 §4.4: a token of the gateway's own. No caller's token is in it. Audiences and resources are no part of the standard,
//! and are left out for a server that ignores them or, sent several, refuses them.

use super::addressed;
use crate::issuer::Form;
use crate::token::Target;

pub(super) const GRANT: &str = "client_credentials";

pub(super) fn form(target: &Target, says_audience: bool) -> Form {
    let form = Form::new().with("grant_type", GRANT);
    if says_audience { addressed(form, target) } else { form }
}
