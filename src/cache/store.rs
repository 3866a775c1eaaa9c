//! Where granted tokens are kept: a bucket a subject token, a token a target. It hands out nothing whose time is over, takes
//! nothing older than what it holds, and asks nobody for a newer one.

use super::index::{Index, Listed};
use super::life::{Life, NEVER};
use super::purge::Purge;
use super::{Key, Settings};
use crate::bounded::{Bounded, Evicted, Kept};
use crate::metrics::Metrics;
use crate::token::{Digest, Freshness, Granted, Source, Subject, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Store {
    buckets: Bounded<Digest, Bucket>,
    index: Arc<Index>,
    settings: Settings,
    metrics: Arc<Metrics>,
}

/// Everything held for one subject token, so that it can be bounded, and thrown away, as one.
struct Bucket {
    held: Vec<Held>,
    listed: Listed,
}

struct Held {
    key: Digest,
    target: Arc<Target>,
    granted: Granted,
    /// [`crate::clock::Clock::millis`] from which it is no longer handed out.
    until: u64,
    /// When the next request begins a renewal. Whoever moves it on is the one who does.
    renew_at: AtomicU64,
    /// Until then, a newer one is not forced: this is what the last forced exchange came to.
    forced_until: u64,
}

/// A token that has come in.
pub(super) struct Arrival<'a> {
    pub granted: Granted,
    pub life: Life,
    /// 0 where nobody forced it.
    pub forced_until: u64,
    pub subject: &'a Arc<Subject>,
    pub target: &'a Arc<Target>,
}

/// What a token takes besides its own bytes: the count of its references, and what the allocator rounds up to.
const SHARED: usize = 48;

impl Kept for Bucket {
    fn weight(&self) -> usize {
        self.held.len()
    }

    fn bytes(&self) -> usize {
        let tokens: usize = self.held.iter().map(|h| h.granted.token.bytes() + SHARED).sum();
        tokens + self.held.capacity() * size_of::<Held>() + Index::BYTES
    }

    fn expired(&self, now: u64) -> bool {
        self.held.iter().all(|h| h.until <= now)
    }
}

impl Store {
    pub(super) fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let buckets = Bounded::with_bytes(settings.max_entries, settings.max_bytes);
        Self { buckets, index: Arc::default(), settings, metrics }
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.weight()
    }

    pub(super) fn max(&self) -> usize {
        self.buckets.max()
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.bytes()
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.buckets.max_bytes()
    }

    /// A token that will do. With [`Source::Refresh`] the asker, and nobody else, is to have it renewed.
    pub(super) fn get(&self, key: &Key, now: u64, freshness: Freshness) -> Option<Granted> {
        let Key { subject, target } = key;
        self.buckets.get(subject, now, |bucket| {
            let held = bucket.held.iter().find(|h| h.key == *target)?;
            let source = held.source(now, freshness)?;
            Some(Granted { source, ..held.granted.clone() })
        })?
    }

    /// Keeps what has come in, unless its time is over already or something newer is held. `void` is asked last, while nobody
    /// else can look at the bucket or purge it: where it says so, nothing is kept.
    pub(super) fn put(&self, key: &Key, arrival: Arrival, now: u64, void: impl FnOnce() -> bool) {
        let Key { subject, target } = *key;
        if arrival.life.until <= now {
            return;
        }
        let caller = arrival.subject;
        let new = Held {
            key: target,
            target: arrival.target.clone(),
            granted: arrival.granted,
            until: arrival.life.until,
            renew_at: AtomicU64::new(arrival.life.renew_at),
            forced_until: arrival.forced_until,
        };
        // Listed before `void` is asked: a purge that `void` does not know of yet finds the bucket, and waits for it.
        let bucket = || Bucket { held: Vec::new(), listed: Listed::new(&self.index, caller, subject) };
        let (dropped, evicted) = self
            .buckets
            .alter(&subject, now, bucket, |bucket| if void() { Evicted::default() } else { bucket.take(new, &self.settings, now) });
        self.metrics.cache.evicted("expired", evicted.expired + dropped.expired);
        self.metrics.cache.evicted("size", evicted.size + dropped.size);
    }

    /// Whether something newer than `generation` is held.
    pub(super) fn newer(&self, key: &Key, generation: u64, now: u64) -> bool {
        self.get(key, now, Freshness::NewerThan(generation)).is_some_and(|held| held.generation > generation)
    }

    /// The issuer refuses what was asked for in a flight of `generation`: nothing older than that stays.
    pub(super) fn refuse(&self, key: &Key, generation: u64, now: u64) {
        let dropped = self.buckets.alter_existing(&key.subject, now, |bucket| {
            let before = bucket.held.len();
            bucket.held.retain(|h| h.key != key.target || h.granted.generation > generation);
            before - bucket.held.len()
        });
        self.metrics.cache.evicted("forced", dropped.unwrap_or(0) as u64);
    }

    /// Throws out all that is held for one subject token; returns how many tokens that were.
    pub(super) fn drop_subject(&self, subject: &Digest) -> usize {
        let count = self.buckets.remove(subject).map_or(0, |bucket| bucket.held.len());
        self.metrics.cache.evicted("forced", count as u64);
        count
    }

    /// Returns how many tokens it has thrown out.
    pub(super) fn purge(&self, purge: &Purge) -> usize {
        if let Some(name) = purge.name() {
            return self.index.find(name).iter().map(|bucket| self.drop_subject(bucket)).sum();
        }
        let mut count = 0;
        self.buckets.sweep(|bucket| {
            let before = bucket.held.len();
            let subject = bucket.listed.subject().clone();
            bucket.held.retain(|h| !purge.takes(&subject, &h.target));
            count += before - bucket.held.len();
        });
        self.metrics.cache.evicted("forced", count as u64);
        count
    }

    #[cfg(test)]
    pub(super) fn listed(&self) -> usize {
        self.index.len()
    }
}

