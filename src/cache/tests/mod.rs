//! The cache before a source that counts, on a turned clock.

use super::*;
use crate::token::{AccessToken, Grant, Subject, SubjectToken, TargetSettings, next_generation};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

mod bounds;
mod forced;
mod purged;
mod refused;
mod renewed;

use tokio::sync::{Semaphore, mpsc};

/// A source that counts, waits at a gate, and fails on demand.
struct Counted {
    asked: AtomicUsize,
    urgencies: Mutex<Vec<Urgency>>,
    gate: Semaphore,
    fault: Mutex<Option<Fault>>,
    lifetime: Mutex<Duration>,
    not_before: AtomicU64,
    /// Whether `not_before` is one more with each answer.
    rising: AtomicBool,
    patience: Mutex<Option<Duration>>,
    clock: Clock,
    started: mpsc::UnboundedSender<()>,
}

impl TokenSource for Arc<Fake> {
    fn token(&self, _: &Asker, target: &Arc<Target>, ask: Ask) -> Answer {
        let (me, target) = (self.0.clone(), target.clone());
        let n = me.asked.fetch_add(1, Ordering::SeqCst);
        me.urgencies.lock().unwrap().push(ask.urgency);
        let _ = me.started.send(());
        let asked_at = me.clock.millis();
        Either::Right(
            async move {
                me.gate.acquire().await.unwrap().forget();
                assert!(target.settings.audiences[0] != "panic", "the source panics");
                if let Some(fault) = me.fault.lock().unwrap().clone() {
                    return Err(fault);
                }
                let token = AccessToken::new(&format!("{}-{n}", target.settings.audiences[0])).unwrap();
                let lifetime = *me.lifetime.lock().unwrap();
                Ok(Granted {
                    token,
                    source: Source::Miss,
                    generation: 0,
                    expires_at: asked_at + millis(lifetime),
                    lifetime,
                    by_issuer: lifetime,
                    not_before: me.not_before.fetch_add(u64::from(me.rising.load(Ordering::SeqCst)), Ordering::SeqCst),
                })
            }
            .boxed(),
        )
    }

    fn patience(&self, _: &Target) -> Option<Duration> {
        *self.0.patience.lock().unwrap()
    }
}

struct Fake(Arc<Counted>);

struct Bench {
    cache: Cache<Arc<Fake>>,
    source: Arc<Counted>,
    clock: Clock,
    metrics: Arc<Metrics>,
    started: mpsc::UnboundedReceiver<()>,
}

const LIFE: Duration = Duration::from_secs(100);

fn bench(permits: usize, fault: Option<Fault>, settings: Settings) -> Bench {
    let (clock, (tx, started), metrics) = (Clock::turned(), mpsc::unbounded_channel(), Metrics::new());
    let source = Arc::new(Counted {
        asked: AtomicUsize::new(0),
        urgencies: Mutex::default(),
        gate: Semaphore::new(permits),
        fault: Mutex::new(fault),
        lifetime: Mutex::new(LIFE),
        not_before: AtomicU64::new(0),
        rising: AtomicBool::new(false),
        patience: Mutex::default(),
        clock: clock.clone(),
        started: tx,
    });
    let cache = Cache::new(settings, Arc::new(Fake(source.clone())), clock.clone(), Handle::current(), metrics.clone());
    Bench { cache, source, clock, metrics, started }
}

/// As most tests want it: nothing is renewed behind their backs.
fn plain() -> Settings {
    Settings { refresh_ahead: 0.0, ..Settings::default() }
}

fn refusal(reach: Reach) -> Fault {
    let why = Why::new("no").reaching(reach).into();
    match reach {
        Reach::Subject => Fault::InvalidToken(why),
        Reach::Target => Fault::TargetRefused(why),
        Reach::Client => Fault::Misconfigured(why),
        Reach::Request => Fault::IssuerUnavailable { retry_after: None, why },
    }
}

/// `name` is the token, too; what stands before a `/` is the user, and the whole is the session.
fn caller(name: &str) -> Asker {
    ending(name, u64::MAX)
}

/// A caller whose own token ends at `expires_at`, in seconds since 1970.
fn ending(name: &str, expires_at: u64) -> Asker {
    Asker::Caller(verified(name, expires_at))
}

fn verified(name: &str, expires_at: u64) -> Caller {
    let header = http::HeaderValue::from_str(&format!("Bearer {name}")).unwrap();
    let token = SubjectToken::from_authorization(&header).unwrap().unwrap();
    let subject = Subject {
        issuer: "i".into(),
        sub: name.split('/').next().unwrap().into(),
        sid: Some(name.into()),
        azp: None,
        scopes: vec![],
        claims: vec![],
        issued_at: 0,
        expires_at,
        clock_skew: Duration::ZERO,
    };
    Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None }
}

fn target(audience: &str) -> Arc<Target> {
    wanted(audience, Grant::TokenExchange)
}

fn wanted(audience: &str, grant: Grant) -> Arc<Target> {
    let settings = TargetSettings { audiences: vec![audience.into()], ..TargetSettings::default() };
    Arc::new(Target { issuer: "i".into(), grant, settings, digest: Digest::of(audience.as_bytes()) })
}

