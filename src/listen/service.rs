//! A tower service as hyper wants it, and the guard that counts a request as in flight until its answer's body is gone. It
//! looks at no request.

use super::connection::{Connection, InFlight};
use super::pace::is_grpc;
use super::switch::Switch;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tower::util::{Oneshot, ServiceExt};

/// One connection's service.
pub(super) struct Counted<S> {
    // hyper calls through a shared reference, tower through an exclusive one; a connection calls from its own task alone.
    inner: RefCell<S>,
    connection: Arc<Connection>,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, connection: Arc<Connection>) -> Self {
        Self { inner: RefCell::new(inner), connection }
    }
}

impl<S, RB: Body> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<RB>, Error = Infallible> + Clone,
{
    type Response = Response<CountedBody<RB>>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, request: Request<Incoming>) -> Answer<S> {
        let uploads = !request.body().is_end_stream();
        // A call of gRPC has a body always.
        let guard = Some(self.connection.begin(uploads, !uploads || !is_grpc(request.version(), request.headers())));
        let mut inner = self.inner.borrow_mut();
        // A service that is ready is called in place. hyper-util's adapter clones the whole stack for every request.
        let state = match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => State::Called { future: inner.call(request) },
            Poll::Pending => State::Waiting { future: inner.clone().oneshot(request) },
        };
        Answer { state, guard }
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<S: tower::Service<Request<Incoming>>> {
        Called { #[pin] future: S::Future },
        Waiting { #[pin] future: Oneshot<S, Request<Incoming>> },
    }
}

pin_project! {
    pub(super) struct Answer<S: tower::Service<Request<Incoming>>> {
        #[pin]
        state: State<S>,
        guard: Option<InFlight>,
    }
}

impl<S, RB: Body> Future for Answer<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<RB>, Error = Infallible>,
{
    type Output = Result<Response<CountedBody<RB>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let mut answer = match me.state.project() {
            StateProjected::Called { future } => ready!(future.poll(cx)),
            StateProjected::Waiting { future } => ready!(future.poll(cx)),
        };
        let mut guard = me.guard.take();
        if let (Ok(answer), Some(guard)) = (&mut answer, &guard)
            && answer.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            guard.switches(answer.extensions_mut().remove::<Switch>().and_then(|switch| switch.take()));
        }
        if let (Some(guard), Ok(answer)) = (&mut guard, &answer) {
            guard.answers();
            guard.offers(!answer.body().is_end_stream());
        }
        Poll::Ready(answer.map(|a| a.map(|inner| CountedBody { inner, guard })))
    }
}

pin_project! {
    /// An answer's body; hyper drops it when its last byte is out or buffered.
    pub(super) struct CountedBody<RB> {
        #[pin]
        inner: RB,
        guard: Option<InFlight>,
    }
}

impl<RB: Body> Body for CountedBody<RB> {
    type Data = RB::Data;
    type Error = RB::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<RB::Data>, RB::Error>>> {
        let me = self.project();
        let mut inner = me.inner;
        let frame = inner.as_mut().poll_frame(cx);
        if let Some(guard) = me.guard {
            // Until it is asked again, what it gave has found no room.
            guard.offers(matches!(frame, Poll::Ready(Some(Ok(_)))) && !inner.is_end_stream());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
