//! Opens the journal of a request, and closes it when the answer's last byte is out or the answer is dropped. What a request
//! holds (gauge, permit) is let go at that moment and not when its headers leave.

use super::Shared;
use super::admit::Admission;
use super::admit::Permit;
use super::body::{Body, RequestBody};
use super::forwarded::Origin;
use super::in_force::InForce;
use super::journal::{From, Journal, Passed};
use super::request::{Caller, Caught};
use crate::fault::Fault;
use crate::listen::{self, Upload};
use crate::metrics::{InFlight, ListenerMetrics, RouteMetrics};
use crate::telemetry::TraceId;
use crate::upstream;
use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub struct Measure<S> {
    inner: S,
    /// A look at it is a comparison of addresses: nothing is counted up for it.
    in_force: Cache<Arc<ArcSwap<InForce>>, Arc<InForce>>,
    from: Arc<Caller>,
    listener: Arc<ListenerMetrics>,
    unmatched: Arc<RouteMetrics>,
    admission: Arc<Admission>,
}

impl<S: Clone> Clone for Measure<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            in_force: self.in_force.clone(),
            from: self.from.clone(),
            listener: self.listener.clone(),
            unmatched: self.unmatched.clone(),
            admission: self.admission.clone(),
        }
    }
}

impl<S> Measure<S> {
    pub(super) fn new<T>(inner: S, from: Arc<Caller>, listener: Arc<ListenerMetrics>, shared: &Shared<T>) -> Self {
        let (unmatched, admission) = (shared.unmatched.clone(), shared.admission.clone());
        Self { inner, in_force: Cache::new(shared.in_force.clone()), from, listener, unmatched, admission }
    }

    /// From here on a request is under the configuration that is in force now.
    fn keep_up(&mut self) {
        let now = self.in_force.load();
        if !Arc::ptr_eq(now, &self.from.in_force) {
            self.from = self.from.under(now);
        }
        if self.from.parting {
            self.from.peer.connection.close();
        }
    }

    fn open(&self, request: Request<RequestBody>) -> (Caught, Guard) {
        let (head, body) = request.into_parts();
        let (origin, in_force) = (Origin::of(&head.headers, &self.from), &self.from.in_force);
        let from = From { client: origin.address, tls: self.from.peer.tls.is_some() };
        let journal = Arc::new(Journal::new(&head, from, in_force.traces.as_ref()));
        let guard = Guard {
            journal: journal.clone(),
            unmatched: self.unmatched.clone(),
            status: StatusCode::from_u16(499).unwrap_or_default(),
            bytes: 0,
            received: None,
            whole: false,
            broke: None,
            _permit: None,
            _upgraded: None,
            parting: self.from.parting,
            admission: self.admission.clone(),
            _gauge: self.listener.begin(),
        };
        (Caught { head, body, from: self.from.clone(), origin, said: None, journal }, guard)
    }
}

impl<S> tower::Service<Request<Incoming>> for Measure<S>
where
    S: tower::Service<Caught, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Measured>;
    type Error = Infallible;
    type Future = Measuring<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.keep_up();
        let mut request = request.map(RequestBody::from);
        let connection = &self.from.peer.connection;
        let upload = if request.body().is_end_stream() { None } else { connection.upload(request.version(), request.headers()) };
        if let Some(upload) = &upload {
            request.body_mut().pace(upload.clone());
        }
        let (caught, guard) = self.open(request);
        Measuring { inner: self.inner.call(caught), guard: Some(guard), upload }
    }
}

pin_project! {
    /// Waits for the answer and puts the guard into its body. Dropped before: the caller hung up, counted as 499.
    pub struct Measuring<F> {
        #[pin]
        inner: F,
        guard: Option<Guard>,
        upload: Option<Arc<Upload>>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for Measuring<F> {
    type Output = Result<Response<Measured>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let Ok(mut answer) = std::task::ready!(me.inner.poll(cx));
        if let Some(upload) = me.upload.take() {
            upload.answered();
        }
        let status = answer.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Poll::Ready(Ok(switched(answer, me.guard.take())));
        }
        if me.guard.as_ref().is_some_and(Guard::says_goodbye) {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer.map(|body| {
            let mut guard = me.guard.take();
            if let Some(guard) = &mut guard {
                guard.status = status;
                // hyper never polls the body of an answer that has none (HEAD, 204, 304).
                guard.whole = body.has_ended();
            }
            Measured { body, guard }
        })))
    }
}

/// The guard goes into the tunnel: hyper drops a 101's body with its head.
fn switched(mut answer: Response<Body>, guard: Option<Guard>) -> Response<Measured> {
    if let (Some(mut guard), Some((joining, permit))) = (guard, answer.body_mut().take_switched()) {
        guard.status = StatusCode::SWITCHING_PROTOCOLS;
        guard.received = Some(0);
        guard._permit = permit;
        guard._upgraded = guard.journal.route().map(|route| route.metrics.upgraded());
        answer.extensions_mut().insert(listen::Switch::new(Box::new(joining.with(guard))));
    }
    answer.map(|body| Measured { body, guard: None })
}

/// Counts the request, and frees what it held, when dropped.
pub(super) struct Guard {
    journal: Arc<Journal>,
    unmatched: Arc<RouteMetrics>,
    status: StatusCode,
    bytes: u64,
    /// What came from the caller, where that is counted.
    received: Option<u64>,
    whole: bool,
    /// Why the answer ended before its end, where it was not its caller who left.
    broke: Option<Box<Fault>>,
    /// Of a tunnel; any other request's is in its body.
    _permit: Option<Permit>,
    _upgraded: Option<InFlight>,
    parting: bool,
    admission: Arc<Admission>,
    _gauge: InFlight,
}

impl Guard {
    /// Whether the caller is told that its connection ends with this answer. HTTP/2 has GOAWAY for that.
    fn says_goodbye(&self) -> bool {
        (self.parting || self.admission.is_ending()) && self.journal.version <= Version::HTTP_11
    }

    /// So many bytes have passed through the tunnel, from the caller and to it.
    pub(super) fn passed(&mut self, up: u64, down: u64) {
        (self.received, self.bytes) = (Some(up), down);
    }

    pub(super) fn ended_whole(&mut self) {
        self.whole = true;
    }

    pub(super) fn trace(&self) -> &TraceId {
        self.journal.trace()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let passed = Passed { bytes: self.bytes, received: self.received, whole: self.whole, broke: self.broke.take() };
        self.journal.close(&self.unmatched, self.status, passed);
    }
}

/// The answer's body with the guard in it.
pub struct Measured {
    body: Body,
    guard: Option<Guard>,
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = self.body.has_ended();
        if let Some(guard) = &mut self.guard {
            match &frame {
                Some(Ok(frame)) => {
                    guard.bytes += frame.data_ref().map_or(0, |d| d.len() as u64);
                    guard.whole = ended;
                }
                Some(Err(error)) => {
                    guard.whole = false;
                    guard.broke = error.downcast_ref::<upstream::Error>().map(|error| Box::new(error.clone().into()));
                }
                None => guard.whole = true,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