impl Bench {
    async fn ask(&self, who: &str, what: &str, ask: impl Into<Ask>) -> Result<(String, Source, u64), Fault> {
        let granted = self.cache.token(&caller(who), &target(what), ask.into()).await?;
        Ok((granted.token.expose().to_owned(), granted.source, granted.generation))
    }

    /// Where an answer comes from: the source, or a fault's code, and whether it was there at once.
    async fn from(&self, who: &str, what: &str, ask: impl Into<Ask>) -> (&'static str, bool) {
        let answer = self.cache.token(&caller(who), &target(what), ask.into());
        let at_once = matches!(answer, Either::Left(_));
        (answer.await.map_or_else(|fault| fault.code(), |granted| granted.source.label()), at_once)
    }

    fn asked(&self) -> usize {
        self.source.asked.load(Ordering::SeqCst)
    }

    fn fails(&self, fault: Option<Fault>) {
        *self.source.fault.lock().unwrap() = fault;
    }

    fn turn(&self, seconds: u64) {
        self.clock.turn(Duration::from_secs(seconds));
    }

    fn scraped(&self, series: &str) -> f64 {
        let text = String::from_utf8(self.metrics.encode()).unwrap();
        text.lines().find_map(|l| l.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
    }
}

/// Lets what was spawned run until it waits for something.
async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hit_answers_at_once_until_the_margin_begins() {
    let b = bench(10, None, plain());
    assert_eq!(b.ask("ada", "a", Ask::ANY).await.unwrap().1, Source::Miss);
    assert!(matches!(b.cache.token(&caller("ada"), &target("a"), Ask::ANY), Either::Left(_)), "a hit never waits");
    b.clock.turn(Duration::from_secs(85));
    assert_eq!(b.ask("ada", "a", Ask::ANY).await.unwrap().1, Source::Hit);
    b.clock.turn(Duration::from_secs(6));
    assert_eq!(b.ask("ada", "a", Ask::ANY).await.unwrap().1, Source::Miss, "the last tenth of the life is not used");
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn neither_subjects_nor_targets_mix() {
    let b = bench(10, None, plain());
    for (who, what) in [("ada", "a"), ("bob", "a"), ("ada", "b")] {
        b.ask(who, what, Ask::ANY).await.unwrap();
    }
    assert_eq!(b.asked(), 3);
    assert_eq!(b.ask("bob", "a", Ask::ANY).await.unwrap().0, "a-1");
    assert_eq!(b.ask("ada", "b", Ask::ANY).await.unwrap().0, "b-2");
}

#[tokio::test]
async fn many_first_callers_make_one_exchange() {
    let b = bench(0, None, plain());
    let waits: Vec<_> = (0..200).map(|_| tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY))).collect();
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
    let mut b = bench(0, None, plain());
    let leader = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    b.started.recv().await;
    let follower = b.cache.token(&caller("ada"), &target("a"), Ask::ANY);
    leader.abort();
    b.source.gate.add_permits(1);
    assert_eq!(follower.await.unwrap().source, Source::Coalesced);
    assert_eq!(b.asked(), 1);
}

#[tokio::test]
async fn a_failure_wakes_all_with_one_error_and_an_outage_is_not_kept() {
    let b = bench(0, Some(refusal(Reach::Request)), plain());
    let waits: Vec<_> = (0..50).map(|_| tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY))).collect();
    b.source.gate.add_permits(10);
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap_err().code(), "issuer_unavailable");
    }
    assert_eq!(b.asked(), 1);
    assert!(b.ask("ada", "a", Ask::ANY).await.is_err());
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn a_panic_in_the_source_frees_the_key() {
    let b = bench(10, None, plain());
    assert_eq!(b.ask("ada", "panic", Ask::ANY).await.unwrap_err().code(), "internal");
    assert_eq!(b.ask("ada", "panic", Ask::ANY).await.unwrap_err().code(), "internal");
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn newer_than_goes_past_what_is_held_and_a_burst_costs_one() {
    let b = bench(10, None, plain());
    let (_, _, seen) = b.ask("ada", "a", Ask::ANY).await.unwrap();
    let burst: Vec<_> = (0..50).map(|_| b.cache.token(&caller("ada"), &target("a"), Freshness::NewerThan(seen).into())).collect();
    for wait in burst {
        assert!(wait.await.unwrap().generation > seen);
    }
    assert_eq!(b.asked(), 2);
    let (token, source, newer) = b.ask("ada", "a", Ask::ANY).await.unwrap();
    assert_eq!((token.as_str(), source), ("a-1", Source::Hit));
    assert!(newer > seen);
}

#[tokio::test]
async fn a_late_answer_never_overwrites_a_newer_one() {
    let mut b = bench(0, None, plain());
    let old = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    b.started.recv().await;
    // Of the flight in the air the asker says that it is too old: another starts and takes the key over.
    let newest = next_generation();
    let new = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::NewerThan(newest).into()));
    b.started.recv().await;
    b.source.gate.add_permits(2);
    let (old, new) = (old.await.unwrap().unwrap(), new.await.unwrap().unwrap());
    assert!(old.generation < new.generation, "who waited for the older one gets the older one, and not an error");
    assert_eq!(b.ask("ada", "a", Ask::ANY).await.unwrap().2, new.generation);
}
