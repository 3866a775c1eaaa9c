//! One connection to an endpoint, and what becomes of it after a request: back to its pool, or closed. It picks no endpoint and
//! sends nothing by itself.

use super::error::in_full;
use super::member::Member;
use super::pool::Pools;
use super::sender::Sender;
use super::slots::Slot;
use super::watch::{Cut, Sent, Watch};
use super::{Body, Error, Waited};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::sync::{Arc, Weak};

/// A connection that an answer's body holds.
pub(super) trait Lease: Send {
    fn member(&self) -> &Member;
    fn watch(&self) -> &Watch;
    fn is_http2(&self) -> bool;
    /// The answer is whole. The connection goes back to its pool, or is closed if the request is not.
    fn give_back(self: Box<Self>);
    /// The answer's body ended in `error`.
    fn blame(&self, error: &Error);
}

/// One connection, or one stream of a shared one; dropping it ends it at once, whatever it carries.
pub(super) struct Connection<B: 'static> {
    pub member: Arc<Member>,
    pub sender: Sender<B>,
    pub watch: Arc<Watch>,
    /// When it was put back, in milliseconds.
    pub since: u64,
    /// It has lain in its pool long enough that the endpoint may be closing it at this moment.
    pub rested: bool,
    /// Its place among those in use; `None` while it rests.
    pub slot: Option<Slot>,
    /// The answer it carries says that the endpoint cannot do its work.
    pub bad: bool,
    pub pools: Weak<Pools<B>>,
}

impl<B> Connection<B> {
    /// It is in use, and holds this place.
    pub fn used(mut self: Box<Self>, slot: Slot) -> Box<Self> {
        self.slot = Some(slot);
        self
    }

    /// Whether it is worth keeping at `now`.
    pub fn good(&self, now: u64) -> bool {
        !self.sender.is_closed() && !self.member.gone() && now.saturating_sub(self.since) < self.member.pool_idle
    }
}

impl<B: Send> Connection<B> {
    /// `asked`: the protocol that the request wanted to go on with.
    pub fn answered(
        mut self: Box<Self>,
        response: Response<Incoming>,
        asked: Option<&HeaderValue>,
        cut: Option<Arc<dyn Cut>>,
    ) -> Result<Response<Body>, Error> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(response, asked);
        }
        if let Some(why) = ambiguous(&response) {
            return Err(self.useless(why));
        }
        self.bad = matches!(response.status().as_u16(), 502..=504);
        let (head, incoming) = response.into_parts();
        let lease: Option<Box<dyn Lease>> = if incoming.is_end_stream() {
            self.give_back();
            None
        } else {
            self.watch.answered(cut);
            Some(self)
        };
        Ok(Response::from_parts(head, Body::new(incoming, lease)))
    }

    fn switched(self: Box<Self>, mut response: Response<Incoming>, asked: Option<&HeaderValue>) -> Result<Response<Body>, Error> {
        let mut named = response.headers().get_all(UPGRADE).iter();
        let why = match (asked, named.next(), named.next()) {
            (None, ..) => "101 Switching Protocols, which nobody asked for",
            (Some(asked), Some(named), None) if named.as_bytes().eq_ignore_ascii_case(asked.as_bytes()) => {
                let upgrade = hyper::upgrade::on(&mut response);
                self.watch.answered(None);
                return Ok(response.map(|incoming| Body::switched(incoming, upgrade, self)));
            }
            _ => "101 Switching Protocols, to another protocol than was asked for",
        };
        Err(self.useless(why))
    }

    fn useless(&self, why: &str) -> Error {
        let error = self.member.broken(why.to_owned());
        self.blame(&error);
        error
    }

    /// Whether an HTTP/1.1 connection that had rested ended instead of answering: the endpoint closed it, most likely before it had
    /// looked at the request, but nobody can say so.
    pub fn was_stale(&self, error: &hyper::Error) -> bool {
        let reset = || {
            let io = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
            io.is_some_and(|e| matches!(e.kind(), ConnectionReset | BrokenPipe))
        };
        self.rested && matches!(self.sender, Sender::Http1(..)) && (error.is_incomplete_message() || error.is_closed() || reset())
    }

    pub fn broken(&self, error: &hyper::Error) -> Error {
        let why = in_full(error);
        if unread(error) {
            return Error::Refused { upstream: self.member.upstream.clone(), why };
        }
        if self.watch.has_sent(Sent::Broken) {
            return Error::CallerBroken(why);
        }
        self.member.broken(why)
    }
}

/// Why nobody can say where an answer ends, or what its bytes are (RFC 9112 §6.1, §6.3): hyper goes by one of two readings, and whoever
/// gets the answer from us could go by the other.
fn ambiguous<B>(response: &Response<B>) -> Option<&'static str> {
    let headers = response.headers();
    let codings = headers.get_all(TRANSFER_ENCODING);
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (length, another) = (lengths.next(), lengths.next());
    if codings.iter().next().is_some() {
        return match () {
            () if length.is_some() => Some("an answer with both Transfer-Encoding and Content-Length"),
            () if response.version() != Version::HTTP_11 => Some("an answer with Transfer-Encoding that is not HTTP/1.1"),
            () if !only_chunked(codings.iter()) => Some("an answer with a Transfer-Encoding other than chunked"),
            () => None,
        };
    }
    let number = |length: &HeaderValue| !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    (another.is_some() || !length.is_none_or(number)).then_some("an answer with a Content-Length that is not one number")
}

fn only_chunked<'a>(mut codings: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    chunked && codings.next().is_none()
}

/// Whether an HTTP/2 peer says that it has done nothing with this request: it refused its stream, or told with GOAWAY that it came
/// too late. A stream that a connection took along when it broke is none of these.
fn unread(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|e| e.downcast_ref::<h2::Error>());
    h2.is_some_and(|e| e.is_remote() && (e.is_go_away() || e.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

impl<B: Send> Lease for Connection<B> {
    fn member(&self) -> &Member {
        &self.member
    }

    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    fn give_back(self: Box<Self>) {
        if self.bad {
            self.member.failed(self.watch.now());
        } else {
            self.member.served();
        }
        match &self.sender {
            // One that still sends has its stream reset when it is dropped.
            Sender::Http2(stream) if self.watch.whole() => {
                self.watch.rest();
                stream.ended(&self.watch);
            }
            Sender::Http1(..) if self.watch.whole() => {
                if let Some(pools) = self.pools.upgrade() {
                    self.watch.rest();
                    pools.put(self);
                }
            }
            Sender::Http1(..) | Sender::Http2(_) => {}
        }
    }

    fn blame(&self, error: &Error) {
        if matches!(error, Error::Broken { .. } | Error::Timeout { waited: Waited::Response | Waited::Idle, .. }) {
            self.member.failed(self.watch.now());
        }
    }
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.watch.rest();
        if !self.watch.whole() {
            self.watch.abandon();
        }
        self.sender.end();
    }
}
