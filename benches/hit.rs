//! What a cache hit costs: from the caller's `Authorization` value to the one that is injected, with verification remembered.
//! The same code as in the gateway; only the issuer behind it answers from memory, and it is asked once a token, before the clock runs.
//!
//! `cargo bench --bench hit`; what the figures mean stands in `benches/README.md`.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use cambist::cache::{Cache, Settings};
use cambist::clock::Clock;
use cambist::demo::iam::{self, Algorithm, Iam};
use cambist::issuer::{ClientAuth, Issuer, Protection, Timeouts};
use cambist::metrics::Metrics;
use cambist::token::{AccessToken, Answer, Ask, Asker, Caller, Digest, Grant, Granted, Secret, Source};
use cambist::token::{SubjectToken, Target, TargetSettings, TokenSource};
use cambist::verify::{self, Verifier};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::{Either, ready};
use http::HeaderValue;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Grants at once, a token of its own to each caller, so that as many different header values are in memory as in real life.
struct AtOnce;

impl TokenSource for AtOnce {
    fn token(&self, asker: &Asker, _: &Arc<Target>, _: Ask) -> Answer {
        let caller = asker.caller().unwrap();
        let token = AccessToken::new(&format!("{}{:064x}", "e".repeat(1180), caller.digest_for_bench())).unwrap();
        let lifetime = Duration::from_secs(86_400);
        Either::Left(ready(Ok(Granted { token, source: Source::Miss, generation: 0, expires_at: u64::MAX / 2, lifetime })))
    }
}

/// A caller's digest is opaque; its token's tail tells callers apart just as well.
trait Tail {
    fn digest_for_bench(&self) -> u128;
}

impl Tail for Caller {
    fn digest_for_bench(&self) -> u128 {
        self.token.expose().bytes().rev().take(64).fold(0, |a: u128, b| a.wrapping_mul(131).wrapping_add(u128::from(b)))
    }
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    iam: Iam,
    verifier: Arc<Verifier>,
    cache: Cache<Arc<AtOnce>>,
    target: Arc<Target>,
}

fn bench() -> Bench {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (clock, metrics) = (Clock::real(), Metrics::new());
    let iam = runtime.block_on(Iam::start(iam::Settings::anywhere())).unwrap();
    // The quickest to sign: 100,000 callers' tokens are made here. A remembered verification costs the same for every algorithm.
    iam.sign_with(Algorithm::ES256).unwrap();
    let issuer = Issuer::new(issuer_settings(&iam), clock.clone(), metrics.issuer("main"), runtime.handle().clone()).unwrap();
    issuer.start();
    runtime.block_on(issuer.when_loaded());
    let settings = verify::Settings {
        audiences: vec!["gateway".into()],
        algorithms: vec![verify::Algorithm::Es256],
        clock_skew: Duration::from_secs(30),
        strict_at_jwt: false,
        by: verify::By::Jwks,
        keep: vec![],
    };
    let verifier = Verifier::new(settings, issuer, clock.clone(), 1_000_000);
    let settings = Settings { max_entries: 1_000_000, ..Settings::default() };
    let cache = Cache::new(settings, Arc::new(AtOnce), clock, runtime.handle().clone(), metrics);
    Bench { runtime, iam, verifier, cache, target: Arc::new(target()) }
}

fn issuer_settings(iam: &Iam) -> cambist::issuer::Settings {
    cambist::issuer::Settings {
        name: "main".into(),
        url: iam.issuer().into(),
        discovery_url: None,
        token_endpoint: None,
        jwks_uri: None,
        introspection_endpoint: None,
        client_id: "gateway".into(),
        client_auth: ClientAuth::basic(Secret::new("gateway-secret")),
        ca_file: None,
        allow_http: false,
        jwks_refresh: Duration::from_secs(600),
        timeouts: Timeouts { connect: Duration::from_secs(1), total: Duration::from_secs(5) },
        protection: Protection::default(),
    }
}

