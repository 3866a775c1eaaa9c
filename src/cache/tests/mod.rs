use super::*;
use crate::fault::{Fault, Why};
use crate::token::{AccessToken, Subject, SubjectToken};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// A source that counts, waits at a gate, and fails on demand.
struct Counted {
    asked: AtomicUsize,
    gate: Semaphore,
    fail: bool,
    lifetime: Duration,
    clock: Clock,
    started: mpsc::UnboundedSender<()>,
}

impl TokenSource for Arc<Fake> {
    fn token(&self, _: &Caller, target: &Arc<Target>, _: Freshness) -> Answer {
        let (me, target) = (self.0.clone(), target.clone());
        let n = me.asked.fetch_add(1, Ordering::SeqCst);
        let _ = me.started.send(());
        Either::Right(
            async move {
                me.gate.acquire().await.unwrap().forget();
                assert!(target.audiences[0] != "panic", "the source panics");
                if me.fail {
                    return Err(Fault::TargetRefused(Why::new("no").into()));
                }
                let token = AccessToken::new(&format!("{}-{n}", target.audiences[0])).unwrap();
                let expires_at = me.clock.millis() + crate::clock::millis(me.lifetime);
                Ok(Granted { token, source: Source::Miss, generation: 0, expires_at, lifetime: me.lifetime })
            }
            .boxed(),
        )
    }
}

struct Fake(Arc<Counted>);

struct Bench {
    cache: Cache<Arc<Fake>>,
    source: Arc<Counted>,
    clock: Clock,
    started: mpsc::UnboundedReceiver<()>,
}

fn bench(permits: usize, fail: bool, settings: Settings) -> Bench {
    let (clock, (tx, started)) = (Clock::turned(), mpsc::unbounded_channel());
    let lifetime = Duration::from_secs(100);
    let source =
        Arc::new(Counted { asked: AtomicUsize::new(0), gate: Semaphore::new(permits), fail, lifetime, clock: clock.clone(), started: tx });
    let cache = Cache::new(settings, Arc::new(Fake(source.clone())), clock.clone(), Handle::current(), Metrics::new());
    Bench { cache, source, clock, started }
}

fn caller(name: &str) -> Caller {
    let header = http::HeaderValue::from_str(&format!("Bearer {name}")).unwrap();
    let token = SubjectToken::from_authorization(&header).unwrap().unwrap();
    let subject = Subject {
        issuer: "i".into(),
        sub: name.into(),
        sid: None,
        azp: None,
        scopes: vec![],
        expires_at: u64::MAX,
        clock_skew: Duration::ZERO,
    };
    Caller { digest: token.digest(), token, subject: Arc::new(subject) }
}

fn target(audience: &str) -> Arc<Target> {
    Arc::new(Target {
        issuer: "i".into(),
        audiences: vec![audience.into()],
        scopes: vec![],
        resources: vec![],
        expect_audiences: vec![],
        max_ttl: Duration::from_secs(300),
        allow_login_client: false,
        digest: Digest::of(audience.as_bytes()),
    })
}

impl Bench {
    async fn ask(&self, who: &str, what: &str, freshness: Freshness) -> Result<(String, Source, u64), Fault> {
        let granted = self.cache.token(&caller(who), &target(what), freshness).await?;
        Ok((granted.token.expose().to_owned(), granted.source, granted.generation))
    }

