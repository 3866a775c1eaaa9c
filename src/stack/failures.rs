//! The last requests that the gateway refused, with what only the operator may know: cause, cure and the issuer's words.
//! A ring of fixed size in memory; it holds no token, no subject and no path.

use crate::clock::Clock;
use crate::fault::Fault;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are kept.
const KEPT: usize = 200;

#[derive(Default)]
pub struct Failures {
    clock: Clock,
    ring: Mutex<VecDeque<Failure>>,
}

/// One refusal.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failure {
    /// Seconds since 1970.
    pub time: u64,
    pub route: Option<Arc<str>>,
    pub reason: &'static str,
    pub status: u16,
    pub cause: String,
    pub cure: String,
    pub issuer_words: Option<String>,
    pub docs: String,
    pub trace_id: String,
}

impl Failures {
    pub fn new(clock: Clock) -> Self {
        Self { clock, ring: Mutex::default() }
    }

    pub(super) fn note(&self, fault: &Fault, route: Option<&Arc<str>>, trace_id: String) {
        let (row, why) = (fault.row(), fault.why());
        let failure = Failure {
            time: self.clock.unix(),
            route: route.cloned(),
            reason: row.code,
            status: row.status.as_u16(),
            cause: why.map_or(row.detail, |w| &*w.cause).to_owned(),
            cure: fault.cure().to_owned(),
            issuer_words: why.and_then(|w| w.issuer_words.clone()),
            docs: fault.docs(),
            trace_id,
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(failure);
    }

    /// The newest first.
    pub fn latest(&self) -> Vec<Failure> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}
