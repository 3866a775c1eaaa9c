//! What a route requires of its callers beyond a good token: scopes, and claims with certain values. It says what is missing to
//! the operator; the caller is told which scopes to get and how to sign in (`acr`, RFC 9470), and nothing of other claims.

use crate::fault::{Fault, Why};
use crate::token::Subject;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Require {
    /// All of them.
    pub scopes: Vec<String>,
    /// Each claim with any of its values; of a claim that is a list, one must be among them.
    pub claims: Vec<(String, Vec<String>)>,
}

impl Require {
    /// # Errors
    /// When something is missing.
    pub fn met_by(&self, subject: &Subject) -> Result<(), Fault> {
        let Self { scopes, claims } = self;
        if let Some(missing) = scopes.iter().find(|wanted| !subject.scopes.iter().any(|s| **s == ***wanted)) {
            let why = Why::new(format!("the caller's token lacks the scope {missing}, which is required here"));
            return Err(self.lacking(why.cure("the login client must ask for it, and the IAM grant it")));
        }
        // Last of all how the user signed in: who lacks something else would sign in again in vain.
        let (acr, others): (Vec<_>, Vec<_>) = claims.iter().partition(|(name, _)| name == ACR);
        for (name, wanted) in others.into_iter().chain(acr) {
            let found = subject.claims.iter().find(|(n, _)| **n == **name).map_or(&[][..], |(_, values)| values);
            if !found.iter().any(|value| wanted.iter().any(|w| **w == **value)) {
                let what = if found.is_empty() { "has no" } else { "has another" };
                let why = Why::new(format!("the caller's token {what} claim {name} than is required here"));
                return Err(if name == ACR { too_weak(why, wanted) } else { self.lacking(why.cure(MAPPERS)) });
            }
        }
        Ok(())
    }

    fn lacking(&self, why: Why) -> Fault {
        Fault::InsufficientScope { scope: (!self.scopes.is_empty()).then(|| self.scopes.join(" ")), why: why.into() }
    }
}

/// The claim that says how the user signed in (OpenID Connect Core §2).
const ACR: &str = "acr";
const MAPPERS: &str = "check require.claims, and the IAM's mappers for access tokens";

/// A challenge that the caller can take to the issuer as it is. A value that would be read as two is left out of it.
fn too_weak(why: Why, wanted: &[String]) -> Fault {
    let alone = |value: &&str| !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
    let values: Vec<&str> = wanted.iter().map(String::as_str).filter(alone).collect();
    let cure = "the caller has to sign in with these acr_values; the IAM must know them and put `acr` into access tokens (Keycloak: \
                `ACR to LoA Mapping` of the realm or client, and the client scope `acr`)";
    Fault::InsufficientAuthentication { acr_values: (!values.is_empty()).then(|| values.join(" ")), why: why.cure(cure).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn subject(scopes: &[&str], claims: &[(&str, &[&str])]) -> Subject {
        let boxed = |all: &[&str]| all.iter().map(|s| Box::from(*s)).collect::<Vec<Box<str>>>();
        Subject {
            issuer: "i".into(),
            sub: "s".into(),
            sid: None,
            azp: None,
            scopes: boxed(scopes),
            claims: claims.iter().map(|(name, values)| ((*name).into(), boxed(values))).collect(),
            issued_at: 0,
            expires_at: 0,
            clock_skew: Duration::ZERO,
        }
    }

    #[test]
    fn all_scopes_and_of_each_claim_any_value() {
        let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let require = Require { scopes: own(&["a", "b"]), claims: vec![("tenant".into(), own(&["acme", "umbrella"]))] };
        let told = |subject: &Subject| match require.met_by(subject) {
            Ok(()) => String::new(),
            Err(Fault::InsufficientScope { scope, why }) => format!("{}|{}", scope.unwrap_or_default(), why.0.cause),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(told(&subject(&["b", "c", "a"], &[("tenant", &["x", "acme"])])), "");
        assert!(told(&subject(&["a", "bb"], &[("tenant", &["acme"])])).starts_with("a b|the caller's token lacks the scope b,"));
        assert!(told(&subject(&["a", "b"], &[("tenant", &["acm"])])).contains("another claim tenant"));
        assert!(told(&subject(&["a", "b"], &[("tenants", &["acme"])])).contains("no claim tenant"));
        assert!(Require::default().met_by(&subject(&[], &[])).is_ok());
        let claims_only = Require { scopes: vec![], claims: vec![("t".into(), own(&["1"]))] };
        assert!(matches!(claims_only.met_by(&subject(&["a"], &[])), Err(Fault::InsufficientScope { scope: None, .. })));
    }

    #[test]
    fn how_the_user_signed_in_comes_last_and_can_be_mended_by_the_caller() {
        let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let of = |acr: &[&str]| Require { scopes: own(&["a"]), claims: vec![("acr".into(), own(acr)), ("tenant".into(), own(&["acme"]))] };
        let told = |require: &Require, subject: &Subject| match require.met_by(subject) {
            Ok(()) => "met".to_owned(),
            Err(Fault::InsufficientAuthentication { acr_values, .. }) => acr_values.unwrap_or_else(|| "weak".to_owned()),
            Err(other) => other.code().to_owned(),
        };
        let signed_in = |acr: &[&str]| subject(&["a"], &[("acr", acr), ("tenant", &["acme"])]);
        let require = of(&["gold", "urn:x:platinum"]);
        assert_eq!(told(&require, &signed_in(&["gold"])), "met");
        for weak in [signed_in(&["1"]), signed_in(&[]), subject(&["a"], &[("tenant", &["acme"])])] {
            assert_eq!(told(&require, &weak), "gold urn:x:platinum");
        }
        assert_eq!(told(&of(&["two words", "gold"]), &signed_in(&["1"])), "gold");
        assert_eq!(told(&of(&["two words"]), &signed_in(&["1"])), "weak");
        for (scopes, tenant) in [(&[][..], "acme"), (&["a"], "umbrella")] {
            assert_eq!(told(&require, &subject(scopes, &[("acr", &["1"]), ("tenant", &[tenant])])), "insufficient_scope");
        }
    }
}
