//! The caller's token becomes a `Subject`, by the issuer's keys or by asking it (`introspection`). What was verified once is
//! remembered by the token's digest until the token expires or the issuer's keys or settings change. It exchanges nothing.

mod choice;
mod claims;
mod header;
mod introspection;
mod require;
#[cfg(test)]
mod tests;

pub use crate::issuer::Algorithm;
pub use choice::Verifiers;
pub use require::Require;

use crate::bounded::{Bounded, Kept};
use crate::clock::Clock;
use crate::fault::{Fault, Why};
use crate::issuer::jws::Jws;
use crate::issuer::{Found, Issuer, Keys, Refetched};
use crate::token::{Caller, Digest, Subject, SubjectToken};
use futures_util::future::{BoxFuture, Either, Ready, ready};
use introspection::Introspection;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How an issuer's tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// One of these must stand in `aud`; a token without `aud` fails.
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    pub clock_skew: Duration,
    /// Only `typ: at+jwt` (RFC 9068).
    pub strict_at_jwt: bool,
    pub by: By,
    /// Names of the claims that routes ask about.
    pub keep: Vec<String>,
}

/// How a token is known to be good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// By its signature.
    #[default]
    Jwks,
    /// By asking its issuer (RFC 7662): the way for tokens that nobody else can read.
    Introspection,
}

/// At once where it can be: only a token whose key we do not have yet, or that has to be asked about, makes its caller wait.
pub type Verified = Either<Ready<Result<Caller, Fault>>, BoxFuture<'static, Result<Caller, Fault>>>;

/// Verifies the tokens of one issuer. Another issuer, or other settings, is another verifier with a memory of its own.
pub struct Verifier {
    settings: Settings,
    issuer: Arc<Issuer>,
    clock: Clock,
    remembered: Bounded<Digest, Remembered>,
    /// Where tokens are verified by asking.
    introspection: Option<Introspection>,
}

struct Remembered {
    subject: Arc<Subject>,
    /// Of the keys that the signature was checked with.
    generation: u64,
    /// [`Clock::millis`] when the token expires; for the bound only. Who is let in is judged by the wall clock.
    gone_at: u64,
}

impl Kept for Remembered {
    fn weight(&self) -> usize {
        usize::from(self.gone_at > 0)
    }

    fn expired(&self, now: u64) -> bool {
        self.gone_at <= now
    }
}

/// Why a token is not accepted, as far as the keys that we have can tell.
enum Refusal {
    For(Why),
    /// With newer keys it might be.
    Key {
        kid: Option<String>,
        why: Why,
    },
}

impl Verifier {
    pub fn new(settings: Settings, issuer: Arc<Issuer>, clock: Clock, max_remembered: usize) -> Arc<Self> {
        let introspection = (settings.by == By::Introspection).then(|| Introspection::new(max_remembered));
        Arc::new(Self { settings, issuer, clock, remembered: Bounded::new(max_remembered), introspection })
    }

    /// Another bound on what is remembered.
    pub fn remember_at_most(&self, max: usize) {
        let now = self.clock.millis();
        self.remembered.rebound(max, usize::MAX, now);
        if let Some(asked) = &self.introspection {
            asked.remember_at_most(max, now);
        }
    }

