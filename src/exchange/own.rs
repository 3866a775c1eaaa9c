//! The gateway's own token, to act for callers with: one an issuer, got when it is first needed and used until shortly before its
//! end. However many need it at once, one is asked for. It goes to the issuer that gave it and nowhere else.

use super::grant::Acting;
use crate::fault::Fault;
use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
            let mut slot = self.coming();
            // Held since this one looked.
            if let Some(held) = self.held.load_full().filter(|held| now < held.until) {
                return Ok(held);
            }
            slot.get_or_insert_with(|| fetch().map(|held| held.map(Arc::new)).boxed().shared()).clone()
        };
        let outcome = coming.clone().await;
        let mut slot = self.coming();
        // The first who wakes takes it away and keeps what came of it. Another may stand there by now, or none: then it is not to be kept.
        if slot.as_ref().is_some_and(|at| at.ptr_eq(&coming)) {
            *slot = None;
            if let Ok(held) = &outcome {
                self.held.store(Some(held.clone()));
            }
        }
        outcome
    }

    /// What is held goes, and what is on its way is kept for nobody who comes later.
    pub fn drop_all(&self) {
        let mut slot = self.coming();
        *slot = None;
        self.held.store(None);
    }

    fn coming(&self) -> MutexGuard<'_, Option<Coming>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The issuer did not take it: the next who needs one gets another.
    pub fn forget(&self, refused: &Arc<Held>) {
        if self.held.load_full().is_some_and(|held| Arc::ptr_eq(&held, refused)) {
            self.held.store(None);
        }
    }
}
