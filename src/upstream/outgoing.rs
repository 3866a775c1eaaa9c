//! A request's body on its way to the upstream: it tells the connection's watch what moved, who is to move next, and when all
//! has been handed over. It changes nothing of what passes.

use super::watch::{Sent, Watch};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("nobody waits for the answer any more")]
struct Abandoned;

pub(super) struct Outgoing<B> {
    /// `None`: it was empty, and is sent again.
    inner: Option<B>,
    /// What a body of known length still owes. hyper drops such a body without polling it to its end.
    left: Option<u64>,
    watch: Option<Arc<Watch>>,
}

impl<B: Body> Outgoing<B> {
    pub(super) fn new(inner: B) -> Self {
        let left = inner.size_hint().exact();
        Self { inner: Some(inner), left, watch: None }
    }

    /// The body of a request without one.
    pub(super) fn empty() -> Self {
        Self { inner: None, left: Some(0), watch: None }
    }

    /// From now on `watch` is told.
    pub(super) fn watched_by(&mut self, watch: &Arc<Watch>) {
        self.watch = Some(Arc::clone(watch));
    }

    /// Whether there is nothing left to send.
    pub(super) fn whole(&self) -> bool {
        self.left == Some(0) || self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn tell(&self, how_far: Sent) {
        if let Some(watch) = &self.watch {
            watch.sent(how_far);
        }
    }
}

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.watch.as_ref().is_some_and(|watch| !watch.poll_wanted(cx)) {
            return Poll::Ready(Some(Err(Box::new(Abandoned))));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Pending => {
                self.tell(Sent::CallersTurn);
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.tell(Sent::Whole);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                self.tell(if frame.is_trailers() || self.whole() { Sent::Whole } else { Sent::Part });
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.tell(Sent::Broken);
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
