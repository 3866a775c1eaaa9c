//! One worker's connections to all endpoints: the last one used goes first, and what was idle too long, or whose endpoint is no
//! more, is dropped. It sends nothing.

use super::connect;
use super::connection::Connection;
use super::member::Member;
use super::watch::Watch;
use super::{Error, Upstream};
use crate::clock::{Clock, Ticked, Ticker};
use bytes::Bytes;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

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

    /// A new connection.
    pub(super) async fn open(&self, upstream: &Upstream, member: Arc<Member>, limit: Duration) -> Result<Box<Connection<B>>, Error> {
        let opened = connect::open(&member.peer, upstream.tls.as_ref(), limit).await;
        let (sender, task) = opened.map_err(|why| member.unreachable(why))?;
        let watch = Watch::new(self.clock().clone());
        let watched: Weak<Watch> = Arc::downgrade(&watch);
        self.ticker.watch(watched);
        Ok(Box::new(Connection { member, sender, task, watch, since: 0, pools: self.me.clone() }))
    }

    /// The connection that was used last, if one is good.
    pub(super) async fn rested(&self, member: &Member) -> Option<Box<Connection<B>>> {
        let now = self.now.load(Ordering::Relaxed);
        let mut looked = false;
        loop {
            let connection = self.with_idle(|idle| idle.get_mut(&member.id)?.pop())?;
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

    pub(super) fn put(&self, mut connection: Box<Connection<B>>) {
        connection.since = self.now.load(Ordering::Relaxed);
        self.with_idle(|idle| idle.entry(connection.member.id).or_default().push(connection));
    }

    fn with_idle<R>(&self, f: impl FnOnce(&mut Idle<B>) -> R) -> R {
        f(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Send> Ticked for Pools<B> {
    fn tick(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
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
