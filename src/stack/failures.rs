//! The last requests that the gateway refused, with what only the operator may know: cause, cure and the issuer's words.
//! A ring of fixed size in memory; it holds no token, no subject and no path.

use crate::clock::Clock;
use crate::fault::Fault;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How many are kept.
const KEPT: usize = 200;

#[derive(Default)]
pub struct Failures {
    clock: Clock,
    ring: Mutex<Ring>,
}

/// In the order in which they came.
#[derive(Default)]
struct Ring {
    all: VecDeque<Failure>,
    /// How many there are of each reason.
    of: HashMap<&'static str, usize>,
}

impl Ring {
    fn push(&mut self, failure: Failure) {
        *self.of.entry(failure.reason).or_default() += 1;
        self.all.push_back(failure);
        if self.all.len() <= KEPT {
            return;
        }
        // What there is the most of makes room: a stranger who asks for what is not there must not wipe out what the operator has to see.
        let most = self.of.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| *reason);
        let oldest = self.all.iter().position(|failure| Some(failure.reason) == most);
        if let Some(gone) = oldest.and_then(|at| self.all.remove(at))
            && let Some(count) = self.of.get_mut(gone.reason)
        {
            *count -= 1;
        }
    }
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
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }

    /// The newest first.
    pub fn latest(&self) -> Vec<Failure> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).all.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Why, no_route};

    #[test]
    fn a_flood_of_one_reason_wipes_out_no_other() {
        let failures = Failures::new(Clock::turned());
        let misconfigured = || Fault::Misconfigured(Why::new("the client is refused").into());
        failures.note(&misconfigured(), None, "first".to_owned());
        for n in 0..10 * KEPT {
            failures.note(&no_route(Why::new("nothing there")), None, n.to_string());
            if n % KEPT == 0 {
                failures.note(&misconfigured(), None, "another".to_owned());
            }
        }
        let latest = failures.latest();
        assert_eq!(latest.len(), KEPT);
        assert_eq!(latest.iter().filter(|failure| failure.reason == "misconfigured").count(), 11);
        assert_eq!((latest[0].trace_id.as_str(), latest[KEPT - 1].trace_id.as_str()), ("1999", "first"));
    }
}
