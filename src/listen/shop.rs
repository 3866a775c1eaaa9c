//! What connections share: the shop is all of them, a desk is those of one worker. They hold counts, limits, and the two words
//! that end things (drain, cut). Neither touches a socket.

use super::drive::Protocol;
use super::greet::Greeting;
use super::{Limits, Unwelcome};
use crate::clock::{Clock, Ticked, Ticker, millis};
use arc_swap::ArcSwap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

type OnUnwelcome = Arc<dyn Fn(&str, Unwelcome) + Send + Sync>;
type OnCertificates = Arc<dyn Fn(&str, i64) + Send + Sync>;

/// Who is told of what happens before any request exists.
#[derive(Clone)]
pub struct Hooks {
    /// The HTTP parser refused a head by itself: no service has seen it.
    pub malformed: Arc<dyn Fn() + Send + Sync>,
    /// A connection over `max_connections` was turned away; the listener's name is given.
    pub turned_away: Arc<dyn Fn(&str) + Send + Sync>,
    /// A connection was closed before HTTP; the listener's name is given.
    pub unwelcome: OnUnwelcome,
    /// A listener's certificates have been read; when the first of them is over, in seconds since 1970.
    pub certificates: OnCertificates,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            malformed: Arc::new(|| ()),
            turned_away: Arc::new(|_| ()),
            unwelcome: Arc::new(|_, _| ()),
            certificates: Arc::new(|_, _| ()),
        }
    }
}

/// One listener as its acceptor and its connections see it.
pub(super) struct Gate {
    pub(super) name: Arc<str>,
    /// Turns true when no more is to be accepted.
    pub(super) stop: watch::Sender<bool>,
    /// Its idle connections end, busy ones end with the answers they owe.
    pub(super) draining: AtomicBool,
    pub(super) greeting: Greeting,
    /// Connections that were closed before HTTP since the last word about them, and when that was.
    unwelcome: Mutex<(usize, Option<Instant>)>,
}

/// How often a listener says that connections were closed before HTTP.
const SAID_EVERY: Duration = Duration::from_secs(10);

impl Gate {
    pub(super) fn new(name: Arc<str>, greeting: Greeting) -> Arc<Self> {
        let (stop, draining) = (watch::Sender::new(false), AtomicBool::new(false));
        Arc::new(Self { name, stop, draining, greeting, unwelcome: Mutex::default() })
    }

    /// Logs it in sums: whoever can connect can do it as often as they like.
    pub(super) fn turns_away(&self, why: Unwelcome, error: &dyn Display) {
        let mut unwelcome = self.unwelcome.lock().unwrap_or_else(PoisonError::into_inner);
        unwelcome.0 += 1;
        if unwelcome.1.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            let (connections, _) = std::mem::replace(&mut *unwelcome, (0, Some(Instant::now())));
            tracing::warn!(listener = %self.name, connections, reason = why.label(), last = %error, "connections closed before a request came");
        }
    }
}

pub(super) struct Shop {
    /// Seats over it that are taken already are kept.
    pub(super) max_connections: AtomicUsize,
    pub(super) hooks: Hooks,
    pub(super) connections: AtomicUsize,
    /// Idle connections end, busy ones end with the answers they owe.
    pub(super) draining: AtomicBool,
    /// All connections end now.
    pub(super) closing: AtomicBool,
}

impl Shop {
    pub(super) fn new(limits: &Limits, hooks: Hooks) -> Arc<Self> {
        Arc::new(Self {
            max_connections: AtomicUsize::new(limits.max_connections),
            hooks,
            connections: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        })
    }

    pub(super) fn open(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A connection's place among `max_connections`, from accept until it is gone.
pub(super) struct Seat {
    shop: Arc<Shop>,
    desk: Arc<AtomicUsize>,
}

impl Seat {
    /// `desk` counts the connections of the worker that gets this one. `None`: all places are taken.
    pub(super) fn take(shop: &Arc<Shop>, desk: &Arc<AtomicUsize>) -> Option<Self> {
        if shop.connections.fetch_add(1, Ordering::Relaxed) >= shop.max_connections.load(Ordering::Relaxed) {
            shop.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        desk.fetch_add(1, Ordering::Relaxed);
        Some(Self { shop: Arc::clone(shop), desk: Arc::clone(desk) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.fetch_sub(1, Ordering::Relaxed);
        self.shop.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the connections of one worker share.
pub(super) struct Desk {
    pub(super) shop: Arc<Shop>,
    protocol: ArcSwap<Protocol>,
    ticker: Weak<Ticker>,
    patience: Patience,
    /// As of the last tick or accept: reading the clock on every read and write would cost more than it tells.
    now: AtomicU64,
    clock: Clock,
}

/// How long callers are waited for, in milliseconds.
#[derive(Default)]
pub(super) struct Patience {
    header: AtomicU64,
    idle: AtomicU64,
    /// In bytes a second.
    rate: AtomicU64,
}

impl Patience {
    fn set(&self, limits: &Limits) {
        // A stamp is up to a tick old, so a deadline counted from it has to wait a tick longer.
        let patience = |limit| millis(limit).saturating_add(millis(Ticker::PERIOD));
        self.header.store(patience(limits.header_timeout), Ordering::Relaxed);
        self.idle.store(patience(limits.idle_timeout), Ordering::Relaxed);
        self.rate.store(limits.min_body_rate, Ordering::Relaxed);
    }

    pub(super) fn header(&self) -> u64 {
        self.header.load(Ordering::Relaxed)
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    pub(super) fn idle(&self) -> u64 {
        self.idle.load(Ordering::Relaxed)
    }
}

impl Desk {
    pub(super) fn new(shop: Arc<Shop>, limits: &Limits, ticker: &Arc<Ticker>) -> Arc<Self> {
        let patience = Patience::default();
        patience.set(limits);
        let desk = Arc::new(Self {
            protocol: ArcSwap::from_pointee(Protocol::new(limits)),
            patience,
            ticker: Arc::downgrade(ticker),
            now: AtomicU64::new(ticker.clock().millis()),
            clock: ticker.clock().clone(),
            shop,
        });
        let watched: Weak<Self> = Arc::downgrade(&desk);
        ticker.watch(watched);
        desk
    }

    /// New limits: deadlines for everybody from the next tick on, all else for those who come after.
    pub(super) fn limit(&self, limits: &Limits) {
        self.patience.set(limits);
        self.protocol.store(Arc::new(Protocol::new(limits)));
    }

    pub(super) fn protocol(&self) -> Arc<Protocol> {
        self.protocol.load_full()
    }

    /// Has `it` looked at on every tick.
    pub(super) fn watch(&self, it: Weak<dyn Ticked>) {
        if let Some(ticker) = self.ticker.upgrade() {
            ticker.watch(it);
        }
    }

    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// A connection is accepted. After a pause of the whole process the last tick's time would have it time out at once.
    pub(super) fn accepted(&self) -> u64 {
        let now = self.clock.millis();
        self.now.store(now, Ordering::Relaxed);
        now
    }
}

impl Ticked for Desk {
    fn tick(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }
}
