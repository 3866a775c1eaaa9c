//! Keys fetched because a token names one that we do not have. One fetch runs at a time and one in ten seconds, whatever
//! callers send, none while the issuer is left in peace, and a `kid` that a fetch did not bring is not asked for again for a while. It
//! decides about no token.

use super::{Issuer, refresh};
use crate::bounded::{Bounded, Kept};
use crate::clock::millis;
use crate::telemetry;
use crate::token::Digest;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The least time between two fetches.
const EVERY: Duration = Duration::from_secs(10);
/// How long a `kid` that a fetch did not bring is held to be unknown; a change of keys ends it at once.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
const MAX_UNKNOWN: usize = 1024;

/// How the last fetch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refetched {
    /// The keys are as fresh as they get: what is not among them is not the issuer's.
    Fresh,
    /// They could not be fetched, or the issuer is left in peace: the key may well exist.
    Failed,
}

pub(super) struct Refetches {
    state: Mutex<State>,
    unknown: Bounded<Digest, Unknown>,
}

struct State {
    running: Option<watch::Receiver<Option<Refetched>>>,
    not_before: u64,
    last: Refetched,
}

struct Unknown {
    until: u64,
    generation: u64,
}

impl Kept for Unknown {
    fn weight(&self) -> usize {
        1
    }

    fn expired(&self, now: u64) -> bool {
        self.until <= now
    }
}

impl Default for Refetches {
    fn default() -> Self {
        let state = State { running: None, not_before: 0, last: Refetched::Fresh };
        Self { state: Mutex::new(state), unknown: Bounded::new(MAX_UNKNOWN) }
    }
}

impl Refetches {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn refetch(issuer: &Arc<Issuer>, kid: Option<&str>) -> impl Future<Output = Refetched> + Send + use<> {
    let digest = Digest::of(kid.unwrap_or_default().as_bytes());
    let step = next(issuer, &digest);
    let (issuer, kid) = (issuer.clone(), kid.map(str::to_owned));
    async move {
        let mut running = match step {
            Ok(outcome) => return outcome,
            Err(running) => running,
        };
        // A sender that is gone without a word was a runtime that is going down.
        let outcome = running.wait_for(Option::is_some).await.ok().and_then(|o| *o).unwrap_or(Refetched::Failed);
        if outcome == Refetched::Fresh {
            remember(&issuer, kid.as_deref(), digest);
        }
        outcome
    }
}

/// The outcome that holds now, or the fetch to wait for.
fn next(issuer: &Arc<Issuer>, kid: &Digest) -> Result<Refetched, watch::Receiver<Option<Refetched>>> {
    let now = issuer.clock.millis();
    let mut state = issuer.refetches.state();
    // A fetch whose task is gone will never say how it went.
    if let Some(running) = state.running.as_ref().filter(|r| r.has_changed().is_ok()) {
        return Err(running.clone());
    }
    let generation = issuer.generation();
    let unknown = issuer.refetches.unknown.get(kid, now, |u| !u.expired(now) && Some(u.generation) == generation);
    if unknown == Some(true) || now < state.not_before {
        return Ok(state.last);
    }
    if issuer.left_alone().is_some() {
        return Ok(Refetched::Failed);
    }
    state.not_before = now + millis(EVERY);
    let (done, running) = watch::channel(None);
    state.running = Some(running.clone());
    drop(state);
    let issuer = issuer.clone();
    // For the trace of the request whose token names a key that we do not have.
    issuer.control.clone().spawn(telemetry::carried(telemetry::around(), async move {
        let outcome = if refresh::fetch_keys(&issuer).await { Refetched::Fresh } else { Refetched::Failed };
        let mut state = issuer.refetches.state();
        state.running = None;
        state.last = outcome;
        drop(state);
        done.send_replace(Some(outcome));
    }));
    Err(running)
}

fn remember(issuer: &Issuer, kid: Option<&str>, digest: Digest) {
    let (Some(kid), Some(keys)) = (kid, issuer.keys()) else { return };
    if !keys.knows(kid) {
        let now = issuer.clock.millis();
        let entry = || Unknown { until: 0, generation: 0 };
        issuer.refetches.unknown.alter(&digest, now, entry, |u| {
            *u = Unknown { until: now + millis(UNKNOWN_FOR), generation: keys.generation };
        });
    }
}
