//! Tokens verified by asking their issuer (RFC 7662). One question a token, however many wait; a good answer is remembered for
//! half a minute at the most, a bad one for seconds, and an outage not at all: then nobody is sent away to log in, and the last good answer
//! stands for those to whom something was granted already.

use super::claims::{self, Found};
use super::{Verified, Verifier, now, refused};
use crate::bounded::{Bounded, Claims, Kept};
use crate::fault::{Explained, Fault, Why};
use crate::issuer::jws::Jws;
use crate::issuer::{CallError, Reply, json};
use crate::token::{Caller, Digest, Subject, SubjectToken};
use futures_util::future::Either;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

const ACTIVE: Duration = Duration::from_secs(30);
/// How long after it was last given a good answer stands while the issuer is out.
const STANDS: Duration = Duration::from_secs(60 * 60);
const INACTIVE: Duration = Duration::from_secs(5);
/// The most refusals that are remembered: whoever makes tokens up drives out nothing but others' like them.
const MAX_REFUSED: usize = 10_000;

type Outcome = Result<Good, Fault>;
type Slot = watch::Sender<Option<Outcome>>;

/// A token that is good, and why it is not known to be good *now*, if that is so.
#[derive(Clone)]
struct Good {
    subject: Arc<Subject>,
    doubt: Option<Arc<Fault>>,
}

impl Good {
    fn caller(self, token: SubjectToken, digest: Digest) -> Caller {
        let Self { subject, doubt } = self;
        Caller { token, digest, subject, doubt }
    }
}

pub(super) struct Introspection {
    active: Bounded<Digest, Answered<Arc<Subject>>>,
    refused: Bounded<Digest, Answered<Arc<Explained>>>,
    asking: Claims<Digest, Slot>,
    /// How often something was to be forgotten: what was asked before that is not remembered.
    forgotten: AtomicU64,
}

/// What was answered, until when that counts, and until when it is worth anything at all.
struct Answered<T> {
    what: T,
    until: u64,
    gone_at: u64,
}

impl<T: Send + Sync> Kept for Answered<T> {
    fn weight(&self) -> usize {
        usize::from(self.gone_at > 0)
    }

    fn expired(&self, now: u64) -> bool {
        self.gone_at <= now
    }
}

impl Introspection {
    pub fn new(max: usize) -> Self {
        Self { active: Bounded::new(max), refused: Bounded::new(MAX_REFUSED), asking: Claims::default(), forgotten: AtomicU64::new(0) }
    }

    pub fn forget(&self, whom: impl Fn(&Subject) -> bool) {
        // First: what lands from now on is not kept.
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.active.sweep(|answered| {
            if whom(&answered.what) {
                (answered.until, answered.gone_at) = (0, 0);
            }
        });
    }

    pub fn remember_at_most(&self, max: usize, now: u64) {
        self.active.rebound(max, usize::MAX, now);
    }

    pub fn knows(&self, digest: &Digest, now: u64) -> bool {
        self.active.get(digest, now, |_| ()).is_some() || self.refused.get(digest, now, |_| ()).is_some()
    }

    pub fn verify(&self, verifier: &Arc<Verifier>, token: SubjectToken, digest: Digest) -> Verified {
        match self.recall(verifier, &digest) {
            Some(known) => return now(known.map(|good| good.caller(token, digest))),
            None => {
                if let Err(why) = plausible(verifier, &token) {
                    return now(Err(refused(why)));
                }
            }
        }
        let again = || self.recall(verifier, &digest);
        let (outcome, flight) = self.asking.claim(digest, |asked| match asked.first() {
            Some(slot) => (Ok(slot.subscribe()), None),
            None => match again() {
                Some(known) => (Err(known), None),
                None => {
                    let (slot, outcome) = watch::channel(None);
                    let forgotten = self.forgotten.load(Ordering::SeqCst);
                    let (verifier, token) = (verifier.clone(), token.clone());
                    let flight = Flight { verifier, token, digest, slot: slot.clone(), forgotten };
                    asked.push(slot);
                    (Ok(outcome), Some(flight))
                }
            },
        });
        let mut outcome = match outcome {
            Ok(outcome) => outcome,
            Err(known) => return now(known.map(|good| good.caller(token, digest))),
        };
        if let Some(flight) = flight {
            verifier.issuer.introspect(token.expose(), move |reply| flight.land(&reply));
        }
        Either::Right(Box::pin(async move {
            let seen = outcome.wait_for(Option::is_some).await.map_err(|_| lost())?.clone();
            seen.unwrap_or_else(|| Err(lost())).map(|good| good.caller(token, digest))
        }))
    }

