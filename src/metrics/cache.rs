//! What is counted about the token cache and about forced updates. Where a request's token came from is counted by route, with
//! the route's other handles.

use super::Gauge;
use super::register::{counters, gauge};
use crate::fault::Fault;
use prometheus::{IntCounter, Registry};

/// The cache's own families.
pub struct CacheMetrics {
    entries: Gauge,
    capacity: Gauge,
    bytes: Gauge,
    capacity_bytes: Gauge,
    evictions: [(&'static str, IntCounter); 3],
}

impl CacheMetrics {
    pub(super) fn new(r: &Registry) -> Self {
        let gauge = |name, help| Gauge(gauge(r, name, help));
        Self {
            entries: gauge("cambist_token_cache_entries", "Exchanged tokens in the cache."),
            capacity: gauge("cambist_token_cache_capacity_entries", "The most exchanged tokens that the cache holds."),
            bytes: gauge("cambist_token_cache_bytes", "Memory that the cached tokens take, with all that belongs to them."),
            capacity_bytes: gauge("cambist_token_cache_capacity_bytes", "The most memory that cached tokens may take."),
            evictions: evictions(r),
        }
    }

    /// What there is and what there may be, of each.
    pub fn filled(&self, entries: (usize, usize), bytes: (usize, usize)) {
        let gauges = [(&self.entries, entries.0), (&self.capacity, entries.1), (&self.bytes, bytes.0), (&self.capacity_bytes, bytes.1)];
        for (gauge, value) in gauges {
            gauge.set(value as u64);
        }
    }

    /// `cause`: expired, size, or forced by a purge or a refusal.
    pub fn evicted(&self, cause: &'static str, n: u64) {
        if n > 0 {
            for (_, counter) in self.evictions.iter().filter(|(known, _)| *known == cause) {
                counter.inc_by(n);
            }
        }
    }
}

/// All causes exist from the start, at 0: an alert asks for them before anything was thrown out.
fn evictions(r: &Registry) -> [(&'static str, IntCounter); 3] {
    let evictions = counters(r, "cambist_token_cache_evictions_total", "Tokens that left the cache.", &["cause"]);
    ["expired", "size", "forced"].map(|cause| (cause, evictions.with_label_values(&[cause])))
}

/// Why a token newer than the one that is held was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    Header,
    Api,
    Upstream401,
}

const CAUSES: [&str; 3] = ["header", "api", "upstream_401"];
const RESULTS: [&str; 3] = ["success", "denied", "failed"];

/// Counters of forced updates, by cause and result.
#[derive(Clone)]
pub struct ForcedUpdates([[IntCounter; RESULTS.len()]; CAUSES.len()]);

impl ForcedUpdates {
    pub(super) fn new(r: &Registry) -> Self {
        let name = "cambist_forced_updates_total";
        let family = counters(r, name, "Tokens asked for that are newer than the one held, by result.", &["cause", "result"]);
        Self(CAUSES.map(|cause| RESULTS.map(|result| family.with_label_values(&[cause, result]))))
    }

    /// `fault`: what it ended in; the caller's own doing is `denied`, anything else `failed`.
    pub fn ended(&self, cause: Force, fault: Option<&Fault>) {
        let result = fault.map_or(0, |fault| if fault.row().status.is_client_error() { 1 } else { 2 });
        self.0[cause as usize][result].inc();
    }

    /// It ended in a token that is no newer.
    pub fn in_vain(&self, cause: Force) {
        self.0[cause as usize][2].inc();
    }
}
