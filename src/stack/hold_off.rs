//! Holds off sources whose callers fail to authenticate too often: as long as there were too many, only tokens that have been
//! verified before are looked at. It verifies nothing itself, and counts what those below it refused.

use super::body::Body;
use super::rates::{Key, Limiter, Rate};
use super::request::{Bearer, Routed};
use crate::clock::Clock;
use crate::fault::Fault;
use futures_util::future::{Either, Ready, ready};
use http::Response;
use pin_project_lite::pin_project;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Counts failed authentications by where they came from.
pub struct FailedAuthentication(Limiter);

impl FailedAuthentication {
    /// `None`: nobody counts them.
    pub fn above(rate: Option<Rate>, clock: &Clock) -> Option<Arc<Self>> {
        rate.map(|rate| Arc::new(Self(Limiter::new(rate, clock.clone()))))
    }

    pub(super) fn source(&self, address: IpAddr) -> Key {
        self.0.source(address)
    }

    /// # Errors
    /// When there were too many of late.
    pub(super) fn admit(&self, source: Key) -> Result<(), Fault> {
        self.0.full(source).map_or(Ok(()), |retry_after| Err(Fault::RateLimited { retry_after, quota: None }))
    }

    pub(super) fn note(&self, source: Key, fault: &Fault) {
        if matches!(fault, Fault::NoToken | Fault::InvalidToken(_)) {
            // What is over the limit already need not be counted.
            let _ = self.0.take(source);
        }
    }
}

#[derive(Clone)]
pub struct HoldOff<S> {
    inner: S,
}

impl<S> HoldOff<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

type Outcome = Result<Response<Body>, Fault>;

impl<S> tower::Service<Routed> for HoldOff<S>
where
    S: tower::Service<Routed, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Outcome>, HoldingOff<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        // Where nobody has to authenticate, nobody fails to.
        let failed = routed.scrubbed.caught.from.in_force.failed.as_ref();
        let failed = failed.filter(|_| routed.route.verifiers.is_some() && !routed.preflight);
        let counting = failed.map(|failed| (failed.clone(), failed.source(routed.scrubbed.caught.origin.address)));
        if let Some((failed, source)) = &counting
            && let Err(fault) = failed.admit(*source)
            && !known(&routed)
        {
            return Either::Left(ready(Err(fault)));
        }
        Either::Right(HoldingOff { inner: self.inner.call(routed), counting })
    }
}

/// Whether all tokens that came along have been verified before, so that looking at them costs nothing.
fn known(routed: &Routed) -> bool {
    match (&routed.scrubbed.bearer, &routed.route.verifiers) {
        (Bearer::Token(token), Some(verifiers)) => {
            verifiers.knows(token) && routed.actor.as_ref().is_none_or(|actor| verifiers.knows(actor))
        }
        _ => false,
    }
}

pin_project! {
    /// Waits for the answer, and counts a refusal of the caller.
    pub struct HoldingOff<F> {
        #[pin]
        inner: F,
        counting: Option<(Arc<FailedAuthentication>, Key)>,
    }
}

impl<F: Future<Output = Outcome>> Future for HoldingOff<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let me = self.project();
        let outcome = std::task::ready!(me.inner.poll(cx));
        if let (Err(fault), Some((failed, source))) = (&outcome, &me.counting) {
            failed.note(*source, fault);
        }
        Poll::Ready(outcome)
    }
}
