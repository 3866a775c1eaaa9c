//! A `TokenSource` around a `TokenSource`: store, life and single flight. It makes no HTTP call and never judges a token.
//! Whether the *caller's* token is still good is checked by `verify` on every request, hit or not.

mod flight;
mod life;
mod store;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::token::{Answer, Asker, Digest, Freshness, Granted, Source, Target, TokenSource, Whose};
use flight::{Flight, Flights, Landing, Takeoff};
use futures_util::future::{Either, FutureExt, ready};
use std::sync::Arc;
use store::Store;
use tokio::runtime::Handle;

/// Bounds and margins of the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub max_entries: usize,
    /// Targets that one subject token may hold.
    pub max_per_token: usize,
    /// The share of a token's life (0.0 to 1.0) that is not used, 30 s at the most.
    pub expire_early: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_entries: 100_000, max_per_token: 64, expire_early: 0.1 }
    }
}

/// Whose token, and what for. Built by naming both fields, so that a third cannot be forgotten anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    subject: Whose,
    target: Digest,
}

/// The cache. Cloning it shares it.
pub struct Cache<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    store: Store,
    flights: Flights,
    source: S,
    clock: Clock,
    /// Where exchanges run, so that they outlive the caller who started them.
    control: Handle,
}

impl<S> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: TokenSource> Cache<S> {
    /// `control` is the runtime on which exchanges run.
    pub fn new(settings: Settings, source: S, clock: Clock, control: Handle, metrics: Arc<Metrics>) -> Self {
        let store = Store::new(settings, metrics.clone());
        let shared = Arc::new(Shared { store, flights: Flights::default(), source, clock, control });
        let weak = Arc::downgrade(&shared);
        metrics.on_scrape(move |m| {
            if let Some(shared) = weak.upgrade() {
                m.cache_entries.set(shared.store.len() as u64);
                m.cache_capacity.set(shared.store.max() as u64);
            }
        });
        Self { shared }
    }

    /// Exchanged tokens that are held now.
    pub fn len(&self) -> usize {
        self.shared.store.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn max_entries(&self) -> usize {
        self.shared.store.max()
    }
}

impl<S: TokenSource> TokenSource for Cache<S> {
    fn token(&self, asker: &Asker, target: &Arc<Target>, freshness: Freshness) -> Answer {
        let shared = &self.shared;
        let (subject, wanted) = asker.key(target);
        let key = Key { subject, target: wanted };
        if let Some(held) = shared.store.get(&key, shared.clock.millis(), freshness) {
            return Either::Left(ready(Ok(held)));
        }
        // Looked up once more under the flight's entry: a flight that has just landed left its token in the store first.
        let again = || shared.store.get(&key, shared.clock.millis(), freshness);
        match shared.flights.board(&key, freshness, again) {
            Flight::Landed(held) => Either::Left(ready(Ok(held))),
            Flight::Joined(wait) => Either::Right(async move { wait.await.map(|g| Granted { source: Source::Coalesced, ..g }) }.boxed()),
            Flight::Started { wait, takeoff } => {
                Shared::fly(shared.clone(), key, takeoff, (asker.clone(), target.clone(), freshness));
                Either::Right(wait.boxed())
            }
        }
    }
}

impl<S: TokenSource> Shared<S> {
    /// Runs one exchange to its end, whoever still waits for it.
    fn fly(self: Arc<Self>, key: Key, takeoff: Takeoff, (asker, target, freshness): (Asker, Arc<Target>, Freshness)) {
        let control = self.control.clone();
        control.spawn(async move {
            // Made before anything can go wrong: it frees the key even if the source panics.
            let landing = Landing::new(&self.flights, takeoff);
            let answer = self.source.token(&asker, &target, freshness).await;
            let answer = answer.map(|granted| Granted { generation: landing.generation(), source: Source::Miss, ..granted });
            if let Ok(granted) = &answer {
                self.store.put(&key, granted.clone(), self.clock.millis());
            }
            landing.land(answer);
        });
    }
}

#[cfg(test)]
mod tests;
