//! Room for calls: so many at a time, so many more in a queue, and nobody beyond. It knows neither what a call is nor whether the
//! issuer can be reached.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// For whom a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for it.
    Caller,
    /// Nobody does: it takes a free place or none, so that it is never before one who waits.
    Renewal,
}

/// Every place is taken, and as many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

pub struct Room {
    places: Semaphore,
    waiting: AtomicUsize,
    max_queue: usize,
}

/// One of those who wait; no longer counted when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room {
    pub fn new(max_in_flight: usize, max_queue: usize) -> Self {
        Self { places: Semaphore::new(max_in_flight), waiting: AtomicUsize::new(0), max_queue }
    }

    /// A place at once, if there is one.
    pub fn at_once(&self) -> Option<SemaphorePermit<'_>> {
        // Those who wait get what becomes free before it can be seen here.
        self.places.try_acquire().ok()
    }

    /// A place, in the order of those who ask.
    ///
    /// # Errors
    /// When none is free and the queue is full, or has no room for such a call.
    pub async fn enter(&self, priority: Priority) -> Result<SemaphorePermit<'_>, Full> {
        if let Some(place) = self.at_once() {
            return Ok(place);
        }
        if priority == Priority::Renewal {
            return Err(Full);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.max_queue {
            return Err(Full);
        }
        // It is never closed.
        self.places.acquire().await.map_err(|_| Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    #[tokio::test]
    async fn so_many_at_a_time_so_many_wait_and_nobody_beyond() {
        let room = Room::new(1, 2);
        let first = room.enter(Priority::Caller).await.unwrap();
        let (mut second, mut third) = (pin!(room.enter(Priority::Caller)), pin!(room.enter(Priority::Caller)));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        assert_eq!(room.enter(Priority::Caller).await.err(), Some(Full));
        assert_eq!(room.enter(Priority::Renewal).await.err(), Some(Full));
        drop(first);
        assert!(room.at_once().is_none(), "it belongs to the one who waits");
        let second = second.await.unwrap();
        {
            let mut fourth = pin!(room.enter(Priority::Caller));
            assert!(fourth.as_mut().now_or_never().is_none(), "there is room in the queue again");
            assert_eq!(room.enter(Priority::Caller).await.err(), Some(Full));
        }
        drop(second);
        drop(third.await);
        assert!(room.enter(Priority::Renewal).await.is_ok(), "nobody waits");
        assert_eq!(room.waiting.load(Ordering::Relaxed), 0, "who gave up waits no more");
    }

    #[tokio::test]
    async fn without_a_queue_it_is_a_place_or_nothing() {
        let room = Room::new(1, 0);
        let _first = room.enter(Priority::Caller).await.unwrap();
        assert_eq!(room.enter(Priority::Caller).await.err(), Some(Full));
    }
}
