//! A `TokenSource` around a `TokenSource`: store, life, single flight and what was refused. It makes no HTTP call and never
//! judges a token. Whether the *caller's* token is still good is checked by `verify` on every request, hit or not.

mod flight;
mod index;
mod life;
mod not_before;
mod purge;
mod refusals;
mod store;
mod verdict;

pub use purge::{Purge, Purged};
pub use verdict::{HeldFor, Verdict};

use crate::clock::{Clock, millis};
use crate::fault::{Fault, Reach, Why};
use crate::metrics::Metrics;
use crate::telemetry;
use crate::token::{Actor, Answer, Ask, Asker, Caller, Digest, Freshness, Granted, Source, Target, TokenSource, Urgency, Whose};
use arc_swap::ArcSwap;
use flight::{Boarded, Flights, Landing};
use futures_util::future::{Either, FutureExt, ready};
use life::Life;
use not_before::NotBefore;
use purge::About;
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

/// The settings of now. Everybody who needs them asks when they do; nobody keeps a copy.
#[derive(Clone)]
struct Live(Arc<ArcSwap<Settings>>);

impl Live {
    fn now(&self) -> Settings {
        **self.0.load()
    }
}

/// How often an exchange that a purge came over is made again for those who wait.
const ROUNDS: u32 = 4;

/// Whose token, and what for. Built by naming both fields, so that a third cannot be forgotten anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    subject: Whose,
    target: Digest,
}

type Outcome = Result<Granted, Fault>;

/// The cache. Cloning it shares it.
pub struct Cache<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    store: Store,
    flights: Flights<Key, About, Outcome>,
    refusals: Refusals,
    not_before: NotBefore,
    source: S,
    settings: Live,
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
        let settings = Live(Arc::new(ArcSwap::from_pointee(settings)));
        let (store, refusals) = (Store::new(settings.clone(), metrics.clone()), Refusals::new(settings.clone()));
        let (flights, not_before) = (Flights::new(), NotBefore::default());
        let shared = Arc::new(Shared { store, flights, refusals, not_before, source, settings, clock, control });
        let weak = Arc::downgrade(&shared);
        metrics.on_scrape(move |m| {
            if let Some(shared) = weak.upgrade() {
                let store = &shared.store;
                m.cache.filled((store.len(), store.max()), (store.bytes(), store.max_bytes()));
            }
        });
        Self { shared }
    }

    /// Other bounds and margins hold from now on. What is held stays, as far as there is room; its time is not counted anew.
    pub fn set(&self, settings: Settings) {
        self.shared.settings.0.store(Arc::new(settings));
        self.shared.store.rebound(self.shared.clock.millis());
    }

    /// The issuer of this name is another from now on, or knows us as somebody else: its refusal of our client is forgotten.
    pub fn forgive(&self, issuer: &Arc<str>) {
        self.shared.refusals.forgive(issuer);
        self.shared.not_before.forget(issuer);
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

    /// The most that they may take.
    pub fn max_bytes(&self) -> usize {
        self.shared.store.max_bytes()
    }

    /// Throws out what is held, and sees to it that nothing comes of what is being exchanged at this moment. What is asked for
    /// afterwards is asked of the issuer anew.
    pub fn purge(&self, purge: &Purge) -> Purged {
        self.throw_out(purge, purge.verdict())
    }

    /// The same, but nobody's session is over: who waits for an exchange that began before gets what one comes to that begins after.
    pub fn evict(&self, purge: &Purge) -> Purged {
        self.throw_out(purge, None)
    }

    fn throw_out(&self, purge: &Purge, verdict: Option<Fault>) -> Purged {
        let verdict = verdict.map(Err);
        // First what is in the air: what lands from now on is not kept. Then what was kept before.
        let under_way = self.shared.flights.purge(|about| purge.takes(about), verdict.as_ref());
        if *purge == Purge::All {
            self.shared.refusals.clear();
        }
        Purged { held: self.shared.store.purge(purge, self.shared.clock.millis()), under_way }
    }
}

impl<S: TokenSource> TokenSource for Cache<S> {
    fn token(&self, asker: &Asker, target: &Arc<Target>, ask: Ask) -> Answer {
        self.shared.token(asker, target, ask, 0)
    }
}

/// What is wanted: under which key, for whom and what for.
#[derive(Clone, Copy)]
struct Wish<'a> {
    key: Key,
    asker: &'a Asker,
    target: &'a Arc<Target>,
}

