//! Sheds what is too much before any work is done on it: requests in flight, header bytes and fields, the length of the
//! target. It queues nothing.

use super::body::Body;
use super::request::Caught;
use super::route::Limits;
use crate::fault::{Fault, Why};
use futures_util::future::{Either, Ready, ready};
use http::Response;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// What all workers count together.
#[derive(Default)]
pub struct Admission {
    in_flight: AtomicUsize,
    ending: AtomicBool,
    closing: AtomicBool,
}

impl Admission {
    /// The end has begun: callers are served, and told with each answer not to come back on the same connection.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// From now on every new request is told to go elsewhere.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn enter(self: &Arc<Self>, most: usize) -> Option<Permit> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // Made in either case: a refused one takes its count back when dropped.
        let permit = Permit(self.clone());
        (before < most).then_some(permit)
    }

    fn admit(self: &Arc<Self>, caught: &Caught) -> Result<Permit, Fault> {
        let (head, limits): (_, &Limits) = (&caught.head, &caught.from.in_force.limits);
        if self.closing.load(Ordering::Relaxed) {
            return Err(Fault::Draining);
        }
        let permit = self.enter(limits.max_in_flight).ok_or_else(|| too_many(limits.max_in_flight))?;
        if head.uri.path_and_query().map_or(0, |p| p.as_str().len()) > limits.uri_bytes {
            return Err(Fault::UriTooLong);
        }
        // Cookie crumbs count as the one field that they become; and by their bytes.
        let crumbs = head.headers.get_all(http::header::COOKIE).iter().count().saturating_sub(1);
        let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if head.headers.len() - crumbs > limits.header_count || bytes > limits.header_bytes {
            return Err(Fault::HeadersTooLarge);
        }
        Ok(permit)
    }
}

fn too_many(most: usize) -> Fault {
    let why = Why::new(format!("{most} requests are in flight already (limits.max_in_flight)"));
    Fault::Overloaded(why.cure("add replicas, or raise the limit if CPU and memory allow").into())
}

/// One request in flight.
pub struct Permit(Arc<Admission>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
pub struct Admit<S> {
    inner: S,
    admission: Arc<Admission>,
}

impl<S> Admit<S> {
    pub(super) fn new(inner: S, admission: Arc<Admission>) -> Self {
        Self { inner, admission }
    }
}

impl<S> tower::Service<Caught> for Admit<S>
where
    S: tower::Service<Caught, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Result<Response<Body>, Fault>>, Admitted<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, caught: Caught) -> Self::Future {
        match self.admission.admit(&caught) {
            Ok(permit) => Either::Right(Admitted { inner: self.inner.call(caught), permit: Some(permit) }),
            Err(fault) => Either::Left(ready(Err(fault))),
        }
    }
}

pin_project! {
    /// Waits for the answer and puts the permit into its body.
    pub struct Admitted<F> {
        #[pin]
        inner: F,
        permit: Option<Permit>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Fault>>> Future for Admitted<F> {
    type Output = Result<Response<Body>, Fault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let answer = std::task::ready!(me.inner.poll(cx))?;
        Poll::Ready(Ok(answer.map(|body| body.holding(me.permit.take()))))
    }
}
