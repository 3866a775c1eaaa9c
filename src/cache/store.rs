//! Where granted tokens are kept: a bucket a subject token, a token a target. It hands out nothing whose time is over, takes
//! nothing older than what it holds, and asks nobody for a newer one.

use super::index::{Index, Listed};
use super::life::{Life, NEVER};
use super::purge::{About, Purge};
use super::{Key, Live, Settings};
use crate::bounded::{Bounded, Evicted, Kept};
use crate::metrics::Metrics;
use crate::token::{Digest, Freshness, Granted, Source, Target, Whose};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Store {
    buckets: Bounded<Whose, Bucket>,
    callers: Arc<Index<Digest>>,
    /// Of tokens in which somebody acts for the caller.
    actors: Arc<Index<(Digest, Digest)>>,
    settings: Live,
    metrics: Arc<Metrics>,
}

/// Everything held for one subject token, so that it can be bounded, and thrown away, as one.
struct Bucket {
    held: Vec<Held>,
    /// Not for nobody's.
    listed: Option<Listed<Digest>>,
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
    acted: Option<Box<Listed<(Digest, Digest)>>>,
}

/// A token that has come in.
pub(super) struct Arrival<'a> {
    pub granted: Granted,
    pub life: Life,
    /// 0 where nobody forced it.
    pub forced_until: u64,
    pub about: &'a About,
}

/// What a token takes besides its own bytes: the count of its references, and what the allocator rounds up to.
const SHARED: usize = 48;

impl Kept for Bucket {
    fn weight(&self) -> usize {
        self.held.len()
    }

    fn bytes(&self) -> usize {
        let acted = |h: &Held| h.acted.as_ref().map_or(0, |_| Index::<(Digest, Digest)>::BYTES + SHARED);
        let tokens: usize = self.held.iter().map(|h| h.granted.token.bytes() + SHARED + acted(h)).sum();
        tokens + self.held.capacity() * size_of::<Held>() + Index::<Digest>::BYTES
    }

    fn expired(&self, now: u64) -> bool {
        self.held.iter().all(|h| h.until <= now)
    }
}

impl Store {
    pub(super) fn new(settings: Live, metrics: Arc<Metrics>) -> Self {
        let now = settings.now();
        let buckets = Bounded::with_bytes(now.max_entries, now.max_bytes);
        Self { buckets, callers: Arc::default(), actors: Arc::default(), settings, metrics }
    }

