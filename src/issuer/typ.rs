//! Which `typ` the assertions that we sign have. RFC 7523bis gives them one of their own; an issuer that knows the older one alone refuses
//! the client for it. Which of the two an issuer takes is found out by trying, rarely, and remembered.

use super::ask::{attempt, refuses_us};
use super::credentials::Tools;
use super::{Form, Issuer, Reply, json};
use crate::clock::millis;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use url::Url;

/// The least time between two trials: an issuer that takes neither is not asked twice for each caller.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typ {
    Own,
    Older,
}

impl Typ {
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "client-authentication+jwt",
            Self::Older => "JWT",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Own => Self::Older,
            Self::Older => Self::Own,
        }
    }
}

/// The one in use.
#[derive(Default)]
pub struct Typs {
    older: AtomicBool,
    /// When the other may be tried again ([`crate::clock::Clock::millis`]). Held during a trial: who was refused meanwhile waits for what
    /// it comes to.
    trial: Mutex<u64>,
}

impl Typs {
    pub fn now(&self) -> Typ {
        if self.older.load(Ordering::Relaxed) { Typ::Older } else { Typ::Own }
    }

    pub fn succeed(&self, old: &Self) {
        self.older.store(old.older.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Whether it may be for its `typ` that an assertion of ours was refused.
pub fn may_be_why(tools: &Tools, reply: &Reply) -> bool {
    let said = json::object(&reply.body).ok().and_then(|body| json::string(&body, "error").ok()?.map(str::to_owned));
    tools.proof.is_signed() && refuses_us(reply) && said.is_none_or(|error| error == "invalid_client")
}

/// One more attempt with the other `typ`, after `refused` was refused. `None`: it is not made, or came to nothing better.
pub async fn again(issuer: &Issuer, tools: &Tools, refused: Typ, endpoint: &Url, form: &Form, deadline: Instant) -> Option<Reply> {
    let other = refused.other();
    let mut next = timeout_at(deadline.into(), issuer.typs.trial.lock()).await.ok()?;
    if issuer.typs.now() == other {
        // Somebody else has found it out.
        drop(next);
        return attempt(issuer, tools, other, endpoint, form, deadline).await.ok();
    }
    if issuer.clock.millis() < *next {
        return None;
    }
    let reply =
        attempt(issuer, tools, other, endpoint, form, deadline).await.ok().filter(|reply| matches!(reply.status, 200 | 400..=428))?;
    *next = issuer.clock.millis() + millis(EVERY);
    if may_be_why(tools, &reply) {
        return None;
    }
    issuer.typs.older.store(other == Typ::Older, Ordering::Relaxed);
    tracing::info!(issuer = %issuer.settings.name, typ = other.name(), "the issuer takes assertions of this typ, and refused another");
    Some(reply)
}
