//! The gateway's own token, to act for callers with: one an issuer, got when it is first needed and used until shortly before its
//! end. However many need it at once, one is asked for. It goes to the issuer that gave it and nowhere else.

use super::grant::Acting;
use crate::fault::Fault;
use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::sync::{Arc, Mutex, PoisonError};

type Coming = Shared<BoxFuture<'static, Result<Arc<Held>, Fault>>>;

#[derive(Default)]
pub(super) struct Own {
    held: ArcSwapOption<Held>,
    coming: Mutex<Option<Coming>>,
}

/// A token, and until when it is used ([`crate::clock::Clock::millis`]).
pub(super) struct Held {
    pub acting: Acting,
    pub until: u64,
}

impl Own {
    /// The token that is held, or what `fetch` brings. Whoever comes while it is fetched waits for the same one.
    pub async fn token<F>(&self, now: u64, fetch: impl FnOnce() -> F) -> Result<Arc<Held>, Fault>
    where
        F: Future<Output = Result<Held, Fault>> + Send + 'static,
    {
        if let Some(held) = self.held.load_full().filter(|held| now < held.until) {
            return Ok(held);
        }
        let coming = {
            let mut slot = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
            slot.get_or_insert_with(|| fetch().map(|held| held.map(Arc::new)).boxed().shared()).clone()
        };
        let outcome = coming.clone().await;
        if let Ok(held) = &outcome {
            // Who wakes late must not put an old one over a newer.
            self.held.rcu(|at| Some(at.clone().filter(|at| at.until > held.until).unwrap_or_else(|| held.clone())));
        }
        let mut slot = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may stand there by now: that one is somebody else's to take away.
        if slot.as_ref().is_some_and(|at| at.ptr_eq(&coming)) {
            *slot = None;
        }
        outcome
    }

    /// The issuer did not take it: the next who needs one gets another.
    pub fn forget(&self, refused: &Arc<Held>) {
        if self.held.load_full().is_some_and(|held| Arc::ptr_eq(&held, refused)) {
            self.held.store(None);
        }
    }
}
