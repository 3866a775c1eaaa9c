//! RFC 7523 as Entra has it, "on behalf of": the caller's token is the assertion, and the scopes say for which resource. It knows
//! neither audience nor resource: Entra takes none.

use crate::issuer::Form;
use crate::token::SubjectToken;

pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(super) fn form(assertion: &SubjectToken) -> Form {
    Form::new().with("grant_type", GRANT).with("assertion", assertion.expose()).with("requested_token_use", "on_behalf_of")
}
