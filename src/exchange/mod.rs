//! A `TokenSource` over HTTP: one POST (RFC 8693) an exchange. The answer is trusted only as far as it fits what was asked;
//! what the issuer says of itself is classified, never pasted. It stores nothing.

mod answer;
mod exchanger;
mod grant;
mod refusal;
#[cfg(test)]
mod tests;

pub use exchanger::Exchanger;

use crate::clock::Clock;
use crate::fault::{Fault, Why};
use crate::token::{Answer, Ask, Caller, Target, TokenSource};
use arc_swap::ArcSwap;
use futures_util::future::{Either, ready};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What shapes an exchange besides the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub profile: Profile,
}

/// Whose errors and rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Keycloak,
    Rfc8693,
}

/// The exchangers by their issuer's name. A reload puts others in their place; what is under way ends with the old ones.
pub struct Exchange {
    clock: Clock,
    issuers: ArcSwap<HashMap<Arc<str>, Arc<Exchanger>>>,
}

impl Exchange {
    pub fn new(clock: Clock) -> Self {
        Self { clock, issuers: ArcSwap::default() }
    }

    pub fn set(&self, issuers: HashMap<Arc<str>, Arc<Exchanger>>) {
        self.issuers.store(Arc::new(issuers));
    }
}

impl TokenSource for Exchange {
    /// Whatever freshness is asked for: an exchange is always the newest there is.
    fn token(&self, caller: &Caller, target: &Arc<Target>, _: Ask) -> Answer {
        let fault = if target.forbids(&caller.subject) {
            Fault::LoginClient
        } else if caller.subject.issuer != target.issuer {
            // A token goes to the issuer that it is from, and to no other.
            mistake(format!("a caller of the issuer {} cannot be exchanged at {}", caller.subject.issuer, target.issuer))
        } else if let Some(exchanger) = self.issuers.load().get(&target.issuer).cloned() {
            let (caller, target, clock) = (caller.clone(), target.clone(), self.clock.clone());
            return Either::Right(Box::pin(async move { exchanger.exchange(&caller, &target, &clock).await }));
        } else {
            mistake(format!("there is no issuer {}", target.issuer))
        };
        Either::Left(ready(Err(fault)))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("issuers", &self.issuers.load().keys()).finish_non_exhaustive()
    }
}

fn mistake(cause: String) -> Fault {
    Fault::Misconfigured(Why::new(cause).into())
}
