//! Refusals that an issuer would only repeat, remembered for a while: it is not asked again, and who asks gets the same fault at
//! once. Bounded, and never an outage: those are the breaker's matter.

use super::{Key, Settings};
use crate::bounded::{Bounded, Kept};
use crate::clock::millis;
use crate::fault::{Fault, Reach};
use crate::token::{Digest, Freshness, Target};
use std::sync::Arc;
use std::time::Duration;

/// The most refusals that are remembered; under a flood of them, others go.
const MOST: usize = 10_000;
/// For how long our own client's refusal stands: short, since every caller suffers while an operator mends it.
const CLIENT: Duration = Duration::from_secs(10);

pub(super) struct Refusals {
    kept: Bounded<Whom, Refused>,
    settings: Settings,
}

/// Who need not ask again.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Whom {
    /// Whoever comes with this subject token.
    Subject(Digest),
    /// Whoever wants this target with this subject token.
    Key(Key),
    /// Everybody, at the issuer of this name.
    Client(Arc<str>),
    /// Who wants a newer token for this key than there is.
    Forced(Key),
}

struct Refused {
    fault: Fault,
    until: u64,
}

impl Kept for Refused {
    fn weight(&self) -> usize {
        1
    }

    fn expired(&self, now: u64) -> bool {
        self.until <= now
    }
}

impl Refusals {
    pub(super) fn new(settings: Settings) -> Self {
        Self { kept: Bounded::new(MOST.min(settings.max_entries)), settings }
    }

    /// What the issuer would say.
    pub(super) fn find(&self, key: &Key, target: &Target, freshness: Freshness, now: u64) -> Option<Fault> {
        let of = |whom: Whom| self.kept.get(&whom, now, |r| (r.until > now).then(|| r.fault.clone())).flatten();
        let dead = || of(Whom::Subject(key.subject));
        let client = || of(Whom::Client(target.issuer.clone()));
        // Who forces means to go past what was said before: only what the last forced exchange came to stops it.
        let same = || of(if freshness == Freshness::Any { Whom::Key(*key) } else { Whom::Forced(*key) });
        dead().or_else(client).or_else(same)
    }

    /// Whether the issuer has said that this subject token is dead.
    pub(super) fn dead(&self, subject: &Digest, now: u64) -> bool {
        self.kept.get(&Whom::Subject(*subject), now, |r| r.until > now).unwrap_or(false)
    }

    pub(super) fn remember(&self, key: &Key, target: &Target, fault: &Fault, now: u64) {
        match fault.reach() {
            Reach::Request => {}
            Reach::Subject => self.keep(Whom::Subject(key.subject), fault, self.settings.refused_ttl, now),
            Reach::Target => self.keep(Whom::Key(*key), fault, self.settings.refused_ttl, now),
            Reach::Client => self.keep(Whom::Client(target.issuer.clone()), fault, CLIENT.min(self.settings.refused_ttl), now),
        }
    }

    /// A forced exchange came to this, an outage too: for a while it is what whoever forces is told.
    pub(super) fn remember_forced(&self, key: &Key, fault: &Fault, now: u64) {
        self.keep(Whom::Forced(*key), fault, self.settings.force_interval, now);
    }

    /// A token was granted after all.
    pub(super) fn forget(&self, key: &Key) {
        self.kept.remove(&Whom::Key(*key));
        self.kept.remove(&Whom::Forced(*key));
    }

    pub(super) fn clear(&self) {
        self.kept.sweep(|r| r.until = 0);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    fn keep(&self, whom: Whom, fault: &Fault, during: Duration, now: u64) {
        let until = now.saturating_add(millis(during));
        self.kept.alter(&whom, now, || Refused { fault: fault.clone(), until }, |r| *r = Refused { fault: fault.clone(), until });
    }
}
