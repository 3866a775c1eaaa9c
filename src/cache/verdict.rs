//! What the cache would do for somebody who asks now, for an operator's eyes. It hands out no token, begins no exchange, and leaves
//! everything as it is: a renewal that is due stays due.

use super::life::NEVER;
use super::{Cache, Key};
use crate::fault::Fault;
use crate::token::{Digest, Freshness, Target, TokenSource, Whose};
use std::time::Duration;

/// What stands under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// A token that would be handed out.
    pub held: Option<HeldFor>,
    /// An exchange is under way.
    pub in_flight: bool,
    /// The issuer's refusal that would be the answer, and for how long yet.
    pub refused: Option<(Fault, Duration)>,
}

/// How long a token that is held lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldFor {
    /// Handed out for so long.
    pub left: Duration,
    /// When the next request begins a renewal; zero: it is due. `None`: none would be of use.
    pub renews_in: Option<Duration>,
}

impl Verdict {
    /// In a word: `hit`, `renew`, `refused`, `in_flight` or `miss`.
    pub fn word(&self) -> &'static str {
        match self {
            Self { held: Some(held), in_flight, .. } if held.renews_in == Some(Duration::ZERO) && !in_flight => "renew",
            Self { held: Some(_), .. } => "hit",
            Self { refused: Some(_), .. } => "refused",
            Self { in_flight: true, .. } => "in_flight",
            Self { .. } => "miss",
        }
    }
}

impl<S: TokenSource> Cache<S> {
    /// `key`: as [`crate::token::Asker::key`] has it.
    pub fn verdict(&self, key: (Whose, Digest), target: &Target) -> Verdict {
        let (subject, wanted) = key;
        let (key, now) = (Key { subject, target: wanted }, self.shared.clock.millis());
        let in_ms = |at: u64| Duration::from_millis(at.saturating_sub(now));
        let held = self.shared.store.lasts(&key, now).map(|(until, renew_at)| HeldFor {
            left: in_ms(until),
            renews_in: (renew_at != NEVER && renew_at < until).then(|| in_ms(renew_at)),
        });
        let refused = self.shared.refusals.look(&key, target, Freshness::Any, now).map(|(fault, until)| (fault, in_ms(until)));
        Verdict { held, in_flight: self.shared.flights.under_way(key), refused }
    }
}
