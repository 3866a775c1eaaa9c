//! `cache`: its bounds and margins, and the longest life of a token on routes that do not say otherwise.

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
