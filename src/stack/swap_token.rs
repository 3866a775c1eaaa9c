//! Takes the caller's token away and puts in what the route says: an exchanged token, the gateway's own, nothing, or (where the
//! operator spelled it out) the caller's own. On an exchanging route the caller's token never goes upstream, whatever fails.

use super::body::Body;
use super::request::{Authorized, Bearer, Exchanged, Known, Verified};
use super::route::{Injection, Targets};
use crate::fault::{Fault, Why, bad_request};
use crate::metrics::Force;
use crate::route::holds;
use crate::telemetry::{self, Kind, Span};
use crate::token::{Ask, Asker, Freshness, Granted, Source, SubjectToken, Target, TokenSource};
use futures_util::future::{BoxFuture, Either, FutureExt, Ready, ready};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Response};
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
        if let Some(fault) = still_held(&verified) {
            return Either::Left(ready(Err(fault)));
        }
        let (asker, target) = match wanted(&verified) {
            Ok(Wanted::Token(asker, target)) => (asker, target),
            Ok(Wanted::Callers(token)) => return self.go(verified, Injected::Callers(token)),
            Ok(Wanted::AsItCame(value)) => return self.go(verified, Injected::AsItCame(value)),
            Ok(Wanted::Nothing) => return self.go(verified, Injected::Nothing),
            Err(fault) => return Either::Left(ready(Err(fault))),
        };
        let force = verified.routed.scrubbed.force && verified.routed.route.force.allow_header;
        let ask = if force { Freshness::Forced.into() } else { Ask::ANY };
        let target = target.clone();
        let journal = &verified.routed.scrubbed.caught.journal;
        let mut span = journal.span("cache", Kind::Internal);
        noted(&mut span, &target);
        match telemetry::within(journal.context(&span), || self.tokens.token(asker, &target, ask)) {
            Either::Left(known) => match counted(known.into_inner(), ask, true, &verified, span) {
                Ok(granted) => self.go(verified, Injected::Granted(granted, target)),
                Err(fault) => Either::Left(ready(Err(fault))),
            },
            Either::Right(coming) => {
                let mut inner = self.inner.clone();
                let waiting = async move {
                    let granted = counted(coming.await, ask, false, &verified, span)?;
                    inner.call(authorized(verified, Injected::Granted(granted, target))).await
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
    fn go(&mut self, verified: Verified, injected: Injected) -> Either<Ready<Outcome>, Either<S::Future, BoxFuture<'static, Outcome>>> {
        Either::Right(Either::Left(self.inner.call(authorized(verified, injected))))
    }
}

/// Where the caller's token is taken out, a copy of it elsewhere would go upstream all the same; and so would one of the token of
/// who acts for the caller.
fn still_held(verified: &Verified) -> Option<Fault> {
    let head = &verified.routed.scrubbed.caught.head;
    let callers = match &verified.caller {
        _ if matches!(verified.routed.route.token, Injection::Callers) => None,
        Known::Caller(asker) => asker.caller().map(|caller| &caller.token),
        Known::Anybody(Bearer::Token(token)) => Some(token),
        Known::Anybody(_) | Known::Preflight => None,
    };
    let actors = match &verified.caller {
        Known::Caller(asker) => asker.actor().map(|actor| &actor.token),
        Known::Anybody(_) | Known::Preflight => None,
    };
    let held = |token: Option<&SubjectToken>| token.is_some_and(|token| holds(head, token.expose()));
    let (whose, place) = match () {
        () if held(callers) => ("the caller's", verified.routed.route.headers.callers.as_str()),
        () if held(actors) => ("the actor's", "the route's actor.header"),
        () => return None,
    };
    let why = Why::new(format!("{whose} token stands in another place too (a header, a cookie or the URL): it would reach the backend"));
    Some(Fault::BadRequest(why.cure(format!("the caller has to send it in {place} alone")).into()))
}

/// What a request is to carry.
enum Wanted<'a> {
    /// A token that has to be found.
    Token(&'a Asker, &'a Arc<Target>),
    /// The caller's own.
    Callers(SubjectToken),
    /// The caller's credentials of another scheme.
    AsItCame(HeaderValue),
    Nothing,
}

