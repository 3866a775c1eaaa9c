//! An answer's body on its way to the caller. It holds the upstream connection until the body is whole, then gives it back; a
//! body that breaks off, is dropped half-way or waits too long closes the connection and is never a clean end.

use super::Error;
use super::connection::Lease;
use super::error::in_full;
use super::switched::Switching;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pub struct Body {
    incoming: Incoming,
    /// The connection, until the body is whole or broken.
    lease: Option<Box<dyn Lease>>,
    broken: bool,
    switched: Option<OnUpgrade>,
}

impl Body {
    /// `lease` is `None` where the connection is needed no more.
    pub(super) fn new(incoming: Incoming, lease: Option<Box<dyn Lease>>) -> Self {
        Self { incoming, lease, broken: false, switched: None }
    }

    /// The empty body of a 101 that was asked for.
    pub(super) fn switched(incoming: Incoming, upgrade: OnUpgrade, lease: Box<dyn Lease>) -> Self {
        Self { incoming, lease: Some(lease), broken: false, switched: Some(upgrade) }
    }

    /// What the connection has become, where this is a 101's body.
    pub fn take_switching(&mut self) -> Option<Switching> {
        Some(Switching::new(self.switched.take()?, self.lease.take()?))
    }

    fn whole(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.broken = true;
        // Not for a body that stood still: it may be the caller who took nothing.
        if let Some(lease) = self.lease.take().filter(|_| matches!(error, Error::Broken { .. })) {
            lease.blame(&error);
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let me = &mut *self;
        let Some(lease) = &me.lease else {
            return Poll::Ready(None);
        };
        if let Some(error) = lease.watch().expired(&lease.member().upstream) {
            return me.fail(error);
        }
        match Pin::new(&mut me.incoming).poll_frame(cx) {
            Poll::Pending => match lease.watch().poll_expired(cx, &lease.member().upstream) {
                Some(error) => me.fail(error),
                None => Poll::Pending,
            },
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() || http_body::Body::is_end_stream(&me.incoming) {
                    me.whole();
                } else {
                    lease.watch().moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let broken = lease.member().broken(in_full(&error));
                me.fail(broken)
            }
            // hyper takes a reset with CANCEL for an end, and one with NO_ERROR, which is one only while we still send.
            Poll::Ready(None)
                if lease.is_http2()
                    && !http_body::Body::is_end_stream(&me.incoming)
                    && (lease.watch().whole() || http_body::Body::size_hint(&me.incoming).lower() > 0) =>
            {
                let error = lease.member().broken("its stream was reset before the answer was whole".to_owned());
                me.fail(error)
            }
            Poll::Ready(None) => {
                me.whole();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.broken && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // hyper's server lets go of a body of known length with its last byte, and of a HEAD's without a look.
        if self.switched.is_none() && http_body::Body::is_end_stream(self) {
            self.whole();
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("held", &self.lease.is_some()).field("broken", &self.broken).finish_non_exhaustive()
    }
}
