//! How many connections to one endpoint may be in use, all workers together. A free place is taken without a lock; who must wait
//! stands in line, and a place that becomes free is handed to the first who still waits. It counts no idle connection.

use super::member::Member;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Somebody stands in line: places go through it, and none is free.
const LINE: usize = 1;
const PLACE: usize = 2;

pub(super) struct Slots {
    max: usize,
    /// Places that are taken, in steps of [`PLACE`], and [`LINE`].
    taken: AtomicUsize,
    line: Mutex<VecDeque<oneshot::Sender<Slot>>>,
}

impl Slots {
    pub fn new(max: usize) -> Self {
        Self { max, taken: AtomicUsize::new(0), line: Mutex::default() }
    }

    /// How many places are taken.
    pub fn in_use(&self) -> usize {
        self.taken.load(Ordering::Relaxed) / PLACE
    }

    /// Takes a place that is free, unless others wait for one.
    fn take(&self) -> bool {
        let free = |taken| (taken & LINE == 0 && taken / PLACE < self.max).then_some(taken + PLACE);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).is_ok()
    }

    /// Frees a place, unless somebody waits for it.
    fn free(&self) -> bool {
        let unawaited = |taken| (taken & LINE == 0).then_some(taken - PLACE);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, unawaited).is_ok()
    }

    /// The first in line.
    fn first(&self) -> Option<oneshot::Sender<Slot>> {
        let mut line = self.line();
        let first = line.pop_front();
        if line.is_empty() {
            self.taken.fetch_and(!LINE, Ordering::AcqRel);
        }
        first
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Slot>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken; dropped, it is free or the next one's.
pub(super) struct Slot {
    member: Arc<Member>,
    /// Not so where it was handed to nobody.
    held: bool,
}

impl Slot {
    fn new(member: Arc<Member>) -> Self {
        Self { member, held: true }
    }

    /// A place, where one is free and nobody waits for it; the endpoint back, where none is.
    pub fn free(member: Arc<Member>) -> Result<Self, Arc<Member>> {
        if member.slots.take() { Ok(Self::new(member)) } else { Err(member) }
    }

    /// A place as soon as one is free. Whoever stops waiting leaves the line, and loses nobody's place.
    pub async fn wait(member: &Arc<Member>) -> Self {
        loop {
            match Self::stand_in_line(member) {
                Ok(slot) => return slot,
                // Every place that is free comes this way; the sender is in line until then.
                Err(turn) => {
                    if let Ok(slot) = turn.await {
                        return slot;
                    }
                }
            }
        }
    }

    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    fn stand_in_line(member: &Arc<Member>) -> Result<Self, oneshot::Receiver<Self>> {
        let slots = &member.slots;
        let mut line = slots.line();
        // With the line's lock held, LINE cannot be cleared: who finds it set hands over through the line.
        let full = |taken| (taken & LINE != 0 || taken / PLACE >= slots.max).then_some(taken | LINE);
        while slots.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, full).is_err() {
            if slots.take() {
                return Ok(Self::new(member.clone()));
            }
        }
        while line.front().is_some_and(oneshot::Sender::is_closed) {
            line.pop_front();
        }
        let (sender, turn) = oneshot::channel();
        line.push_back(sender);
        Err(turn)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        while !self.member.slots.free() {
            let Some(first) = self.member.slots.first() else { continue };
            match first.send(Self::new(self.member.clone())) {
                Ok(()) => return,
                // Gone meanwhile: the place is still ours to free.
                Err(mut unwanted) => unwanted.held = false,
            }
        }
    }
}
