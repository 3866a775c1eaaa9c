//! `verify` of an issuer: how its tokens are verified. It verifies none, and knows only signatures made with a private key:
//! `none` and HS256 cannot be written.

use super::duration::{duration, positive};
use super::place::At;
use super::section::Section;
use crate::verify::{self, Algorithm, By};
use std::time::Duration;

const WAYS: &[(&str, By)] = &[("jwks", By::Jwks), ("introspection", By::Introspection)];
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

#[derive(Debug, Default)]
pub struct Verification {
    pub by: Option<At<By>>,
    pub audiences: Option<At<Vec<At<String>>>>,
    pub algorithms: Option<At<Vec<At<Algorithm>>>>,
    pub clock_skew: Option<At<Duration>>,
    pub jwks_refresh: Option<At<Duration>>,
    pub strict_at_jwt: Option<At<bool>>,
}

pub fn read(issuer: &mut Section) -> Verification {
    let Some(at) = issuer.take("verify", |value| value.section(&[])) else { return Verification::default() };
    let mut section = at.value;
    let read = Verification {
        by: section.take("by", |v| v.choice(WAYS, &[])),
        audiences: section.take("audiences", |v| v.list(|v| v.text())),
        algorithms: section.take("algorithms", |v| v.list(|v| v.choice(ALGORITHMS, &[]))),
        clock_skew: section.take("clock_skew", duration),
        jwks_refresh: section.take("jwks_refresh", positive),
        strict_at_jwt: section.take("strict_at_jwt", |v| v.boolean()),
    };
    section.finish();
    read
}

/// The settings (routes have yet to say which claims they ask about), and how often the keys are fetched. Without `audiences`, tokens must be meant for our own client.
pub fn settings(written: Verification, client_id: &str) -> (verify::Settings, Duration) {
    let Verification { by, audiences, algorithms, clock_skew, jwks_refresh, strict_at_jwt } = written;
    let settings = verify::Settings {
        audiences: audiences.map_or_else(|| vec![client_id.to_owned()], |at| plain(at.value)),
        algorithms: algorithms.map_or_else(|| ALGORITHMS.iter().map(|(_, a)| *a).collect(), |at| plain(at.value)),
        clock_skew: clock_skew.map_or(Duration::from_secs(30), |at| at.value),
        strict_at_jwt: strict_at_jwt.is_some_and(|at| at.value),
        by: by.map_or(By::Jwks, |at| at.value),
        keep: Vec::new(),
    };
    (settings, jwks_refresh.map_or(Duration::from_secs(600), |at| at.value))
}

/// Values without their places.
pub fn plain<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|at| at.value).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::with_issuer;
    use super::*;

    #[test]
    fn without_a_word_our_own_client_and_every_algorithm() {
        let verify = with_issuer("").issuers.remove(0).verify;
        assert_eq!((verify.audiences, verify.algorithms.len()), (vec!["gateway".to_owned()], 9));
        assert_eq!((verify.clock_skew, verify.strict_at_jwt, verify.by), (Duration::from_secs(30), false, By::Jwks));
    }

    #[test]
    fn what_is_written_stands() {
        let written = "verify: { by: introspection, audiences: [a, b], algorithms: [EdDSA, ES256], clock_skew: 0s, jwks_refresh: 1m, strict_at_jwt: true }";
        let found = with_issuer(written).issuers.remove(0);
        let expected = verify::Settings {
            audiences: vec!["a".into(), "b".into()],
            algorithms: vec![Algorithm::EdDsa, Algorithm::Es256],
            clock_skew: Duration::ZERO,
            strict_at_jwt: true,
            by: By::Introspection,
            keep: vec![],
        };
        assert_eq!((found.verify, found.issuer.jwks_refresh), (expected, Duration::from_secs(60)));
    }
}
