//! A request's way to an upstream: lease a connection to one of its endpoints, send, and judge what came. It sends a request at
//! most once: only what hyper hands back unsent goes out again by itself, on another connection, whatever the method; and once more what
//! is safe and without a body, where a connection that had rested ended instead of answering.

use super::connection::Lease;
use super::member::Member;
use super::outgoing::Outgoing;
use super::watch::Cut;
use super::{Body, Endpoint, Error, Pools, Timeouts, Upstream};
use bytes::Bytes;
use http::header::{HOST, UPGRADE};
use http::{Request, Response};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// How a request is to be sent, and what has been tried for it.
pub struct Terms {
    pub timeouts: Timeouts,
    /// The upstream sees its endpoint's own authority as `Host`, whichever endpoint that is.
    pub own_host: bool,
    /// Ends the caller's connection when it takes no byte of the answer for longer than `timeouts.idle`.
    pub cut: Option<Arc<dyn Cut>>,
    /// How often another endpoint may be tried.
    pub retries: u32,
    /// Whether one is tried when no connection comes about.
    pub on_connect: bool,
    /// When it was first taken in hand: `total` counts from there.
    since: Option<u64>,
    /// Endpoints that will not do. Nearly always empty.
    pub(super) tried: Vec<u64>,
    answered_by: Option<u64>,
    /// Connections that were opened.
    pub(super) opened: usize,
    /// Whether somebody will ask where it went.
    pub remember: bool,
    towards: Option<Arc<Member>>,
    /// It is to become another protocol, which only HTTP/1.1 can.
    pub(super) http1: bool,
}

impl Terms {
    pub fn new(timeouts: Timeouts, cut: Option<Arc<dyn Cut>>) -> Self {
        let (since, tried, answered_by) = (None, Vec::new(), None);
        let (remember, towards, opened, http1) = (false, None, 0, false);
        Self { timeouts, own_host: false, cut, retries: 0, on_connect: true, since, tried, answered_by, opened, remember, towards, http1 }
    }

    /// The endpoint that a request was sent to last, or was to be, where that is remembered; of a name without addresses, the name.
    pub fn tried_last<'a>(&'a self, upstream: &'a Upstream) -> Option<&'a Endpoint> {
        let peer = self.towards.as_ref().map(|member| &member.peer).or_else(|| upstream.written.first());
        peer.filter(|_| self.remember).map(|peer| &peer.endpoint)
    }

    pub(super) fn tries(&mut self, member: &Arc<Member>) {
        if self.remember {
            self.towards = Some(member.clone());
        }
    }

    /// The request is to be sent once more, elsewhere if there is an elsewhere. `false`: that has been done often enough.
    pub fn again(&mut self, cut: Option<Arc<dyn Cut>>) -> bool {
        let Some(left) = self.retries.checked_sub(1) else { return false };
        self.retries = left;
        self.tried.extend(self.answered_by.take());
        (self.cut, self.opened) = (cut, 0);
        true
    }
}

impl<B> Pools<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Sends `request` as it is (origin-form, Host set) and comes back with the answer's head; both bodies stream.
    ///
    /// # Errors
    /// Before the answer's headers; what goes wrong later is an error of its body.
    pub async fn send(&self, upstream: &Arc<Upstream>, request: Request<B>, terms: &mut Terms) -> Result<Response<Body>, Error> {
        let began = Instant::now();
        let answer = self.exchange(upstream, request, terms).await;
        match &answer {
            Ok(answer) => upstream.metrics.answered(answer.status(), began.elapsed()),
            Err(error) => upstream.metrics.failed(error.code()),
        }
        answer
    }

    async fn exchange(&self, upstream: &Upstream, request: Request<B>, terms: &mut Terms) -> Result<Response<Body>, Error> {
        let since = *terms.since.get_or_insert_with(|| self.clock().millis());
        let mut request = request.map(Outgoing::new);
        let asked = request.headers().get(UPGRADE).cloned();
        terms.http1 = asked.is_some();
        // Whether it has gone out on a connection that the endpoint was closing.
        let mut stale = false;
        loop {
            let mut connection = self.lease(upstream, terms).await?;
            terms.tries(&connection.member);
            if terms.own_host {
                request.headers_mut().insert(HOST, connection.member.peer.host.clone());
            }
            request.body_mut().watched_by(&connection.watch);
            connection.watch.begin(&terms.timeouts, since, request.body().whole());
            let spare = if connection.rested && !stale && terms.retries > 0 { spare(&request) } else { None };
            let sent = {
                let sending = pin!(connection.sender.send(request));
                connection.watch.unless_expired(&connection.member.upstream, sending).await
            };
            let error = match sent {
                Ok(Ok(response)) => {
                    terms.answered_by = Some(connection.member.id);
                    return connection.answered(response, asked.as_ref(), terms.cut.take());
                }
                Ok(Err(mut unsent)) => match unsent.take_message() {
                    Some(unsent) if terms.opened < 2 => {
                        request = unsent;
                        continue;
                    }
                    _ => match spare.filter(|_| connection.was_stale(unsent.error())) {
                        Some(spare) => {
                            (request, stale) = (spare, true);
                            continue;
                        }
                        None => {
                            terms.answered_by = Some(connection.member.id);
                            connection.broken(&unsent.into_error())
                        }
                    },
                },
                Err(expired) => expired,
            };
            connection.blame(&error);
            return Err(error);
        }
    }
}

/// The request once more, where RFC 9110 §9.2.2 lets a proxy send it a second time by itself: it changes nothing and has no body.
fn spare<B: http_body::Body>(request: &Request<Outgoing<B>>) -> Option<Request<Outgoing<B>>> {
    let may = request.method().is_safe() && request.body().whole() && !request.headers().contains_key(UPGRADE);
    may.then(|| {
        let mut spare = Request::new(Outgoing::empty());
        *spare.method_mut() = request.method().clone();
        *spare.uri_mut() = request.uri().clone();
        *spare.version_mut() = request.version();
        *spare.headers_mut() = request.headers().clone();
        spare
    })
}
