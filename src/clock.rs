//! Time, so that a test can turn it: a monotonic clock, the wall clock, and the coarse tick that stands in for timers.
//! It never sleeps on behalf of others and starts no thread; whoever owns a runtime drives a [`Ticker`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A clock that everybody shares. [`Clock::real`] follows the machine; [`Clock::turned`] follows it plus what a test added.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    added: Option<Arc<AtomicU64>>,
}

impl Clock {
    pub fn real() -> Self {
        Self { added: None }
    }

    /// A clock that [`Clock::turn`] can push forward, for tests.
    pub fn turned() -> Self {
        Self { added: Some(Arc::default()) }
    }

    /// Pushes a turned clock forward. A real clock stays as it is.
    pub fn turn(&self, by: Duration) {
        if let Some(added) = &self.added {
            added.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// Milliseconds since the process started: never goes back, and has nothing to do with the wall clock.
    pub fn millis(&self) -> u64 {
        millis(START.elapsed()) + self.added()
    }

    /// The same in nanoseconds.
    pub fn nanos(&self) -> u64 {
        u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(self.added().saturating_mul(1_000_000))
    }

    /// Seconds since 1970, as `exp` and `nbf` of a token count them.
    pub fn unix(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs() + self.added() / 1000
    }

    fn added(&self) -> u64 {
        self.added.as_ref().map_or(0, |a| a.load(Ordering::SeqCst))
    }
}

/// A duration in whole milliseconds; what does not fit is the largest there is.
pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Something that wants to be looked at on every tick: a connection with a deadline, a pool with idle connections.
pub trait Ticked: Send + Sync {
    /// `now` is [`Clock::millis`].
    fn tick(&self, now: u64);
}

/// One coarse tick for everything on a worker, so that no request needs a timer of its own.
///
/// A deadline kept by it is met within one [`Ticker::PERIOD`].
#[derive(Default)]
pub struct Ticker {
    clock: Clock,
    watched: Mutex<Vec<Weak<dyn Ticked>>>,
}

impl Ticker {
    pub const PERIOD: Duration = Duration::from_millis(100);

    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, watched: Mutex::default() })
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Has `it` looked at on every tick for as long as it lives.
    pub fn watch(&self, it: Weak<dyn Ticked>) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(it);
    }

    /// Looks at everything once.
    pub fn tick(&self) {
        let now = self.clock.millis();
        // Looked at outside the lock: a tick may drop the last handle of something, whose end registers something else.
        let mut alive = Vec::new();
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).retain(|w| match w.upgrade() {
            Some(it) => {
                alive.push(it);
                true
            }
            None => false,
        });
        for it in alive {
            it.tick(now);
        }
    }

    /// Ticks until dropped; to be spawned on the runtime whose connections it watches.
    pub async fn run(self: Arc<Self>) {
        let mut every = tokio::time::interval(Self::PERIOD);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_clock_moves_both_times_and_a_real_one_neither() {
        let (turned, real) = (Clock::turned(), Clock::real());
        let (m, u) = (turned.millis(), turned.unix());
        turned.turn(Duration::from_secs(3600));
        real.turn(Duration::from_secs(3600));
        assert!(turned.millis() >= m + 3_600_000);
        assert!(turned.unix() >= u + 3600);
        assert!(real.millis() < m + 3_600_000);
    }

    #[test]
    fn the_dead_are_forgotten() {
        struct Count(AtomicU64);
        impl Ticked for Count {
            fn tick(&self, _: u64) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (ticker, it) = (Ticker::new(Clock::real()), Arc::new(Count(AtomicU64::new(0))));
        ticker.watch(Arc::downgrade(&it) as Weak<dyn Ticked>);
        ticker.tick();
        assert_eq!(it.0.load(Ordering::SeqCst), 1);
        drop(it);
        ticker.tick();
        assert!(ticker.watched.lock().unwrap().is_empty());
    }
}
