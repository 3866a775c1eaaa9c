//! On whose behalf a token is asked for, and under which key it may be kept for them. It asks nobody and keeps nothing.

use super::{Caller, Digest, Grant, Target};
use crate::fault::Fault;

/// Whose a granted token is: the first half of a cache key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Issued for the caller with this token.
    Caller(Digest),
    /// No caller's token had a part in it.
    Nobody,
}

impl Whose {
    /// Both halves of a key, out of the digests of the tokens that would be sent.
    pub fn key(target: &Target, caller: Option<Digest>, actor: Option<Digest>) -> (Self, Digest) {
        match (target.grant, caller, actor) {
            (Grant::ClientCredentials, ..) | (_, None, _) => (Self::Nobody, target.digest),
            (_, Some(caller), None) => (Self::Caller(caller), target.digest),
            (_, Some(caller), Some(actor)) => (Self::Caller(caller), Digest::of_parts([&target.digest.0[..], &actor.0[..]])),
        }
    }
}

/// On whose behalf a token is asked for.
#[derive(Clone, Debug)]
pub enum Asker {
    Caller(Caller),
    /// A caller, and who acts for them: both verified.
    Delegate {
        caller: Caller,
        actor: Caller,
    },
    /// The gateway itself.
    Gateway,
}

impl Asker {
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Caller(caller) | Self::Delegate { caller, .. } => Some(caller),
            Self::Gateway => None,
        }
    }

    pub fn actor(&self) -> Option<&Caller> {
        match self {
            Self::Delegate { actor, .. } => Some(actor),
            Self::Caller(_) | Self::Gateway => None,
        }
    }

    /// Why nothing new may be asked for, if that is so.
    pub fn doubt(&self) -> Option<&Fault> {
        self.caller().into_iter().chain(self.actor()).find_map(|part| part.doubt.as_deref())
    }

    /// Both halves of the key under which a token for `target` may be kept: everything that shapes it stands in one of them.
    pub fn key(&self, target: &Target) -> (Whose, Digest) {
        Whose::key(target, self.caller().map(|c| c.digest), self.actor().map(|a| a.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Subject, SubjectToken, TargetSettings};
    use super::*;
    use http::HeaderValue;
    use std::sync::Arc;
    use std::time::Duration;

    fn caller(token: &str) -> Caller {
        let token = SubjectToken::from_authorization(&HeaderValue::try_from(format!("Bearer {token}")).unwrap()).unwrap().unwrap();
        let (none, scopes, claims, skew) = (None, vec![], vec![], Duration::ZERO);
        let subject = Subject {
            issuer: "i".into(),
            sub: "s".into(),
            sid: none.clone(),
            azp: none,
            scopes,
            claims,
            issued_at: 0,
            expires_at: u64::MAX,
            clock_skew: skew,
        };
        Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None }
    }

    #[test]
    fn a_key_knows_the_caller_the_actor_and_the_target_and_the_gateways_own_is_nobodys() {
        let target = |grant| Target { issuer: "i".into(), grant, settings: TargetSettings::default(), digest: Digest::of(b"t") };
        let (exchanged, own) = (target(Grant::TokenExchange), target(Grant::ClientCredentials));
        let (ada, bob) = (caller("ada"), caller("bob"));
        let acted = |caller: &Caller, actor: &Caller| Asker::Delegate { caller: caller.clone(), actor: actor.clone() }.key(&exchanged);
        let all = [
            Asker::Caller(ada.clone()).key(&exchanged),
            Asker::Caller(bob.clone()).key(&exchanged),
            acted(&ada, &bob),
            acted(&bob, &ada),
            acted(&ada, &ada),
            Asker::Gateway.key(&own),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().enumerate().all(|(j, other)| (one == other) == (i == j)), "{i}");
        }
        assert_eq!(Asker::Caller(ada.clone()).key(&own), Asker::Gateway.key(&own), "whoever calls");
        assert!(!format!("{:?}", Asker::Caller(ada)).contains("ada"));
    }
}
