//! What is kept of a caller's body while it passes, so that it can be sent once more. Bounded, each and all together; what is
//! larger, or whose end was not seen, cannot be sent again. It never holds a body back.

use super::body::RequestBody;
use bytes::Bytes;
use http_body::Body as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room for the bodies that are kept, shared by all workers.
pub struct ReplayRoom {
    each: usize,
    left: AtomicUsize,
}

impl ReplayRoom {
    /// `each`: the largest body that is kept; `total`: of all of them together. In bytes.
    pub fn new(each: usize, total: usize) -> Arc<Self> {
        Arc::new(Self { each, left: AtomicUsize::new(total) })
    }

    fn reserve(&self, bytes: usize) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A request's body, for a second time.
pub(super) enum Replay {
    /// There is none: nothing needs to be kept.
    Empty,
    Taped(Arc<Tape>),
}

impl Replay {
    /// Begins to keep what passes of `body`. `None`: it is known to be too large.
    pub(super) fn of(body: &mut RequestBody, room: &Arc<ReplayRoom>) -> Option<Self> {
        if body.is_end_stream() {
            return Some(Self::Empty);
        }
        if let Some(tape) = body.on_tape() {
            return Some(Self::Taped(tape.clone()));
        }
        if body.size_hint().lower() > room.each as u64 {
            return None;
        }
        let tape = Arc::new(Tape { room: room.clone(), state: Mutex::default() });
        body.tape(&tape);
        Some(Self::Taped(tape))
    }

    /// The whole body once more. `None`: it was too large, or has not passed to its end, and half of it is another request.
    pub(super) fn again(&self) -> Option<RequestBody> {
        match self {
            Self::Empty => Some(Bytes::new().into()),
            Self::Taped(tape) => {
                let mut state = tape.state();
                (state.phase == Phase::Whole).then(|| {
                    let State { bytes, whole, .. } = &mut *state;
                    let whole = whole.get_or_insert_with(|| Bytes::from(std::mem::take(bytes)));
                    let mut body = RequestBody::from(whole.clone());
                    // Its room is taken for as long as it is.
                    body.tape(tape);
                    body
                })
            }
        }
    }
}

/// Takes down a body as it passes.
pub(super) struct Tape {
    room: Arc<ReplayRoom>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// All of them, once they were asked for; they may be again.
    whole: Option<Bytes>,
    /// Of the room; also while somebody else has the bytes.
    reserved: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    /// The body's end has passed.
    Whole,
    TooLarge,
}

impl Tape {
    pub(super) fn heard(&self, data: &[u8]) {
        let mut state = self.state();
        if state.phase != Phase::Running {
            return;
        }
        if state.reserved + data.len() > self.room.each || !self.room.reserve(data.len()) {
            self.room.give_back(state.reserved);
            *state = State { phase: Phase::TooLarge, ..State::default() };
            return;
        }
        state.reserved += data.len();
        state.bytes.extend_from_slice(data);
    }

    pub(super) fn ended(&self) {
        let mut state = self.state();
        if state.phase == Phase::Running {
            state.phase = Phase::Whole;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        let reserved = self.state().reserved;
        self.room.give_back(reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn taped(body: &'static str, room: &Arc<ReplayRoom>) -> (RequestBody, Option<Replay>) {
        let mut body = RequestBody::from(Bytes::from_static(body.as_bytes()));
        let replay = Replay::of(&mut body, room);
        (body, replay)
    }

    async fn whole(body: RequestBody) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_body_can_be_sent_again_once_its_end_has_passed() {
        let room = ReplayRoom::new(10, 100);
        let (body, replay) = taped("hello", &room);
        let replay = replay.unwrap();
        assert!(replay.again().is_none(), "nothing has passed yet");
        assert_eq!(whole(body).await, "hello");
        let again = replay.again().unwrap();
        assert_eq!(room.left.load(Ordering::Relaxed), 95);
        drop(replay);
        assert_eq!(whole(again).await, "hello");
        assert_eq!(room.left.load(Ordering::Relaxed), 100);
        let (_, none) = taped("", &room);
        assert_eq!(whole(none.unwrap().again().unwrap()).await, "");
    }

    #[tokio::test]
    async fn what_is_too_large_passes_and_is_not_kept() {
        let room = ReplayRoom::new(10, 12);
        assert!(taped("hello, world", &room).1.is_none(), "its length is known");
        let ((one, first), (two, second)) = (taped("hello", &room), taped("hello, you", &room));
        assert_eq!((whole(one).await, whole(two).await), ("hello".into(), "hello, you".into()));
        assert!(first.unwrap().again().is_some());
        assert!(second.unwrap().again().is_none(), "all of them together were too large");
        assert_eq!(room.left.load(Ordering::Relaxed), 12);
    }

    #[tokio::test]
    async fn half_a_body_is_not_sent_again() {
        let room = ReplayRoom::new(10, 100);
        let (body, replay) = taped("hello", &room);
        drop(body);
        assert!(replay.unwrap().again().is_none());
    }
}
