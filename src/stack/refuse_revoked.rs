//! Refuses callers who were logged out since their token was issued, however good the token itself still looks. It is told of
//! logouts by others and finds out nothing itself.

use super::body::Body;
use super::request::{Known, Verified};
use crate::fault::Fault;
use crate::revocation::Revocations;
use futures_util::future::{Either, Ready, ready};
use http::Response;
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct RefuseRevoked<S> {
    inner: S,
    revoked: Arc<Revocations>,
}

impl<S> RefuseRevoked<S> {
    pub(super) fn new(inner: S, revoked: Arc<Revocations>) -> Self {
        Self { inner, revoked }
    }
}

impl<S> tower::Service<Verified> for RefuseRevoked<S>
where
    S: tower::Service<Verified, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Result<Response<Body>, Fault>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, verified: Verified) -> Self::Future {
        let asker = match &verified.caller {
            Known::Caller(asker) => Some(asker),
            Known::Anybody(_) | Known::Preflight => None,
        };
        let mut all = asker.into_iter().flat_map(|asker| asker.caller().into_iter().chain(asker.actor()));
        match all.try_for_each(|caller| self.revoked.check(caller)) {
            Ok(()) => Either::Right(self.inner.call(verified)),
            Err(fault) => Either::Left(ready(Err(fault))),
        }
    }
}
