//! One endpoint of an upstream as it runs, shared by all workers: where it is, what it carries, and what is known of its health.
//! It opens no connection and keeps none: those are each worker's own.

use super::connect::Peer;
use super::slots::Slots;
use super::{Eject, Error, Health, SeenEndpoint, Settings};
use crate::clock::millis;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

pub(super) struct Member {
    /// What pools know it by. Another one has another: no connection made under old settings is used under new ones.
    pub id: u64,
    /// The upstream's name.
    pub upstream: Arc<str>,
    pub peer: Peer,
    /// In milliseconds.
    pub pool_idle: u64,
    pub slots: Slots,
    /// `None`: nothing is held against it.
    eject: Option<Eject>,
    /// Bad ends since the last good one.
    failures: AtomicU32,
    /// In milliseconds of the clock.
    ejected_until: AtomicU64,
    /// By the checks that are made of it.
    healthy: AtomicBool,
    /// Checks in a row that say otherwise than `healthy`.
    doubts: AtomicU32,
    /// What ALPN came to last: whether one connection serves many.
    shares: AtomicBool,
    /// It takes no new request: what is under way ends, and no connection is kept.
    gone: AtomicBool,
}

impl Member {
    pub fn new(settings: &Settings, peer: Peer) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            upstream: settings.name.clone(),
            peer,
            pool_idle: millis(settings.pool_idle),
            slots: Slots::new(settings.max_connections),
            // There would be nobody else.
            eject: settings.eject.filter(|_| !settings.endpoints.is_one()),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            healthy: AtomicBool::new(true),
            doubts: AtomicU32::new(0),
            shares: AtomicBool::new(true),
            gone: AtomicBool::new(false),
        })
    }

    pub fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Whether it pays to wait for a connection that another request opens.
    pub fn shares(&self) -> bool {
        self.shares.load(Ordering::Relaxed)
    }

    pub fn spoke_http2(&self, http2: bool) {
        self.shares.store(http2, Ordering::Relaxed);
    }

    pub fn gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Requests it has to do with now.
    pub fn load(&self) -> usize {
        self.slots.in_use()
    }

    /// Whether it may be chosen at `now`.
    pub fn good(&self, now: u64) -> bool {
        self.healthy.load(Ordering::Relaxed) && now >= self.ejected_until.load(Ordering::Relaxed)
    }

    pub fn seen(&self, now: u64) -> SeenEndpoint {
        let ejected = self.ejected_until.load(Ordering::Relaxed).checked_sub(now).filter(|left| *left > 0);
        SeenEndpoint {
            name: self.peer.to_string(),
            healthy: self.healthy.load(Ordering::Relaxed),
            ejected: ejected.map(Duration::from_millis),
            in_use: self.load(),
        }
    }

    /// A request came to a good end.
    pub fn served(&self) {
        // Read first: a line that all workers write to is slow.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request came to a bad end that was this endpoint's doing.
    pub fn failed(&self, now: u64) {
        let Some(eject) = self.eject else { return };
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= eject.failures {
            self.failures.store(0, Ordering::Relaxed);
            let until = now.saturating_add(millis(eject.time));
            if self.ejected_until.fetch_max(until, Ordering::Relaxed) <= now {
                let time = humantime::format_duration(eject.time).to_string();
                tracing::warn!(upstream = &*self.upstream, endpoint = %self.peer, failures, time, "this endpoint fails again and again, and gets no requests for a while");
            }
        }
    }

    /// A check said whether it is healthy; what was `why` if it is not.
    pub fn checked(&self, health: &Health, outcome: &Result<(), String>) {
        let healthy = self.healthy.load(Ordering::Relaxed);
        if outcome.is_ok() == healthy {
            self.doubts.store(0, Ordering::Relaxed);
            return;
        }
        let doubts = self.doubts.fetch_add(1, Ordering::Relaxed) + 1;
        if doubts < if healthy { health.unhealthy_after } else { health.healthy_after } {
            return;
        }
        self.doubts.store(0, Ordering::Relaxed);
        self.healthy.store(!healthy, Ordering::Relaxed);
        let (upstream, endpoint) = (&*self.upstream, &self.peer);
        match outcome {
            Ok(()) => tracing::info!(upstream, %endpoint, "this endpoint is healthy again"),
            Err(why) => tracing::warn!(upstream, %endpoint, why, "this endpoint is unhealthy, and gets no requests"),
        }
    }

    pub fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { upstream: self.upstream.clone(), why }
    }

    pub fn broken(&self, why: String) -> Error {
        Error::Broken { upstream: self.upstream.clone(), why }
    }
}