    fn recall(&self, verifier: &Verifier, digest: &Digest) -> Option<Outcome> {
        let now = verifier.clock.millis();
        if let Some(subject) = self.active.get(digest, now, |a| (now < a.until).then(|| a.what.clone())).flatten() {
            let in_time = claims::in_time(subject.expires_at, verifier.clock.unix(), verifier.settings.clock_skew);
            return Some(in_time.map(|()| Good { subject, doubt: None }).map_err(refused));
        }
        self.refused.get(digest, now, |a| (now < a.until).then(|| a.what.clone())).flatten().map(|why| Err(Fault::InvalidToken(why)))
    }

    /// The last good answer, where to ask again has failed for an outage. What was said to be bad since, or was to be forgotten, is
    /// not there any more.
    fn stands(&self, verifier: &Verifier, digest: &Digest, outage: &Fault) -> Option<Good> {
        let (now, unix, skew) = (verifier.clock.millis(), verifier.clock.unix(), verifier.settings.clock_skew);
        let subject = self.active.get(digest, now, |a| (now < a.gone_at).then(|| a.what.clone())).flatten()?;
        claims::in_time(subject.expires_at, unix, skew).ok()?;
        Some(Good { subject, doubt: Some(Arc::new(outage.clone())) })
    }

    /// `asked_at`: what `forgotten` was when the question was asked.
    fn remember(&self, digest: &Digest, outcome: &Outcome, verifier: &Verifier, asked_at: u64) {
        let (now, unix) = (verifier.clock.millis(), verifier.clock.unix());
        let after = |wait: Duration| now.saturating_add(crate::clock::millis(wait));
        match outcome {
            Ok(Good { subject, doubt: None }) => {
                let left = Duration::from_secs(subject.expires_at.saturating_sub(unix));
                let skewed = left.saturating_add(verifier.settings.clock_skew);
                let times = (after(left.min(ACTIVE)), after(skewed.min(STANDS)));
                // Looked at behind the entry's lock, as whoever forgets goes through all entries after the count: none is missed.
                let times = || if self.forgotten.load(Ordering::SeqCst) == asked_at { times } else { (0, 0) };
                let entry = || {
                    let (until, gone_at) = times();
                    Answered { what: subject.clone(), until, gone_at }
                };
                self.active.alter(digest, now, entry, |at| *at = entry());
            }
            Err(Fault::InvalidToken(why)) => {
                // First: once nobody finds the refusal any more, nobody is to find what was said before it.
                self.active.remove(digest);
                let until = after(INACTIVE);
                let entry = || Answered { what: why.clone(), until, gone_at: until };
                self.refused.alter(digest, now, entry, |at| *at = entry());
            }
            Ok(Good { doubt: Some(_), .. }) | Err(_) => {}
        }
    }
}

/// A question under way. Dropped, it wakes whoever waits, whatever has become of it.
struct Flight {
    verifier: Arc<Verifier>,
    token: SubjectToken,
    digest: Digest,
    slot: Slot,
    forgotten: u64,
}

