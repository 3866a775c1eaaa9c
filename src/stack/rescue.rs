//! Turns any `Fault` into the one answer that the table has for it, and a panic into `internal`. It tells the operator what
//! the caller is not told. It makes nothing better: nothing is tried again here.

use super::answer;
use super::body::Body;
use super::failures::Failures;
use super::journal::Journal;
use super::request::Caught;
use crate::fault::{Fault, Why};
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use http::Response;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct Rescue<S> {
    inner: S,
    failures: Arc<Failures>,
}

impl<S> Rescue<S> {
    pub(super) fn new(inner: S, failures: Arc<Failures>) -> Self {
        Self { inner, failures }
    }
}

impl<S> tower::Service<Caught> for Rescue<S>
where
    S: tower::Service<Caught, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Rescuing<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The services below are always ready: what they wait for, they wait for in `call`.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, caught: Caught) -> Self::Future {
        let journal = caught.journal.clone();
        let called = std::panic::catch_unwind(AssertUnwindSafe(|| self.inner.call(caught)));
        Rescuing { inner: called.ok().map(|f| AssertUnwindSafe(f).catch_unwind()), journal, failures: self.failures.clone() }
    }
}

pin_project! {
    pub struct Rescuing<F> {
        #[pin]
        inner: Option<CatchUnwind<AssertUnwindSafe<F>>>,
        journal: Arc<Journal>,
        failures: Arc<Failures>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Fault>>> Future for Rescuing<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let outcome = match me.inner.as_pin_mut() {
            Some(inner) => std::task::ready!(inner.poll(cx)).unwrap_or_else(|_| Err(panicked())),
            None => Err(panicked()),
        };
        Poll::Ready(Ok(outcome.unwrap_or_else(|fault| {
            me.journal.failed(&fault);
            tell_operator(&fault, me.journal);
            me.failures.note(&fault, me.journal.name(), me.journal.trace().to_string());
            answer::to(&fault, me.journal)
        })))
    }
}

fn panicked() -> Fault {
    Fault::Internal(Why::new("a panic was caught").cure("please report this as a bug, with the panic's lines from the log").into())
}

/// The operator gets the cause, the cure and the issuer's own words; how loudly depends on whose matter it is.
fn tell_operator(fault: &Fault, journal: &Journal) {
    // Where there is no more to say than the table does, that is the cause.
    let plain = Why::new(fault.row().detail);
    let why = fault.why().unwrap_or(&plain);
    let route = journal.name().map_or("-", |name| &**name);
    let (cure, words) = (fault.cure(), why.issuer_words.as_deref().unwrap_or("-"));
    let (reason, cause, trace_id) = (fault.code(), &*why.cause, journal.trace());
    macro_rules! told {
        ($level:ident) => {
            tracing::$level!(route, reason, cause, cure, issuer_words = words, docs = fault.docs(), %trace_id, "request refused")
        };
    }
    match fault {
        Fault::Misconfigured(_) | Fault::Internal(_) => told!(error),
        Fault::TargetRefused(_) => told!(warn),
        _ if fault.row().status.is_server_error() => told!(warn),
        _ => told!(info),
    }
}
