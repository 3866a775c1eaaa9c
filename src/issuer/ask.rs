//! One question to an issuer's endpoint, with our proof and with everything that protects the issuer: room, circuit, its own wish
//! to be left alone, and further attempts within one deadline. It says whether an answer came, never what it means.

use super::breaker::{Barred, Change};
use super::credentials::{self, Tools};
use super::room::Priority;
use super::seen::Outage;
use super::typ::{self, Typ};
use super::{CallError, Form, Issuer, Reply, json};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout_at;
use url::Url;

/// The pause before the second attempt, about; it doubles with each.
const PAUSE: Duration = Duration::from_millis(100);

/// `None`: whoever asks now would be turned away.
pub fn barred(issuer: &Issuer) -> Option<CallError> {
    issuer.breaker.look().err().map(|why| told(issuer, why))
}

/// Asks, when its turn has come.
pub async fn ask(issuer: &Arc<Issuer>, endpoint: &Url, form: &Form, priority: Priority) -> Result<Reply, CallError> {
    let (began, total) = (Instant::now(), issuer.settings.timeouts.total);
    // Whoever has waited longer would have too little time left for an answer, and its timeout would look like an outage.
    let _place = place(issuer, priority, began + total / 2).await?;
    let deadline = began + total;
    match attempts(issuer, endpoint, form, deadline).await {
        (Ok(reply), tools, shown) if typ::may_be_why(&tools, &reply) => {
            Ok(typ::again(issuer, &tools, shown, endpoint, form, deadline).await.unwrap_or(reply))
        }
        (outcome, ..) => outcome,
    }
}

/// As many attempts as may be, and what the last one was made with.
async fn attempts(issuer: &Arc<Issuer>, endpoint: &Url, form: &Form, deadline: Instant) -> (Result<Reply, CallError>, Arc<Tools>, Typ) {
    let (mut left, mut pause, mut looked) = (issuer.settings.protection.retries, PAUSE, false);
    let mut before: Option<Result<Reply, CallError>> = None;
    loop {
        let (tools, typ) = (issuer.credentials.current(), issuer.typs.now());
        let outcome = attempt(issuer, &tools, typ, endpoint, form, deadline).await;
        let outcome = match (outcome, before.take()) {
            // What the first attempt met with says more than that there is no second one.
            (Err(CallError::CircuitOpen { .. } | CallError::Paused { .. }), Some(before)) => return (before, tools, typ),
            (outcome, _) => outcome,
        };
        if !looked && outcome.as_ref().is_ok_and(refuses_us) {
            looked = true;
            credentials::look(issuer).await;
            if Arc::ptr_eq(&issuer.credentials.current(), &tools) {
                return (outcome, tools, typ);
            }
        } else if left > 0 && again(&outcome) {
            // Jitter, so that many who failed together do not come back together.
            let wait = pause.mul_f64(rand::random_range(0.5..=1.5));
            if Instant::now() + wait >= deadline {
                return (outcome, tools, typ);
            }
            (left, pause) = (left - 1, pause * 2);
            tokio::time::sleep(wait).await;
        } else {
            return (outcome, tools, typ);
        }
        before = Some(outcome);
    }
}

async fn place(issuer: &Issuer, priority: Priority, until: Instant) -> Result<SemaphorePermit<'_>, CallError> {
    let mut opened = pin!(issuer.opened.notified());
    // From here on no opening is missed.
    opened.as_mut().enable();
    if let Some(why) = barred(issuer) {
        return Err(why);
    }
    tokio::select! {
        place = timeout_at(until.into(), issuer.room.enter(priority)) => match place {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(CallError::Busy),
        },
        // Those who wait would be turned away when their turn comes.
        () = opened => Err(barred(issuer).unwrap_or(CallError::Busy)),
    }
}

pub(super) async fn attempt(
    issuer: &Issuer,
    tools: &Tools,
    typ: Typ,
    endpoint: &Url,
    form: &Form,
    deadline: Instant,
) -> Result<Reply, CallError> {
    let pass = issuer.breaker.admit().map_err(|why| told(issuer, why))?;
    let shown = tools.proof.show(&issuer.settings, typ, issuer.clock.unix()).await.ok_or(CallError::Unsigned)?;
    let outcome = tools.client.post(endpoint.clone(), form, &shown, deadline).await;
    issuer.metrics.up(outcome.as_ref().is_ok_and(Reply::well_formed));
    let change = match outage(&outcome) {
        None => pass.answered(),
        Some(words) => {
            issuer.last_outage.store(Some(Arc::new(Outage { words, at: issuer.clock.unix() })));
            pass.failed()
        }
    };
    noted(issuer, change);
    if let Some(wish) = outcome.as_ref().ok().and_then(wish) {
        issuer.breaker.pause(wish);
    }
    outcome
}

fn noted(issuer: &Issuer, change: Change) {
    let name = &issuer.settings.name;
    match change {
        Change::Nothing => {}
        Change::Opened => {
            issuer.metrics.circuit_open(true);
            issuer.opened.notify_waiters();
            let cause = issuer.last_outage.load_full();
            let cause = cause.as_ref().map(|outage| outage.words.as_str()).unwrap_or_default();
            let cure = "check the IAM; cached tokens go on, and it is tried again every few seconds";
            tracing::warn!(issuer = %name, cause, cure, "the issuer fails again and again: its circuit is open");
        }
        Change::Mended => {
            issuer.metrics.circuit_open(false);
            tracing::info!(issuer = %name, "the issuer answers again: its circuit is closed");
        }
    }
}

fn told(issuer: &Issuer, why: Barred) -> CallError {
    match why {
        Barred::Circuit { left } => {
            let last = issuer.last_outage.load_full().map(|outage| outage.words.clone()).unwrap_or_default();
            CallError::CircuitOpen { left, last }
        }
        Barred::Pause { left } => CallError::Paused { left },
    }
}

/// What makes it an outage; a refusal is none, whatever it says.
fn outage(outcome: &Result<Reply, CallError>) -> Option<String> {
    match outcome {
        Err(e) => Some(e.to_string()),
        Ok(reply) if reply.status >= 500 => Some(format!("it answered HTTP {}", reply.status)),
        Ok(reply) if reply.status < 400 && !reply.well_formed() => Some(format!("it answered HTTP {} and no JSON", reply.status)),
        Ok(_) => None,
    }
}

/// Whether another attempt may find it in a better mood. A timed-out one may still be worked at: it is not asked twice.
fn again(outcome: &Result<Reply, CallError>) -> bool {
    match outcome {
        Ok(reply) => matches!(reply.status, 502..=504) && wish(reply).is_none(),
        Err(e) => matches!(e, CallError::Unreachable(_)),
    }
}

/// For how long it wants to be left alone.
pub(super) fn wish(reply: &Reply) -> Option<Duration> {
    reply.retry_after.filter(|wait| matches!(reply.status, 429 | 503) && !wait.is_zero())
}

/// Whether it is us that it does not accept: the one refusal that a look at the files may mend.
pub(super) fn refuses_us(reply: &Reply) -> bool {
    let said = |body: &[u8]| {
        let body = json::object(body).ok()?;
        let error = json::string(&body, "error").ok()??;
        Some(matches!(error, "invalid_client" | "unauthorized_client"))
    };
    reply.status == 401 || (reply.status == 400 && said(&reply.body) == Some(true))
}