fn target() -> Target {
    let audiences = vec!["orders-api".to_owned()];
    let expect_audiences = audiences.clone();
    let settings = TargetSettings { audiences, expect_audiences, max_ttl: Duration::from_secs(86_400), ..TargetSettings::default() };
    Target { issuer: "main".into(), grant: Grant::TokenExchange, settings, digest: Digest::of(b"orders-api") }
}

impl Bench {
    /// `Authorization` values of as many callers, about 1.2 KiB each, as Keycloak's are.
    fn callers(&self, count: usize) -> Vec<HeaderValue> {
        let padding = serde_json::Value::from("x".repeat(540));
        let one = |i: usize| {
            let caller = self.iam.caller(&format!("user-{i}")).algorithm(Algorithm::ES256).expires_in(86_400);
            HeaderValue::try_from(format!("Bearer {}", caller.claim("padding", padding.clone()).token().unwrap())).unwrap()
        };
        (0..count).map(one).collect()
    }

    /// What the gateway does for a hit.
    fn ask(&self, authorization: &HeaderValue) -> Option<HeaderValue> {
        let token = SubjectToken::from_authorization(authorization).ok()??;
        let Either::Left(verified) = self.verifier.verify(token) else { return None };
        let caller = Asker::Caller(verified.into_inner().ok()?);
        let Either::Left(granted) = self.cache.token(&caller, &self.target, Ask::ANY) else { return None };
        Some(granted.into_inner().ok()?.token.authorization())
    }

    fn warm(&self, callers: &[HeaderValue]) {
        for authorization in callers {
            let token = SubjectToken::from_authorization(authorization).unwrap().unwrap();
            self.runtime.block_on(async {
                let caller = Asker::Caller(self.verifier.verify(token).await.unwrap());
                self.cache.token(&caller, &self.target, Ask::ANY).await.unwrap();
            });
        }
        assert!(callers.iter().all(|c| self.ask(c).is_some()), "everything is a hit before the clock runs");
    }
}

/// A step that visits all of `0..n` in an order that no prefetcher guesses.
fn next(at: usize, n: usize) -> usize {
    (at + 61_803) % n.max(1)
}

fn hit(c: &mut Criterion) {
    let bench = bench();
    let mut group = c.benchmark_group("hit");
    group.throughput(Throughput::Elements(1));
    for count in [1, 1_000, 100_000] {
        let callers = bench.callers(count);
        bench.warm(&callers);
        let mut at = 0;
        // A caller's token comes fresh from a socket: it is in the processor's cache, whoever's it is. What is kept is not.
        let mut arrives = || {
            at = next(at, count);
            HeaderValue::from_bytes(callers[at].as_bytes()).unwrap()
        };
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched_ref(&mut arrives, |authorization| black_box(bench.ask(black_box(authorization))), BatchSize::NumIterations(16));
        });
    }
    group.finish();
}

/// The parts of a hit, at 1,000 callers.
fn parts(c: &mut Criterion) {
    let bench = bench();
    let callers = bench.callers(1_000);
    bench.warm(&callers);
    let tokens: Vec<_> = callers.iter().map(|c| SubjectToken::from_authorization(c).unwrap().unwrap()).collect();
    let verify = |t: &SubjectToken| Asker::Caller(bench.runtime.block_on(bench.verifier.verify(t.clone())).unwrap());
    let verified: Vec<_> = tokens.iter().map(verify).collect();
    let mut group = c.benchmark_group("part");
    let mut at = 0;
    let mut each = |name: &str, work: &dyn Fn(usize)| {
        group.bench_function(name, |b| {
            b.iter(|| {
                at = next(at, 1_000);
                work(at);
            });
        });
    };
    each("digest", &|i| {
        black_box(tokens[i].digest());
    });
    each("bearer", &|i| drop(black_box(SubjectToken::from_authorization(&callers[i]))));
    each("remembered verification", &|i| drop(black_box(bench.verifier.verify(tokens[i].clone()))));
    each("cache", &|i| drop(black_box(bench.cache.token(&verified[i], &bench.target, Ask::ANY))));
    group.finish();
}

criterion_group!(benches, hit, parts);
criterion_main!(benches);
