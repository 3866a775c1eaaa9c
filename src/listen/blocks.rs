//! Follows HTTP/2's frames just far enough to know whether a request's head is on its way and not all here: hyper waits for the rest
//! of it without an end. It judges no frame and keeps none.

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[derive(Default)]
pub(super) struct Blocks {
    /// A frame's own head, as far as it has come.
    head: [u8; HEAD],
    come: usize,
    /// Of a frame, what is still to come.
    due: usize,
    kind: u8,
    /// A block of fields has begun and not ended.
    open: bool,
    begun: Begun,
}

/// How many frames have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Begun {
    pub all: usize,
    /// Those that carry nothing of a request.
    pub control: usize,
}

impl Blocks {
    /// After what is left of the preface.
    pub(super) fn after(preface: usize) -> Self {
        Self { due: preface, kind: DATA, ..Self::default() }
    }

    /// How many frames have begun since the last call.
    pub(super) fn begun(&mut self) -> Begun {
        std::mem::take(&mut self.begun)
    }

    /// Whether, after these bytes too, something is half here that is no body.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.due.min(bytes.len());
            (self.due, bytes) = (self.due - skipped, &bytes[skipped..]);
            let taken = (HEAD - self.come).min(bytes.len());
            self.head[self.come..self.come + taken].copy_from_slice(&bytes[..taken]);
            (self.come, bytes) = (self.come + taken, &bytes[taken..]);
            if self.come == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                (self.come, self.due, self.kind) = (0, u32::from_be_bytes([0, a, b, c]) as usize, kind);
                self.begun.all += 1;
                self.begun.control += usize::from(!matches!(kind, DATA | HEADERS | CONTINUATION));
                if matches!(kind, HEADERS | CONTINUATION) {
                    self.open = flags & END_HEADERS == 0;
                }
            }
        }
        self.open || self.come > 0 || (self.due > 0 && self.kind != DATA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![0; length]);
        frame
    }

    #[test]
    fn half_a_head_is_told_from_whole_ones_however_it_is_cut() {
        let whole = [frame(4, 0, 12), frame(HEADERS, END_HEADERS, 300), frame(DATA, 0, 7), frame(6, 0, 8)].concat();
        let open = [frame(HEADERS, 0, 10), frame(CONTINUATION, 0, 0)].concat();
        for step in 1..400 {
            let mut blocks = Blocks::after(5);
            let mut last = false;
            for piece in [&[0; 5][..], &whole].concat().chunks(step) {
                last = blocks.feed(piece);
            }
            assert!(!last, "{step}");
            open.chunks(step).for_each(|piece| assert!(blocks.feed(piece)));
            assert!(!blocks.feed(&frame(CONTINUATION, END_HEADERS, 3)));
        }
    }

    #[test]
    fn half_a_body_is_none_and_half_of_anything_else_is() {
        assert!(!Blocks::default().feed(&frame(DATA, 0, 100)[..50]));
        assert!(Blocks::default().feed(&frame(DATA, 0, 100)[..5]));
        assert!(Blocks::default().feed(&frame(4, 0, 12)[..15]));
    }
}
