//! What a revocation throws out of the cache: what is held, and what is being exchanged at that moment. It asks nobody whether
//! the revocation is right; that is for the doors it comes in by.

use super::index::Name;
use crate::fault::{Fault, Why};
use crate::token::{Subject, Target};

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

/// What a purge has thrown out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Tokens that were held.
    pub held: usize,
    /// Exchanges that were under way.
    pub under_way: usize,
}

impl Purge {
    pub(super) fn takes(&self, subject: &Subject, target: &Target) -> bool {
        match self {
            Self::Subject { issuer, sub } => *subject.issuer == **issuer && *subject.sub == **sub,
            Self::Session { issuer, sid } => *subject.issuer == **issuer && subject.sid.as_deref() == Some(sid),
            Self::Audience(audience) => target.audiences.contains(audience),
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