impl Held {
    fn source(&self, now: u64, freshness: Freshness) -> Option<Source> {
        if self.until <= now {
            return None;
        }
        match freshness {
            Freshness::Any if self.renew_at.load(Ordering::Relaxed) <= now && self.claim_renewal(now) => Some(Source::Refresh),
            Freshness::Any => Some(Source::Hit),
            Freshness::NewerThan(seen) if self.granted.generation > seen => Some(Source::Hit),
            Freshness::NewerThan(_) | Freshness::Forced => (self.forced_until > now).then_some(Source::Forced),
        }
    }

    /// One of all who see that it is due gets it, and nobody again before a while has passed.
    fn claim_renewal(&self, now: u64) -> bool {
        let due = self.renew_at.load(Ordering::Relaxed);
        let next = Life::retry_at(self.until, now);
        due <= now && self.renew_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// `old` is what was held before.
    fn succeed(&mut self, old: &Held) {
        // Within the interval of a forced exchange, an ordinary one changes nothing.
        self.forced_until = self.forced_until.max(old.forced_until);
        if self.until <= old.until {
            // The issuer gave no more than there was: it will not the next time.
            self.renew_at = AtomicU64::new(NEVER);
        }
    }
}

impl Bucket {
    fn take(&mut self, mut new: Held, settings: &Settings, now: u64) -> Evicted {
        let mut gone = Evicted::default();
        if let Some(held) = self.held.iter_mut().find(|h| h.key == new.key) {
            if new.granted.generation > held.granted.generation {
                if held.until > now {
                    new.succeed(held);
                }
                *held = new;
            }
            return gone;
        }
        let before = self.held.len();
        self.held.retain(|h| h.until > now);
        gone.expired = (before - self.held.len()) as u64;
        // One subject token never has more than all may have together.
        let most = settings.max_per_token.min(settings.max_entries).max(1);
        self.held.reserve_exact(1);
        self.held.push(new);
        while self.held.len() > most || (self.bytes() + Bounded::<Digest, Self>::OVERHEAD > settings.max_bytes && !self.held.is_empty()) {
            // The soonest to end of those that were here before; the new one only where it alone is too much.
            let last = self.held.len() - 1;
            let Some(soonest) = (0..last.max(1)).min_by_key(|i| self.held[*i].until) else { break };
            self.held.remove(soonest);
            self.held.shrink_to_fit();
            gone.size += 1;
        }
        gone
    }
}