impl Wish<'_> {
    fn about(&self) -> About {
        let mine = self.key.subject != Whose::Nobody;
        let subject_of = |caller: Option<&Caller>| caller.filter(|_| mine).map(|caller| caller.subject.clone());
        About { caller: subject_of(self.asker.caller()), actor: subject_of(self.asker.actor()), target: self.target.clone() }
    }

    /// Whom a refusal concerns. Where somebody acts for the caller, nobody can tell whose token is dead: nobody else is denied.
    fn reach(&self, fault: &Fault) -> Reach {
        match fault.reach() {
            Reach::Subject if self.target.settings.actor != Actor::Nobody || self.asker.actor().is_some() => Reach::Target,
            reach => reach,
        }
    }
}

impl<S: TokenSource> Shared<S> {
    /// `round`: how often a purge has come over what was asked for before.
    fn token(self: &Arc<Self>, asker: &Asker, target: &Arc<Target>, ask: Ask, round: u32) -> Answer {
        let (subject, wanted) = asker.key(target);
        let wish = Wish { key: Key { subject, target: wanted }, asker, target };
        match self.store.get(&wish.key, self.clock.millis(), ask.freshness) {
            Some(held) => Either::Left(ready(Ok(self.served(held, wish)))),
            None => self.absent(wish, ask, round),
        }
    }

    /// What is held goes out as it is; where it was found to be due, a renewal begins behind it.
    fn served(self: &Arc<Self>, held: Granted, wish: Wish) -> Granted {
        if held.source == Source::Refresh && (wish.asker.doubt().is_some() || !self.renew(wish)) {
            return Granted { source: Source::Hit, ..held };
        }
        held
    }

    /// Nothing that would do is held.
    fn absent(self: &Arc<Self>, wish: Wish, ask: Ask, round: u32) -> Answer {
        let key = wish.key;
        if let Some(doubt) = wish.asker.doubt() {
            return Either::Left(ready(Err(doubt.clone())));
        }
        let refused = |now| self.refusals.find(&key, wish.target, ask.freshness, now);
        if let Some(fault) = refused(self.clock.millis()) {
            return Either::Left(ready(Err(fault)));
        }
        // Both looked up once more under the flight's claim: a flight that has just landed left its outcome there first.
        let known = || {
            let now = self.clock.millis();
            self.store.get(&key, now, ask.freshness).map(Ok).or_else(|| refused(now).map(Err))
        };
        let forced = ask.freshness != Freshness::Any;
        let (wait, source) = match self.flights.board(key, ask.freshness, || wish.about(), known) {
            Boarded::Landed(outcome) => return Either::Left(ready(outcome.map(|held| self.served(held, wish)))),
            Boarded::Joined(wait) => (wait, if forced { Source::Forced } else { Source::Coalesced }),
            Boarded::Started(landing) => {
                let wait = landing.wait();
                self.fly(landing, wish, ask, round);
                (wait, if forced { Source::Forced } else { Source::Miss })
            }
        };
        let answer = async move { wait.await.unwrap_or_else(|| Err(lost())).map(|granted| Granted { source, ..granted }) };
        Either::Right(answer.boxed())
    }

    /// Begins a renewal that nobody waits for, if there is any point in it.
    fn renew(self: &Arc<Self>, wish: Wish) -> bool {
        if self.refusals.find(&wish.key, wish.target, Freshness::Any, self.clock.millis()).is_some() {
            return false;
        }
        let Some(landing) = self.flights.start_alone(wish.key, || wish.about()) else { return false };
        self.fly(landing, wish, Ask { freshness: Freshness::Any, urgency: Urgency::Renewal }, 0);
        true
    }

    /// Runs one exchange to its end, whoever still waits for it.
    fn fly(self: &Arc<Self>, landing: Landing<Key, About, Outcome>, wish: Wish, ask: Ask, round: u32) {
        let (this, key, asker, target) = (self.clone(), wish.key, wish.asker.clone(), wish.target.clone());
        // For the trace of whoever began it, however many come to wait, and whoever still does.
        self.control.spawn(telemetry::carried(telemetry::around(), async move {
            let mut landing = landing;
            let wish = Wish { key, asker: &asker, target: &target };
            let mut answer = this.exchange(&landing, wish, ask).await;
            if ask.urgency == Urgency::Renewal && matches!(&answer, Err(fault) if fault.reach() == Reach::Request) {
                // A renewal may have been put off where a caller's exchange is not, and by now a caller may wait for it.
                match landing.retire() {
                    Ok(()) => return,
                    Err(awaited) => landing = awaited,
                }
                answer = this.exchange(&landing, wish, ask.freshness.into()).await;
            }
            if let Err(grounded) = landing.land(answer)
                && grounded.awaited()
            {
                // It was asked for before a purge. Whoever waits for it gets what is asked for after.
                grounded.settle(match round {
                    ROUNDS.. => Err(overtaken()),
                    _ => this.token(&asker, &target, Ask::ANY, round + 1).await,
                });
            }
        }));
    }

