//! The bodies that pass through the stack: the caller's on its way up, and the answer's on its way down. Both stream; neither
//! is ever held or looked into. Of a caller's, a tape may be made as it passes.

use super::admit::Permit;
use super::headers;
use super::journal::Journal;
use super::replay::Tape;
use super::tunnel::Joining;
use crate::listen::Upload;
use crate::telemetry::Span;
use crate::token::SubjectToken;
use bytes::Bytes;
use http::HeaderName;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The caller's body. Its trailers are dropped, unless it speaks HTTP/2 and says `te: trailers`: towards HTTP/1.1 nothing of them may
/// become a header.
pub struct RequestBody {
    inner: Inner,
    limit: Option<Limit>,
    tape: Option<Arc<Tape>>,
    trailers: Option<Box<Passing>>,
    upload: Option<Arc<Upload>>,
}

/// Which trailers do not pass: beside those that never do, names and a token.
struct Passing {
    names: Vec<HeaderName>,
    token: Option<SubjectToken>,
}

enum Inner {
    Wire(Incoming),
    Fixed(Full<Bytes>),
}

struct Limit {
    left: u64,
    journal: Arc<Journal>,
}

#[derive(Debug, thiserror::Error)]
#[error("the request body is larger than the route's max_body")]
struct TooLarge;

#[derive(Debug, thiserror::Error)]
#[error("the request body came more slowly than limits.min_body_rate")]
struct TooSlow;

impl RequestBody {
    pub(super) fn limit(&mut self, bytes: u64, journal: &Arc<Journal>) {
        self.limit = Some(Limit { left: bytes, journal: journal.clone() });
    }

    pub(super) fn tape(&mut self, tape: &Arc<Tape>) {
        self.tape = Some(tape.clone());
    }

    /// The tape that is made of it already.
    pub(super) fn on_tape(&self) -> Option<&Arc<Tape>> {
        self.tape.as_ref()
    }

    /// Its trailers pass, without these and what never passes.
    pub(super) fn pass_trailers<'a>(&mut self, but: impl Iterator<Item = &'a HeaderName>) {
        self.trailers = Some(Box::new(Passing { names: but.cloned().collect(), token: None }));
    }

    pub(super) fn passes_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    pub(super) fn no_trailer_holds(&mut self, token: Option<SubjectToken>) {
        if let Some(passing) = &mut self.trailers {
            passing.token = token;
        }
    }

    /// It has to come at the least rate.
    pub(super) fn pace(&mut self, upload: Arc<Upload>) {
        self.upload = Some(upload);
    }

    fn ended(&self) {
        if let Some(tape) = &self.tape {
            tape.ended();
        }
    }
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        Self { inner: Inner::Wire(body), limit: None, tape: None, trailers: None, upload: None }
    }
}

impl From<Bytes> for RequestBody {
    fn from(body: Bytes) -> Self {
        Self { inner: Inner::Fixed(Full::new(body)), limit: None, tape: None, trailers: None, upload: None }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = &mut *self;
        let frame = match &mut me.inner {
            Inner::Wire(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame.map(|f| f.map_err(BoxError::from)),
                Poll::Pending if me.upload.as_ref().is_some_and(|upload| upload.waits(cx)) => {
                    return Poll::Ready(Some(Err(Box::new(TooSlow))));
                }
                Poll::Pending => return Poll::Pending,
            },
            Inner::Fixed(body) => std::task::ready!(Pin::new(body).poll_frame(cx)).map(|f| f.map_err(BoxError::from)),
        };
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref(),
            Some(Err(_)) => return Poll::Ready(frame),
            None => None,
        };
        let Some(data) = data else {
            if let (Some(passing), Some(Ok(_))) = (&me.trailers, &frame)
                && let Some(Ok(Ok(trailers))) = frame.map(|frame| frame.map(Frame::into_trailers))
            {
                // A tape has no room for them, so such a body is not sent again.
                let token = passing.token.as_ref().map(SubjectToken::expose);
                return Poll::Ready(Some(Ok(Frame::trailers(headers::passing_request_trailers(trailers, &passing.names, token)))));
            }
            // The end, or trailers that are not passed on.
            me.ended();
            return Poll::Ready(None);
        };
        if let Some(upload) = &me.upload {
            upload.came(data.len());
        }
        if let Some(limit) = &mut me.limit {
            let Some(left) = limit.left.checked_sub(data.len() as u64) else {
                limit.journal.body_was_too_large();
                return Poll::Ready(Some(Err(Box::new(TooLarge))));
            };
            limit.left = left;
        }
        if let Some(tape) = &me.tape {
            tape.heard(data);
            // hyper does not ask a body of known length for its end.
            if me.is_end_stream() {
                me.ended();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Wire(body) => body.is_end_stream(),
            Inner::Fixed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Wire(body) => body.size_hint(),
            Inner::Fixed(body) => body.size_hint(),
        }
    }
}

