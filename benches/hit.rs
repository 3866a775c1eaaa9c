//! What a cache hit costs: from the caller's `Authorization` value to the one that is injected, with verification remembered; what its
//! parts cost; and what it costs to wait for somebody else's exchange. The same code as in the gateway; only the issuer behind it
//! answers from memory.
//!
//! `cargo bench --bench hit`; what the figures mean stands in `benches/README.md`.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod engine;

use cambist::cache::{Cache, Settings};
use cambist::clock::Clock;
use cambist::metrics::Metrics;
use cambist::token::{AccessToken, Answer, Ask, Asker, Caller, Source, Subject, SubjectToken, Target, TokenSource};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{Engine, engine, sizes};
use futures_util::FutureExt;
use futures_util::future::{Either, join_all};
use http::HeaderValue;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Callers' tokens are brought in so many at a time, and then the clock runs.
const BATCH: usize = 16;

/// How long `threads` threads take for as many rounds each, at the same time.
fn together(threads: usize, rounds: u64, one: &(impl Fn(usize, u64) -> Duration + Sync)) -> Duration {
    let ready = &Barrier::new(threads);
    std::thread::scope(|scope| {
        let begin = |thread| {
            scope.spawn(move || {
                ready.wait();
                one(thread, rounds)
            })
        };
        let running: Vec<_> = (0..threads).map(begin).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

/// `rounds` requests of callers in an order that no prefetcher guesses. A token comes fresh from a socket: it is in the processor's
/// cache, whoever's it is; what is kept is not. To bring it there is not counted, nor is the dropping of what came of it.
fn requests<R>(engine: &Engine, thread: usize, rounds: u64, what: impl Fn(&HeaderValue) -> R) -> Duration {
    let count = engine.callers.len();
    let (mut at, mut took, mut left) = (thread * count / 2, Duration::ZERO, rounds);
    while left > 0 {
        let now = BATCH.min(usize::try_from(left).unwrap());
        let arrived: Vec<HeaderValue> = (0..now)
            .map(|_| {
                at = (at + 61_803) % count;
                HeaderValue::from_bytes(engine.callers[at].as_bytes()).unwrap()
            })
            .collect();
        let mut results = Vec::with_capacity(now);
        let begun = Instant::now();
        results.extend(arrived.iter().map(|authorization| what(black_box(authorization))));
        took += begun.elapsed();
        drop(black_box(results));
        left -= now as u64;
    }
    took
}

/// At each size, by one thread and by two: a hit, and the look-up of a verified token alone.
fn hit(c: &mut Criterion) {
    let mut engine = engine();
    for size in sizes() {
        engine.fill(size);
        let engine = &engine;
        for threads in [1, 2] {
            let mut measured = |name: &str, one: &(dyn Fn(usize, u64) -> Duration + Sync)| {
                let mut group = c.benchmark_group(name);
                group.throughput(Throughput::Elements(threads as u64));
                group.bench_function(format!("{size} callers, {threads} threads"), |b| b.iter_custom(|n| together(threads, n, &one)));
                group.finish();
            };
            measured("hit", &|thread, n| requests(engine, thread, n, |authorization| engine.ask(authorization)));
            measured("verified", &|thread, n| requests(engine, thread, n, |authorization| engine.verified(authorization)));
        }
        if size == 1_000 {
            parts(c, engine);
        }
    }
}

/// The parts of a hit, at 1,000 callers.
fn parts(c: &mut Criterion, engine: &Engine) {
    let callers = &engine.callers;
    let tokens: Vec<_> = callers.iter().map(|c| SubjectToken::from_authorization(c).unwrap().unwrap()).collect();
    let verified: Vec<_> = callers.iter().map(|c| engine.verified(c).unwrap()).collect();
    let mut group = c.benchmark_group("part");
    let mut at = 0;
    let mut each = |name: &str, work: &dyn Fn(usize)| {
        group.bench_function(name, |b| {
            b.iter(|| {
                at = (at + 61_803) % callers.len();
                work(at);
            });
        });
    };
    each("bearer", &|i| drop(black_box(SubjectToken::from_authorization(&callers[i]))));
    each("digest", &|i| {
        black_box(tokens[i].digest());
    });
    each("cache", &|i| drop(black_box(engine.granted(&verified[i]))));
    group.finish();
}

/// Answers when it is told to.
struct WhenTold(watch::Sender<bool>);

impl TokenSource for WhenTold {
    fn token(&self, _: &Asker, _: &Arc<Target>, _: Ask) -> Answer {
        let mut told = self.0.subscribe();
        let answer = async move {
            let _ = told.wait_for(|told| *told).await;
            Ok(engine::granted(AccessToken::new(&"e".repeat(1200)).unwrap(), Duration::from_secs(300)))
        };
        Either::Right(answer.boxed())
    }
}

/// To join an exchange that is under way, and to be woken when it has come to its end: a thousand who wait for one, on one thread and,
/// half of them each, on two.
fn wait(c: &mut Criterion) {
    let mut group = c.benchmark_group("wait");
    group.throughput(Throughput::Elements(WAITERS as u64));
    for threads in [1, 2] {
        group.bench_function(format!("1000 for one exchange, {threads} threads"), |b| b.iter_custom(|rounds| waited(threads, rounds)));
    }
    group.finish();
}

const WAITERS: usize = 1_000;

fn waited(threads: usize, rounds: u64) -> Duration {
    let current = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (exchanging, source) = (current(), Arc::new(WhenTold(watch::Sender::new(false))));
    let cache = Cache::new(Settings::default(), source.clone(), Clock::real(), exchanging.handle().clone(), Metrics::new());
    let (target, meeting) = (Arc::new(engine::target()), Meeting::of(threads));
    // One thread's part of a round. The first thread's runtime does the exchange as well.
    let part = |runtime: &tokio::runtime::Runtime, thread: usize, round: u64| {
        let caller = caller(round);
        if thread == 0 {
            source.0.send_replace(false);
        }
        meeting.all_here();
        let begun = Instant::now();
        runtime.block_on(async {
            let all = join_all((0..WAITERS / threads).map(|_| cache.token(&caller, &target, Ask::ANY)));
            let (granted, ()) = tokio::join!(all, async {
                meeting.all_here();
                source.0.send_replace(true);
            });
            let coalesced = granted.iter().filter(|g| g.as_ref().is_ok_and(|g| g.source == Source::Coalesced)).count();
            assert!(coalesced + 1 >= granted.len());
        });
        meeting.all_here();
        begun.elapsed()
    };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            let (part, runtime) = (&part, current());
            scope.spawn(move || {
                for round in 0..rounds {
                    part(&runtime, thread, round);
                }
            });
        }
        (0..rounds).map(|round| part(&exchanging, 0, round)).sum()
    })
}

/// Threads that wait for each other, spinning: to be put to sleep would cost more than what is measured.
struct Meeting {
    threads: usize,
    came: AtomicUsize,
}

impl Meeting {
    fn of(threads: usize) -> Self {
        Self { threads, came: AtomicUsize::new(0) }
    }

    fn all_here(&self) {
        let mine = self.came.fetch_add(1, Ordering::AcqRel);
        let all = (mine / self.threads + 1) * self.threads;
        while self.came.load(Ordering::Acquire) < all {
            std::hint::spin_loop();
        }
    }
}

fn caller(i: u64) -> Asker {
    let header = HeaderValue::try_from(format!("Bearer caller-{i}")).unwrap();
    let token = SubjectToken::from_authorization(&header).unwrap().unwrap();
    let subject = Subject {
        issuer: "main".into(),
        sub: format!("user-{i}").into(),
        sid: None,
        azp: None,
        scopes: vec![],
        claims: vec![],
        issued_at: 0,
        expires_at: u64::MAX,
        clock_skew: Duration::ZERO,
    };
    Asker::Caller(Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None })
}

criterion_group!(benches, wait, hit);
criterion_main!(benches);
