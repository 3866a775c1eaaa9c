//! A `TokenSource` over HTTP: one POST an exchange. The answer is trusted only as far as it fits what was asked; what the
//! issuer says of itself is classified, never pasted. It stores nothing but the gateway's own token, to act with.

mod answer;
mod exchanger;
mod grant;
mod own;
mod refusal;
mod returned;
#[cfg(test)]
mod tests;

pub use exchanger::{Exchanger, KEY_PARTS};

use crate::clock::Clock;
use crate::fault::{Fault, Why};
use crate::issuer::Priority;
use crate::token::{Answer, Ask, Asker, Grant, Target, TokenSource, Urgency};
use arc_swap::ArcSwap;
use futures_util::future::{Either, ready};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What shapes an exchange besides the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub profile: Profile,
    /// Added to everything that is asked of this issuer; a target's own of the same name win.
    pub extra_params: Vec<(String, String)>,
}

/// Whose errors and rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Keycloak,
    Rfc8693,
    /// Microsoft Entra ID, on behalf of.
    EntraObo,
}

/// The exchangers of all issuers. A reload adds to them and takes none away: a target is exchanged by the very one that made it,
/// for as long as somebody else keeps that one alive, and never by another issuer's that has its name now.
pub struct Exchange {
    clock: Clock,
    issuers: ArcSwap<Vec<Weak<Exchanger>>>,
}

impl Exchange {
    pub fn new(clock: Clock) -> Self {
        Self { clock, issuers: ArcSwap::default() }
    }

    pub fn add<'a>(&self, exchangers: impl IntoIterator<Item = &'a Arc<Exchanger>>) {
        let mut all: Vec<_> = self.issuers.load().iter().filter(|e| e.strong_count() > 0).cloned().collect();
        for new in exchangers {
            if !all.iter().any(|known| known.ptr_eq(&Arc::downgrade(new))) {
                all.push(Arc::downgrade(new));
            }
        }
        self.issuers.store(Arc::new(all));
    }

    /// The tokens that the gateway acts with are got anew: those that it has are used no more.
    pub fn drop_own(&self) {
        self.issuers.load().iter().filter_map(Weak::upgrade).for_each(|exchanger| exchanger.drop_own());
    }

    fn maker_of(&self, target: &Target) -> Option<Arc<Exchanger>> {
        self.issuers.load().iter().filter_map(Weak::upgrade).find(|exchanger| exchanger.made(target))
    }
}

impl TokenSource for Exchange {
    /// Whatever freshness is asked for: an exchange is always the newest there is.
    fn token(&self, asker: &Asker, target: &Arc<Target>, ask: Ask) -> Answer {
        if let Err(fault) = permitted(asker, target) {
            return Either::Left(ready(Err(fault)));
        }
        let Some(exchanger) = self.maker_of(target) else {
            return Either::Left(ready(Err(mistake(format!("there is no issuer {}", target.issuer)))));
        };
        let (asker, target, clock) = (asker.clone(), target.clone(), self.clock.clone());
        let priority = match ask.urgency {
            Urgency::Caller => Priority::Caller,
            Urgency::Renewal => Priority::Renewal,
        };
        Either::Right(Box::pin(async move { exchanger.exchange(&asker, &target, priority, &clock).await }))
    }

    fn patience(&self, target: &Target) -> Option<Duration> {
        self.maker_of(target).map(|exchanger| exchanger.patience())
    }
}

/// What is refused before the issuer is asked.
fn permitted(asker: &Asker, target: &Target) -> Result<(), Fault> {
    if let Some(doubt) = asker.doubt() {
        return Err(doubt.clone());
    }
    if target.grant == Grant::ClientCredentials {
        return Ok(());
    }
    for part in asker.caller().into_iter().chain(asker.actor()) {
        // A token goes to the issuer that it is from, and to no other.
        if part.subject.issuer != target.issuer {
            return Err(mistake(format!("a token of the issuer {} cannot be exchanged at {}", part.subject.issuer, target.issuer)));
        }
    }
    asker.caller().map_or(Ok(()), |caller| target.permits(&caller.subject))
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("issuers", &self.issuers.load().len()).finish_non_exhaustive()
    }
}

fn mistake(cause: String) -> Fault {
    Fault::Misconfigured(Why::new(cause).into())
}
