//! The cache against a simple reference, by random interleavings of asking, time, force, purges, answers of every sort and
//! callers who hang up. Never a token of another subject or for another target, never two ordinary exchanges in flight for one
//! key, never past a bound, never one from before a purge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use cambist::cache::{Cache, Purge, Settings};
use cambist::clock::Clock;
use cambist::fault::{Fault, Reach, Why};
use cambist::metrics::Metrics;
use cambist::token::{
    AccessToken, Answer, Ask, Asker, Caller, Digest, Freshness, Grant, Granted, Source, Subject, SubjectToken, Target, TargetSettings,
    TokenSource, Urgency,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use http::HeaderValue;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// Subject tokens: 0 and 1 are one user in two sessions, 2 is another user.
const CALLERS: usize = 3;
const TARGETS: usize = 4;
const LIFE: Duration = Duration::from_secs(100);
/// Less than there are keys, so that things are thrown out; where that is not the matter, there is room for all.
const TIGHT: Settings = Settings { max_entries: 5, max_per_token: 2, ..ROOMY };
/// The same by what they take in memory.
const CRAMPED: Settings = Settings { max_bytes: 2_500, ..ROOMY };
const ROOMY: Settings = Settings {
    max_entries: 100,
    max_bytes: 1_000_000,
    max_per_token: 10,
    expire_early: 0.1,
    refresh_ahead: 0.2,
    refused_ttl: Duration::from_secs(30),
    force_interval: Duration::from_secs(5),
};

#[derive(Clone, Debug)]
enum Step {
    Ask {
        who: usize,
        what: usize,
        how: How,
    },
    /// Some exchange that is under way comes to its end.
    Answer {
        which: usize,
        comes_to: End,
    },
    /// Some caller who waits hangs up.
    HangUp {
        which: usize,
    },
    Turn {
        seconds: u64,
    },
    Purge {
        what: Thrown,
    },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Any,
    /// Newer than what was last seen for the key.
    Newer,
    Forced,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Token,
    Dead,
    Refused,
    Outage,
    Panic,
}

#[derive(Clone, Copy, Debug)]
enum Thrown {
    User(usize),
    Session(usize),
    Audience(usize),
    All,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![4 => Just(How::Any), 1 => Just(How::Newer), 1 => Just(How::Forced)];
    let ask = (0..CALLERS, 0..TARGETS, how).prop_map(|(who, what, how)| Step::Ask { who, what, how });
    let end =
        prop_oneof![6 => Just(End::Token), 1 => Just(End::Dead), 1 => Just(End::Refused), 1 => Just(End::Outage), 1 => Just(End::Panic)];
    let answer = (any::<usize>(), end).prop_map(|(which, comes_to)| Step::Answer { which, comes_to });
    let thrown = prop_oneof![
        (0..2usize).prop_map(Thrown::User),
        (0..CALLERS).prop_map(Thrown::Session),
        (0..TARGETS).prop_map(Thrown::Audience),
        Just(Thrown::All)
    ];
    let step = prop_oneof![
        8 => ask,
        8 => answer,
        1 => any::<usize>().prop_map(|which| Step::HangUp { which }),
        3 => prop_oneof![3 => 1..6u64, 2 => 20..40u64, 1 => Just(95u64)].prop_map(|seconds| Step::Turn { seconds }),
        1 => thrown.prop_map(|what| Step::Purge { what }),
    ];
    prop::collection::vec(step, 1..120)
}

type Key = (usize, usize);

/// An exchange under way.
struct Flying {
    key: Key,
    ask: Ask,
    /// In the order in which they were asked for.
    serial: u64,
    asked_at: u64,
    end: oneshot::Sender<End>,
}

/// The issuer: every exchange waits until a step says what it comes to.
#[derive(Clone)]
struct Issuer {
    clock: Clock,
    flying: Arc<Mutex<Vec<Flying>>>,
    serial: Arc<Mutex<u64>>,
}

impl TokenSource for Issuer {
    fn token(&self, asker: &Asker, target: &Arc<Target>, ask: Ask) -> Answer {
        let key = (
            asker.caller().unwrap().token.expose().trim_start_matches("caller-").parse().unwrap(),
            target.settings.audiences[0].parse().unwrap(),
        );
        let (end, ended) = oneshot::channel();
        let serial = {
            let mut serial = self.serial.lock().unwrap();
            *serial += 1;
            *serial
        };
        let asked_at = self.clock.millis();
        self.flying.lock().unwrap().push(Flying { key, ask, serial, asked_at, end });
        let answer = async move {
            let refused = |reach| Why::new("as the step says").reaching(reach).into();
            match ended.await.unwrap() {
                End::Token => {
                    let token = AccessToken::new(&format!("{}.{}.{serial}", key.0, key.1)).unwrap();
                    let expires_at = asked_at + LIFE.as_millis() as u64;
                    Ok(Granted { token, source: Source::Miss, generation: 0, expires_at, lifetime: LIFE, by_issuer: LIFE, not_before: 0 })
                }
                End::Dead => Err(Fault::InvalidToken(refused(Reach::Subject))),
                End::Refused => Err(Fault::TargetRefused(refused(Reach::Target))),
                End::Outage => Err(Fault::IssuerUnavailable { retry_after: None, why: refused(Reach::Request) }),
                End::Panic => panic!("as the step says"),
            }
        };
        Either::Right(answer.boxed())
    }
}

/// A caller who waits.
struct Waiting {
    key: Key,
    how: How,
    /// Of what it had been seen before.
    seen: u64,
    asked_at: u64,
    answer: BoxFuture<'static, Result<Granted, Fault>>,
}

struct World {
    settings: Settings,
    clock: Clock,
    cache: Cache<Issuer>,
    issuer: Issuer,
    waiting: Vec<Waiting>,
    /// The reference: what is known of each key.
    known: HashMap<Key, Known>,
    /// Subject tokens of which the issuer has said that they are dead: until when that is remembered, and what had been asked for.
    dead: HashMap<usize, (u64, u64)>,
    /// The same of keys whose target was refused, with the exchange that was.
    refused: HashMap<Key, (u64, u64)>,
    /// Exchanges up to this one, by key, were asked for before a purge that took them.
    purged: HashMap<Key, u64>,
    /// Exchanges and when they were asked for.
    asked_at: HashMap<u64, u64>,
    /// And when they came to their end.
    answered_at: HashMap<u64, u64>,
}

#[derive(Default)]
struct Known {
    /// Exchanges that were granted, and may still be handed out.
    granted: HashSet<u64>,
    /// The generation that was last seen, and its exchange.
    seen: (u64, u64),
}

impl World {
    fn new(settings: Settings) -> Self {
        let clock = Clock::turned();
        let issuer = Issuer { clock: clock.clone(), flying: Arc::default(), serial: Arc::default() };
        let cache = Cache::new(settings, issuer.clone(), clock.clone(), tokio::runtime::Handle::current(), Metrics::new());
        let (known, dead, refused, purged, asked_at, turns) = Default::default();
        Self { settings, clock, cache, issuer, waiting: Vec::new(), known, dead, refused, purged, asked_at, answered_at: turns }
    }

    async fn settle(&mut self) {
        for _ in 0..12 {
            tokio::task::yield_now().await;
        }
        let mut i = 0;
        while i < self.waiting.len() {
            match (&mut self.waiting[i].answer).now_or_never() {
                Some(outcome) => {
                    let done = self.waiting.swap_remove(i);
                    self.answered(&done, outcome);
                }
                None => i += 1,
            }
        }
        self.bounds();
    }

    /// What holds at every moment.
    fn bounds(&self) {
        // No more than may be, and no more of one subject token than may be of one.
        let of = |who| (0..TARGETS).filter(|what| self.known.get(&(who, *what)).is_some_and(|k| !k.granted.is_empty())).count();
        let most: usize = (0..CALLERS).map(|who| of(who).min(self.settings.max_per_token)).sum();
        assert!(self.cache.len() <= most.min(self.settings.max_entries), "{} entries", self.cache.len());
        assert!(self.cache.bytes() <= self.settings.max_bytes);
        let flying = self.issuer.flying.lock().unwrap();
        let mut ordinary = HashMap::new();
        for f in flying.iter().filter(|f| f.ask.freshness == Freshness::Any) {
            // One that a purge has grounded is in the air, and counts for nothing.
            if f.serial > self.purged.get(&f.key).copied().unwrap_or(0) {
                *ordinary.entry(f.key).or_insert(0) += 1;
            }
        }
        assert!(ordinary.values().all(|n| *n == 1), "two ordinary exchanges in flight for one key: {ordinary:?}");
        // Whoever waits waits for something.
        let in_the_air: HashSet<Key> = flying.iter().map(|f| f.key).collect();
        assert!(self.waiting.iter().all(|w| in_the_air.contains(&w.key)), "somebody waits for nothing");
    }

    fn answered(&mut self, waiting: &Waiting, outcome: Result<Granted, Fault>) {
        let Ok(granted) = outcome else { return };
        let text = granted.token.expose().to_owned();
        let mut parts = text.split('.').map(|p| p.parse::<u64>().unwrap());
        let (who, what, serial) = (parts.next().unwrap() as usize, parts.next().unwrap() as usize, parts.next().unwrap());
        assert_eq!((who, what), waiting.key, "somebody else's token, or one for something else");
        let known = self.known.entry(waiting.key).or_default();
        assert!(known.granted.contains(&serial), "{serial} was never granted, or has been revoked");
        assert!(serial > self.purged.get(&waiting.key).copied().unwrap_or(0), "{serial} was asked for before a purge");
        let now = self.clock.millis();
        let begun = self.asked_at[&serial];
        // It was there when it was asked for: that is, it was held.
        let held = self.answered_at[&serial] < waiting.asked_at;
        assert!(held || !granted.source.cached(), "from the future");
        if held {
            assert!(granted.source.cached() || granted.source == Source::Forced, "{:?}", granted.source);
            let age = waiting.asked_at - begun;
            assert!(age <= 90_500, "a token of {age} ms was handed out");
            let stands = |refusal: Option<&(u64, u64)>| refusal.is_some_and(|(until, last)| *until > now && serial <= *last);
            assert!(!stands(self.dead.get(&who)), "a dead subject's token was handed out");
            assert!(!stands(self.refused.get(&waiting.key)), "a token was handed out that was refused after it had been asked for");
            // Nothing is thrown out where there is room, so that nothing older comes back.
            let newest = known.seen.1;
            let gone = stands_at(self.refused.get(&waiting.key), newest) || stands_at(self.dead.get(&who), newest);
            let over = self.asked_at.get(&newest).is_none_or(|at| now - at >= 89_500);
            assert!(serial >= newest || gone || over || self.settings != ROOMY, "{serial} took the place of {newest}");
        }
        match waiting.how {
            How::Any => {}
            // Or what the last forced exchange came to, a moment ago.
            How::Newer => assert!(granted.generation > waiting.seen || granted.source == Source::Forced, "an old one"),
            How::Forced => assert!(granted.source == Source::Forced, "{:?}", granted.source),
        }
        if serial > known.seen.1 {
            assert!(granted.generation > known.seen.0, "a newer exchange has a higher generation");
            known.seen = (granted.generation, serial);
        }
    }

    fn ask(&mut self, key: Key, how: How) {
        let seen = self.known.entry(key).or_default().seen.0;
        let freshness = match how {
            How::Any => Freshness::Any,
            How::Newer => Freshness::NewerThan(seen),
            How::Forced => Freshness::Forced,
        };
        let answer = self.cache.token(&caller(key.0), &target(key.1), freshness.into());
        let asked_at = self.clock.millis();
        self.waiting.push(Waiting { key, how, seen, asked_at, answer: answer.boxed() });
        // So that what is answered next is answered later.
        self.clock.turn(Duration::from_millis(2));
    }

    fn answer(&mut self, which: usize, comes_to: End) {
        let flying = {
            let mut flying = self.issuer.flying.lock().unwrap();
            if flying.is_empty() {
                return;
            }
            let at = which % flying.len();
            flying.remove(at)
        };
        let (key, now, serial) = (flying.key, self.clock.millis(), flying.serial);
        match comes_to {
            End::Token => drop(self.known.entry(key).or_default().granted.insert(serial)),
            // Of all that had been asked for until then.
            End::Dead => drop(self.dead.insert(key.0, (now + 29_500, *self.issuer.serial.lock().unwrap()))),
            // Of this and of what had been asked for before, unless something newer was granted already. Those who force are refused by
            // themselves.
            End::Refused if flying.ask.freshness != Freshness::Any => {}
            End::Refused if serial > self.known.entry(key).or_default().granted.iter().copied().max().unwrap_or(0) => {
                self.refused.insert(key, (now + 29_500, serial));
            }
            End::Refused | End::Outage | End::Panic => {}
        }
        self.answered_at.insert(serial, now);
        self.asked_at.insert(serial, flying.asked_at);
        let _ = flying.end.send(comes_to);
        self.clock.turn(Duration::from_millis(2));
    }

    fn purge(&mut self, what: Thrown) {
        let serial = *self.issuer.serial.lock().unwrap();
        let taken = |key: &Key| match what {
            Thrown::User(user) => user_of(key.0) == user,
            Thrown::Session(session) => key.0 == session,
            Thrown::Audience(audience) => key.1 == audience,
            Thrown::All => true,
        };
        let issuer = || "i".to_owned();
        let purge = match what {
            Thrown::User(user) => Purge::Subject { issuer: issuer(), sub: format!("user-{user}") },
            Thrown::Session(session) => Purge::Session { issuer: issuer(), sid: format!("session-{session}") },
            Thrown::Audience(audience) => Purge::Audience(audience.to_string()),
            Thrown::All => Purge::All,
        };
        // What was there at once, before the purge, is not held against it.
        self.waiting.retain_mut(|w| (&mut w.answer).now_or_never().is_none());
        self.cache.purge(&purge);
        if matches!(what, Thrown::All) {
            self.dead.clear();
            self.refused.clear();
        }
        for key in (0..CALLERS).flat_map(|who| (0..TARGETS).map(move |what| (who, what))).filter(taken) {
            self.purged.insert(key, serial);
        }
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { who, what, how } => self.ask((who, what), how),
            Step::Answer { which, comes_to } => self.answer(which, comes_to),
            Step::HangUp { which } if !self.waiting.is_empty() => {
                let at = which % self.waiting.len();
                drop(self.waiting.swap_remove(at));
            }
            Step::HangUp { .. } => {}
            Step::Turn { seconds } => self.clock.turn(Duration::from_secs(seconds)),
            Step::Purge { what } => self.purge(what),
        }
        self.settle().await;
    }

    /// All that is under way comes to its end: nobody is left waiting, and what is held then is a hit.
    async fn end(&mut self) {
        for _ in 0..200 {
            if self.issuer.flying.lock().unwrap().is_empty() {
                break;
            }
            self.answer(0, End::Token);
            self.settle().await;
        }
        assert!(self.waiting.is_empty(), "{} wait for ever", self.waiting.len());
        assert!(self.issuer.flying.lock().unwrap().is_empty(), "it asks for ever");
        self.cache.purge(&Purge::All);
        assert_eq!((self.cache.len(), self.cache.bytes()), (0, 0), "the books are right");
    }
}