impl Flight {
    fn land(self, reply: &Result<Reply, CallError>) {
        let mut outcome = judge(&self.verifier, &self.token, reply).map(|subject| Good { subject, doubt: None });
        if let Some(asked) = &self.verifier.introspection {
            if let Err(fault) = &outcome
                && is_outage(reply)
                && let Some(good) = asked.stands(&self.verifier, &self.digest, fault)
            {
                outcome = Ok(good);
            }
            // Before the claim is given up: whoever comes next finds it.
            asked.remember(&self.digest, &outcome, &self.verifier, self.forgotten);
        }
        self.slot.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(asked) = &self.verifier.introspection {
            asked.asking.claim(self.digest, Vec::clear);
        }
    }
}

/// What a token says that can be read must at least not speak against it: no question is asked about another issuer's token, nor
/// about one that is over.
fn plausible(verifier: &Verifier, token: &SubjectToken) -> Result<(), Why> {
    let Ok(jws) = Jws::read(token.expose()) else { return Ok(()) };
    claims::not_against(&jws.claims, verifier)
}

/// Whether the issuer is out: it says nothing, or nothing of its own. What it does say counts, a refusal of our client too.
fn is_outage(reply: &Result<Reply, CallError>) -> bool {
    match reply {
        Err(CallError::Unsigned) => false,
        Err(_) => true,
        Ok(reply) => reply.status == 429 || reply.status >= 500 || (reply.status < 400 && !reply.well_formed()),
    }
}

fn judge(verifier: &Verifier, token: &SubjectToken, reply: &Result<Reply, CallError>) -> Result<Arc<Subject>, Fault> {
    let reply = match reply {
        Ok(reply) => reply,
        Err(CallError::NoEndpoint) if verifier.issuer.trouble().is_none() => return Err(nowhere(verifier)),
        Err(e) => return Err(verifier.issuer.not_answered("about a token", e)),
    };
    match reply.status {
        200 => {}
        429 | 503 => {
            let why = Why::new(format!("asked about a token, the IAM turns requests away (HTTP {})", reply.status)).into();
            return Err(Fault::IssuerUnavailable { retry_after: reply.retry_after, why });
        }
        status @ (400 | 401 | 403) => {
            let why = Why::new(format!("the IAM does not tell the gateway about tokens (HTTP {status})"));
            let cure = "check client_id, client_secret and token_endpoint_auth_method, and that this client may introspect";
            let why = why.cure(cure).anchored("introspection-refused");
            let why = match verifier.issuer.words_of(reply, token) {
                Some(words) => why.words(&words),
                None => why,
            };
            return Err(Fault::Misconfigured(why.into()));
        }
        status => return Err(bad(format!("the introspection endpoint answered HTTP {status}"))),
    }
    let said = json::object(&reply.body).map_err(|e| bad(format!("the introspection endpoint answered {e}")))?;
    match said.get("active") {
        Some(serde_json::Value::Bool(true)) => {}
        Some(serde_json::Value::Bool(false)) => {
            let cure = "if it is genuine, the gateway's client must stand in its aud (Keycloak 26.6.2 and later say so of all others)";
            return Err(refused(Why::new("the issuer says that the caller's token is not active").cure(cure)));
        }
        _ => return Err(bad("the introspection endpoint does not say whether the token is active".to_owned())),
    }
    claims::read(&said, Found::ByAsking, verifier).map(Arc::new).map_err(refused)
}

fn nowhere(verifier: &Verifier) -> Fault {
    let name = &verifier.issuer.settings().name;
    let why = Why::new(format!("where issuer {name} is asked about tokens is not known (yet): discovery does not say so"));
    let cure = format!("give issuers.{name}.introspection_endpoint, or verify by jwks");
    Fault::IssuerUnavailable { retry_after: None, why: why.cure(cure).into() }
}

fn bad(cause: String) -> Fault {
    Fault::BadIssuerAnswer(Why::new(cause).cure("check the issuer's introspection_endpoint, and what stands between").into())
}

fn lost() -> Fault {
    Fault::Internal(Why::new("a question about a token ended without an answer").cure("please report this as a bug").into())
}
