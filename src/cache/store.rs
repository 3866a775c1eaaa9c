//! Where granted tokens are kept: a bucket a subject token, a token a target. It hands out nothing whose time is over, and
//! takes nothing older than what it holds.

use super::life::usable_until;
use super::{Key, Settings};
use crate::bounded::{Bounded, Kept};
use crate::metrics::Metrics;
use crate::token::{Digest, Freshness, Granted, Source, Whose};
use std::sync::Arc;

pub(super) struct Store {
    buckets: Bounded<Whose, Bucket>,
    settings: Settings,
    metrics: Arc<Metrics>,
}

/// Everything held for one subject token, so that it can be bounded, and thrown away, as one.
#[derive(Default)]
struct Bucket {
    held: Vec<Held>,
}

struct Held {
    target: Digest,
    granted: Granted,
    /// [`crate::clock::Clock::millis`] from which it is no longer handed out.
    until: u64,
}

impl Kept for Bucket {
    fn weight(&self) -> usize {
        self.held.len()
    }

    fn expired(&self, now: u64) -> bool {
        self.held.iter().all(|h| h.until <= now)
    }
}

impl Store {
    pub(super) fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { buckets: Bounded::new(settings.max_entries), settings, metrics }
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.weight()
    }

    pub(super) fn max(&self) -> usize {
        self.buckets.max()
    }

    pub(super) fn get(&self, key: &Key, now: u64, freshness: Freshness) -> Option<Granted> {
        let Key { subject, target } = key;
        self.buckets.get(subject, now, |bucket| {
            let held = bucket.held.iter().find(|h| h.target == *target)?;
            let fresh = match freshness {
                Freshness::Any => true,
                Freshness::NewerThan(seen) => held.granted.generation > seen,
            };
            (held.until > now && fresh).then(|| Granted { source: Source::Hit, ..held.granted.clone() })
        })?
    }

    /// Keeps `granted`, unless its time is over already or something newer is held.
    pub(super) fn put(&self, key: &Key, granted: Granted, now: u64) {
        let Key { subject, target } = *key;
        let until = usable_until(&granted, self.settings.expire_early);
        if until <= now {
            return;
        }
        let new = Held { target, granted, until };
        // Nobody's are as many as the configuration has routes for them: no caller can make more.
        let most = if subject == Whose::Nobody { usize::MAX } else { self.settings.max_per_token };
        let (dropped, evicted) = self.buckets.alter(&subject, now, Bucket::default, |bucket| bucket.take(new, most, now));
        self.metrics.evicted("expired", evicted.expired + dropped.expired);
        self.metrics.evicted("size", evicted.size + dropped.size);
    }
}

impl Bucket {
    fn take(&mut self, new: Held, most: usize, now: u64) -> crate::bounded::Evicted {
        let mut gone = crate::bounded::Evicted::default();
        if let Some(held) = self.held.iter_mut().find(|h| h.target == new.target) {
            if new.granted.generation > held.granted.generation {
                *held = new;
            }
            return gone;
        }
        let before = self.held.len();
        self.held.retain(|h| h.until > now);
        gone.expired = (before - self.held.len()) as u64;
        while self.held.len() >= most.max(1) {
            let Some(soonest) = (0..self.held.len()).min_by_key(|i| self.held[*i].until) else { break };
            self.held.swap_remove(soonest);
            gone.size += 1;
        }
        self.held.push(new);
        gone
    }
}
