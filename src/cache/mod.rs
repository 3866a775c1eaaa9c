//! A `TokenSource` around a `TokenSource`: store, life, single flight and what was refused. It makes no HTTP call and never
//! judges a token. Whether the *caller's* token is still good is checked by `verify` on every request, hit or not.

mod flight;
mod index;
mod life;
mod purge;
mod refusals;
mod store;

pub use purge::{Purge, Purged};

use crate::clock::{Clock, millis};
use crate::fault::{Fault, Reach, Why};
use crate::metrics::Metrics;
use crate::token::{Answer, Ask, Caller, Digest, Freshness, Granted, Source, Subject, Target, TokenSource, Urgency};
use flight::{Boarded, Flights, Landing};
use futures_util::future::{Either, FutureExt, ready};
use life::Life;
use refusals::Refusals;
use std::sync::Arc;
use std::time::Duration;
use store::{Arrival, Store};
use tokio::runtime::Handle;

/// Bounds and margins of the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub max_entries: usize,
    /// Of memory, with all that a token needs besides its own bytes.
    pub max_bytes: usize,
    /// Targets that one subject token may hold.
    pub max_per_token: usize,
    /// The share of a token's life (0.0 to 1.0) that is not used, 30 s at the most.
    pub expire_early: f64,
    /// The last share of a token's life (0.0 to 1.0) in which it is renewed behind a live request; 0.0: never.
    pub refresh_ahead: f64,
    /// For how long a refusal of the issuer is remembered.
    pub refused_ttl: Duration,
    /// Within this time of a forced exchange, what that came to is the answer.
    pub force_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            max_bytes: 256 * 1024 * 1024,
            max_per_token: 64,
            expire_early: 0.1,
            refresh_ahead: 0.2,
            refused_ttl: Duration::from_secs(30),
            force_interval: Duration::from_secs(5),
        }
    }
}

/// Whose token, and what for. Built by naming both fields, so that a third cannot be forgotten anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    subject: Digest,
    target: Digest,
}

type Outcome = Result<Granted, Fault>;
/// Whom and what an exchange is for: what a purge asks about.
type About = (Arc<Subject>, Arc<Target>);

