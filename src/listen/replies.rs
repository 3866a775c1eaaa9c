//! Frames of HTTP/2 that carry nothing of a request: what the other side sends back for them by itself (an acknowledgement, a PONG,
//! more window), and how many of them are too many. Whoever keeps a connection with such frames alone does not use it; whoever floods
//! it with them has a core work for nothing. It counts, and looks at no frame.

use super::blocks::Begun;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that one frame brings about by itself: more window twice, or a PONG.
const MOST: usize = 32;

/// So many control frames may come at once, beyond what is forgiven.
const FLOOD: usize = 10_000;
/// A tick forgives so many, and there are several in a second: a client may acknowledge each little message of a stream.
const BY_TICK: usize = 4_000;
/// So many bytes that went out forgive one: whoever takes an answer makes room for more of it now and then.
const BY_BYTES: usize = 256;

#[derive(Default)]
pub(super) struct Replies {
    /// Bytes of replies that have not gone out yet, at the most.
    owed: AtomicUsize,
    /// Control frames that nothing has forgiven yet.
    control: AtomicUsize,
}

// Only the connection's own thread writes, the tick's too.
impl Replies {
    /// These frames came. `true`: they are a flood.
    pub fn owe(&self, frames: Begun) -> bool {
        self.owed.store(self.owed.load(Ordering::Relaxed).saturating_add(frames.all.saturating_mul(MOST)), Ordering::Relaxed);
        if frames.control == 0 {
            return false;
        }
        let control = self.control.load(Ordering::Relaxed).saturating_add(frames.control);
        self.control.store(control, Ordering::Relaxed);
        control > FLOOD
    }

    /// Whether, of bytes that went out, some are no such reply.
    pub fn exceeds(&self, bytes: usize) -> bool {
        let owed = self.owed.load(Ordering::Relaxed);
        self.owed.store(owed.saturating_sub(bytes), Ordering::Relaxed);
        self.forgive(bytes / BY_BYTES);
        bytes > owed
    }

    /// A request has come to its end: what is owed for the frames that came during it is not told from what it sent.
    pub fn forget(&self) {
        self.owed.store(0, Ordering::Relaxed);
    }

    pub fn tick(&self) {
        self.forgive(BY_TICK);
    }

    fn forgive(&self, frames: usize) {
        let control = self.control.load(Ordering::Relaxed);
        if control > 0 {
            self.control.store(control.saturating_sub(frames), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(all: usize, control: usize) -> Begun {
        Begun { all, control }
    }

    #[test]
    fn an_answer_is_more_than_what_frames_bring_about() {
        let replies = Replies::default();
        assert!(replies.exceeds(1), "nobody asked for it");
        replies.owe(frames(2, 2));
        assert!(!replies.exceeds(17) && !replies.exceeds(17) && replies.exceeds(31));
        replies.owe(frames(1, 1));
        assert!(replies.exceeds(16 * 1024), "window was given, and an answer goes on");
        replies.owe(frames(100, 0));
        replies.forget();
        assert!(replies.exceeds(17));
    }

    #[test]
    fn a_flood_is_what_neither_time_nor_an_answer_explains() {
        let replies = Replies::default();
        assert!(!replies.owe(frames(1_000_000, 0)), "bodies come in frames, too");
        assert!(!replies.owe(frames(FLOOD, FLOOD)) && replies.owe(frames(1, 1)));
        replies.tick();
        assert!(!replies.owe(frames(1, BY_TICK - 1)) && replies.owe(frames(1, 2)));
        // A window update for each 16 KiB of a large answer.
        let replies = Replies::default();
        for _ in 0..10 * FLOOD {
            replies.exceeds(16 * 1024);
            assert!(!replies.owe(frames(2, 2)));
        }
    }
}
