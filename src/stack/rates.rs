//! How many of something there may be in a time: a bucket for each key, shared by all workers, in bounded memory. It counts by
//! GCRA (the "leaky bucket as a meter"): one number a bucket, the time at which it will be empty again. It refuses nobody itself.

use crate::bounded::{Bounded, Kept};
use crate::clock::Clock;
use crate::fault::Quota;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::time::Duration;

/// So many, spread over a time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
    pub burst: u32,
}

impl Rate {
    /// So many in so many seconds: a whole burst in the time in which it has become possible again, or, where that is no whole number
    /// of seconds, what may come in the next whole number.
    pub fn quota(&self) -> Quota {
        const SECOND: u128 = 1_000_000_000;
        let (per, count) = (self.per.as_nanos().max(1), u128::from(self.count));
        let seconds = (per * u128::from(self.burst)).div_ceil(count.max(1) * SECOND).max(1);
        let come = (seconds * SECOND * count / per).max(u128::from(self.burst));
        let window = u64::try_from(seconds).unwrap_or(u64::MAX);
        Quota { requests: u32::try_from(come).unwrap_or(u32::MAX), window }
    }

    fn interval(&self) -> u64 {
        u64::try_from(self.per.as_nanos() / u128::from(self.count.max(1))).unwrap_or(u64::MAX).max(1)
    }
}

/// Buckets that one limiter holds at the most. A flood of keys throws out the emptied ones first, then those unused the longest.
const MOST: usize = 65_536;

/// What a key is counted under. Keyed by chance, so that nobody can choose to share somebody's bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

/// What is left of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub requests: u64,
    /// When there will be one more.
    pub more_in: Duration,
}

/// The buckets of one rate.
pub struct Limiter {
    rate: Rate,
    /// Nanoseconds that one costs, and that a whole burst costs.
    one: u64,
    burst: u64,
    buckets: Bounded<u64, Bucket>,
    hasher: RandomState,
    clock: Clock,
}

/// When it is empty, in [`Clock::nanos`].
struct Bucket(u64);

impl Kept for Bucket {
    fn weight(&self) -> usize {
        1
    }

    fn expired(&self, now: u64) -> bool {
        self.0 <= now
    }
}

impl Limiter {
    pub fn new(rate: Rate, clock: Clock) -> Self {
        Self::with_room(rate, clock, MOST)
    }

    fn with_room(rate: Rate, clock: Clock, most: usize) -> Self {
        let one = rate.interval();
        let burst = one.saturating_mul(u64::from(rate.burst.max(1)));
        Self { rate, one, burst, buckets: Bounded::new(most), hasher: RandomState::new(), clock }
    }

    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    pub fn key(&self, of: impl Hash) -> Key {
        Key(self.hasher.hash_one(of))
    }

    /// An IPv6 network of 64 bits is one source: who has one address of it has them all.
    pub fn source(&self, address: IpAddr) -> Key {
        match address.to_canonical() {
            IpAddr::V4(address) => self.key(address),
            IpAddr::V6(address) => self.key(&address.octets()[..8]),
        }
    }

    /// Counts one, and says how many more may come at once.
    ///
    /// # Errors
    /// How long to wait for it, where it is one too many; it is not counted then.
    pub fn take(&self, key: Key) -> Result<Left, Duration> {
        let now = self.clock.nanos();
        let take = |bucket: &mut Bucket| {
            let empty = bucket.0.max(now).saturating_add(self.one);
            let left = (now + self.burst).checked_sub(empty);
            if left.is_some() {
                bucket.0 = empty;
            }
            let told = |left: u64| Left { requests: left / self.one, more_in: Duration::from_nanos(self.one - left % self.one) };
            left.map(told).ok_or_else(|| Duration::from_nanos(empty - now - self.burst))
        };
        self.buckets.alter(&key.0, now, || Bucket(now), take).0
    }

