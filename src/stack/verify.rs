//! The bearer becomes a caller: a token that was verified before passes at once, any other is verified, and none goes on
//! without. What a token must fulfil is the `verify` room's matter.

use super::body::Body;
use super::request::{Bearer, Routed, Verified};
use crate::fault::{Fault, bad_request};
use crate::token;
use futures_util::future::{BoxFuture, Either, FutureExt, Ready, ready};
use http::Response;
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct Verify<S> {
    inner: S,
}

impl<S> Verify<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

type Outcome = Result<Response<Body>, Fault>;

impl<S> tower::Service<Routed> for Verify<S>
where
    S: tower::Service<Verified, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Outcome>, Either<S::Future, BoxFuture<'static, Outcome>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed) -> Self::Future {
        let bearer = std::mem::replace(&mut routed.scrubbed.bearer, Bearer::None);
        let token = match bearer {
            Bearer::Token(token) => token,
            Bearer::None => return Either::Left(ready(Err(Fault::NoToken))),
            Bearer::Broken(why) => return Either::Left(ready(Err(bad_request(why)))),
        };
        match routed.route.verifier.verify(token) {
            Either::Left(known) => match known.into_inner() {
                Ok(caller) => Either::Right(Either::Left(self.inner.call(Verified { routed, caller }))),
                Err(fault) => Either::Left(ready(Err(fault))),
            },
            Either::Right(coming) => Either::Right(Either::Right(verified_later(self.inner.clone(), routed, coming).boxed())),
        }
    }
}

/// The issuer's keys are being asked for: the request waits.
async fn verified_later<S>(mut inner: S, routed: Routed, coming: BoxFuture<'static, Result<token::Caller, Fault>>) -> Outcome
where
    S: tower::Service<Verified, Response = Response<Body>, Error = Fault>,
{
    let caller = coming.await?;
    inner.call(Verified { routed, caller }).await
}
