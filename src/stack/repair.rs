//! An upstream's 401 on a cached token: once, a newer token is got and the request sent again with it. Where that cannot be
//! done, the upstream's answer passes as it came. It makes no answer of its own, and never tries a third time.

use super::body::Body;
use super::force::OnUpstream401;
use super::journal::Journal;
use super::replay::Replay;
use super::request::{Authorized, Caught, Exchanged};
use super::route::Route;
use super::swap_token;
use crate::fault::Fault;
use crate::metrics::Force;
use crate::telemetry::{self, Kind};
use crate::token::{Freshness, Granted, TokenSource};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Response, StatusCode};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct Repair<T, S> {
    inner: S,
    tokens: T,
}

impl<T, S> Repair<T, S> {
    pub(super) fn new(inner: S, tokens: T) -> Self {
        Self { inner, tokens }
    }
}

type Outcome = Result<Response<Body>, Fault>;

impl<T, S> tower::Service<Authorized> for Repair<T, S>
where
    T: TokenSource + Clone,
    S: tower::Service<Authorized, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Repairing<T, S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut authorized: Authorized) -> Self::Future {
        let route = authorized.route.clone();
        let kept = self.keep(&mut authorized);
        Repairing { sent: self.inner.call(authorized), route, kept, again: None }
    }
}

/// A request that can be sent again.
struct Kept<T, S> {
    inner: S,
    tokens: T,
    exchanged: Exchanged,
    replay: Replay,
    /// Without its body.
    request: Authorized,
}

impl<T, S> Repair<T, S>
where
    T: TokenSource + Clone,
    S: Clone,
{
    /// `None`: nothing could be done about a 401. Such a request costs nothing here.
    fn keep(&self, authorized: &mut Authorized) -> Option<Box<Kept<T, S>>> {
        let exchanged = authorized.exchanged.take().filter(|e| e.cached)?;
        if authorized.route.force.on_upstream_401 == OnUpstream401::Off {
            return None;
        }
        let Caught { head, body, from, origin, said, journal } = &mut authorized.caught;
        let replay = Replay::of(body, &from.in_force.replays)?;
        let (head, body, from, said) = (head.clone(), bytes::Bytes::new().into(), from.clone(), said.clone());
        let caught = Caught { head, body, from, origin: *origin, said, journal: journal.clone() };
        let request = Authorized {
            caught,
            route: authorized.route.clone(),
            authority: authorized.authority.clone(),
            trailers: authorized.trailers,
            upgrade: authorized.upgrade.clone(),
            exchanged: None,
        };
        Some(Box::new(Kept { inner: self.inner.clone(), tokens: self.tokens.clone(), exchanged, replay, request }))
    }
}

impl<T, S> Kept<T, S>
where
    T: TokenSource,
    S: tower::Service<Authorized, Response = Response<Body>, Error = Fault>,
{
    /// Gets a newer token and sends the request again, or gives back the answer that `refused` it.
    async fn again(self: Box<Self>, refused: Response<Body>) -> Outcome {
        let Self { mut inner, tokens, exchanged, replay, mut request } = *self;
        let route = request.route.clone();
        let Some(body) = replay.again() else { return Ok(passed(&route, refused)) };
        let Some(granted) = newer(&tokens, &exchanged, &route, &request.caught.journal).await else { return Ok(passed(&route, refused)) };
        // Its connection is closed or free before another is looked for.
        drop(refused);
        request.caught.body = body;
        route.headers.inject(&mut request.caught.head.headers, &granted.token);
        inner.call(request).await.map(|answer| passed(&route, answer))
    }
}

async fn newer<T: TokenSource>(tokens: &T, exchanged: &Exchanged, route: &Route, journal: &Journal) -> Option<Granted> {
    let Exchanged { asker, target, generation, cached: _ } = exchanged;
    let mut span = journal.span("cache", Kind::Internal);
    swap_token::noted(&mut span, target);
    let coming = telemetry::within(journal.context(&span), || tokens.token(asker, target, Freshness::NewerThan(*generation).into()));
    let at_once = matches!(coming, Either::Left(_));
    let answer = coming.await;
    swap_token::found(&mut span, &answer, at_once);
    span.end();
    let forced = &route.metrics.forced;
    match answer {
        // What the last forced exchange came to, not long ago: it is this very token, and the upstream refuses that one, too.
        Ok(granted) if granted.generation <= *generation => forced.in_vain(Force::Upstream401),
        Ok(granted) => {
            forced.ended(Force::Upstream401, None);
            return Some(granted);
        }
        Err(fault) => forced.ended(Force::Upstream401, Some(&fault)),
    }
    None
}

