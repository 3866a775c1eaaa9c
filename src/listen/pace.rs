//! How fast bodies move, judged by the tick: so many bytes in so many seconds of waiting for the caller, and not of anything else.
//! It has no timer and closes nothing; whoever asks does.

use super::shop::Desk;
use crate::clock::{Ticked, millis};
use futures_util::task::AtomicWaker;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Version};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;

/// How much waiting is judged at once.
const SPAN: Duration = Duration::from_secs(20);

/// Nobody is waited for.
const NONE: u64 = u64::MAX;

/// One caller's pace, one way.
#[derive(Default)]
pub(super) struct Pace {
    /// Bytes so far.
    moved: AtomicU64,
    /// What they were when the span began.
    before: AtomicU64,
    /// How much of the span has been spent waiting, in milliseconds.
    waited: AtomicU64,
    /// The last tick that saw somebody wait, plus one.
    seen: AtomicU64,
}

impl Pace {
    pub(super) fn moved(&self, bytes: usize) {
        // Only the connection's own thread writes it.
        self.moved.store(self.moved.load(Ordering::Relaxed).wrapping_add(bytes as u64), Ordering::Relaxed);
    }

    /// Whether less has come, by this tick, than `rate` bytes a second of waiting.
    pub(super) fn is_slow(&self, now: u64, waiting: bool, rate: u64) -> bool {
        if !waiting {
            self.seen.store(0, Ordering::Relaxed);
            return false;
        }
        let seen = self.seen.swap(now.saturating_add(1).min(NONE - 1), Ordering::Relaxed);
        let waited = self.waited.load(Ordering::Relaxed);
        if seen == 0 {
            if waited == 0 {
                // What moved before anybody waited says nothing.
                self.before.store(self.moved.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            return false;
        }
        let waited = waited.saturating_add(now.saturating_sub(seen - 1));
        if waited < millis(SPAN) {
            self.waited.store(waited, Ordering::Relaxed);
            return false;
        }
        let moved = self.moved.load(Ordering::Relaxed);
        let came = moved.wrapping_sub(self.before.swap(moved, Ordering::Relaxed));
        self.waited.store(0, Ordering::Relaxed);
        came < rate.saturating_mul(SPAN.as_secs())
    }
}

/// A request's body on its way in, for as long as no answer has begun. What comes too slowly is broken off by whoever reads it.
pub struct Upload {
    desk: Arc<Desk>,
    pace: Pace,
    waiting: AtomicBool,
    /// The tick knows of it.
    watched: AtomicBool,
    /// Its answer has begun: from there on it is for the route's timeouts to judge.
    answered: AtomicBool,
    slow: AtomicBool,
    reader: AtomicWaker,
}

impl Upload {
    /// `None` for a gRPC stream, which may be silent for as long as it likes.
    pub(super) fn new(desk: &Arc<Desk>, version: Version, headers: &HeaderMap) -> Option<Arc<Self>> {
        let metered = !is_grpc(version, headers);
        metered.then(|| {
            Arc::new(Self {
                desk: Arc::clone(desk),
                pace: Pace::default(),
                waiting: AtomicBool::new(false),
                watched: AtomicBool::new(false),
                answered: AtomicBool::new(false),
                slow: AtomicBool::new(false),
                reader: AtomicWaker::new(),
            })
        })
    }

    /// So many bytes were read.
    pub fn came(&self, bytes: usize) {
        self.pace.moved(bytes);
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// There is nothing to be read now. `true`: it has been so for too long.
    pub fn waits(self: &Arc<Self>, cx: &mut Context<'_>) -> bool {
        self.reader.register(cx.waker());
        self.waiting.store(true, Ordering::Relaxed);
        if !self.watched.swap(true, Ordering::Relaxed) {
            let watched: Weak<Self> = Arc::downgrade(self);
            self.desk.watch(watched);
        }
        self.slow.load(Ordering::Relaxed)
    }

    /// Its answer has begun.
    pub fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }
}

impl Ticked for Upload {
    fn tick(&self, now: u64) {
        let waiting = self.waiting.load(Ordering::Relaxed) && !self.answered.load(Ordering::Relaxed);
        if self.pace.is_slow(now, waiting, self.desk.patience().rate()) {
            self.slow.store(true, Ordering::Relaxed);
            self.reader.wake();
        }
    }
}

/// Whether it is a message of gRPC: `application/grpc`, with a `+` and a format or without, over HTTP/2. gRPC-Web is plain HTTP.
pub fn is_grpc(version: Version, headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some(kind) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    version == Version::HTTP_2
        && kind.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
        && matches!(kind.get(GRPC.len()), None | Some(b'+' | b';' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is judged slow, tick by tick: (milliseconds, bytes meanwhile, waiting).
    fn judged(ticks: &[(u64, usize, bool)]) -> bool {
        let (pace, mut now) = (Pace::default(), 0);
        ticks.iter().any(|(later, bytes, waiting)| {
            now += later;
            pace.moved(*bytes);
            pace.is_slow(now, *waiting, 100)
        })
    }

    #[test]
    fn so_many_bytes_in_twenty_seconds_of_waiting() {
        assert!(judged(&[(0, 0, true), (20_000, 1999, true)]));
        assert!(!judged(&[(0, 0, true), (20_000, 2000, true)]));
        assert!(!judged(&[(0, 0, true), (19_999, 0, true)]));
        assert!(judged(&[(0, 1 << 30, false), (100, 1 << 30, true), (20_000, 0, true)]), "what came before does not help");
        assert!(judged(&[(0, 0, true), (10_000, 0, true), (10_000, 0, true)]));
        assert!(!judged(&[(0, 0, true), (20_000, 2000, true), (19_900, 0, true)]), "a new span begins");
        assert!(judged(&[(0, 0, true), (20_000, 2000, true), (20_000, 0, true)]));
    }

    #[test]
    fn grpc_is_told_by_its_media_type() {
        let of = |kind: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        for kind in
            ["application/grpc", "Application/GRPC", "application/grpc+proto", "application/grpc;charset=x", "application/grpc ; a=b"]
        {
            assert!(is_grpc(Version::HTTP_2, &of(kind)), "{kind}");
            assert!(!is_grpc(Version::HTTP_11, &of(kind)), "{kind}: it needs HTTP/2");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/grp", "", "application/json"] {
            assert!(!is_grpc(Version::HTTP_2, &of(kind)), "{kind}");
        }
    }

    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        assert!(!judged(&[(0, 0, true), (100, 0, false), (100_000, 0, false), (100, 0, true), (19_000, 0, true)]));
        assert!(!judged(&[(0, 0, false), (60_000, 0, true)]), "it may have begun to wait just now");
        assert!(judged(&[(0, 0, true), (15_000, 0, true), (90_000, 0, false), (0, 0, true), (6_000, 0, true)]), "but waiting adds up");
    }
}
