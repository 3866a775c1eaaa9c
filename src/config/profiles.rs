//! What an issuer's profile makes of a route's keys: those that it would not send, or cannot do without. What would have no effect
//! is not accepted silently.

use super::complaint::{Code, Complaint};
use super::issuers;
use super::reading::Reading;
use super::routes::{Mode, Route};
use crate::exchange::Profile;

/// Entra takes none of these on behalf of a caller, and no audience or resource for its own tokens either.
const NOT_ENTRAS: [&str; 5] = ["audience", "resource", "subject_token_type", "requested_token_type", "actor"];

pub fn check(route: &Route, issuer: &issuers::Written, reading: &Reading) {
    match issuer.profile.map_or(Profile::Keycloak, |at| at.value) {
        Profile::EntraObo if matches!(route.mode(), Mode::Exchange | Mode::ClientCredentials) => check_entra(route, issuer, reading),
        Profile::EntraObo | Profile::Keycloak | Profile::Rfc8693 => {}
    }
}

fn check_entra(route: &Route, issuer: &issuers::Written, reading: &Reading) {
    let (route_name, issuer_name) = (&route.name.value, &issuer.name.value);
    for (key, place) in route.target.written().into_iter().filter(|(key, _)| NOT_ENTRAS.contains(key)) {
        let message = format!("route `{route_name}`: `{key}` means nothing to the issuer `{issuer_name}` (profile entra_obo)");
        let cure = match key {
            "audience" => "write `scopes: [api://APPLICATION-ID/.default]`, and `expect_audience` for what the token's `aud` must be",
            _ => "take it out",
        };
        reading.complain(Complaint::error(Code::Profile, place, message).cure(cure));
    }
    if route.target.scopes.is_none() {
        let message = format!("route `{route_name}`: the issuer `{issuer_name}` (profile entra_obo) is told by `scopes` what to issue for");
        let cure = "write `scopes: [api://APPLICATION-ID/.default]`, as the backend's application has it";
        reading.complain(Complaint::error(Code::Profile, route.name.place, message).cure(cure));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{codes, whole};
    use super::*;

    fn text(route: &str) -> String {
        let text = include_str!("../../config/minimal.yaml").replace("client_id: gateway", "client_id: gateway\n    profile: entra_obo");
        text.replace("audience: orders-api", route)
    }

    #[test]
    fn entra_goes_by_scopes() {
        let good = whole(&text("scopes: [\"api://orders/.default\"]\n    expect_audience: \"api://orders\""));
        assert_eq!(good.issuers[0].exchange.profile, Profile::EntraObo);
        assert_eq!(codes(&text("audience: orders-api")), [Code::Profile, Code::Profile]);
        let all = "scopes: [a]\n    expect_audience: b\n    resource: [\"https://a\"]\n    actor: { gateway: true }\n    \
                   subject_token_type: access_token\n    requested_token_type: access_token";
        assert_eq!(codes(&text(all)), [Code::Profile; 4]);
        assert_eq!(codes(&text("token: client_credentials\n    expect_audience: b")), [Code::Profile], "scopes are needed there too");
        assert_eq!(codes(&text("token: strip")), []);
    }
}
