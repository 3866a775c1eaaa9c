//! `cache`: its bounds and margins, and the longest life of a token on routes that do not say otherwise. How tokens are kept
//! is for the cache itself to say; the keys of later versions are refused.

use super::duration::positive;
use super::place::At;
use super::ratio::ratio;
use super::section::Section;
use super::size::size;
use crate::cache;
use std::time::Duration;

const LATER: &[&str] = &["shared"];
const MAX_TTL: Duration = Duration::from_secs(5 * 60);
const MOST_ENTRIES: usize = 100_000_000;
/// Room for a few tokens of any length that is taken.
const LEAST_BYTES: u64 = 1024 * 1024;
const MOST_BYTES: u64 = 1 << 50;

#[derive(Debug, Default)]
pub struct Cache {
    pub max_entries: Option<At<usize>>,
    pub max_bytes: Option<At<u64>>,
    pub max_per_token: Option<At<usize>>,
    pub refresh_ahead: Option<At<f64>>,
    pub expire_early: Option<At<f64>>,
    pub max_ttl: Option<At<Duration>>,
    pub refused_ttl: Option<At<Duration>>,
}

pub fn read(root: &mut Section) -> Cache {
    let Some(at) = root.take("cache", |value| value.section(LATER)) else { return Cache::default() };
    let mut section = at.value;
    let read = Cache {
        max_entries: section.take("max_entries", |v| v.count(1, MOST_ENTRIES)),
        max_bytes: section.take("max_bytes", |v| size(v, LEAST_BYTES, MOST_BYTES)),
        max_per_token: section.take("max_per_token", |v| v.count(1, MOST_ENTRIES)),
        refresh_ahead: section.take("refresh_ahead", ratio),
        expire_early: section.take("expire_early", ratio),
        max_ttl: section.take("max_ttl", positive),
        refused_ttl: section.take("refused_ttl", positive),
    };
    section.finish();
    read
}

/// The cache's own settings, and the `max_ttl` of routes. `force_interval` stands in a section of its own.
pub fn settings(written: Cache, force_interval: Option<Duration>) -> (cache::Settings, Duration) {
    let Cache { max_entries, max_bytes, max_per_token, refresh_ahead, expire_early, max_ttl, refused_ttl } = written;
    let base = cache::Settings::default();
    let settings = cache::Settings {
        max_entries: max_entries.map_or(base.max_entries, |at| at.value),
        max_bytes: max_bytes.map_or(base.max_bytes, |at| usize::try_from(at.value).unwrap_or(usize::MAX)),
        max_per_token: max_per_token.map_or(base.max_per_token, |at| at.value),
        expire_early: expire_early.map_or(base.expire_early, |at| at.value),
        refresh_ahead: refresh_ahead.map_or(base.refresh_ahead, |at| at.value),
        refused_ttl: refused_ttl.map_or(base.refused_ttl, |at| at.value),
        force_interval: force_interval.unwrap_or(base.force_interval),
    };
    (settings, max_ttl.map_or(MAX_TTL, |at| at.value))
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused, with_route};
    use super::*;
    use crate::stack::TokenMode;

    #[test]
    fn bounds_margins_and_the_life_of_tokens() {
        assert_eq!(config("").cache, cache::Settings::default());
        let found = config(
            "cache: { max_entries: 5, max_bytes: 1MiB, max_per_token: 2, refresh_ahead: 0%, expire_early: 50%, max_ttl: 1m, refused_ttl: 1s }\n",
        );
        let written = cache::Settings {
            max_entries: 5,
            max_bytes: 1024 * 1024,
            max_per_token: 2,
            expire_early: 0.5,
            refresh_ahead: 0.0,
            refused_ttl: Duration::from_secs(1),
            ..cache::Settings::default()
        };
        assert_eq!(found.cache, written);
        assert_eq!(refused("cache: { max_bytes: 1KiB }\n"), [Code::Range]);
        assert!(matches!(&found.routes[0].token, TokenMode::Exchange(t) if t.max_ttl == Duration::from_secs(60)));
        assert!(matches!(&with_route("max_ttl: 2m").routes[0].token, TokenMode::Exchange(t) if t.max_ttl == Duration::from_secs(120)));
    }
}