    /// Asks the source, and keeps what comes of it: a token, or a refusal that it would only repeat.
    async fn exchange(&self, landing: &Landing<Key, About, Outcome>, wish: Wish<'_>, ask: Ask) -> Outcome {
        let answer = self.source.token(wish.asker, wish.target, ask).await;
        let now = self.clock.millis();
        match answer {
            Ok(granted) => {
                let granted = Granted { generation: landing.generation(), source: Source::Miss, ..granted };
                self.withdraw(landing, wish, granted.not_before);
                self.keep(landing, wish, granted.clone(), now);
                Ok(granted)
            }
            Err(fault) => {
                self.refused(landing, wish, &fault, now);
                Err(fault)
            }
        }
    }

    /// Throws out what was granted for tokens that are too old by the issuer's newest word, and sees to it that what is being
    /// exchanged for them is asked for again. Not this very exchange: the issuer granted it knowing its own word.
    fn withdraw(&self, landing: &Landing<Key, About, Outcome>, wish: Wish, at: u64) {
        let issuer = &wish.target.issuer;
        if !self.not_before.rises(issuer, at) {
            return;
        }
        let under_way = self.flights.purge(|about| about.issued_before(issuer, at) && !landing.is_about(about), None);
        let held = self.store.drop_issued_before(issuer, at);
        if held + under_way > 0 {
            tracing::info!(
                issuer = &**issuer,
                not_before = at,
                held,
                under_way,
                "the issuer withdrew tokens issued before a time (not-before-policy)"
            );
        }
    }

    fn keep(&self, landing: &Landing<Key, About, Outcome>, wish: Wish, granted: Granted, now: u64) {
        let (key, generation, about) = (wish.key, landing.generation(), wish.about());
        // The first of the tokens that were sent ends the life of what they got.
        let ends = about.caller.iter().chain(&about.actor).map(|subject| subject.expires_at).min().unwrap_or(u64::MAX);
        let left = Duration::from_secs(ends.saturating_sub(self.clock.unix()));
        let settings = self.settings.now();
        let life = Life::of(&granted, now.saturating_add(millis(left)), &settings, rand::random());
        let forced_until = if landing.forced() { now.saturating_add(millis(settings.force_interval)) } else { 0 };
        self.refusals.forget(&key, generation);
        if about.issued_before(&wish.target.issuer, granted.not_before) {
            // Good for this once: the answer itself says that nothing is to be kept for a token so old.
            return self.store.refuse(&key, generation, now);
        }
        // The issuer may have refused another flight meanwhile, and with it this one.
        let void = || landing.grounded() || self.refusals.void(&key, generation, now);
        self.store.put(&key, Arrival { granted, life, forced_until, about: &about }, now, void);
    }

    /// Remembered before what is held goes: what lands in between sees it.
    fn refused(&self, landing: &Landing<Key, About, Outcome>, wish: Wish, fault: &Fault, now: u64) {
        let (key, generation, reach) = (wish.key, landing.generation(), wish.reach(fault));
        let remember = || self.refusals.remember(&key, wish.target, reach, fault, generation, now);
        match reach {
            Reach::Subject => {
                remember();
                self.store.drop_subject(&key.subject);
            }
            // What was said before a purge, or before something newer came in, is not held against anybody.
            Reach::Target | Reach::Client if landing.grounded() => {}
            Reach::Target if self.store.newer(&key, generation, now) => {}
            Reach::Target => {
                remember();
                // Who forces is told so, and those who did not keep what they have: unless it is a token that was sent that is dead.
                if !landing.forced() || fault.reach() == Reach::Subject {
                    self.store.refuse(&key, generation, now);
                }
            }
            Reach::Client => remember(),
            Reach::Request => {}
        }
        if landing.forced() && !landing.grounded() {
            self.refusals.remember_forced(&key, fault, generation, now);
        }
    }
}

fn overtaken() -> Fault {
    let why = Why::new(
        "each exchange that was made for the caller was overtaken by a purge, or by an issuer that withdraws tokens with every answer",
    );
    let why = why.cure("purge less often; look at what moves the issuer's not-before-policy").into();
    Fault::IssuerUnavailable { retry_after: None, why }
}

fn lost() -> Fault {
    Fault::Internal(Why::new("an exchange ended without an outcome").cure("please report this as a bug").into())
}

#[cfg(test)]
mod tests;
