//! What HTTP/2 sends back by itself: an acknowledgement, a PONG, more window. Whoever keeps a connection with such frames alone does
//! not use it. It counts bytes, and looks at none.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that one frame brings about by itself: more window twice, or a PONG.
const MOST: usize = 32;

/// Bytes of replies that have not gone out yet, at the most.
#[derive(Default)]
pub(super) struct Replies(AtomicUsize);

// Only the connection's own thread writes.
impl Replies {
    /// So many frames came.
    pub fn owe(&self, frames: usize) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_add(frames.saturating_mul(MOST)), Ordering::Relaxed);
    }

    /// Whether, of bytes that went out, some are no such reply.
    pub fn exceeds(&self, bytes: usize) -> bool {
        let owed = self.0.load(Ordering::Relaxed);
        self.0.store(owed.saturating_sub(bytes), Ordering::Relaxed);
        bytes > owed
    }

    /// A request has come to its end: what is owed for the frames that came during it is not told from what it sent.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_more_than_what_frames_bring_about() {
        let replies = Replies::default();
        assert!(replies.exceeds(1), "nobody asked for it");
        replies.owe(2);
        assert!(!replies.exceeds(17) && !replies.exceeds(17) && replies.exceeds(31));
        replies.owe(1);
        assert!(replies.exceeds(16 * 1024), "window was given, and an answer goes on");
        replies.owe(100);
        replies.forget();
        assert!(replies.exceeds(17));
    }
}
