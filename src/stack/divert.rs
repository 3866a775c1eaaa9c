//! Requests for the gateway's own paths end here: they are answered by what the program has put behind them and go to no route
//! and no upstream. It reads a body that is bounded in size and time, and understands nothing of it.

use super::body::{Body, RequestBody};
use super::outbound::Aim;
use super::request::{Bearer, Scrubbed};
use crate::fault::{Fault, bad_request};
use crate::metrics::RouteMetrics;
use crate::telemetry::{self, Span};
use crate::token::SubjectToken;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, FutureExt, Ready, ready};
use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A path of the gateway's own.
pub struct Door {
    /// Also its name in metrics and logs: no route's name has a slash.
    pub path: Arc<str>,
    pub method: Method,
    /// Names of listeners.
    pub listeners: Vec<Arc<str>>,
    /// Bytes that its requests' bodies may have.
    pub max_body: usize,
    pub metrics: Arc<RouteMetrics>,
    pub answer: Answering,
}

/// What is behind a door: it is given the request and the caller's token, which is verified by nobody yet.
pub type Answering = Box<dyn Fn(Request<Bytes>, Option<SubjectToken>) -> BoxFuture<'static, Result<Response<Bytes>, Fault>> + Send + Sync>;

/// Nobody needs longer for a few bytes.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Divert<S> {
    inner: S,
}

impl<S> Divert<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

fn door(scrubbed: &Scrubbed) -> Result<Option<Arc<Door>>, Fault> {
    let from = &scrubbed.caught.from;
    let path = scrubbed.caught.head.uri.path();
    let mut here = from.in_force.doors.iter().filter(|d| d.listeners.contains(&from.listener));
    if let Some(door) = here.clone().find(|d| *d.path == *path) {
        return Ok(Some(door.clone()));
    }
    // Read boldly it is a door, as written it is none: what is not plainly asked for is not guessed.
    match &scrubbed.boldest {
        Some(bold) if here.any(|d| d.path.eq_ignore_ascii_case(bold)) => {
            Err(bad_request("two readings of the path, one of which is a path of the gateway's own"))
        }
        _ => Ok(None),
    }
}

type Outcome = Result<Response<Body>, Fault>;

impl<S> tower::Service<Scrubbed> for Divert<S>
where
    S: tower::Service<Scrubbed, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<S::Future, Either<Ready<Outcome>, BoxFuture<'static, Outcome>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, scrubbed: Scrubbed) -> Self::Future {
        // What goes through a proxy is for others, whatever its path.
        if scrubbed.caught.from.in_force.doors.is_empty() || scrubbed.aim == Aim::Authority {
            return Either::Left(self.inner.call(scrubbed));
        }
        match door(&scrubbed) {
            Ok(None) => Either::Left(self.inner.call(scrubbed)),
            Ok(Some(door)) => Either::Right(Either::Right(counted(door, scrubbed).boxed())),
            Err(fault) => Either::Right(Either::Left(ready(Err(fault)))),
        }
    }
}

/// Who failed too often is not listened to here either.
async fn counted(door: Arc<Door>, scrubbed: Scrubbed) -> Outcome {
    let Some(failed) = scrubbed.caught.from.in_force.failed.clone() else { return answered(door, scrubbed).await };
    let source = failed.source(scrubbed.caught.origin.address);
    if let Err(fault) = failed.admit(source) {
        scrubbed.caught.journal.diverted(&door);
        return Err(fault);
    }
    answered(door, scrubbed).await.inspect_err(|fault| failed.note(source, fault))
}

async fn answered(door: Arc<Door>, scrubbed: Scrubbed) -> Outcome {
    let Scrubbed { caught, bearer, .. } = scrubbed;
    caught.journal.diverted(&door);
    let reads = door.method == Method::GET && caught.head.method == Method::HEAD;
    if caught.head.method != door.method && !reads {
        let allow = if door.method == Method::GET { "GET, HEAD" } else { door.method.as_str() };
        return Err(Fault::MethodNotAllowed { allow: allow.to_owned() });
    }
    let token = match bearer {
        Bearer::Token(token) => Some(token),
        Bearer::None | Bearer::Other(_) => None,
        Bearer::Broken(why) => return Err(bad_request(why)),
    };
    let body = whole(caught.body, door.max_body).await?;
    let journal = &caught.journal;
    let answering = (door.answer)(Request::from_parts(caught.head, body), token);
    let answer = telemetry::carried(journal.context(&Span::none()), answering).await?;
    Ok(answer.map(Body::fixed))
}

async fn whole(body: RequestBody, most: usize) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > most as u64 {
        return Err(Fault::BodyTooLarge);
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::BodyTooLarge),
        Ok(Err(_)) => Err(bad_request("the request's body broke off")),
        Err(_) => Err(bad_request("the request's body did not come in time")),
    }
}
