//! A route's rate: by the address that a request came from before its token is looked at, by who the caller is after. What is too
//! much is told when to come back. It queues nothing.

use super::answer;
use super::body::Body;
use super::rates::{Left, Limiter, Rate};
use super::request::{Known, Routed, Verified};
use super::route::Route;
use crate::fault::{Fault, Quota};
use futures_util::future::{Either, Ready, ready};
use http::{HeaderValue, Response};
use pin_project_lite::pin_project;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A route's rate, as the configuration describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub rate: Rate,
    pub by: CountedBy,
}

/// Who has a bucket of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountedBy {
    /// Whose token it is; where there is none (a preflight), the address.
    #[default]
    Subject,
    /// The client that the token was issued to (`azp`); where it does not say, whose it is.
    Client,
    Address,
}

/// A route's rate, as it runs.
pub struct RouteRate {
    by: CountedBy,
    limiter: Arc<Limiter>,
    quota: Quota,
    policy: HeaderValue,
}

impl RouteRate {
    pub fn new(by: CountedBy, limiter: Arc<Limiter>) -> Self {
        let quota = limiter.rate().quota();
        Self { by, limiter, policy: answer::ratelimit_policy(quota), quota }
    }

    fn by_address(&self, address: IpAddr) -> Result<Left, Fault> {
        self.said(self.limiter.take(self.limiter.source(address)))
    }

    fn by_caller(&self, verified: &Verified) -> Result<Left, Fault> {
        let caller = match &verified.caller {
            Known::Caller(asker) => asker.caller(),
            Known::Anybody(_) | Known::Preflight => None,
        };
        let Some(caller) = caller else { return self.by_address(verified.routed.scrubbed.caught.origin.address) };
        let subject = &caller.subject;
        let key = match (self.by, &subject.azp) {
            // Told apart, so that no subject is called as some client is.
            (CountedBy::Client, Some(client)) => self.limiter.key((0, &*subject.issuer, &**client)),
            _ => self.limiter.key((1, &*subject.issuer, &*subject.sub)),
        };
        self.said(self.limiter.take(key))
    }

    fn said(&self, taken: Result<Left, std::time::Duration>) -> Result<Left, Fault> {
        taken.map_err(|retry_after| Fault::RateLimited { retry_after, quota: Some(self.quota) })
    }
}

#[derive(Clone)]
pub struct LimitRate<S> {
    inner: S,
}

impl<S> LimitRate<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

type Outcome = Result<Response<Body>, Fault>;

impl<S> tower::Service<Routed> for LimitRate<S>
where
    S: tower::Service<Routed, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Outcome>, Telling<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let rate = routed.route.rate.as_ref().filter(|rate| rate.by == CountedBy::Address);
        let left = match rate.map(|rate| rate.by_address(routed.scrubbed.caught.origin.address)).transpose() {
            Ok(left) => left.map(|left| (left, routed.route.clone())),
            Err(fault) => return Either::Left(ready(Err(fault))),
        };
        Either::Right(Telling { inner: self.inner.call(routed), left })
    }
}

impl<S> tower::Service<Verified> for LimitRate<S>
where
    S: tower::Service<Verified, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Outcome>, Telling<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, verified: Verified) -> Self::Future {
        let rate = verified.routed.route.rate.as_ref().filter(|rate| rate.by != CountedBy::Address);
        let left = match rate.map(|rate| rate.by_caller(&verified)).transpose() {
            Ok(left) => left.map(|left| (left, verified.routed.route.clone())),
            Err(fault) => return Either::Left(ready(Err(fault))),
        };
        Either::Right(Telling { inner: self.inner.call(verified), left })
    }
}

pin_project! {
    /// Tells who has a rate how much of it is left, so that they can slow down before they are refused.
    pub struct Telling<F> {
        #[pin]
        inner: F,
        left: Option<(Left, Arc<Route>)>,
    }
}

impl<F: Future<Output = Outcome>> Future for Telling<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let me = self.project();
        let mut outcome = ready!(me.inner.poll(cx));
        if let (Ok(answer), Some((left, route))) = (&mut outcome, me.left.take())
            && let Some(rate) = &route.rate
        {
            answer::tell_rate(answer.headers_mut(), rate.policy.clone(), left.requests, left.more_in);
        }
        Poll::Ready(outcome)
    }
}
