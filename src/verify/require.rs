//! What a route requires of its callers beyond a good token: scopes, and claims with certain values. It says what is missing to
//! the operator; the caller is told which scopes to get, and nothing of claims.

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
        for (name, wanted) in claims {
            let found = subject.claims.iter().find(|(n, _)| **n == **name).map_or(&[][..], |(_, values)| values);
            if !found.iter().any(|value| wanted.iter().any(|w| **w == **value)) {
                let what = if found.is_empty() { "has no" } else { "has another" };
                let why = Why::new(format!("the caller's token {what} claim {name} than is required here"));
                return Err(self.lacking(why.cure("check require.claims, and the IAM's mappers for access tokens")));
            }
        }
        Ok(())
    }

    fn lacking(&self, why: Why) -> Fault {
        Fault::InsufficientScope { scope: (!self.scopes.is_empty()).then(|| self.scopes.join(" ")), why: why.into() }
    }
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
}
