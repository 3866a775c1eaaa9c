//! Finds the route, or says why there is none. From here on the route's own limits hold.

use super::Shared;
use super::body::Body;
use super::headers;
use super::request::{Routed, Scrubbed};
use super::route::{Route, Routes};
use super::upgrade::Upgrade;
use crate::fault::{Fault, bad_request};
use crate::route::Found;
use crate::route::path::Reading;
use crate::token::SubjectToken;
use futures_util::future::{Either, Ready, ready};
use http::header::TE;
use http::{HeaderMap, Method, Response};
use http_body::Body as _;
use std::sync::Arc;
use std::task::{Context, Poll};

pub struct FindRoute<T, S> {
    inner: S,
    shared: Arc<Shared<T>>,
}

impl<T, S: Clone> Clone for FindRoute<T, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<T, S> FindRoute<T, S> {
    pub(super) fn new(inner: S, shared: Arc<Shared<T>>) -> Self {
        Self { inner, shared }
    }

    fn find(&self, scrubbed: &mut Scrubbed) -> Result<(Arc<Route>, Option<SubjectToken>), Fault> {
        let routes = self.shared.routes.load();
        let route = found(&routes, scrubbed)?;
        let actor = actor(&routes, &route, &mut scrubbed.caught.head.headers)?;
        // Elsewhere it is an ordinary request: whoever serves HTTP may leave an upgrade alone.
        scrubbed.upgrade = scrubbed.upgrade.take().filter(|_| route.websocket).map(Upgrade::without_body).transpose()?;
        if scrubbed.caught.head.headers.contains_key(TE) {
            scrubbed
                .caught
                .body
                .pass_trailers(self.shared.force.as_ref().map(|force| force.name()).into_iter().chain(&routes.token_headers));
        }
        Ok((route, actor))
    }
}

fn found(routes: &Routes, scrubbed: &Scrubbed) -> Result<Arc<Route>, Fault> {
    let head = &scrubbed.caught.head;
    let Some(table) = routes.for_listener(&scrubbed.caught.from.peer.listener) else { return Err(Fault::NoRoute) };
    let path = Reading::again(head.uri.path(), scrubbed.boldest.clone());
    match table.find(&scrubbed.host, &path, &head.method, &head.headers) {
        Found::Route(route) => Ok(route.clone()),
        Found::MethodNotAllowed(methods) => {
            Err(Fault::MethodNotAllowed { allow: methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ") })
        }
        Found::Nothing => Err(Fault::NoRoute),
        Found::Ambiguous => Err(bad_request("two readings of the path lead to different routes")),
    }
}

/// Takes out every header that holds a token for the gateway, on whichever route; the route's own is kept apart.
fn actor(routes: &Routes, route: &Route, headers: &mut HeaderMap) -> Result<Option<SubjectToken>, Fault> {
    let mut kept = None;
    for name in &routes.token_headers {
        let value = headers::take(headers, name)?;
        if route.actor_header() == Some(name) {
            let token = value.map(|value| SubjectToken::from_value(&value)).transpose().map_err(bad_request)?;
            kept = Some(token.ok_or_else(|| bad_request(format!("no actor's token: this route wants one in {name}")))?);
        }
    }
    Ok(kept)
}

impl<T, S> tower::Service<Scrubbed> for FindRoute<T, S>
where
    S: tower::Service<Routed, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Result<Response<Body>, Fault>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut scrubbed: Scrubbed) -> Self::Future {
        let (route, actor) = match self.find(&mut scrubbed) {
            Ok(found) => found,
            Err(fault) => return Either::Left(ready(Err(fault))),
        };
        let caught = &mut scrubbed.caught;
        caught.journal.routed(&route);
        if let Some(most) = route.max_body {
            if caught.body.size_hint().lower() > most {
                return Either::Left(ready(Err(Fault::BodyTooLarge)));
            }
            caught.body.limit(most, &caught.journal);
        }
        Either::Right(self.inner.call(Routed { scrubbed, route, actor }))
    }
}