fn wanted(verified: &Verified) -> Result<Wanted<'_>, Fault> {
    if let (Known::Caller(asker), Injection::Own(_) | Injection::Nothing | Injection::Callers) =
        (&verified.caller, &verified.routed.route.token)
        && let Some(doubt) = asker.doubt()
    {
        // Only what was granted for them, and is held, speaks for such a caller; here nothing is.
        return Err(doubt.clone());
    }
    match (&verified.routed.route.token, &verified.caller) {
        (_, Known::Preflight) => Ok(Wanted::Nothing),
        (Injection::Exchange(targets), Known::Caller(asker)) => {
            let target = target(targets, verified)?;
            asker.caller().map_or(Ok(()), |caller| target.permits(&caller.subject))?;
            Ok(Wanted::Token(asker, target))
        }
        // No configuration makes such a route.
        (Injection::Exchange(_), Known::Anybody(_)) => Err(Fault::NoToken),
        (Injection::Own(targets), _) => Ok(Wanted::Token(&Asker::Gateway, target(targets, verified)?)),
        (Injection::Nothing, _) => Ok(Wanted::Nothing),
        (Injection::Callers, Known::Caller(asker)) => {
            Ok(asker.caller().map_or(Wanted::Nothing, |caller| Wanted::Callers(caller.token.clone())))
        }
        (Injection::Callers, Known::Anybody(Bearer::Token(token))) => Ok(Wanted::Callers(token.clone())),
        (Injection::Callers, Known::Anybody(Bearer::Other(value))) => Ok(Wanted::AsItCame(value.clone())),
        (Injection::Callers, Known::Anybody(Bearer::None)) => Ok(Wanted::Nothing),
        (Injection::Callers, Known::Anybody(Bearer::Broken(why))) => Err(bad_request(*why)),
    }
}

fn target<'a>(targets: &'a Targets, verified: &Verified) -> Result<&'a Arc<Target>, Fault> {
    let none = || Fault::Misconfigured(Why::new("the route has no target at the issuer of the caller's token").into());
    targets.of(verified.caller.issuer()).ok_or_else(none)
}

/// What goes upstream in the route's token header.
enum Injected {
    Nothing,
    Callers(SubjectToken),
    AsItCame(HeaderValue),
    Granted(Granted, Arc<Target>),
}

/// Notes where the token came from, or what became of it. `at_once`: nobody was asked; what was refused then has been before.
fn counted(answer: Result<Granted, Fault>, ask: Ask, at_once: bool, verified: &Verified, mut span: Span) -> Result<Granted, Fault> {
    let (metrics, forced) = (&verified.routed.route.metrics, ask.freshness == Freshness::Forced);
    match &answer {
        Ok(granted) => {
            metrics.looked_up(granted.source);
            verified.routed.scrubbed.caught.journal.token_from(granted.source);
        }
        Err(_) if at_once => metrics.lookup_denied(),
        Err(_) => metrics.looked_up(if forced { Source::Forced } else { Source::Miss }),
    }
    found(&mut span, &answer, at_once);
    span.end();
    if forced {
        metrics.forced.ended(Force::Header, answer.as_ref().err());
    }
    answer
}

/// What is looked for.
pub(super) fn noted(span: &mut Span, target: &Target) {
    span.note(|notes| {
        notes.text("cambist.issuer", &*target.issuer);
        notes.text("cambist.audience", target.label());
    });
}

/// What was found. `denied`: it had been refused before; a failure otherwise is that of an exchange.
pub(super) fn found(span: &mut Span, answer: &Result<Granted, Fault>, at_once: bool) {
    span.note(|notes| match answer {
        Ok(granted) => notes.word("cambist.cache.result", granted.source.label()),
        Err(fault) => {
            notes.word("cambist.cache.result", if at_once { "denied" } else { "failed" });
            notes.fault(fault);
        }
    });
}

/// `scrub` has left no `Authorization`, and `find_route` no other header of a token: what is put in here is the only one.
fn authorized(verified: Verified, injected: Injected) -> Authorized {
    let Verified { routed, caller } = verified;
    let mut caught = routed.scrubbed.caught;
    let token = match &caller {
        _ if !caught.body.passes_trailers() => None,
        Known::Caller(asker) => asker.caller().map(|caller| caller.token.clone()),
        Known::Anybody(Bearer::Token(token)) => Some(token.clone()),
        Known::Anybody(_) | Known::Preflight => None,
    };
    if !matches!(routed.route.token, Injection::Callers) {
        caught.body.no_trailer_holds(token);
    }
    let (headers, places) = (&mut caught.head.headers, &routed.route.headers);
    let exchanged = match injected {
        Injected::Nothing => None,
        Injected::Callers(token) => {
            places.hand_on(headers, &token);
            None
        }
        Injected::AsItCame(value) => {
            headers.insert(AUTHORIZATION, value);
            None
        }
        Injected::Granted(granted, target) => {
            let Granted { token, source, generation, .. } = granted;
            let asker = match (&routed.route.token, caller) {
                (Injection::Exchange(_), Known::Caller(asker)) => asker,
                _ => Asker::Gateway,
            };
            places.inject(headers, &token);
            Some(Exchanged { asker, target, generation, cached: source.cached() })
        }
    };
    let (authority, trailers, upgrade) = (routed.scrubbed.authority, routed.scrubbed.trailers, routed.scrubbed.upgrade);
    Authorized { caught, route: routed.route, authority, trailers, upgrade, exchanged }
}
