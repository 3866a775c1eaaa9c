//! HTTP/2 connections of one worker, each shared by many requests: a stream goes on the first that has room by the peer's own limit,
//! and another connection is opened where none has. No request ever waits inside hyper for a stream to become free.

use super::Endpoint;
use super::greeted::Talking;
use super::member::Member;
use super::outgoing::Outgoing;
use super::watch::Watch;
use bytes::Bytes;
use foldhash::fast::FixedState;
use http::uri::{Authority, Scheme};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::SendRequest;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Streams that share a connection at the most, whatever the peer allows: one lost packet holds all of them up.
const MOST: usize = 256;
/// Watches that are kept for further streams of a connection.
const SPARE: usize = 64;

/// One connection.
pub(super) struct Shared<B: 'static> {
    sender: SendRequest<Outgoing<B>>,
    /// The peer's, by its latest word.
    limit: Arc<AtomicUsize>,
    streams: AtomicUsize,
    /// When the last of them ended, in milliseconds.
    since: AtomicU64,
    pub scheme: Scheme,
    /// For requests that have no Host.
    pub authority: Option<Authority>,
    /// Of streams that are over.
    spare: Mutex<Vec<Arc<Watch>>>,
}

impl<B> Shared<B> {
    pub fn new(Talking { sender, streams: limit }: Talking<B>, endpoint: &Endpoint, now: u64) -> Arc<Self> {
        let scheme = if endpoint.tls { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = Authority::try_from(endpoint.authority()).ok();
        let (streams, since) = (AtomicUsize::new(0), AtomicU64::new(now));
        Arc::new(Self { sender, limit, streams, since, scheme, authority, spare: Mutex::default() })
    }

    /// A stream of it, where there is room for one more.
    pub fn stream(self: &Arc<Self>) -> Option<Stream<B>> {
        // One is always tried: where a peer allows none at all, `response` ends the wait.
        let most = self.limit.load(Ordering::Relaxed).clamp(1, MOST);
        let room = !self.sender.is_closed() && self.streams.load(Ordering::Relaxed) < most;
        room.then(|| self.first())
    }

    /// A stream of a connection that is new.
    pub fn first(self: &Arc<Self>) -> Stream<B> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Stream { sender: self.sender.clone(), shared: self.clone() }
    }

    fn good(&self, now: u64, idle: u64) -> bool {
        let idling = self.streams.load(Ordering::Relaxed) == 0;
        let over = idling && now.saturating_sub(self.since.load(Ordering::Relaxed)) >= idle;
        !over && !self.sender.is_closed()
    }
}

/// One request's part of a connection.
pub(super) struct Stream<B: 'static> {
    sender: SendRequest<Outgoing<B>>,
    shared: Arc<Shared<B>>,
}

impl<B> Stream<B> {
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub fn shared(&self) -> &Shared<B> {
        &self.shared
    }

    /// A watch that has served another stream.
    pub fn watch(&self) -> Option<Arc<Watch>> {
        self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The stream is over: its watch may serve another, unless a body that nobody has dropped yet still tells it things.
    pub fn ended(&self, watch: &Arc<Watch>) {
        self.shared.since.store(watch.now(), Ordering::Relaxed);
        let mut spare = self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(watch) == 1 && spare.len() < SPARE {
            spare.push(Arc::clone(watch));
        }
    }
}

impl<B> Stream<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub async fn send(&mut self, request: Request<Outgoing<B>>) -> Result<Response<Incoming>, TrySendError<Request<Outgoing<B>>>> {
        self.sender.try_send_request(request).await
    }
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All of one worker, by [`Member::id`].
pub(super) struct Groups<B: 'static>(Mutex<HashMap<u64, Group<B>, FixedState>>);

struct Group<B: 'static> {
    connections: Vec<Arc<Shared<B>>>,
    /// In milliseconds.
    pool_idle: u64,
    member: std::sync::Weak<Member>,
    /// Who opens one: the others wait, and most of them find room on it.
    opening: Arc<Semaphore>,
}

impl<B> Default for Groups<B> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<B> Groups<B> {
    /// A stream on one of the connections that there are.
    pub fn stream(&self, member: &Member) -> Option<Stream<B>> {
        self.with(|groups| groups.get(&member.id)?.connections.iter().find_map(Shared::stream))
    }

    pub fn opening(&self, member: &Arc<Member>) -> Arc<Semaphore> {
        self.with(|groups| Self::group(groups, member).opening.clone())
    }

    pub fn add(&self, member: &Arc<Member>, shared: Arc<Shared<B>>) {
        self.with(|groups| Self::group(groups, member).connections.push(shared));
    }

    /// Drops what is closed, or has carried nothing for too long; the streams of a connection that is dropped end in peace.
    pub fn tick(&self, now: u64) {
        let mut over = Vec::new();
        self.with(|groups| {
            groups.retain(|_, group| {
                let gone = group.member.upgrade().is_none_or(|member| member.gone());
                over.extend(group.connections.extract_if(.., |shared| gone || !shared.good(now, group.pool_idle)));
                // Somebody who opens one holds the group's semaphore.
                !group.connections.is_empty() || (!gone && Arc::strong_count(&group.opening) > 1)
            });
        });
    }

    fn group<'a>(groups: &'a mut HashMap<u64, Group<B>, FixedState>, member: &Arc<Member>) -> &'a mut Group<B> {
        groups.entry(member.id).or_insert_with(|| Group {
            connections: Vec::new(),
            pool_idle: member.pool_idle,
            member: Arc::downgrade(member),
            opening: Arc::new(Semaphore::new(1)),
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut HashMap<u64, Group<B>, FixedState>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
