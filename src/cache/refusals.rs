//! Refusals that an issuer would only repeat, remembered for a while: it is not asked again, and who asks gets the same fault at
//! once. Bounded, and never an outage: those are the breaker's matter.

use super::purge::{About, Purge};
use super::{Key, Live};
use crate::bounded::{Bounded, Kept};
use crate::clock::millis;
use crate::fault::{Fault, Reach};
use crate::token::{Digest, Freshness, Target, Whose};
use std::sync::Arc;
use std::time::Duration;

/// The most refusals that are remembered; under a flood of them, others go.
const MOST: usize = 10_000;
/// For how long our own client's refusal stands: short, since every caller suffers while an operator mends it.
const CLIENT: Duration = Duration::from_secs(5);

pub(super) struct Refusals {
    kept: Bounded<Whom, Refused>,
    settings: Live,
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

impl Whom {
    /// Whoever comes with the subject token of `key`, if there is one.
    fn dead(key: &Key) -> Option<Self> {
        match key.subject {
            Whose::Caller(digest) => Some(Self::Subject(digest)),
            Whose::Nobody => None,
        }
    }
}

#[derive(Clone)]
struct Refused {
    fault: Fault,
    until: u64,
    /// Of the exchange that was refused.
    generation: u64,
    /// Whom and what it was for; `None` where it concerns everybody.
    about: Option<About>,
    /// Whatever they want, and not this target alone.
    anywhere: bool,
}

impl Kept for Refused {
    fn weight(&self) -> usize {
        usize::from(self.until > 0)
    }

    fn expired(&self, now: u64) -> bool {
        self.until <= now
    }
}

impl Refusals {
    pub(super) fn new(settings: Live) -> Self {
        Self { kept: Bounded::new(MOST), settings }
    }

    /// What the issuer would say.
    pub(super) fn find(&self, key: &Key, target: &Target, freshness: Freshness, now: u64) -> Option<Fault> {
        self.look(key, target, freshness, now).map(|(fault, _)| fault)
    }

    /// The same, and until when it would say so.
    pub(super) fn look(&self, key: &Key, target: &Target, freshness: Freshness, now: u64) -> Option<(Fault, u64)> {
        let of = |whom: Whom| self.kept.get(&whom, now, |r| (r.until > now).then(|| (r.fault.clone(), r.until))).flatten();
        let dead = || of(Whom::dead(key)?);
        let client = || of(Whom::Client(target.issuer.clone()));
        // Who forces means to go past what was said before: only what the last forced exchange came to stops it.
        let same = || of(if freshness == Freshness::Any { Whom::Key(*key) } else { Whom::Forced(*key) });
        dead().or_else(client).or_else(same)
    }

    /// Whether a token from an exchange of `generation` is not to be kept: its subject is dead, or its target was refused to a
    /// later one.
    pub(super) fn void(&self, key: &Key, generation: u64, now: u64) -> bool {
        let stands = |whom: Whom, since: u64| self.kept.get(&whom, now, |r| r.until > now && r.generation > since).unwrap_or(false);
        Whom::dead(key).is_some_and(|dead| stands(dead, 0)) || stands(Whom::Key(*key), generation)
    }

    /// What the exchange of `generation` was refused.
    pub(super) fn remember(&self, key: &Key, about: &About, reach: Reach, fault: &Fault, generation: u64, now: u64) {
        let ttl = self.settings.now().refused_ttl;
        let refused = |of, anywhere| Refused { fault: fault.clone(), until: 0, generation, about: of, anywhere };
        let theirs = |anywhere| refused(Some(about.clone()), anywhere);
        match reach {
            Reach::Request => {}
            Reach::Subject => match Whom::dead(key) {
                Some(dead) => self.keep(dead, theirs(true), now, ttl),
                None => self.keep(Whom::Key(*key), theirs(false), now, ttl),
            },
            Reach::Target => self.keep(Whom::Key(*key), theirs(false), now, ttl),
            Reach::Client => self.keep(Whom::Client(about.target.issuer.clone()), refused(None, true), now, CLIENT.min(ttl)),
        }
    }

    /// A forced exchange came to this, an outage too: for a while it is what whoever forces is told.
    pub(super) fn remember_forced(&self, key: &Key, about: &About, fault: &Fault, generation: u64, now: u64) {
        let refused = Refused { fault: fault.clone(), until: 0, generation, about: Some(about.clone()), anywhere: false };
        self.keep(Whom::Forced(*key), refused, now, self.settings.now().force_interval);
    }

    /// A token was granted after all, in an exchange of `generation`.
    pub(super) fn forget(&self, key: &Key, generation: u64) {
        for whom in [Whom::Key(*key), Whom::Forced(*key)] {
            self.kept.alter_existing(&whom, 0, |r| {
                if r.generation < generation {
                    r.until = 0;
                }
            });
        }
    }

    /// What was said of our client at this issuer counts no more.
    pub(super) fn forgive(&self, issuer: &Arc<str>) {
        self.kept.remove(&Whom::Client(issuer.clone()));
    }

    /// What was said of those whose tokens are thrown out counts no more: they are asked for anew. What was said of our client stays,
    /// unless everything goes.
    pub(super) fn purge(&self, purge: &Purge) {
        let theirs = |r: &Refused, of: &About| purge.takes_who(of) || (!r.anywhere && purge.takes_target(&of.target));
        self.kept.sweep(|r| {
            if *purge == Purge::All || r.about.as_ref().is_some_and(|of| theirs(r, of)) {
                r.until = 0;
            }
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    fn keep(&self, whom: Whom, refused: Refused, now: u64, during: Duration) {
        let refused = Refused { until: now.saturating_add(millis(during)), ..refused };
        self.kept.alter(&whom, now, || refused.clone(), |r| r.clone_from(&refused));
    }
}
