//! One endpoint of an upstream as it runs, shared by all workers: where it is, and what is known of it. It opens no connection
//! and keeps none: those are each worker's own.

use super::connect::Peer;
use super::{Error, Settings};
use crate::clock::millis;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) struct Member {
    /// What pools know it by. Another one has another: no connection made under old settings is used under new ones.
    pub id: u64,
    /// The upstream's name.
    pub upstream: Arc<str>,
    pub peer: Peer,
    /// In milliseconds.
    pub pool_idle: u64,
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
            gone: AtomicBool::new(false),
        })
    }

    pub fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub fn gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { upstream: self.upstream.clone(), why }
    }

    pub fn broken(&self, why: String) -> Error {
        Error::Broken { upstream: self.upstream.clone(), why }
    }
}
