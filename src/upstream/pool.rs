//! One worker's connections to all endpoints: the last one used goes first, and what was idle too long, or whose endpoint is no
//! more, is dropped. It sends nothing.

use super::connect::{self, Opened};
use super::connection::Connection;
use super::http2::{Groups, Shared, Stream};
use super::member::Member;
use super::sender::Sender;
use super::watch::Watch;
use super::{Error, Upstream};
use crate::clock::{Clock, Ticked, Ticker};
use bytes::Bytes;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::time::Instant;

/// In milliseconds. A connection that rested this long may have been closed without our having been told yet.
const RESTED: u64 = 500;

/// By [`Member::id`].
type Idle<B> = HashMap<u64, Vec<Box<Connection<B>>>, FixedState>;

/// The pools of one worker. Its connections live on the runtime on which [`Pools::send`] was called.
pub struct Pools<B: 'static> {
    ticker: Arc<Ticker>,
    /// As of the last tick.
    now: AtomicU64,
    idle: Mutex<Idle<B>>,
    shared: Groups<B>,
    me: Weak<Self>,
}

impl<B> Pools<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub fn new(ticker: Arc<Ticker>) -> Arc<Self> {
        let now = AtomicU64::new(ticker.clock().millis());
        let pools =
            Arc::new_cyclic(|me: &Weak<Self>| Self { ticker, now, idle: Mutex::default(), shared: Groups::default(), me: me.clone() });
        let watched: Weak<Self> = Arc::downgrade(&pools);
        pools.ticker.watch(watched);
        pools
    }

    /// A new connection, until then; or a place on one that another request has opened meanwhile. `http1`: in HTTP/1.1.
    pub(super) async fn open(
        &self,
        upstream: &Upstream,
        member: &Arc<Member>,
        until: Instant,
        http1: bool,
    ) -> Result<Box<Connection<B>>, Error> {
        let mut _turn = None;
        if !http1 && member.peer.may_share() && member.shares() {
            _turn = tokio::time::timeout_at(until, self.shared.opening(member).acquire_owned()).await.ok().and_then(Result::ok);
            if let Some(stream) = self.shared.stream(member) {
                return Ok(self.on_stream(member, stream));
            }
        }
        let limit = until.saturating_duration_since(Instant::now());
        let opened = connect::open(&member.peer, upstream.tls.as_ref(), limit, http1).await;
        match opened.map_err(|why| member.unreachable(why))? {
            Opened::Http1(sender, task) => {
                if !http1 {
                    member.spoke_http2(false);
                }
                Ok(self.connection(member, Sender::Http1(sender, task), self.watch()))
            }
            Opened::Http2(sender) => {
                member.spoke_http2(true);
                let shared = Shared::new(sender, &member.peer.endpoint, self.now());
                let stream = shared.first();
                self.shared.add(member, shared);
                Ok(self.on_stream(member, stream))
            }
        }
    }

    fn connection(&self, member: &Arc<Member>, sender: Sender<B>, watch: Arc<Watch>) -> Box<Connection<B>> {
        let (member, pools) = (member.clone(), self.me.clone());
        Box::new(Connection { member, sender, watch, since: 0, rested: false, slot: None, bad: false, pools })
    }

    fn on_stream(&self, member: &Arc<Member>, stream: Stream<B>) -> Box<Connection<B>> {
        let watch = stream.watch().unwrap_or_else(|| self.watch());
        self.connection(member, Sender::Http2(stream), watch)
    }

    fn watch(&self) -> Arc<Watch> {
        let watch = Watch::new(self.clock().clone());
        let watched: Weak<Watch> = Arc::downgrade(&watch);
        self.ticker.watch(watched);
        watch
    }

    /// The connection that was used last, if one is good.
    /// `http1`: one that speaks HTTP/1.1.
    pub(super) async fn rested(&self, member: &Arc<Member>, http1: bool) -> Option<Box<Connection<B>>> {
        if !http1
            && member.peer.may_share()
            && let Some(stream) = self.shared.stream(member)
        {
            return Some(self.on_stream(member, stream));
        }
        let now = self.now();
        let mut looked = false;
        loop {
            let mut connection = self.with_idle(|idle| idle.get_mut(&member.id)?.pop())?;
            connection.rested = now > connection.since;
            if now.saturating_sub(connection.since) >= RESTED && !looked {
                // Has the reactor look at the sockets first: a close that has arrived is then seen before the request is
                // written, and not after, when nobody could tell whether the backend had read it.
                tokio::task::yield_now().await;
                looked = true;
            }
            // Not ready: closed, or still flushing; neither is worth waiting for.
            if connection.good(now) && connection.sender.is_ready() {
                return Some(connection);
            }
        }
    }
}

impl<B> Pools<B> {
    pub(super) fn clock(&self) -> &Clock {
        self.ticker.clock()
    }

    /// As of the last tick, which is near enough for what takes seconds.
    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, mut connection: Box<Connection<B>>) {
        connection.since = self.now();
        // Given back last: who waits for the place finds the connection.
        let _place = connection.slot.take();
        self.with_idle(|idle| idle.entry(connection.member.id).or_default().push(connection));
    }

    fn with_idle<R>(&self, f: impl FnOnce(&mut Idle<B>) -> R) -> R {
        f(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Send> Ticked for Pools<B> {
    fn tick(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
        self.shared.tick(now);
        // Dropped outside the lock.
        let mut over = Vec::new();
        self.with_idle(|idle| {
            idle.retain(|_, of_one| {
                over.extend(of_one.extract_if(.., |c| !c.good(now)));
                !of_one.is_empty()
            });
        });
    }
}
