//! `cache`: its bounds and margins, and the longest life of a token on routes that do not say otherwise. How tokens are kept
//! is for the cache itself to say; the keys of later versions are refused.

use super::duration::positive;
use super::place::At;
use super::ratio::ratio;
use super::section::Section;
use crate::cache;
use std::time::Duration;

const LATER: &[&str] = &["max_bytes", "refresh_ahead", "refused_ttl", "shared"];
const MAX_TTL: Duration = Duration::from_secs(5 * 60);
const MOST_ENTRIES: usize = 100_000_000;

#[derive(Debug, Default)]
pub struct Cache {
    pub max_entries: Option<At<usize>>,
    pub max_per_token: Option<At<usize>>,
    pub expire_early: Option<At<f64>>,
    pub max_ttl: Option<At<Duration>>,
}

pub fn read(root: &mut Section) -> Cache {
    let Some(at) = root.take("cache", |value| value.section(LATER)) else { return Cache::default() };
    let mut section = at.value;
    let read = Cache {
        max_entries: section.take("max_entries", |v| v.count(1, MOST_ENTRIES)),
        max_per_token: section.take("max_per_token", |v| v.count(1, MOST_ENTRIES)),
        expire_early: section.take("expire_early", ratio),
        max_ttl: section.take("max_ttl", positive),
    };
    section.finish();
    read
}

/// The cache's own settings, and the `max_ttl` of routes.
pub fn settings(Cache { max_entries, max_per_token, expire_early, max_ttl }: Cache) -> (cache::Settings, Duration) {
    let base = cache::Settings::default();
    let settings = cache::Settings {
        max_entries: max_entries.map_or(base.max_entries, |at| at.value),
        max_per_token: max_per_token.map_or(base.max_per_token, |at| at.value),
        expire_early: expire_early.map_or(base.expire_early, |at| at.value),
    };
    (settings, max_ttl.map_or(MAX_TTL, |at| at.value))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, with_route};
    use super::*;
    use crate::stack::TokenMode;

    #[test]
    fn bounds_margins_and_the_life_of_tokens() {
        assert_eq!(config("").cache, cache::Settings::default());
        let found = config("cache: { max_entries: 5, max_per_token: 2, expire_early: 50%, max_ttl: 1m }\n");
        assert_eq!(found.cache, cache::Settings { max_entries: 5, max_per_token: 2, expire_early: 0.5 });
        assert!(matches!(&found.routes[0].token, TokenMode::Exchange(t) if t.max_ttl == Duration::from_secs(60)));
        assert!(matches!(&with_route("max_ttl: 2m").routes[0].token, TokenMode::Exchange(t) if t.max_ttl == Duration::from_secs(120)));
    }
}