/// Whether a refusal, whenever it was, concerns the exchange `serial`.
fn stands_at(refusal: Option<&(u64, u64)>, serial: u64) -> bool {
    refusal.is_some_and(|(_, last)| serial <= *last)
}

fn user_of(who: usize) -> usize {
    usize::from(who == 2)
}

fn caller(who: usize) -> Asker {
    let header = HeaderValue::try_from(format!("Bearer caller-{who}")).unwrap();
    let token = SubjectToken::from_authorization(&header).unwrap().unwrap();
    let subject = Subject {
        issuer: "i".into(),
        sub: format!("user-{}", user_of(who)).into(),
        sid: Some(format!("session-{who}").into()),
        azp: None,
        scopes: vec![],
        claims: vec![],
        issued_at: 0,
        expires_at: u64::MAX,
        clock_skew: Duration::ZERO,
    };
    Asker::Caller(Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None })
}

fn target(what: usize) -> Arc<Target> {
    let settings = TargetSettings { audiences: vec![what.to_string()], ..TargetSettings::default() };
    Arc::new(Target { issuer: "i".into(), grant: Grant::TokenExchange, settings, digest: Digest::of(&[what as u8]) })
}

/// Panics that a step orders are no news.
fn quietly() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"as the step says") {
                told(info);
            }
        }));
    });
}

