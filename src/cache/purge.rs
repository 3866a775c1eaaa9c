//! What a revocation throws out of the cache: what is held, and what is being exchanged at that moment. It asks nobody whether
//! the revocation is right; that is for the doors it comes in by.

use super::index::Name;
use crate::fault::{Fault, Why};
use crate::token::{Subject, Target};
use std::sync::Arc;

/// What is to go. `issuer` is the issuer's name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Everything of one user.
    Subject {
        issuer: String,
        sub: String,
    },
    /// Everything of one session of a user.
    Session {
        issuer: String,
        sid: String,
    },
    /// Every token that was asked for with this audience.
    Audience(String),
    All,
}

/// Whom and what an exchange is for.
#[derive(Clone)]
pub(super) struct About {
    /// `None` where no caller's token has a part in it.
    pub caller: Option<Arc<Subject>>,
    /// Who acts for the caller, with a token of their own.
    pub actor: Option<Arc<Subject>>,
    pub target: Arc<Target>,
    /// An exchange before it was overtaken by a purge; by when the issuer had said that tokens count from then on.
    pub again: Option<u64>,
}

/// What a purge has thrown out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Tokens that were held.
    pub held: usize,
    /// Exchanges that were under way.
    pub under_way: usize,
}

impl Purge {
    pub(super) fn takes(&self, about: &About) -> bool {
        self.takes_who(about) || self.takes_target(&about.target)
    }

    /// Whether it takes all that is theirs, whatever the target.
    pub(super) fn takes_who(&self, about: &About) -> bool {
        let of = |is: &dyn Fn(&Subject) -> bool| about.caller.iter().chain(&about.actor).any(|subject| is(subject));
        match self {
            Self::Subject { issuer, sub } => of(&|s| *s.issuer == **issuer && *s.sub == **sub),
            Self::Session { issuer, sid } => of(&|s| *s.issuer == **issuer && s.sid.as_deref() == Some(sid)),
            Self::Audience(_) | Self::All => false,
        }
    }

    /// Whether it takes everybody's tokens for `target`.
    pub(super) fn takes_target(&self, target: &Target) -> bool {
        match self {
            Self::Subject { .. } | Self::Session { .. } => false,
            Self::Audience(audience) => target.settings.audiences.contains(audience),
            Self::All => true,
        }
    }

    /// Where the index knows what goes.
    pub(super) fn name(&self) -> Option<Name> {
        match self {
            Self::Subject { issuer, sub } => Some(Name::user(issuer, sub)),
            Self::Session { issuer, sid } => Some(Name::session(issuer, sid)),
            Self::Audience(_) | Self::All => None,
        }
    }

    /// What those are told who wait for an exchange that began before the purge. `None`: it is made again for them.
    pub(super) fn verdict(&self) -> Option<Fault> {
        let why = match self {
            Self::Subject { .. } => "the caller's sessions were ended while the token was being exchanged",
            Self::Session { .. } => "the caller's session was ended while the token was being exchanged",
            Self::Audience(_) | Self::All => return None,
        };
        Some(Fault::InvalidToken(Why::new(why).into()))
    }
}
