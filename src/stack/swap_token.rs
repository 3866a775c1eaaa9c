//! Takes the caller's token away and puts in what the route says: an exchanged token, nothing, or (where the operator spelled
//! it out) the caller's own. On an exchanging route the caller's token never goes upstream, whatever fails.

use super::body::Body;
use super::request::{Authorized, Verified};
use super::route::Injection;
use crate::fault::Fault;
use crate::token::{Ask, Granted, Source, TokenSource};
use futures_util::future::{BoxFuture, Either, FutureExt, Ready, ready};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Response};
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct SwapToken<T, S> {
    inner: S,
    tokens: T,
}

impl<T, S> SwapToken<T, S> {
    pub(super) fn new(inner: S, tokens: T) -> Self {
        Self { inner, tokens }
    }
}

type Outcome = Result<Response<Body>, Fault>;

impl<T, S> tower::Service<Verified> for SwapToken<T, S>
where
    T: TokenSource,
    S: tower::Service<Authorized, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Outcome>, Either<S::Future, BoxFuture<'static, Outcome>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, verified: Verified) -> Self::Future {
        let target = match &verified.routed.route.token {
            Injection::Exchange(target) => target.clone(),
            Injection::Nothing => return self.go(verified, None),
            Injection::Callers => {
                let own = verified.caller.token.authorization();
                return self.go(verified, Some(own));
            }
        };
        if target.forbids(&verified.caller.subject) {
            return Either::Left(ready(Err(Fault::LoginClient)));
        }
        match self.tokens.token(&verified.caller, &target, Ask::ANY) {
            Either::Left(known) => match counted(known.into_inner(), None, &verified) {
                Ok(granted) => self.go(verified, Some(granted.token.authorization())),
                Err(fault) => Either::Left(ready(Err(fault))),
            },
            Either::Right(coming) => {
                let mut inner = self.inner.clone();
                let waiting = async move {
                    let granted = counted(coming.await, Some(Source::Miss), &verified)?;
                    inner.call(authorized(verified, Some(granted.token.authorization()))).await
                };
                Either::Right(Either::Right(waiting.boxed()))
            }
        }
    }
}

impl<T, S> SwapToken<T, S>
where
    S: tower::Service<Authorized, Response = Response<Body>, Error = Fault>,
{
    #[allow(clippy::type_complexity, reason = "the same type as the service's Future")]
    fn go(
        &mut self,
        verified: Verified,
        value: Option<HeaderValue>,
    ) -> Either<Ready<Outcome>, Either<S::Future, BoxFuture<'static, Outcome>>> {
        Either::Right(Either::Left(self.inner.call(authorized(verified, value))))
    }
}

/// Notes where the token came from. `asked`: what a failure counts as, where an issuer was asked; else it was refused before.
fn counted(answer: Result<Granted, Fault>, asked: Option<Source>, verified: &Verified) -> Result<Granted, Fault> {
    let metrics = &verified.routed.route.metrics;
    match (&answer, asked) {
        (Ok(granted), _) => {
            metrics.looked_up(granted.source);
            verified.routed.scrubbed.caught.journal.token_from(granted.source);
        }
        (Err(_), Some(source)) => metrics.looked_up(source),
        (Err(_), None) => metrics.lookup_denied(),
    }
    answer
}

/// `scrub` has left no `Authorization`: what is put in here is the only one.
fn authorized(verified: Verified, value: Option<HeaderValue>) -> Authorized {
    let Verified { routed, caller: _ } = verified;
    let mut caught = routed.scrubbed.caught;
    if let Some(value) = value {
        caught.head.headers.insert(AUTHORIZATION, value);
    }
    Authorized { caught, route: routed.route, authority: routed.scrubbed.authority, trailers: routed.scrubbed.trailers }
}