    /// How long until one more may be counted; `None`: it may at once. Counts nothing.
    pub fn full(&self, key: Key) -> Option<Duration> {
        let now = self.clock.nanos();
        let empty = self.buckets.get(&key.0, now, |bucket| bucket.0)?.max(now).saturating_add(self.one);
        empty.checked_sub(now + self.burst).filter(|wait| *wait > 0).map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(count: u32, per: u64, burst: u32, most: usize) -> (Limiter, Clock) {
        let clock = Clock::turned();
        (Limiter::with_room(Rate { count, per: Duration::from_secs(per), burst }, clock.clone(), most), clock)
    }

    fn taken(limiter: &Limiter, key: Key, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.take(key).is_ok()).count()
    }

    #[test]
    fn a_burst_at_once_and_then_the_rate() {
        // Slow enough that a test's own time counts for nothing.
        let (limiter, clock) = limiter(10, 36_000, 5, 100);
        let key = limiter.key("ada");
        assert_eq!(taken(&limiter, key, 20), 5);
        let wait = limiter.take(key).unwrap_err();
        assert!(wait <= Duration::from_secs(3600) && wait > Duration::from_secs(3500), "{wait:?}");
        clock.turn(Duration::from_secs(2 * 3600));
        assert_eq!(taken(&limiter, key, 20), 2, "what was refused was not counted");
        clock.turn(Duration::from_secs(1_000_000));
        assert_eq!(taken(&limiter, key, 20), 5, "no more than a burst is saved up");
        assert_eq!(taken(&limiter, limiter.key("bob"), 20), 5, "each has their own");
    }

    #[test]
    fn a_quota_is_in_whole_seconds() {
        let quota = |count, per, burst| {
            let Quota { requests, window } = Rate { count, per: Duration::from_secs(per), burst }.quota();
            (requests, window)
        };
        assert_eq!(quota(100, 1, 200), (200, 2));
        assert_eq!(quota(5, 1, 2), (5, 1));
        assert_eq!(quota(10, 1, 15), (20, 2));
        assert_eq!(quota(1, 3600, 2), (2, 7200));
        assert_eq!(quota(1, 1, 1), (1, 1));
    }

    #[test]
    fn what_is_left_is_told() {
        let (limiter, _) = limiter(1, 3600, 3, 100);
        let left: Vec<_> = (0..3).map(|_| limiter.take(limiter.key(1)).unwrap()).collect();
        assert_eq!(left.iter().map(|left| left.requests).collect::<Vec<_>>(), [2, 1, 0]);
        assert!(left.iter().all(|left| left.more_in <= Duration::from_secs(3600) && left.more_in > Duration::from_secs(3500)), "{left:?}");
    }

    #[test]
    fn looking_costs_nothing() {
        let (limiter, clock) = limiter(1, 3600, 2, 100);
        let key = limiter.key(1);
        assert!((0..10).all(|_| limiter.full(key).is_none()));
        assert_eq!(taken(&limiter, key, 5), 2);
        assert!(limiter.full(key).is_some_and(|wait| wait <= Duration::from_secs(3600)));
        clock.turn(Duration::from_secs(3600));
        assert!(limiter.full(key).is_none());
    }

    #[test]
    fn many_keys_take_bounded_room_and_the_busy_stay_limited() {
        let (limiter, clock) = limiter(1, 36_000, 3, 64);
        let busy = limiter.key("busy");
        let mut passed = 0;
        for i in 0..50_000 {
            let _ = limiter.take(limiter.key(i));
            passed += taken(&limiter, busy, 1);
            if i % 100 == 0 {
                clock.turn(Duration::from_millis(1));
            }
        }
        assert!(limiter.buckets.len() <= 64, "{}", limiter.buckets.len());
        assert_eq!(passed, 3);
    }

    #[test]
    fn all_threads_together_get_no_more() {
        let (limiter, _) = limiter(1, 36_000, 100, 100);
        let key = limiter.key("ada");
        let all: usize = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4).map(|_| s.spawn(|| taken(&limiter, key, 1000))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(all, 100);
    }

    #[test]
    fn one_who_has_a_network_is_one() {
        let (limiter, _) = limiter(1, 1, 1, 100);
        let source = |address: &str| limiter.source(address.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }
}
