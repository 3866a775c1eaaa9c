//! Since when an issuer lets tokens count (Keycloak's `not-before-policy`): what was granted for older ones goes when that moment
//! moves on. Nobody is logged out here: the issuer is asked anew, and has the word.

use super::purge::About;
use std::sync::{Arc, Mutex, PoisonError};

/// The latest that each issuer, by its name in the configuration, has said so far.
#[derive(Default)]
pub(super) struct NotBefore(Mutex<Vec<(Arc<str>, u64)>>);

impl NotBefore {
    /// Notes what an issuer says; whether that is later than all that it has said before.
    pub(super) fn rises(&self, issuer: &Arc<str>, at: u64) -> bool {
        if at == 0 {
            return false;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, known)) = all.iter_mut().find(|(name, _)| name == issuer) else {
            all.push((issuer.clone(), at));
            return true;
        };
        let rises = at > *known;
        *known = at.max(*known);
        rises
    }

    /// The latest so far; 0: nothing was said.
    pub(super) fn newest(&self, issuer: &Arc<str>) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(name, _)| name == issuer).map_or(0, |(_, at)| *at)
    }

    /// Another issuer has this name from now on, or none.
    pub(super) fn forget(&self, issuer: &Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| name != issuer);
    }
}

impl About {
    /// Whether a token that was sent is of this issuer and older than that. One that does not say when it was issued is.
    pub(super) fn issued_before(&self, issuer: &str, at: u64) -> bool {
        self.caller.iter().chain(&self.actor).any(|subject| subject.issued_before(issuer, at))
    }
}