fn run(settings: Settings, steps: &[Step]) {
    quietly();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(settings);
        for step in steps {
            world.step(step).await;
        }
        world.end().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_in_whatever_order(settings in prop_oneof![Just(ROOMY), Just(TIGHT), Just(CRAMPED)], steps in steps()) {
        run(settings, &steps);
    }
}

/// The reference allows much; that the steps reach what they are about is seen here.
#[test]
fn a_story_of_everything() {
    let ask = |how| Step::Ask { who: 0, what: 0, how };
    let answer = |comes_to| Step::Answer { which: 0, comes_to };
    let turn = |seconds| Step::Turn { seconds };
    quietly();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(TIGHT);
        let mut asked = Vec::new();
        for step in [
            ask(How::Any),
            answer(End::Token),
            ask(How::Any),
            turn(85),
            ask(How::Any),
            answer(End::Outage),
            ask(How::Any),
            turn(4),
            ask(How::Any),
            answer(End::Token),
            ask(How::Forced),
            answer(End::Token),
            ask(How::Forced),
            Step::Purge { what: Thrown::User(0) },
            ask(How::Any),
            answer(End::Dead),
            ask(How::Any),
            turn(31),
            ask(How::Any),
            answer(End::Token),
        ] {
            world.step(&step).await;
            asked.push(*world.issuer.serial.lock().unwrap());
        }
        assert_eq!(asked, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6]);
        assert!(world.issuer.flying.lock().unwrap().iter().all(|f| f.ask.urgency == Urgency::Caller));
        world.end().await;
    });
}

/// Of the bounds that the steps run into, each is one that they can.
#[test]
fn there_is_not_room_for_everything() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for (settings, all) in [(ROOMY, true), (TIGHT, false), (CRAMPED, false)] {
            let mut world = World::new(settings);
            for (who, what) in (0..CALLERS).flat_map(|who| (0..TARGETS).map(move |what| (who, what))) {
                world.step(&Step::Ask { who, what, how: How::Any }).await;
                world.step(&Step::Answer { which: 0, comes_to: End::Token }).await;
            }
            let kept = world.cache.len();
            assert!(kept > 1 && (kept == CALLERS * TARGETS) == all, "{kept} with {settings:?}");
            world.end().await;
        }
    });
}
