//! What the cache says that it takes in memory is about what it takes: the process's own resident set, before and after.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cambist::cache::{Cache, Settings};
use cambist::clock::Clock;
use cambist::metrics::Metrics;
use cambist::token::{
    AccessToken, Answer, Ask, Asker, Caller, Digest, Grant, Granted, Source, Subject, SubjectToken, Target, TargetSettings, TokenSource,
};
use futures_util::future::{Either, ready};
use http::HeaderValue;
use std::sync::Arc;
use std::time::Duration;

const CALLERS: usize = 30_000;
/// About what Keycloak's are, with some roles in them.
const TOKEN: usize = 1200;

struct AtOnce;

impl TokenSource for AtOnce {
    fn token(&self, _: &Asker, _: &Arc<Target>, _: Ask) -> Answer {
        let token = AccessToken::new(&"e".repeat(TOKEN)).unwrap();
        let lifetime = Duration::from_secs(300);
        Either::Left(ready(Ok(Granted {
            token,
            source: Source::Miss,
            generation: 0,
            expires_at: u64::MAX / 2,
            lifetime,
            by_issuer: lifetime,
            not_before: 0,
        })))
    }
}

fn caller(i: usize) -> Asker {
    let header = HeaderValue::try_from(format!("Bearer caller-{i}")).unwrap();
    let token = SubjectToken::from_authorization(&header).unwrap().unwrap();
    let subject = Subject {
        issuer: "main".into(),
        sub: format!("c0ffee00-0000-0000-0000-{i:012}").into(),
        sid: Some(format!("deadbeef-0000-0000-0000-{i:012}").into()),
        azp: None,
        scopes: vec![],
        claims: vec![],
        issued_at: 0,
        expires_at: u64::MAX,
        clock_skew: Duration::ZERO,
    };
    Asker::Caller(Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None })
}

fn target(what: &str) -> Arc<Target> {
    let settings = TargetSettings { audiences: vec![what.into()], ..TargetSettings::default() };
    Arc::new(Target { issuer: "main".into(), grant: Grant::TokenExchange, settings, digest: Digest::of(what.as_bytes()) })
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_cached_token_takes_about_as_much_as_is_said() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let settings = Settings { max_entries: 1_000_000, max_bytes: usize::MAX, ..Settings::default() };
    let cache = Cache::new(settings, AtOnce, Clock::real(), runtime.handle().clone(), Metrics::new());
    // The callers' own subjects are the remembered verifications', which hold them anyway.
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    for targets in [&["a"][..], &["b", "c"]] {
        let (before, said, entries) = (resident(), cache.bytes(), cache.len());
        runtime.block_on(async {
            for what in targets {
                let target = target(what);
                for caller in &callers {
                    cache.token(caller, &target, Ask::ANY).await.unwrap();
                }
            }
        });
        let (took, said, entries) = (resident() - before, cache.bytes() - said, cache.len() - entries);
        assert_eq!(entries, CALLERS * targets.len());
        println!("{} bytes a token, said to be {}, of which {TOKEN} are its own", took / entries, said / entries);
        let ratio = said as f64 / took as f64;
        assert!((0.75..=1.35).contains(&ratio), "{said} bytes are said to be taken, and {took} are: {ratio:.2}");
    }
}