    fn asked(&self) -> usize {
        self.source.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_hit_answers_at_once_until_the_margin_begins() {
    let b = bench(10, false, Settings::default());
    assert_eq!(b.ask("ada", "a", Freshness::Any).await.unwrap().1, Source::Miss);
    assert!(matches!(b.cache.token(&caller("ada"), &target("a"), Freshness::Any), Either::Left(_)), "a hit never waits");
    b.clock.turn(Duration::from_secs(85));
    assert_eq!(b.ask("ada", "a", Freshness::Any).await.unwrap().1, Source::Hit);
    b.clock.turn(Duration::from_secs(6));
    assert_eq!(b.ask("ada", "a", Freshness::Any).await.unwrap().1, Source::Miss, "the last tenth of the life is not used");
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn neither_subjects_nor_targets_mix() {
    let b = bench(10, false, Settings::default());
    for (who, what) in [("ada", "a"), ("bob", "a"), ("ada", "b")] {
        b.ask(who, what, Freshness::Any).await.unwrap();
    }
    assert_eq!(b.asked(), 3);
    assert_eq!(b.ask("bob", "a", Freshness::Any).await.unwrap().0, "a-1");
    assert_eq!(b.ask("ada", "b", Freshness::Any).await.unwrap().0, "b-2");
}

#[tokio::test]
async fn many_first_callers_make_one_exchange() {
    let b = bench(0, false, Settings::default());
    let waits: Vec<_> = (0..200).map(|_| tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::Any))).collect();
    b.source.gate.add_permits(1);
    let mut sources = vec![];
    for wait in waits {
        sources.push(wait.await.unwrap().unwrap().source);
    }
    assert_eq!(b.asked(), 1);
    assert_eq!(sources.iter().filter(|s| **s == Source::Miss).count(), 1);
    assert_eq!(sources.iter().filter(|s| **s == Source::Coalesced).count(), 199);
}

#[tokio::test]
async fn the_leader_may_hang_up() {
    let mut b = bench(0, false, Settings::default());
    let leader = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::Any));
    b.started.recv().await;
    let follower = b.cache.token(&caller("ada"), &target("a"), Freshness::Any);
    leader.abort();
    b.source.gate.add_permits(1);
    assert_eq!(follower.await.unwrap().source, Source::Coalesced);
    assert_eq!(b.asked(), 1);
}

#[tokio::test]
async fn a_failure_wakes_all_with_one_error_and_is_not_kept() {
    let b = bench(0, true, Settings::default());
    let waits: Vec<_> = (0..50).map(|_| tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::Any))).collect();
    b.source.gate.add_permits(10);
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap_err().code(), "target_refused");
    }
    assert_eq!(b.asked(), 1);
    assert!(b.ask("ada", "a", Freshness::Any).await.is_err());
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn a_panic_in_the_source_frees_the_key() {
    let b = bench(10, false, Settings::default());
    assert_eq!(b.ask("ada", "panic", Freshness::Any).await.unwrap_err().code(), "internal");
    assert_eq!(b.ask("ada", "panic", Freshness::Any).await.unwrap_err().code(), "internal");
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn newer_than_goes_past_what_is_held_and_a_burst_costs_one() {
    let b = bench(10, false, Settings::default());
    let (_, _, seen) = b.ask("ada", "a", Freshness::Any).await.unwrap();
    let burst: Vec<_> = (0..50).map(|_| b.cache.token(&caller("ada"), &target("a"), Freshness::NewerThan(seen))).collect();
    for wait in burst {
        assert!(wait.await.unwrap().generation > seen);
    }
    assert_eq!(b.asked(), 2);
    let (token, source, newer) = b.ask("ada", "a", Freshness::Any).await.unwrap();
    assert_eq!((token.as_str(), source), ("a-1", Source::Hit));
    assert!(newer > seen);
}

#[tokio::test]
async fn a_late_answer_never_overwrites_a_newer_one() {
    let mut b = bench(0, false, Settings::default());
    let old = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::Any));
    b.started.recv().await;
    // Of the flight in the air the asker says that it is too old: another starts and takes the key over.
    let newest = next_generation();
    let new = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::NewerThan(newest)));
    b.started.recv().await;
    b.source.gate.add_permits(2);
    let (old, new) = (old.await.unwrap().unwrap(), new.await.unwrap().unwrap());
    assert!(old.generation < new.generation, "who waited for the older one gets the older one, and not an error");
    assert_eq!(b.ask("ada", "a", Freshness::Any).await.unwrap().2, new.generation);
}

#[tokio::test]
async fn the_bounds_hold() {
    let b = bench(10_000, false, Settings { max_entries: 50, max_per_token: 4, expire_early: 0.1 });
    for i in 0..20 {
        b.ask("ada", &format!("a{i}"), Freshness::Any).await.unwrap();
        assert!(b.cache.len() <= 4);
    }
    for i in 0..500 {
        b.ask(&format!("user{i}"), "a", Freshness::Any).await.unwrap();
        assert!(b.cache.len() <= 50);
    }
}

use crate::token::next_generation;
