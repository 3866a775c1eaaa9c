//! One connection to an endpoint, and what becomes of it after a request: back to its pool, or closed. It picks no endpoint and
//! sends nothing by itself.

use super::error::in_full;
use super::member::Member;
use super::outgoing::Outgoing;
use super::pool::Pools;
use super::watch::{Cut, Sent, Watch};
use super::{Body, Error};
use http::header::UPGRADE;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use std::sync::{Arc, Weak};
use tokio::task::AbortHandle;

/// A connection that an answer's body holds.
pub(super) trait Lease: Send {
    fn member(&self) -> &Member;
    fn watch(&self) -> &Watch;
    /// The answer is whole. The connection goes back to its pool, or is closed if the request is not.
    fn give_back(self: Box<Self>);
}

/// One connection; dropping it closes it at once, whatever it carries.
pub(super) struct Connection<B: 'static> {
    pub member: Arc<Member>,
    pub sender: SendRequest<Outgoing<B>>,
    pub task: AbortHandle,
    pub watch: Arc<Watch>,
    /// When it was put back, in milliseconds.
    pub since: u64,
    pub pools: Weak<Pools<B>>,
}

impl<B> Connection<B> {
    /// Whether it is worth keeping at `now`.
    pub fn good(&self, now: u64) -> bool {
        !self.sender.is_closed() && !self.member.gone() && now.saturating_sub(self.since) < self.member.pool_idle
    }
}

impl<B: Send> Connection<B> {
    /// `asked`: the protocol that the request wanted to go on with.
    pub fn answered(
        self: Box<Self>,
        response: Response<Incoming>,
        asked: Option<&HeaderValue>,
        cut: Option<Arc<dyn Cut>>,
    ) -> Result<Response<Body>, Error> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(response, asked);
        }
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
        Err(self.member.broken(why.to_owned()))
    }

    pub fn broken(&self, error: &hyper::Error) -> Error {
        let why = in_full(error);
        if self.watch.has_sent(Sent::Broken) {
            return Error::CallerBroken(why);
        }
        self.member.broken(why)
    }
}

impl<B: Send> Lease for Connection<B> {
    fn member(&self) -> &Member {
        &self.member
    }

    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn give_back(self: Box<Self>) {
        if self.watch.whole()
            && let Some(pools) = self.pools.upgrade()
        {
            self.watch.rest();
            pools.put(self);
        }
    }
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.watch.rest();
        // Letting go of the sender alone would leave hyper sending the rest of a request body that nobody waits for.
        self.task.abort();
    }
}
