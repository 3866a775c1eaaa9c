//! Takes the caller's token away and puts in what the route says: an exchanged token, nothing, or (where the operator spelled
//! it out) the caller's own. On an exchanging route the caller's token never goes upstream, whatever fails.

use super::body::Body;
use super::request::{Authorized, Exchanged, Verified};
use super::route::Injection;
use crate::fault::Fault;
use crate::metrics::Force;
use crate::token::{Ask, Freshness, Granted, Source, Target, TokenSource};
use futures_util::future::{BoxFuture, Either, FutureExt, Ready, ready};
use http::Response;
use http::header::AUTHORIZATION;
use std::sync::Arc;
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
            Injection::Nothing => return self.go(verified, Injected::Nothing),
            Injection::Callers => return self.go(verified, Injected::Callers),
        };
        if target.forbids(&verified.caller.subject) {
            return Either::Left(ready(Err(Fault::LoginClient)));
        }
        let force = verified.routed.scrubbed.force && verified.routed.route.force.allow_header;
        let ask = if force { Freshness::Forced.into() } else { Ask::ANY };
        match self.tokens.token(&verified.caller, &target, ask) {
            Either::Left(known) => match counted(known.into_inner(), ask, true, &verified) {
                Ok(granted) => self.go(verified, Injected::Granted(granted, target)),
                Err(fault) => Either::Left(ready(Err(fault))),
            },
            Either::Right(coming) => {
                let mut inner = self.inner.clone();
                let waiting = async move {
                    let granted = counted(coming.await, ask, false, &verified)?;
                    inner.call(authorized(verified, Injected::Granted(granted, target))).await
                };
                Either::Right(Either::Right(waiting.boxed()))
            }
        }
    }
}

/// What goes upstream in `Authorization`.
enum Injected {
    Nothing,
    Callers,
    Granted(Granted, Arc<Target>),
}

impl<T, S> SwapToken<T, S>
where
    S: tower::Service<Authorized, Response = Response<Body>, Error = Fault>,
{
    #[allow(clippy::type_complexity, reason = "the same type as the service's Future")]
    fn go(&mut self, verified: Verified, injected: Injected) -> Either<Ready<Outcome>, Either<S::Future, BoxFuture<'static, Outcome>>> {
        Either::Right(Either::Left(self.inner.call(authorized(verified, injected))))
    }
}

/// Notes where the token came from, or what became of it. `at_once`: nobody was asked; what was refused then has been before.
fn counted(answer: Result<Granted, Fault>, ask: Ask, at_once: bool, verified: &Verified) -> Result<Granted, Fault> {
    let (metrics, forced) = (&verified.routed.route.metrics, ask.freshness == Freshness::Forced);
    match &answer {
        Ok(granted) => {
            metrics.looked_up(granted.source);
            verified.routed.scrubbed.caught.journal.token_from(granted.source);
        }
        Err(_) if at_once => metrics.lookup_denied(),
        Err(_) => metrics.looked_up(if forced { Source::Forced } else { Source::Miss }),
    }
    if forced {
        metrics.forced.ended(Force::Header, answer.as_ref().err());
    }
    answer
}

/// `scrub` has left no `Authorization`: what is put in here is the only one.
fn authorized(verified: Verified, injected: Injected) -> Authorized {
    let Verified { routed, caller } = verified;
    let mut caught = routed.scrubbed.caught;
    let (value, exchanged) = match injected {
        Injected::Nothing => (None, None),
        Injected::Callers => (Some(caller.token.authorization()), None),
        Injected::Granted(granted, target) => {
            let Granted { token, source, generation, .. } = granted;
            (Some(token.authorization()), Some(Exchanged { caller, target, generation, cached: source.cached() }))
        }
    };
    if let Some(value) = value {
        caught.head.headers.insert(AUTHORIZATION, value);
    }
    let (authority, trailers) = (routed.scrubbed.authority, routed.scrubbed.trailers);
    Authorized { caught, route: routed.route, authority, trailers, exchanged }
}