    /// Whether everything is there that it takes to verify a token.
    pub fn ready(&self) -> bool {
        match self.settings.by {
            By::Jwks => self.issuer.loaded(),
            By::Introspection => self.issuer.introspects(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    pub fn verify(self: &Arc<Self>, token: SubjectToken) -> Verified {
        let digest = token.digest();
        self.verify_digested(token, digest)
    }

    /// Forgets what was verified of the tokens of `whom`: they are verified anew the next time, by asking where that is the way.
    pub fn forget(&self, whom: impl Fn(&Subject) -> bool) {
        if let Some(asked) = &self.introspection {
            return asked.forget(whom);
        }
        self.remembered.sweep(|remembered| {
            if whom(&remembered.subject) {
                remembered.gone_at = 0;
            }
        });
    }

    /// Whether this token has been verified here before, whatever has become of it since.
    fn knows(&self, digest: &Digest) -> bool {
        let now = self.clock.millis();
        match &self.introspection {
            Some(asked) => asked.knows(digest, now),
            None => self.remembered.get(digest, now, |_| ()).is_some(),
        }
    }

    fn verify_digested(self: &Arc<Self>, token: SubjectToken, digest: Digest) -> Verified {
        if let Some(asked) = &self.introspection {
            return asked.verify(self, token, digest);
        }
        let Some(generation) = self.issuer.generation() else { return now(Err(self.without_keys())) };
        if let Some(subject) = self.recall(&digest, generation) {
            let in_time = claims::in_time(subject.expires_at, self.clock.unix(), self.settings.clock_skew);
            return now(in_time.map(|()| Caller { token, digest, subject, doubt: None }).map_err(refused));
        }
        let Some(keys) = self.issuer.keys() else { return now(Err(self.without_keys())) };
        match self.judge(&token, &keys) {
            Ok(subject) => now(Ok(self.accept(token, digest, subject, &keys))),
            Err(Refusal::For(why)) => now(Err(refused(why))),
            Err(Refusal::Key { kid, why }) => {
                let refetched = self.issuer.refetch(kid.as_deref());
                let this = self.clone();
                Either::Right(Box::pin(async move {
                    let outcome = refetched.await;
                    this.again(token, digest, keys.generation, outcome, why)
                }))
            }
        }
    }

    /// After new keys were asked for: once more with them, if there are any.
    fn again(&self, token: SubjectToken, digest: Digest, before: u64, outcome: Refetched, why: Why) -> Result<Caller, Fault> {
        let Some(keys) = self.issuer.keys() else { return Err(self.without_keys()) };
        if keys.generation == before {
            return Err(match outcome {
                Refetched::Fresh => refused(why),
                // The key may have come into being since: to send the caller away to log in again would be wrong.
                Refetched::Failed => self.without_keys(),
            });
        }
        match self.judge(&token, &keys) {
            Ok(subject) => Ok(self.accept(token, digest, subject, &keys)),
            Err(Refusal::For(why) | Refusal::Key { why, .. }) => Err(refused(why)),
        }
    }

    fn recall(&self, digest: &Digest, generation: u64) -> Option<Arc<Subject>> {
        let same = |r: &Remembered| (r.generation == generation).then(|| r.subject.clone());
        self.remembered.get(digest, self.clock.millis(), same).flatten()
    }

    fn accept(&self, token: SubjectToken, digest: Digest, subject: Arc<Subject>, keys: &Keys) -> Caller {
        let now = self.clock.millis();
        let left = subject.expires_at.saturating_add(self.settings.clock_skew.as_secs()).saturating_sub(self.clock.unix());
        let gone_at = now.saturating_add(left.saturating_mul(1000));
        let entry = || Remembered { subject: subject.clone(), generation: keys.generation, gone_at };
        self.remembered.alter(&digest, now, entry, |r| *r = entry());
        Caller { token, digest, subject, doubt: None }
    }

    /// All checks, the cheap ones first; the signature is the last, and a token that fails before it never makes us fetch keys.
    fn judge(&self, token: &SubjectToken, keys: &Keys) -> Result<Arc<Subject>, Refusal> {
        let form = |e: String| Refusal::For(Why::new(format!("the caller's token is no JWT that could be checked: {e}")));
        let jws = Jws::read(token.expose()).map_err(form)?;
        let (alg, kid) = header::read(&jws.header, &self.settings).map_err(Refusal::For)?;
        let subject = claims::read(&jws.claims, claims::Found::InTheToken, self).map_err(Refusal::For)?;
        match keys.find(kid, alg) {
            Found::Key(key) if key.signed(alg, &jws) => Ok(Arc::new(subject)),
            // Where keys have no names, another key may stand in this one's place.
            Found::Key(_) if kid.is_none() => Err(unknown(kid, "the signature of the caller's token is not the issuer's")),
            Found::Key(_) => Err(Refusal::For(Why::new("the signature of the caller's token is not the issuer's"))),
            Found::Unknown => Err(unknown(kid, "the caller's token is signed with a key that the issuer does not publish")),
            Found::Unfit => Err(Refusal::For(
                Why::new(format!("no single key of the issuer fits the caller's token (alg {alg:?})"))
                    .cure("the issuer's key set must say by kid and alg which key is for what"),
            )),
        }
    }

    fn without_keys(&self) -> Fault {
        let name = &self.issuer.settings().name;
        let left_alone = self.issuer.left_alone().map(|e| self.issuer.not_answered("for its keys", &e));
        match (self.issuer.trouble(), left_alone) {
            (Some(why), Some(Fault::IssuerUnavailable { retry_after, .. })) => Fault::IssuerUnavailable { retry_after, why },
            (Some(why), _) => Fault::IssuerUnavailable { retry_after: None, why },
            (None, Some(fault)) => fault,
            (None, None) => {
                let why = Why::new(format!("the keys of issuer {name} have not come in yet")).into();
                Fault::IssuerUnavailable { retry_after: None, why }
            }
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuer", &self.issuer).field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn unknown(kid: Option<&str>, cause: &'static str) -> Refusal {
    let cure = "if it is genuine, check that issuers' jwks_uri is the one of the realm that issued the token";
    Refusal::Key { kid: kid.map(str::to_owned), why: Why::new(cause).cure(cure) }
}

fn refused(why: Why) -> Fault {
    Fault::InvalidToken(why.into())
}

fn now(result: Result<Caller, Fault>) -> Verified {
    Either::Left(ready(result))
}