    /// The bounds have changed: where less is held from now on, what is too much goes.
    pub(super) fn rebound(&self, now: u64) {
        let Settings { max_entries, max_bytes, .. } = self.settings.now();
        let gone = self.buckets.rebound(max_entries, max_bytes, now);
        self.metrics.cache.evicted("expired", gone.expired);
        self.metrics.cache.evicted("size", gone.size);
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

    /// Until when a token that is held is handed out, and when it is renewed.
    pub(super) fn lasts(&self, key: &Key, now: u64) -> Option<(u64, u64)> {
        self.buckets.peek(&key.subject, |bucket| {
            let held = bucket.held.iter().find(|h| h.key == key.target && h.until > now)?;
            Some((held.until, held.renew_at.load(Ordering::Relaxed)))
        })?
    }

    /// Keeps what has come in, unless its time is over already or something newer is held. `void` is asked last, while nobody
    /// else can look at the bucket or purge it: where it says so, nothing is kept.
    pub(super) fn put(&self, key: &Key, arrival: Arrival, now: u64, void: impl FnOnce() -> bool) {
        let Key { subject, target } = *key;
        if arrival.life.until <= now {
            return;
        }
        let About { caller, actor, target: wanted, again: _ } = arrival.about;
        // Listed before `void` is asked: a purge that `void` does not know of yet finds what is listed, and waits for its bucket.
        let acted = match (actor, subject) {
            (Some(actor), Whose::Caller(bucket)) => Some(Box::new(Listed::new(&self.actors, actor, (bucket, target)))),
            _ => None,
        };
        let new = Held {
            key: target,
            target: wanted.clone(),
            granted: arrival.granted,
            until: arrival.life.until,
            renew_at: AtomicU64::new(arrival.life.renew_at),
            forced_until: arrival.forced_until,
            acted,
        };
        let bucket = || {
            let listed = match (caller, subject) {
                (Some(caller), Whose::Caller(digest)) => Some(Listed::new(&self.callers, caller, digest)),
                _ => None,
            };
            Bucket { held: Vec::new(), listed }
        };
        // Nobody's are as many as the configuration has routes for them: no caller can make more.
        let settings = self.settings.now();
        let most = if subject == Whose::Nobody { usize::MAX } else { settings.max_per_token };
        let (dropped, evicted) = self
            .buckets
            .alter(&subject, now, bucket, |bucket| if void() { Evicted::default() } else { bucket.take(new, most, &settings, now) });
        self.metrics.cache.evicted("expired", evicted.expired + dropped.expired);
        self.metrics.cache.evicted("size", evicted.size + dropped.size);
    }

    /// Whether something newer than `generation` is held.
    pub(super) fn newer(&self, key: &Key, generation: u64, now: u64) -> bool {
        self.get(key, now, Freshness::NewerThan(generation)).is_some_and(|held| held.generation > generation)
    }

    /// The issuer refuses what was asked for in a flight of `generation`: nothing older than that stays.
    pub(super) fn refuse(&self, key: &Key, generation: u64, now: u64) {
        self.drop_where(&key.subject, now, |h| h.key == key.target && h.granted.generation <= generation);
    }

    fn drop_where(&self, subject: &Whose, now: u64, gone: impl Fn(&Held) -> bool) -> usize {
        let dropped = self.buckets.alter_existing(subject, now, |bucket| {
            let before = bucket.held.len();
            bucket.held.retain(|h| !gone(h));
            before - bucket.held.len()
        });
        self.metrics.cache.evicted("forced", dropped.unwrap_or(0) as u64);
        dropped.unwrap_or(0)
    }

    /// Throws out all that is held for one subject token; returns how many tokens that were.
    pub(super) fn drop_subject(&self, subject: &Whose) -> usize {
        let count = self.buckets.remove(subject).map_or(0, |bucket| bucket.held.len());
        self.metrics.cache.evicted("forced", count as u64);
        count
    }

    /// Returns how many tokens it has thrown out.
    pub(super) fn purge(&self, purge: &Purge, now: u64) -> usize {
        if let Some(name) = purge.name() {
            let theirs = self.callers.find(name).into_iter().map(|bucket| self.drop_subject(&Whose::Caller(bucket)));
            let theirs: usize = theirs.sum();
            let acted = self.actors.find(name).into_iter();
            return theirs + acted.map(|(bucket, key)| self.drop_where(&Whose::Caller(bucket), now, |h| h.key == key)).sum::<usize>();
        }
        self.sweep(|_, h| purge.takes_target(&h.target))
    }

    /// Throws out all that was granted for tokens of this issuer that are older than that; returns how many tokens that were.
    pub(super) fn drop_issued_before(&self, issuer: &str, at: u64) -> usize {
        let caller = |of: Option<&Listed<Digest>>| of.is_some_and(|listed| listed.subject().issued_before(issuer, at));
        let actor = |h: &Held| h.acted.as_ref().is_some_and(|listed| listed.subject().issued_before(issuer, at));
        self.sweep(|of, h| caller(of) || actor(h))
    }

    fn sweep(&self, gone: impl Fn(Option<&Listed<Digest>>, &Held) -> bool) -> usize {
        let mut count = 0;
        self.buckets.sweep(|Bucket { held, listed }| {
            let before = held.len();
            held.retain(|h| !gone(listed.as_ref(), h));
            count += before - held.len();
        });
        self.metrics.cache.evicted("forced", count as u64);
        count
    }

    #[cfg(test)]
    pub(super) fn listed(&self) -> usize {
        self.callers.len() + self.actors.len()
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
    fn take(&mut self, mut new: Held, most: usize, settings: &Settings, now: u64) -> Evicted {
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
        let most = most.min(settings.max_entries).max(1);
        self.held.reserve_exact(1);
        self.held.push(new);
        while self.held.len() > most || (self.bytes() + Bounded::<Whose, Self>::OVERHEAD > settings.max_bytes && !self.held.is_empty()) {
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