/// The cache. Cloning it shares it.
pub struct Cache<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    store: Store,
    flights: Flights<Key, About, Outcome>,
    refusals: Refusals,
    source: S,
    settings: Settings,
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
        let (store, refusals) = (Store::new(settings, metrics.clone()), Refusals::new(settings));
        let shared = Arc::new(Shared { store, flights: Flights::new(), refusals, source, settings, clock, control });
        let weak = Arc::downgrade(&shared);
        metrics.on_scrape(move |m| {
            if let Some(shared) = weak.upgrade() {
                let store = &shared.store;
                m.cache.filled((store.len(), store.max()), (store.bytes(), store.max_bytes()));
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

    /// What the tokens that are held take in memory.
    pub fn bytes(&self) -> usize {
        self.shared.store.bytes()
    }

    /// Throws out what is held, and sees to it that nothing comes of what is being exchanged at this moment. What is asked for
    /// afterwards is asked of the issuer anew.
    pub fn purge(&self, purge: &Purge) -> Purged {
        let verdict = purge.verdict().map(Err);
        // First what is in the air: what lands from now on is not kept. Then what was kept before.
        let under_way = self.shared.flights.purge(|(subject, target)| purge.takes(subject, target), verdict.as_ref());
        if *purge == Purge::All {
            self.shared.refusals.clear();
        }
        Purged { held: self.shared.store.purge(purge), under_way }
    }
}

impl<S: TokenSource> TokenSource for Cache<S> {
    fn token(&self, caller: &Caller, target: &Arc<Target>, ask: Ask) -> Answer {
        let key = Key { subject: caller.digest, target: target.digest };
        match self.shared.store.get(&key, self.shared.clock.millis(), ask.freshness) {
            Some(held) => Either::Left(ready(Ok(self.shared.served(held, key, caller, target)))),
            None => self.shared.absent(key, caller, target, ask),
        }
    }
}

impl<S: TokenSource> Shared<S> {
    /// What is held goes out as it is; where it was found to be due, a renewal begins behind it.
    fn served(self: &Arc<Self>, held: Granted, key: Key, caller: &Caller, target: &Arc<Target>) -> Granted {
        if held.source == Source::Refresh && !self.renew(key, caller, target) {
            return Granted { source: Source::Hit, ..held };
        }
        held
    }

    /// Nothing that would do is held.
    fn absent(self: &Arc<Self>, key: Key, caller: &Caller, target: &Arc<Target>, ask: Ask) -> Answer {
        // Both looked up once more under the flight's claim: a flight that has just landed left its outcome there first.
        let known = || {
            let now = self.clock.millis();
            let refused = || self.refusals.find(&key, target, ask.freshness, now).map(Err);
            self.store.get(&key, now, ask.freshness).map(Ok).or_else(refused)
        };
        if let Some(fault) = self.refusals.find(&key, target, ask.freshness, self.clock.millis()) {
            return Either::Left(ready(Err(fault)));
        }
        let about = || (caller.subject.clone(), target.clone());
        let forced = ask.freshness != Freshness::Any;
        let (wait, source) = match self.flights.board(key, ask.freshness, about, known) {
            Boarded::Landed(outcome) => {
                return Either::Left(ready(outcome.map(|held| self.served(held, key, caller, target))));
            }
            Boarded::Joined(wait) => (wait, if forced { Source::Forced } else { Source::Coalesced }),
            Boarded::Started(landing) => {
                let wait = landing.wait();
                self.fly(landing, key, caller, target, ask);
                (wait, if forced { Source::Forced } else { Source::Miss })
            }
        };
        let answer = async move { wait.await.unwrap_or_else(|| Err(lost())).map(|granted| Granted { source, ..granted }) };
        Either::Right(answer.boxed())
    }

    /// Begins a renewal that nobody waits for, if there is any point in it.
    fn renew(self: &Arc<Self>, key: Key, caller: &Caller, target: &Arc<Target>) -> bool {
        if self.refusals.find(&key, target, Freshness::Any, self.clock.millis()).is_some() {
            return false;
        }
        let Some(landing) = self.flights.start_alone(key, || (caller.subject.clone(), target.clone())) else { return false };
        self.fly(landing, key, caller, target, Ask { freshness: Freshness::Any, urgency: Urgency::Renewal });
        true
    }

    /// Runs one exchange to its end, whoever still waits for it.
    fn fly(self: &Arc<Self>, landing: Landing<Key, About, Outcome>, key: Key, caller: &Caller, target: &Arc<Target>, ask: Ask) {
        let (this, caller, target) = (self.clone(), caller.clone(), target.clone());
        self.control.spawn(async move {
            let mut landing = landing;
            let mut answer = this.exchange(&landing, key, &caller, &target, ask).await;
            if ask.urgency == Urgency::Renewal && matches!(&answer, Err(fault) if fault.reach() == Reach::Request) {
                // A renewal may have been put off where a caller's exchange is not, and by now a caller may wait for it.
                match landing.retire() {
                    Ok(()) => return,
                    Err(awaited) => landing = awaited,
                }
                answer = this.exchange(&landing, key, &caller, &target, ask.freshness.into()).await;
            }
            if let Err(grounded) = landing.land(answer)
                && grounded.awaited()
            {
                // It was asked for before a purge. Whoever waits for it gets what is asked for after.
                let cache = Cache { shared: this };
                let again = cache.token(&caller, &target, Ask::ANY).await;
                grounded.settle(again);
            }
        });
    }

    /// Asks the source, and keeps what comes of it: a token, or a refusal that it would only repeat.
    async fn exchange(&self, landing: &Landing<Key, About, Outcome>, key: Key, caller: &Caller, target: &Arc<Target>, ask: Ask) -> Outcome {
        let answer = self.source.token(caller, target, ask).await;
        let now = self.clock.millis();
        match answer {
            Ok(granted) => {
                let granted = Granted { generation: landing.generation(), source: Source::Miss, ..granted };
                self.keep(landing, key, caller, target, granted.clone(), now);
                Ok(granted)
            }
            Err(fault) => {
                self.refused(landing, key, target, &fault, now);
                Err(fault)
            }
        }
    }

    fn keep(&self, landing: &Landing<Key, About, Outcome>, key: Key, caller: &Caller, target: &Arc<Target>, granted: Granted, now: u64) {
        let left = Duration::from_secs(caller.subject.expires_at.saturating_sub(self.clock.unix()));
        let life = Life::of(&granted, now.saturating_add(millis(left)), &self.settings, rand::random());
        let forced_until = if landing.forced() { now.saturating_add(millis(self.settings.force_interval)) } else { 0 };
        let generation = landing.generation();
        self.refusals.forget(&key, generation);
        let arrival = Arrival { granted, life, forced_until, subject: &caller.subject, target };
        // The issuer may have refused another flight meanwhile, and with it this one.
        self.store.put(&key, arrival, now, || landing.grounded() || self.refusals.void(&key, generation, now));
    }

    /// Remembered before what is held goes: what lands in between sees it.
    fn refused(&self, landing: &Landing<Key, About, Outcome>, key: Key, target: &Target, fault: &Fault, now: u64) {
        let generation = landing.generation();
        let remember = || self.refusals.remember(&key, target, fault, generation, now);
        match fault.reach() {
            Reach::Subject => {
                remember();
                self.store.drop_subject(&key.subject);
            }
            // What was said before a purge, or before something newer came in, is not held against anybody.
            Reach::Target | Reach::Client if landing.grounded() => {}
            Reach::Target if self.store.newer(&key, generation, now) => {}
            Reach::Target => {
                remember();
                self.store.refuse(&key, generation, now);
            }
            Reach::Client => remember(),
            Reach::Request => {}
        }
        if landing.forced() && !landing.grounded() {
            self.refusals.remember_forced(&key, fault, generation, now);
        }
    }
}

fn lost() -> Fault {
    Fault::Internal(Why::new("an exchange ended without an outcome").cure("please report this as a bug").into())
}

#[cfg(test)]
mod tests;
