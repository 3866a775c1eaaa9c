//! Sessions and users whose tokens are refused from now on, because their issuer said that they were logged out. It is bounded
//! in memory and in time, believes whoever tells it, and is asked on every request after the token itself was verified.

use crate::bounded::{Bounded, Kept};
use crate::clock::{Clock, millis};
use crate::fault::{Fault, Why};
use crate::token::{Caller, Digest};
use arc_swap::ArcSwap;
use std::collections::HashMap;
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
    /// `jti` of logout tokens that were taken, by issuer.
    heard: Bounded<Digest, Entry>,
    /// The URLs of issuers by the names that they have, or had: what is over is over under each, also after a reload.
    names: ArcSwap<HashMap<Arc<str>, Arc<str>>>,
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
        let (all, heard, names) = (Bounded::new(MOST), Bounded::new(MOST), ArcSwap::default());
        Arc::new(Self { all, any: AtomicBool::new(false), heard, names, clock })
    }

    /// The issuers of the configuration from now on, by name and URL.
    pub fn know(&self, issuers: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) {
        let mut names = HashMap::clone(&self.names.load());
        names.extend(issuers);
        self.names.store(Arc::new(names));
    }

    /// Whether nobody has come with this word of the issuer's before; it is remembered until `gone_at`.
    pub fn first_heard(&self, iss: &str, jti: &str, gone_at: u64) -> bool {
        let (key, now) = (Digest::of_parts([iss.as_bytes(), jti.as_bytes()]), self.clock.millis());
        // Looked at and noted in one: of two that come at once, only one is the first.
        let (first, _) = self.heard.alter(
            &key,
            now,
            || Entry { until: 0, gone_at: 0 },
            |heard| {
                let first = heard.gone_at <= now;
                heard.gone_at = gone_at;
                first
            },
        );
        first
    }

    pub fn revoke(&self, what: &Revoked) {
        let (key, until) = match what {
            Revoked::Session { issuer, sid } => (self.session(issuer, sid), u64::MAX),
            Revoked::Subject { issuer, sub, until } => (self.user(issuer, sub), *until),
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
        let of_session = subject.sid.as_ref().and_then(|sid| self.until(&self.session(&subject.issuer, sid)));
        if of_session.is_some() {
            return Err(over("the caller's session was logged out at the issuer", "log in again"));
        }
        match self.until(&self.user(&subject.issuer, &subject.sub)) {
            Some(until) if subject.issued_at <= until => {
                // Times in tokens are whole seconds: which of the two came first in it, nobody can tell.
                let cure = "log in again; a token of the very second of the logout is refused, too";
                Err(over("the caller was logged out at the issuer", cure))
            }
            _ => Ok(()),
        }
    }

    fn session(&self, issuer: &str, sid: &str) -> Digest {
        self.of("session", issuer, sid)
    }

    fn user(&self, issuer: &str, sub: &str) -> Digest {
        self.of("user", issuer, sub)
    }

    fn of(&self, kind: &str, issuer: &str, who: &str) -> Digest {
        let names = self.names.load();
        let issuer = names.get(issuer).map_or(issuer, |url| &**url);
        Digest::of_parts([kind.as_bytes(), issuer.as_bytes(), who.as_bytes()])
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

fn over(cause: &'static str, cure: &'static str) -> Fault {
    Fault::InvalidToken(Why::new(cause).cure(cure).into())
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
        revoked.know([("main".into(), "https://a".into()), ("other".into(), "https://b".into())]);
        revoked.revoke(&Revoked::Session { issuer: "other".into(), sid: "2".to_owned() });
        assert!(ok(&two), "of another URL");
        revoked.revoke(&Revoked::Session { issuer: issuer.clone(), sid: "1".to_owned() });
        revoked.know([("renamed".into(), "https://a".into())]);
        let under = |name: &str| Caller { subject: Arc::new(Subject { issuer: name.into(), ..(*one.subject).clone() }), ..one.clone() };
        assert!(!ok(&one) && !ok(&under("renamed")) && ok(&under("other")), "under each name of the issuer");
        assert!(revoked.first_heard("https://a", "j", KEPT.as_secs()) && !revoked.first_heard("https://a", "j", KEPT.as_secs()));
        assert!(revoked.first_heard("https://b", "j", KEPT.as_secs()));

        revoked.revoke(&Revoked::Subject { issuer: issuer.clone(), sub: "ada".to_owned(), until: 100 });
        revoked.revoke(&Revoked::Subject { issuer, sub: "ada".to_owned(), until: 50 });
        assert!(!ok(&two), "an older word does not take back a newer");
        assert!(!ok(&caller("ada", None, 0)), "nobody knows when it was issued");
        assert!(ok(&caller("ada", None, 101)) && ok(&caller("bob", None, 1)));
        clock.turn(KEPT);
        assert!(ok(&one) && ok(&two));
    }
}