/// An answer that the caller gets; a 401 among them is counted.
fn passed(route: &Route, answer: Response<Body>) -> Response<Body> {
    if answer.status() == StatusCode::UNAUTHORIZED {
        route.metrics.unauthorized();
    }
    answer
}

pin_project! {
    /// Waits for the answer, and for another one where the first is to be repaired.
    pub struct Repairing<T, S: tower::Service<Authorized>> {
        #[pin]
        sent: S::Future,
        route: Arc<Route>,
        kept: Option<Box<Kept<T, S>>>,
        again: Option<BoxFuture<'static, Outcome>>,
    }
}

impl<T, S> Future for Repairing<T, S>
where
    T: TokenSource,
    S: tower::Service<Authorized, Response = Response<Body>, Error = Fault> + Send + 'static,
    S::Future: Send,
{
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let me = self.project();
        if let Some(again) = me.again {
            return again.as_mut().poll(cx);
        }
        let answer = std::task::ready!(me.sent.poll(cx))?;
        match me.kept.take().filter(|_| doubts_token(&answer, me.route.force.on_upstream_401)) {
            None => Poll::Ready(Ok(passed(me.route, answer))),
            Some(kept) => me.again.insert(kept.again(answer).boxed()).as_mut().poll(cx),
        }
    }
}

fn doubts_token(answer: &Response<Body>, on: OnUpstream401) -> bool {
    answer.status() == StatusCode::UNAUTHORIZED
        && match on {
            OnUpstream401::Off => false,
            OnUpstream401::InvalidToken => says_invalid_token(answer.headers()),
            OnUpstream401::Any => true,
        }
}

/// Whether a bearer challenge has `error="invalid_token"` (RFC 6750 §3, with or without quotes).
fn says_invalid_token(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok()).any(|value| {
        let mut bearer = false;
        parts(value).any(|part| {
            // A part is a parameter, or a scheme with its first one.
            let (scheme, parameter) = match part.split_once(char::is_whitespace) {
                Some((scheme, parameter)) if !scheme.contains('=') => (Some(scheme), parameter.trim()),
                _ if !part.contains('=') => (Some(part), ""),
                _ => (None, part),
            };
            bearer = scheme.map_or(bearer, |scheme| scheme.eq_ignore_ascii_case("bearer"));
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            bearer && name.trim().eq_ignore_ascii_case("error") && value.trim().trim_matches('"') == "invalid_token"
        })
    })
}

/// What stands between the commas that are in no quotes.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(move |c| {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            c == ',' && !quoted
        })
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_bearer_challenge_that_says_invalid_token() {
        let says = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
            }
            says_invalid_token(&map)
        };
        for yes in [
            "Bearer error=\"invalid_token\"",
            "bearer realm=\"a, b\", error=\"invalid_token\", error_description=\"The token, it expired\"",
            "Bearer error = invalid_token",
            "Basic realm=\"x\", Bearer error=\"invalid_token\"",
            "Negotiate, Bearer realm=\"a\\\"b\",error=\"invalid_token\"",
        ] {
            assert!(says(&[yes]), "{yes}");
        }
        for no in [
            "",
            "Bearer",
            "Bearer error=\"insufficient_scope\"",
            "Bearer error_description=\"invalid_token\"",
            "Bearer realm=\"error=invalid_token\"",
            "Bearer realm=\"x, error=invalid_token\"",
            "Basic error=\"invalid_token\"",
            "Bearer realm=\"x\", Basic realm=\"y\", error=\"invalid_token\"",
            "DPoP error=\"invalid_token\"",
        ] {
            assert!(!says(&[no]), "{no}");
        }
        assert!(says(&["Basic realm=\"x\"", "Bearer error=\"invalid_token\""]));
        assert!(!says(&[]));
    }
}
