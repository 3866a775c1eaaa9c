//! A route's rate: by the address that a request came from before its token is looked at, by who the caller is after. What is too
//! much is told when to come back. It queues nothing.

use super::body::Body;
use super::rates::{Limiter, Rate};
use super::request::{Known, Routed, Verified};
use crate::fault::{Fault, Quota};
use futures_util::future::{Either, Ready, ready};
use http::Response;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

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
    pub by: CountedBy,
    pub limiter: Arc<Limiter>,
}

impl RouteRate {
    fn by_address(&self, address: IpAddr) -> Result<(), Fault> {
        self.said(self.limiter.take(self.limiter.source(address)))
    }

    fn by_caller(&self, verified: &Verified) -> Result<(), Fault> {
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

    fn said(&self, taken: Result<(), std::time::Duration>) -> Result<(), Fault> {
        let rate = self.limiter.rate();
        let quota = || Quota { requests: rate.burst, window: rate.window() };
        taken.map_err(|retry_after| Fault::RateLimited { retry_after, quota: Some(quota()) })
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
    type Future = Either<Ready<Outcome>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let rate = routed.route.rate.as_ref().filter(|rate| rate.by == CountedBy::Address);
        match rate.map_or(Ok(()), |rate| rate.by_address(routed.scrubbed.caught.origin.address)) {
            Ok(()) => Either::Right(self.inner.call(routed)),
            Err(fault) => Either::Left(ready(Err(fault))),
        }
    }
}

impl<S> tower::Service<Verified> for LimitRate<S>
where
    S: tower::Service<Verified, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Outcome>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, verified: Verified) -> Self::Future {
        let rate = verified.routed.route.rate.as_ref().filter(|rate| rate.by != CountedBy::Address);
        match rate.map_or(Ok(()), |rate| rate.by_caller(&verified)) {
            Ok(()) => Either::Right(self.inner.call(verified)),
            Err(fault) => Either::Left(ready(Err(fault))),
        }
    }
}
