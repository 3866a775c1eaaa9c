//! The deadline of one upstream connection, kept by the worker's tick instead of a timer per request. Whoever moves a byte puts
//! it off; when it passes, the tick wakes the waiter, who finds out what was waited for. It never closes the connection itself.

use super::{Error, Timeouts, Waited};
use crate::clock::{Clock, Ticked, millis};
use futures_util::task::AtomicWaker;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// The way to end a caller's connection when nobody polls the body any more: hyper polls no body while the socket is full.
pub trait Cut: Send + Sync {
    fn cut(&self);
}

/// Nothing is waited for.
const NONE: u64 = u64::MAX;
/// The deadline has passed, and the waiter has been woken.
const FIRED: u64 = 0;
/// The waiter did not come within a tick, and the caller's connection has been cut.
const CUT: u64 = 1;

/// How far the request's body is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Sent {
    /// All of it has been handed to hyper.
    Whole,
    /// The upstream has not taken what is there.
    Part,
    /// The caller has not sent more.
    CallersTurn,
    /// It ended in an error.
    Broken,
    /// Nobody waits for the answer any more: the rest of it is not worth sending.
    Abandoned,
}

pub(super) struct Watch {
    clock: Clock,
    deadline: AtomicU64,
    /// When `total` is over; a deadline is never later.
    total_at: AtomicU64,
    /// In milliseconds.
    response: AtomicU64,
    /// In milliseconds.
    idle: AtomicU64,
    answered: AtomicBool,
    sent: AtomicU8,
    waiter: AtomicWaker,
    /// Of the body on its way up.
    sender: AtomicWaker,
    cut: Mutex<Option<Arc<dyn Cut>>>,
}

impl Watch {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            deadline: AtomicU64::new(NONE),
            total_at: AtomicU64::new(NONE),
            response: AtomicU64::new(NONE),
            idle: AtomicU64::new(NONE),
            answered: AtomicBool::new(false),
            sent: AtomicU8::new(Sent::Whole as u8),
            waiter: AtomicWaker::new(),
            sender: AtomicWaker::new(),
            cut: Mutex::new(None),
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.millis()
    }

    /// A request that was taken in hand at `since` goes out on this connection.
    pub(super) fn begin(&self, timeouts: &Timeouts, since: u64, whole: bool) {
        self.total_at.store(timeouts.total.map_or(NONE, |t| since.saturating_add(millis(t))), Ordering::Relaxed);
        self.response.store(millis(timeouts.response), Ordering::Relaxed);
        self.idle.store(millis(timeouts.idle), Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.sent.store(if whole { Sent::Whole } else { Sent::Part } as u8, Ordering::Relaxed);
        self.put_off(if whole { &self.response } else { &self.idle });
    }

    /// A byte moved on a body, either way.
    pub(super) fn moved(&self) {
        self.put_off(&self.idle);
    }

    pub(super) fn sent(&self, how_far: Sent) {
        self.sent.store(how_far as u8, Ordering::Relaxed);
        match how_far {
            Sent::Whole if !self.answered.load(Ordering::Relaxed) => self.put_off(&self.response),
            Sent::Whole | Sent::Part => self.moved(),
            Sent::CallersTurn | Sent::Broken | Sent::Abandoned => {}
        }
    }

    pub(super) fn whole(&self) -> bool {
        self.has_sent(Sent::Whole)
    }

    pub(super) fn has_sent(&self, how_far: Sent) -> bool {
        self.sent.load(Ordering::Relaxed) == how_far as u8
    }

    /// The headers are here and a body follows; `cut` is for a caller who does not take it.
    pub(super) fn answered(&self, cut: Option<Arc<dyn Cut>>) {
        self.answered.store(true, Ordering::Relaxed);
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = cut;
        self.moved();
    }

    /// Whoever sends the request's body is to stop.
    pub(super) fn abandon(&self) {
        self.sent(Sent::Abandoned);
        self.sender.wake();
    }

    /// Whether the body is still worth sending. `true` has whoever asks woken when it no longer is.
    pub(super) fn poll_wanted(&self, cx: &mut Context<'_>) -> bool {
        self.sender.register(cx.waker());
        !self.has_sent(Sent::Abandoned)
    }

    /// Nothing is waited for any more.
    pub(super) fn rest(&self) {
        self.deadline.store(NONE, Ordering::Relaxed);
        if self.answered.swap(false, Ordering::Relaxed) {
            self.cut.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Whether the deadline has passed. `None` registers whoever asks to be woken when it does.
    pub(super) fn poll_expired(&self, cx: &mut Context<'_>, upstream: &Arc<str>) -> Option<Error> {
        self.waiter.register(cx.waker());
        self.expired(upstream)
    }

    pub(super) fn expired(&self, upstream: &Arc<str>) -> Option<Error> {
        if self.deadline.load(Ordering::Relaxed) > CUT {
            return None;
        }
        let waited = if self.clock.millis() >= self.total_at.load(Ordering::Relaxed) {
            Waited::Total
        } else if self.answered.load(Ordering::Relaxed) || self.has_sent(Sent::Part) {
            Waited::Idle
        } else if self.whole() {
            Waited::Response
        } else {
            return Some(Error::CallerStalled);
        };
        Some(Error::Timeout { upstream: Arc::clone(upstream), waited })
    }

    /// What `f` comes to, or the error that the deadline passed first.
    pub(super) async fn unless_expired<F: Future>(&self, upstream: &Arc<str>, mut f: Pin<&mut F>) -> Result<F::Output, Error> {
        poll_fn(|cx| match f.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => match self.poll_expired(cx, upstream) {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        })
        .await
    }

    fn put_off(&self, by: &AtomicU64) {
        let at = self.clock.millis().saturating_add(by.load(Ordering::Relaxed));
        self.deadline.store(at.clamp(CUT + 1, NONE - 1).min(self.total_at.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

impl Ticked for Watch {
    fn tick(&self, now: u64) {
        let at = self.deadline.load(Ordering::Relaxed);
        if at == FIRED {
            // The waiter was woken a tick ago and has not come: a body that nobody polls, because the caller takes nothing.
            self.deadline.store(CUT, Ordering::Relaxed);
            let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(cut) = cut {
                cut.cut();
            }
        } else if at > CUT && now >= at {
            // Exchanged and not stored: what moved meanwhile has put the deadline off.
            if self.deadline.compare_exchange(at, FIRED, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.waiter.wake();
            }
        }
    }
}
