//! What the benches measure: the gateway's own verification and cache with an issuer that answers from memory, filled with as many
//! callers as are asked for. It measures nothing itself.

use cambist::cache::{Cache, Settings};
use cambist::clock::Clock;
use cambist::demo::iam::{self, Algorithm, Iam};
use cambist::issuer::{ClientAuth, Issuer, Protection, Timeouts};
use cambist::metrics::Metrics;
use cambist::token::{AccessToken, Answer, Ask, Asker, Caller, Digest, Grant, Granted, Secret, Source};
use cambist::token::{SubjectToken, Target, TargetSettings, TokenSource};
use cambist::verify::{self, Verifier};
use futures_util::future::{Either, ready};
use http::HeaderValue;
use std::sync::Arc;
use std::time::Duration;

/// As the program has it.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Grants at once, a token of its own to each caller, so that as many different header values are in memory as in real life.
pub struct AtOnce;

impl TokenSource for AtOnce {
    fn token(&self, asker: &Asker, _: &Arc<Target>, _: Ask) -> Answer {
        let caller = asker.caller().unwrap();
        let token = AccessToken::new(&format!("{}{:064x}", "e".repeat(1180), caller.digest_for_bench())).unwrap();
        Either::Left(ready(Ok(granted(token, Duration::from_secs(86_400)))))
    }
}

/// A token that outlives every bench.
pub fn granted(token: AccessToken, lifetime: Duration) -> Granted {
    let expires_at = u64::MAX / 2;
    Granted { token, source: Source::Miss, generation: 0, expires_at, lifetime, by_issuer: lifetime, not_before: 0 }
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

pub struct Engine {
    pub runtime: tokio::runtime::Runtime,
    iam: Iam,
    pub verifier: Arc<Verifier>,
    pub cache: Cache<Arc<AtOnce>>,
    pub target: Arc<Target>,
    /// `Authorization` values of the callers who are in it, about 1.2 KiB each, as Keycloak's are.
    pub callers: Vec<HeaderValue>,
}

/// The sizes that are measured, up to what `CAMBIST_BENCH_MOST` says; the largest takes minutes to fill and some 5 GB.
pub fn sizes() -> Vec<usize> {
    let most = std::env::var("CAMBIST_BENCH_MOST").map_or(usize::MAX, |text| text.parse().unwrap());
    [1, 1_000, 100_000, 1_000_000].into_iter().filter(|n| *n <= most).collect()
}

pub fn engine() -> Engine {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (clock, metrics) = (Clock::real(), Metrics::new());
    let iam = runtime.block_on(Iam::start(iam::Settings::anywhere())).unwrap();
    // The quickest to sign: a million callers' tokens are made here. A remembered verification costs the same for every algorithm.
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
    let verifier = Verifier::new(settings, issuer, clock.clone(), 2_000_000);
    let settings = Settings { max_entries: 2_000_000, max_bytes: usize::MAX, ..Settings::default() };
    let cache = Cache::new(settings, Arc::new(AtOnce), clock, runtime.handle().clone(), metrics);
    Engine { runtime, iam, verifier, cache, target: Arc::new(target()), callers: Vec::new() }
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

pub fn target() -> Target {
    let audiences = vec!["orders-api".to_owned()];
    let expect_audiences = audiences.clone();
    let settings = TargetSettings { audiences, expect_audiences, max_ttl: Duration::from_secs(86_400), ..TargetSettings::default() };
    Target { issuer: "main".into(), grant: Grant::TokenExchange, settings, digest: Digest::of(b"orders-api") }
}

impl Engine {
    /// Fills it until as many callers are in it, and sees to it that each is a hit.
    pub fn fill(&mut self, count: usize) {
        self.log_in(count);
        self.verify();
        self.exchange();
        assert_eq!((self.callers.len(), self.cache.len()), (count, count));
        assert!(self.callers.iter().all(|c| self.ask(c).is_some()), "everything is a hit before the clock runs");
    }

    /// More callers come to the issuer, and not yet here.
    pub fn log_in(&mut self, count: usize) {
        let here = &*self;
        let fresh = halves(here.callers.len()..count, |i| {
            let caller = here.iam.caller(&format!("user-{i}")).algorithm(Algorithm::ES256).expires_in(86_400);
            let token = caller.claim("padding", "x".repeat(540).into()).token().unwrap();
            HeaderValue::try_from(format!("Bearer {token}")).unwrap()
        });
        self.callers.extend(fresh);
    }

    /// All are verified, so that they are known from now on.
    pub fn verify(&self) {
        halves(0..self.callers.len(), |i| drop(self.verified(&self.callers[i]).unwrap()));
    }

    /// All are given a token.
    pub fn exchange(&self) {
        let missing = |i: usize| self.verified(&self.callers[i]).unwrap();
        halves(0..self.callers.len(), |i| drop(self.runtime.block_on(self.cache.token(&missing(i), &self.target, Ask::ANY)).unwrap()));
    }

    /// What the gateway does for a hit.
    pub fn ask(&self, authorization: &HeaderValue) -> Option<HeaderValue> {
        let granted = self.granted(&self.verified(authorization)?)?;
        Some(granted.token.authorization())
    }

    /// The first half of it: the caller is known.
    pub fn verified(&self, authorization: &HeaderValue) -> Option<Asker> {
        let token = SubjectToken::from_authorization(authorization).ok()??;
        let Either::Left(verified) = self.verifier.verify(token) else { return None };
        Some(Asker::Caller(verified.into_inner().ok()?))
    }

    /// The second: its exchanged token is found.
    pub fn granted(&self, caller: &Asker) -> Option<Granted> {
        let Either::Left(granted) = self.cache.token(caller, &self.target, Ask::ANY) else { return None };
        granted.into_inner().ok()
    }
}

/// Done by two threads, each a half.
fn halves<R: Send>(all: std::ops::Range<usize>, each: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let middle = all.start + all.len() / 2;
    let (each, parts) = (&each, [all.start..middle, middle..all.end]);
    std::thread::scope(|scope| {
        let working = parts.map(|part| scope.spawn(move || part.map(each).collect::<Vec<R>>()));
        working.into_iter().flat_map(|done| done.join().unwrap()).collect()
    })
}
