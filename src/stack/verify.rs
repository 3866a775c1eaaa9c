//! The bearer becomes a caller: a token that was verified before passes at once, any other is verified, and none goes on
//! without, but where the route takes anybody. What a token must fulfil is the `verify` room's matter.

use super::body::Body;
use super::request::{Bearer, Known, Routed, Verified};
use crate::fault::{Fault, Why, bad_request};
use crate::telemetry::{self, Kind, Span};
use crate::token::{Asker, Caller};
use crate::verify::{self, Require};
use futures_util::future::{BoxFuture, Either, FutureExt, Ready, ready};
use http::{HeaderName, Response};
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
        if routed.preflight {
            return Either::Right(Either::Left(self.inner.call(Verified { routed, caller: Known::Preflight })));
        }
        let Some(verifiers) = &routed.route.verifiers else {
            let caller = Known::Anybody(bearer);
            return Either::Right(Either::Left(self.inner.call(Verified { routed, caller })));
        };
        let token = match bearer {
            Bearer::Token(token) => token,
            Bearer::None | Bearer::Other(_) => return Either::Left(ready(Err(Fault::NoToken))),
            Bearer::Broken(why) => return Either::Left(ready(Err(bad_request(why)))),
        };
        let journal = &routed.scrubbed.caught.journal;
        let span = journal.span("verify", Kind::Internal);
        let actors = routed.actor.take();
        // What is asked of the issuer, for keys or about the token, is asked from here on.
        let (caller, actor) =
            telemetry::within(journal.context(&span), || (verifiers.verify(token), actors.map(|token| verifiers.verify(token))));
        match (caller, actor) {
            (Either::Left(known), None) => match verified(known.into_inner().and_then(|c| asker(&routed.route.require, c, None)), span) {
                Ok(asker) => Either::Right(Either::Left(self.inner.call(Verified { routed, caller: Known::Caller(asker) }))),
                Err(fault) => Either::Left(ready(Err(fault))),
            },
            (caller, actor) => Either::Right(Either::Right(verified_later(self.inner.clone(), routed, caller, actor, span).boxed())),
        }
    }
}

/// The issuer is being asked for its keys or about the token, or there is somebody who acts for the caller: the request waits.
async fn verified_later<S>(mut inner: S, routed: Routed, caller: verify::Verified, actor: Option<verify::Verified>, span: Span) -> Outcome
where
    S: tower::Service<Verified, Response = Response<Body>, Error = Fault>,
{
    let outcome = async {
        let caller = caller.await?;
        let actor = match actor {
            Some(actor) => Some(actor.await.map_err(|fault| of_the_actor(fault, routed.route.actor_header()))?),
            None => None,
        };
        asker(&routed.route.require, caller, actor)
    };
    let asker = verified(outcome.await, span)?;
    inner.call(Verified { routed, caller: Known::Caller(asker) }).await
}

/// Notes how it ended.
fn verified(outcome: Result<Asker, Fault>, mut span: Span) -> Result<Asker, Fault> {
    span.note(|notes| match &outcome {
        Ok(asker) => notes.text("cambist.issuer", asker.caller().map_or("", |caller| &*caller.subject.issuer)),
        Err(fault) => notes.fault(fault),
    });
    span.end();
    outcome
}

/// On whose behalf a token is asked for.
///
/// # Errors
/// When the caller lacks what is required, or who acts is not of the caller's issuer.
pub fn asker(require: &Require, caller: Caller, actor: Option<Caller>) -> Result<Asker, Fault> {
    require.met_by(&caller.subject)?;
    match actor {
        None => Ok(Asker::Caller(caller)),
        Some(actor) if actor.subject.issuer == caller.subject.issuer => Ok(Asker::Delegate { caller, actor }),
        Some(_) => Err(Fault::InvalidToken(Why::new("the caller's and the actor's tokens are from two issuers").into())),
    }
}

/// The words are about the caller's token; here they are about another.
pub fn of_the_actor(fault: Fault, header: Option<&HeaderName>) -> Fault {
    match (fault, header) {
        (Fault::InvalidToken(why), Some(header)) => {
            let mut why = why.0.clone();
            why.cause = format!("of the actor's token in {header}: {}", why.cause).into();
            Fault::InvalidToken(why.into())
        }
        (fault, _) => fault,
    }
}