/// The answer's body: the upstream's, or a fault's few bytes. What a request holds is let go with it.
pub struct Body {
    answer: Answer,
    permit: Option<Permit>,
}

enum Answer {
    Upstream {
        body: crate::upstream::Body,
        trailers: bool,
        /// Until the body's end, however that comes.
        span: Span,
    },
    Fixed(Full<Bytes>),
    /// A 101: it has no body, and what comes after it is none.
    Switched(Option<Joining>),
}

impl Body {
    /// `trailers`: the caller understands them.
    pub(super) fn upstream(body: crate::upstream::Body, trailers: bool, mut span: Span) -> Self {
        // Nobody asks for an end that is there already.
        if has_ended(&body) {
            span.end_now();
        }
        Self { answer: Answer::Upstream { body, trailers, span }, permit: None }
    }

    pub fn fixed(bytes: impl Into<Bytes>) -> Self {
        Self { answer: Answer::Fixed(Full::new(bytes.into())), permit: None }
    }

    pub(super) fn switched(joining: Joining) -> Self {
        Self { answer: Answer::Switched(Some(joining)), permit: None }
    }

    /// What the upstream's connection has become, where this is its 101's body.
    pub(super) fn take_switching(&mut self) -> Option<crate::upstream::Switching> {
        match &mut self.answer {
            Answer::Upstream { body, .. } => body.take_switching(),
            Answer::Switched(_) | Answer::Fixed(_) => None,
        }
    }

    /// What is to follow a 101, with the place that the request takes.
    pub(super) fn take_switched(&mut self) -> Option<(Joining, Option<Permit>)> {
        match &mut self.answer {
            Answer::Switched(joining) => Some((joining.take()?, self.permit.take())),
            Answer::Upstream { .. } | Answer::Fixed(_) => None,
        }
    }

    /// Whether all of it has passed, although a last look at it may bring trailers.
    pub(super) fn has_ended(&self) -> bool {
        match &self.answer {
            Answer::Upstream { body, .. } => has_ended(body),
            Answer::Switched(_) | Answer::Fixed(_) => self.is_end_stream(),
        }
    }

    pub(super) fn holding(self, permit: Option<Permit>) -> Self {
        Self { permit, ..self }
    }
}

/// Whether no byte is to come. A body of known length is let go with its last one, and never asked for more.
fn has_ended(body: &crate::upstream::Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.answer {
            Answer::Switched(_) => Poll::Ready(None),
            Answer::Fixed(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
            Answer::Upstream { body, trailers, span } => {
                let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
                if span.is_recorded() {
                    match &frame {
                        Some(Ok(frame)) if frame.is_data() && !has_ended(body) => {}
                        Some(Err(error)) => {
                            span.note(|notes| notes.failed(error.code()));
                            span.end_now();
                        }
                        _ => span.end_now(),
                    }
                }
                Poll::Ready(match frame {
                    Some(Ok(frame)) => match frame.into_trailers() {
                        Ok(map) => trailers.then(|| Ok(Frame::trailers(headers::passing_trailers(map)))),
                        Err(data) => Some(Ok(data)),
                    },
                    other => other.map(|f| f.map_err(BoxError::from)),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.answer {
            Answer::Switched(_) => true,
            Answer::Fixed(body) => body.is_end_stream(),
            Answer::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Answer::Switched(_) => SizeHint::with_exact(0),
            Answer::Fixed(body) => body.size_hint(),
            Answer::Upstream { body, .. } => body.size_hint(),
        }
    }
}
