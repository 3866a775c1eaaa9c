//! How an upstream is, for an operator who looks: its endpoints, their health and what they carry. It asks none of them.

use super::Upstream;
use crate::metrics::UpstreamReading;
use std::time::Duration;

/// One endpoint as it is now.
pub struct SeenEndpoint {
    /// As it is written, with the address that its name had.
    pub name: String,
    /// By the checks that are made of it; true where none are.
    pub healthy: bool,
    /// How much longer it is left out for what it did to requests.
    pub ejected: Option<Duration>,
    /// Requests it has to do with now.
    pub in_use: usize,
}

impl Upstream {
    /// `now`: by the clock, in milliseconds.
    pub fn seen(&self, now: u64) -> Vec<SeenEndpoint> {
        self.members.load().all.iter().map(|member| member.seen(now)).collect()
    }

    /// Why it has no endpoint, once that is known.
    pub fn why_none(&self) -> Option<String> {
        self.members.load().why_none.clone()
    }

    pub fn reading(&self) -> UpstreamReading {
        self.metrics.read()
    }
}
