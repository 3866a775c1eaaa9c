//! Finds the route, or says why there is none. From here on the route's own limits hold.

use super::body::Body;
use super::headers;
use super::outbound::{self, Aim};
use super::preflight;
use super::request::{Bearer, Caught, Routed, Scrubbed};
use super::rewrite;
use super::route::{Route, Routes};
use super::upgrade::Upgrade;
use crate::fault::{Fault, bad_request};
use crate::route::Found;
use crate::route::path::Reading;
use crate::token::SubjectToken;
use futures_util::future::{Either, Ready, ready};
use http::header::{AUTHORIZATION, TE};
use http::{Method, Response};
use http_body::Body as _;
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct FindRoute<S> {
    inner: S,
}

impl<S> FindRoute<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

fn find(mut scrubbed: Scrubbed) -> Result<Routed, Fault> {
    let from = scrubbed.caught.from.clone();
    let routes = &from.in_force.routes;
    said_once(routes, &scrubbed)?;
    let asked = preflight::asked_for(&scrubbed.caught.head);
    let lets_through = |route: &Arc<Route>| route.preflight;
    let (route, preflight) = match asked.and_then(|method| found(routes, &scrubbed, &method).ok()).filter(lets_through) {
        Some(route) => (route, true),
        None => (found(routes, &scrubbed, &scrubbed.caught.head.method)?, false),
    };
    scrubbed.caught.journal.routed(&route);
    let actor = take_tokens(routes, &route, preflight, &mut scrubbed)?;
    headers::strip_aliases(&mut scrubbed.caught.head.headers, &routes.matched);
    rewrite::strip(&route, &mut scrubbed)?;
    // Elsewhere it is an ordinary request: whoever serves HTTP may leave an upgrade alone.
    scrubbed.upgrade = scrubbed.upgrade.take().filter(|_| route.websocket).map(Upgrade::without_body).transpose()?;
    let Caught { head, body, .. } = &mut scrubbed.caught;
    if head.headers.contains_key(TE) {
        body.pass_trailers(from.in_force.force.as_ref().map(|force| force.name()).into_iter().chain(&routes.token_headers));
    }
    Ok(Routed { scrubbed, route, actor, preflight })
}

/// Of a header that chooses routes in two lines, some backends read the first and some the last.
fn said_once(routes: &Routes, scrubbed: &Scrubbed) -> Result<(), Fault> {
    let fields = &scrubbed.caught.head.headers;
    match routes.matched.iter().find(|name| fields.get_all(*name).iter().nth(1).is_some()) {
        Some(name) => Err(bad_request(format!("more than one {name}, and routes are chosen by it"))),
        None => Ok(()),
    }
}

fn found(routes: &Routes, scrubbed: &Scrubbed, method: &Method) -> Result<Arc<Route>, Fault> {
    let head = &scrubbed.caught.head;
    let (from, aim) = (&scrubbed.caught.from, scrubbed.aim);
    let none = |names_it| outbound::refused(aim, from, &scrubbed.authority, names_it);
    // Another name's certificate was asked for: what holds there may not hold here. A proxy's is its own.
    if aim == Aim::Either && scrubbed.caught.from.peer.tls.as_ref().is_some_and(|tls| tls.misdirects(&scrubbed.host)) {
        return Err(Fault::Misdirected);
    }
    let Some(table) = routes.for_listener(&from.listener).filter(|_| aim != Aim::Gateway) else { return Err(none(false)) };
    let path = Reading::again(head.uri.path(), scrubbed.boldest.clone());
    match table.find(&scrubbed.host, &path, method, &head.headers) {
        Found::Route(route) => Ok(route.clone()),
        Found::MethodNotAllowed(methods) => {
            Err(Fault::MethodNotAllowed { allow: methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ") })
        }
        Found::Nothing => {
            // Of a host that some route names, the rest is not unknown: nothing of it goes past the routes.
            let names_it = table.names(&scrubbed.host);
            if aim == Aim::Authority {
                scrubbed.caught.journal.bound_for(&outbound::told(scrubbed.authority.to_str().unwrap_or("-")));
            }
            let unmatched = from.outbound.as_ref().and_then(|outbound| outbound.unmatched.clone());
            unmatched.filter(|_| !names_it).ok_or_else(|| none(names_it))
        }
        Found::Ambiguous => Err(bad_request("two readings of the path lead to different routes")),
    }
}

/// Takes out every header that holds a token for the gateway or for an upstream, on whichever route. Where one is the route's
/// own, what stood in it is kept: the actor's token is returned, the caller's takes the place of what `Authorization` held.
fn take_tokens(routes: &Routes, route: &Route, preflight: bool, scrubbed: &mut Scrubbed) -> Result<Option<SubjectToken>, Fault> {
    let (mut kept, headers) = (None, &mut scrubbed.caught.head.headers);
    if preflight || route.headers.callers != AUTHORIZATION {
        scrubbed.bearer = Bearer::None;
    }
    for name in &routes.token_headers {
        let value = headers::take(headers, name)?;
        if preflight {
            continue;
        }
        if route.headers.callers == *name {
            scrubbed.bearer = value.as_ref().map_or(Bearer::None, Bearer::read);
        }
        if route.actor_header() == Some(name) {
            let token = value.map(|value| SubjectToken::from_value(&value)).transpose().map_err(bad_request)?;
            kept = Some(token.ok_or_else(|| bad_request(format!("no actor's token: this route wants one in {name}")))?);
        }
    }
    Ok(kept)
}

impl<S> tower::Service<Scrubbed> for FindRoute<S>
where
    S: tower::Service<Routed, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Result<Response<Body>, Fault>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, scrubbed: Scrubbed) -> Self::Future {
        let mut routed = match find(scrubbed) {
            Ok(found) => found,
            Err(fault) => return Either::Left(ready(Err(fault))),
        };
        let caught = &mut routed.scrubbed.caught;
        if let Some(most) = routed.route.max_body {
            if caught.body.size_hint().lower() > most {
                return Either::Left(ready(Err(Fault::BodyTooLarge)));
            }
            caught.body.limit(most, &caught.journal);
        }
        Either::Right(self.inner.call(routed))
    }
}
