//! Sessions and users whose tokens are refused from now on, because their issuer said that they were logged out. It is bounded
//! in memory and in time, believes whoever tells it, and is asked on every request after the token itself was verified.

use crate::bounded::{Bounded, Kept};
use crate::clock::{Clock, millis};
use crate::fault::{Fault, Why};
use crate::token::{Caller, Digest};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// No access token lives longer than this; afterwards a revocation is of no more use.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The most that is remembered; beyond it, the longest unused go.
const MOST: usize = 100_000;

/// Whose tokens are over. `issuer` is the issuer's name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    Session {
        issuer: Arc<str>,
        sid: String,
    },
    /// All tokens of a user that were issued until `until`, in seconds since 1970.
    Subject {
        issuer: Arc<str>,
        sub: String,
        until: u64,
    },
}

pub struct Revocations {
    all: Bounded<Digest, Entry>,
    /// Whether there has ever been one: without it, nothing is looked up.
    any: AtomicBool,
    clock: Clock,
}

struct Entry {
    /// Tokens issued until then are refused, in seconds since 1970.
    until: u64,
    gone_at: u64,
}

impl Kept for Entry {
    fn weight(&self) -> usize {
        1
    }

    fn expired(&self, now: u64) -> bool {
        self.gone_at <= now
    }
}

impl Revocations {
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { all: Bounded::new(MOST), any: AtomicBool::new(false), clock })
    }

    pub fn revoke(&self, what: &Revoked) {
        let (key, until) = match what {
            Revoked::Session { issuer, sid } => (session(issuer, sid), u64::MAX),
            Revoked::Subject { issuer, sub, until } => (user(issuer, sub), *until),
        };
        let now = self.clock.millis();
        let gone_at = now.saturating_add(millis(KEPT));
        self.all.alter(&key, now, || Entry { until, gone_at }, |entry| *entry = Entry { until: entry.until.max(until), gone_at });
        self.any.store(true, Ordering::Release);
    }

    /// # Errors
    /// When the caller's session, or the caller, was logged out.
    pub fn check(&self, caller: &Caller) -> Result<(), Fault> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let subject = &caller.subject;
        let of_session = subject.sid.as_ref().and_then(|sid| self.until(&session(&subject.issuer, sid)));
        if of_session.is_some() {
            return Err(over("the caller's session was logged out at the issuer"));
        }
        match self.until(&user(&subject.issuer, &subject.sub)) {
            Some(until) if subject.issued_at <= until => Err(over("the caller was logged out at the issuer")),
            _ => Ok(()),
        }
    }

    fn until(&self, key: &Digest) -> Option<u64> {
        let now = self.clock.millis();
        self.all.get(key, now, |entry| (!entry.expired(now)).then_some(entry.until)).flatten()
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("remembered", &self.all.len()).finish_non_exhaustive()
    }
}

fn session(issuer: &str, sid: &str) -> Digest {
    Digest::of_parts([&b"session"[..], issuer.as_bytes(), sid.as_bytes()])
}

fn user(issuer: &str, sub: &str) -> Digest {
    Digest::of_parts([&b"user"[..], issuer.as_bytes(), sub.as_bytes()])
}

fn over(cause: &'static str) -> Fault {
    Fault::InvalidToken(Why::new(cause).cure("log in again").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Subject, SubjectToken};

    fn caller(sub: &str, sid: Option<&str>, issued_at: u64) -> Caller {
        let token = SubjectToken::from_value(&http::HeaderValue::from_static("t")).unwrap();
        let (issuer, sid, expires_at) = ("main".into(), sid.map(Into::into), u64::MAX);
        let (scopes, claims, clock_skew) = (vec![], vec![], Duration::ZERO);
        let subject = Subject { issuer, sub: sub.into(), sid, azp: None, scopes, claims, issued_at, expires_at, clock_skew };
        Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None }
    }

    #[test]
    fn a_session_is_over_for_good_and_a_user_until_they_log_in_again() {
        let (clock, issuer) = (Clock::turned(), Arc::<str>::from("main"));
        let revoked = Revocations::new(clock.clone());
        let ok = |c: &Caller| revoked.check(c).is_ok();
        let (one, two) = (caller("ada", Some("1"), 100), caller("ada", Some("2"), 100));
        assert!(ok(&one) && ok(&two));
        revoked.revoke(&Revoked::Session { issuer: issuer.clone(), sid: "1".to_owned() });
        assert!(!ok(&one) && ok(&two));
        revoked.revoke(&Revoked::Session { issuer: "other".into(), sid: "2".to_owned() });
        assert!(ok(&two), "of another issuer");

        revoked.revoke(&Revoked::Subject { issuer: issuer.clone(), sub: "ada".to_owned(), until: 100 });
        revoked.revoke(&Revoked::Subject { issuer, sub: "ada".to_owned(), until: 50 });
        assert!(!ok(&two), "an older word does not take back a newer");
        assert!(!ok(&caller("ada", None, 0)), "nobody knows when it was issued");
        assert!(ok(&caller("ada", None, 101)) && ok(&caller("bob", None, 1)));
        clock.turn(KEPT);
        assert!(ok(&one) && ok(&two));
    }
}
