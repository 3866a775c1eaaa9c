//! One worker's connections to all upstreams: the last one used goes first, and what was idle too long is dropped. It sends a
//! request at most once: only what hyper hands back unsent goes out again, on another connection, whatever the method.

use super::connect;
use super::error::in_full;
use super::outgoing::Outgoing;
use super::watch::{Cut, Sent, Watch};
use super::{Body, Error, Timeouts, Upstream};
use crate::clock::{Ticked, Ticker, millis};
use bytes::Bytes;
use foldhash::fast::FixedState;
use http::header::UPGRADE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;
use tokio::task::AbortHandle;

/// In milliseconds. A connection that rested this long may have been closed without our having been told yet.
const RESTED: u64 = 500;

type Idle<B> = HashMap<u64, Vec<Box<Connection<B>>>, FixedState>;

/// The pools of one worker. Its connections live on the runtime on which [`Pools::send`] was called.
pub struct Pools<B: 'static> {
    ticker: Arc<Ticker>,
    /// As of the last tick.
    now: AtomicU64,
    idle: Mutex<Idle<B>>,
    me: Weak<Self>,
}

impl<B> Pools<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub fn new(ticker: Arc<Ticker>) -> Arc<Self> {
        let now = AtomicU64::new(ticker.clock().millis());
        let pools = Arc::new_cyclic(|me: &Weak<Self>| Self { ticker, now, idle: Mutex::default(), me: me.clone() });
        let watched: Weak<Self> = Arc::downgrade(&pools);
        pools.ticker.watch(watched);
        pools
    }

    /// Sends `request` as it is (origin-form, Host set) and comes back with the answer's head; both bodies stream.
    ///
    /// `cut` ends the caller's connection when it takes no byte of the answer for longer than `timeouts.idle`.
    ///
    /// # Errors
    /// Before the answer's headers; what goes wrong later is an error of its body.
    pub async fn send(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<B>,
        timeouts: Timeouts,
        cut: Option<Arc<dyn Cut>>,
    ) -> Result<Response<Body>, Error> {
        let began = Instant::now();
        let answer = self.exchange(upstream, request, &timeouts, cut).await;
        match &answer {
            Ok(answer) => upstream.metrics.answered(answer.status(), began.elapsed()),
            Err(error) => upstream.metrics.failed(error.code()),
        }
        answer
    }

    async fn exchange(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<B>,
        timeouts: &Timeouts,
        cut: Option<Arc<dyn Cut>>,
    ) -> Result<Response<Body>, Error> {
        let since = self.ticker.clock().millis();
        let mut request = request.map(Outgoing::new);
        let asked = request.headers().get(UPGRADE).cloned();
        let mut opened = 0;
        loop {
            let mut connection = match self.rested(upstream).await {
                Some(connection) => connection,
                None => {
                    opened += 1;
                    self.open(upstream, timeouts).await?
                }
            };
            request.body_mut().watched_by(&connection.watch);
            connection.watch.begin(timeouts, since, request.body().whole());
            let sent = pin!(connection.sender.try_send_request(request));
            match connection.watch.unless_expired(upstream, sent).await? {
                Ok(response) => return connection.answered(response, asked.as_ref(), cut),
                Err(mut unsent) => match unsent.take_message() {
                    Some(unsent) if opened < 2 => request = unsent,
                    _ => return Err(connection.broken(&unsent.into_error())),
                },
            }
        }
    }

    async fn open(&self, upstream: &Arc<Upstream>, timeouts: &Timeouts) -> Result<Box<Connection<B>>, Error> {
        let limit = timeouts.total.map_or(timeouts.connect, |total| total.min(timeouts.connect));
        // Boxed, since it is rare and large: unboxed it would make every request's future five times as big.
        let (sender, task) = Box::pin(connect::open(upstream, limit)).await?;
        let watch = Watch::new(self.ticker.clock().clone());
        let watched: Weak<Watch> = Arc::downgrade(&watch);
        self.ticker.watch(watched);
        Ok(Box::new(Connection { upstream: Arc::clone(upstream), sender, task, watch, since: 0, pools: self.me.clone() }))
    }

    /// The connection that was used last, if one is good.
    async fn rested(&self, upstream: &Upstream) -> Option<Box<Connection<B>>> {
        let now = self.now.load(Ordering::Relaxed);
        let mut looked = false;
        loop {
            let connection = self.with_idle(|idle| idle.get_mut(&upstream.id)?.pop())?;
            let rested = now.saturating_sub(connection.since);
            if rested >= RESTED && !looked {
                // Has the reactor look at the sockets first: a close that has arrived is then seen before the request is
                // written, and not after, when nobody could tell whether the backend had read it.
                tokio::task::yield_now().await;
                looked = true;
            }
            // Not ready: closed, or still flushing; neither is worth waiting for.
            if rested < millis(upstream.settings.pool_idle) && connection.sender.is_ready() {
                return Some(connection);
            }
        }
    }
}

impl<B> Pools<B> {
    fn put(&self, mut connection: Box<Connection<B>>) {
        connection.since = self.now.load(Ordering::Relaxed);
        self.with_idle(|idle| idle.entry(connection.upstream.id).or_default().push(connection));
    }

    fn with_idle<R>(&self, f: impl FnOnce(&mut Idle<B>) -> R) -> R {
        f(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Send> Ticked for Pools<B> {
    fn tick(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
        let good =
            |c: &mut Box<Connection<B>>| !c.sender.is_closed() && now.saturating_sub(c.since) < millis(c.upstream.settings.pool_idle);
        // Dropped outside the lock.
        let mut over = Vec::new();
        self.with_idle(|idle| {
            idle.retain(|_, of_one| {
                over.extend(of_one.extract_if(.., |c| !good(c)));
                !of_one.is_empty()
            });
        });
    }
}

/// A connection that an answer's body holds.
pub(super) trait Lease: Send {
    fn upstream(&self) -> &Upstream;
    fn watch(&self) -> &Watch;
    /// The answer is whole. The connection goes back to its pool, or is closed if the request is not.
    fn give_back(self: Box<Self>);
}

/// One connection; dropping it closes it at once, whatever it carries.
struct Connection<B: 'static> {
    upstream: Arc<Upstream>,
    sender: SendRequest<Outgoing<B>>,
    task: AbortHandle,
    watch: Arc<Watch>,
    /// When it was put back, in milliseconds.
    since: u64,
    pools: Weak<Pools<B>>,
}

impl<B: Send> Connection<B> {
    /// `asked`: the protocol that the request wanted to go on with.
    fn answered(
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
        Err(Error::Broken { upstream: self.upstream.settings.name.clone(), why: why.to_owned() })
    }

    fn broken(&self, error: &hyper::Error) -> Error {
        let why = in_full(error);
        if self.watch.has_sent(Sent::Broken) {
            return Error::CallerBroken(why);
        }
        Error::Broken { upstream: self.upstream.settings.name.clone(), why }
    }
}

impl<B: Send> Lease for Connection<B> {
    fn upstream(&self) -> &Upstream {
        &self.upstream
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
