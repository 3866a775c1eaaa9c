//! A concurrent map that cannot outgrow its bounds, in weight and in bytes: what is expired goes first, then the least recently
//! used of a sample. It starts no timer and no sweeper, and it never looks inside what it keeps; values say themselves what they weigh.

mod claims;

pub use claims::Claims;

use dashmap::DashMap;
use dashmap::mapref::entry::{Entry, OccupiedEntry};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that a [`Bounded`] map keeps.
pub trait Kept: Send + Sync {
    /// How much of the bound it takes. May change only inside [`Bounded::alter`].
    fn weight(&self) -> usize;
    /// The memory that it holds besides its own size. May change only inside [`Bounded::alter`].
    fn bytes(&self) -> usize {
        0
    }
    /// Whether it is of no more use at `now` ([`crate::clock::Clock::millis`]).
    fn expired(&self, now: u64) -> bool;
}

/// Why entries left, for the metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    pub expired: u64,
    pub size: u64,
}

struct Slot<V> {
    value: V,
    touched: AtomicU64,
    /// Where this entry's key stands in `order`, shared with the key there; written under its lock only.
    place: Arc<AtomicUsize>,
}

/// How many entries are looked at to find one that can go.
const SAMPLE: usize = 16;

pub struct Bounded<K, V> {
    map: DashMap<K, Slot<V>, foldhash::fast::RandomState>,
    /// All keys, in no order that matters: what a sample is drawn from. Locked after a shard of the map, never before one.
    order: Mutex<Vec<(K, Arc<AtomicUsize>)>>,
    weight: AtomicUsize,
    max: AtomicUsize,
    bytes: AtomicUsize,
    max_bytes: AtomicUsize,
}

impl<K: Eq + Hash + Clone, V: Kept> Bounded<K, V> {
    /// What an entry costs besides the bytes that its value counts: its places in the table and in `order`, both half as large
    /// again as what is in them, on the average of growing by doubling, and the allocation between them.
    pub const OVERHEAD: usize = size_of::<(K, Slot<V>)>() * 3 / 2 + size_of::<(K, Arc<AtomicUsize>)>() * 3 / 2 + 32;

    /// `max` is the largest sum of weights.
    pub fn new(max: usize) -> Self {
        Self::with_bytes(max, usize::MAX)
    }

    /// Bounded in bytes as well, each entry's [`Bounded::OVERHEAD`] among them.
    pub fn with_bytes(max: usize, max_bytes: usize) -> Self {
        Self {
            map: DashMap::with_hasher(Default::default()),
            order: Mutex::default(),
            weight: AtomicUsize::new(0),
            max: AtomicUsize::new(max.max(1)),
            bytes: AtomicUsize::new(0),
            max_bytes: AtomicUsize::new(max_bytes.max(1)),
        }
    }

    /// Changes the bounds; what is too much goes now.
    pub fn rebound(&self, max: usize, max_bytes: usize, now: u64) -> Evicted {
        self.max.store(max.max(1), Ordering::Relaxed);
        self.max_bytes.store(max_bytes.max(1), Ordering::Relaxed);
        self.shrink(None, now)
    }

    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    pub fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    pub fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// What all entries take, by their own account.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Looks at a value and marks it as used.
    pub fn get<R>(&self, key: &K, now: u64, look: impl FnOnce(&V) -> R) -> Option<R> {
        let slot = self.map.get(key)?;
        slot.touched.store(now, Ordering::Relaxed);
        Some(look(&slot.value))
    }

    /// Looks at a value without using it.
    pub fn peek<R>(&self, key: &K, look: impl FnOnce(&V) -> R) -> Option<R> {
        self.map.get(key).map(|slot| look(&slot.value))
    }

    /// Changes the value under `key`, made by `new` where there is none, and drops it again if it then weighs nothing.
    /// Afterwards entries go until the bound holds; what was just changed stays.
    pub fn alter<R>(&self, key: &K, now: u64, new: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> R) -> (R, Evicted) {
        let out = match self.map.entry(key.clone()) {
            Entry::Occupied(at) => self.change(at, Some(now), change),
            Entry::Vacant(at) => {
                let mut value = new();
                let out = change(&mut value);
                if value.weight() > 0 {
                    self.reweigh((0, 0), Self::weigh(&value));
                    let mut order = self.order();
                    let place = Arc::new(AtomicUsize::new(order.len()));
                    order.push((key.clone(), place.clone()));
                    at.insert(Slot { value, touched: AtomicU64::new(now), place });
                }
                out
            }
        };
        (out, self.shrink(Some(key), now))
    }

    /// Changes a value that is there; `None` where it is not.
    pub fn alter_existing<R>(&self, key: &K, now: u64, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        match self.map.entry(key.clone()) {
            Entry::Occupied(at) => Some(self.change(at, Some(now), change)),
            Entry::Vacant(_) => None,
        }
    }

    /// Changes every value that was there when this began, one after another, and marks none as used: for what is rare enough
    /// to look at everything. What weighs nothing afterwards is gone.
    pub fn sweep(&self, mut change: impl FnMut(&mut V)) {
        // Read shard by shard, each behind whoever is changing it: no change that has begun is missed.
        let keys: Vec<K> = self.map.iter().map(|slot| slot.key().clone()).collect();
        for key in keys {
            if let Entry::Occupied(at) = self.map.entry(key) {
                self.change(at, None, &mut change);
            }
        }
    }

    /// `used`: it is marked as used then.
    fn change<R>(&self, mut at: OccupiedEntry<'_, K, Slot<V>>, used: Option<u64>, change: impl FnOnce(&mut V) -> R) -> R {
        let before = Self::weigh(&at.get().value);
        let out = change(&mut at.get_mut().value);
        if let Some(now) = used {
            at.get().touched.store(now, Ordering::Relaxed);
        }
        let after = Self::weigh(&at.get().value);
        self.reweigh(before, after);
        if after.0 == 0 {
            self.forget(at.get());
            at.remove();
        }
        out
    }

    pub fn remove(&self, key: &K) -> Option<V> {
        let (_, slot) = self.map.remove_if(key, |_, slot| {
            self.reweigh(Self::weigh(&slot.value), (0, 0));
            self.forget(slot);
            true
        })?;
        Some(slot.value)
    }

    fn shrink(&self, keep: Option<&K>, now: u64) -> Evicted {
        let mut gone = Evicted::default();
        while self.weight() > self.max() || self.bytes() > self.max_bytes() {
            let Some((victim, expired)) = self.victim(keep, now) else { break };
            let Some(value) = self.remove(&victim) else { continue };
            let count = value.weight() as u64;
            *(if expired { &mut gone.expired } else { &mut gone.size }) += count;
        }
        gone
    }

    /// The first expired or else the least recently used of a sample.
    fn victim(&self, keep: Option<&K>, now: u64) -> Option<(K, bool)> {
        let sample: Vec<K> = {
            let order = self.order();
            let n = order.len();
            let pick = |i: usize| order[i].0.clone();
            if n <= SAMPLE { (0..n).map(pick).collect() } else { (0..SAMPLE).map(|_| pick(rand::random_range(0..n))).collect() }
        };
        let mut oldest: Option<(u64, K)> = None;
        for key in sample.into_iter().filter(|k| Some(k) != keep) {
            let Some(slot) = self.map.get(&key) else { continue };
            if slot.value.expired(now) {
                drop(slot);
                return Some((key, true));
            }
            let touched = slot.touched.load(Ordering::Relaxed);
            drop(slot);
            if oldest.as_ref().is_none_or(|(t, _)| touched < *t) {
                oldest = Some((touched, key));
            }
        }
        oldest.map(|(_, k)| (k, false))
    }

    /// Takes an entry's key out of `order`; to be called while its shard is held, so that it is done once.
    fn forget(&self, slot: &Slot<V>) {
        let mut order = self.order();
        let place = slot.place.load(Ordering::Relaxed);
        order.swap_remove(place);
        if let Some((_, moved)) = order.get(place) {
            moved.store(place, Ordering::Relaxed);
        }
    }

    fn order(&self) -> MutexGuard<'_, Vec<(K, Arc<AtomicUsize>)>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Weight and bytes; what weighs nothing is not kept, and takes nothing.
    fn weigh(value: &V) -> (usize, usize) {
        match value.weight() {
            0 => (0, 0),
            weight => (weight, value.bytes() + Self::OVERHEAD),
        }
    }

    fn reweigh(&self, before: (usize, usize), after: (usize, usize)) {
        // Wrapping, as atomics do: one step, and the sum is right once everybody is done.
        self.weight.fetch_add(after.0.wrapping_sub(before.0), Ordering::Relaxed);
        self.bytes.fetch_add(after.1.wrapping_sub(before.1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(usize, u64);
    impl Kept for Item {
        fn weight(&self) -> usize {
            self.0
        }
        fn bytes(&self) -> usize {
            self.0 * 100
        }
        fn expired(&self, now: u64) -> bool {
            self.1 <= now
        }
    }

    fn put(map: &Bounded<u64, Item>, key: u64, now: u64, expires: u64) -> Evicted {
        map.alter(&key, now, || Item(1, expires), |_| ()).1
    }

    #[test]
    fn expired_go_first_then_the_least_recently_used() {
        let map = Bounded::new(3);
        put(&map, 1, 1, 1000);
        put(&map, 2, 2, 5);
        put(&map, 3, 3, 1000);
        assert_eq!(put(&map, 4, 10, 1000), Evicted { expired: 1, size: 0 });
        assert!(map.get(&2, 10, |_| ()).is_none());
        map.get(&1, 11, |_| ());
        assert_eq!(put(&map, 5, 12, 1000), Evicted { expired: 0, size: 1 });
        assert!(map.get(&3, 12, |_| ()).is_none(), "3 was the least recently used");
        assert_eq!((map.len(), map.weight()), (3, 3));
    }

    #[test]
    fn what_weighs_nothing_is_gone() {
        let map = Bounded::new(3);
        put(&map, 1, 1, 1000);
        map.alter_existing(&1, 2, |item| item.0 = 0);
        assert_eq!((map.len(), map.weight(), map.order().len()), (0, 0, 0));
        map.alter(&2, 2, || Item(0, 0), |_| ());
        assert!(map.is_empty());
    }

    #[test]
    fn bytes_are_a_bound_of_their_own() {
        let each = Bounded::<u64, Item>::OVERHEAD + 100;
        let map = Bounded::with_bytes(1000, 3 * each);
        for key in 0..5 {
            put(&map, key, key, 1000);
            assert!(map.bytes() <= 3 * each);
        }
        assert_eq!((map.len(), map.bytes()), (3, 3 * each));
        map.sweep(|item| item.0 = if item.1 == 1000 { 0 } else { 1 });
        assert_eq!((map.len(), map.bytes(), map.weight(), map.order().len()), (0, 0, 0, 0));
    }

    #[test]
    fn the_bound_and_the_books_hold_under_threads() {
        let map: Bounded<u64, Item> = Bounded::new(50);
        std::thread::scope(|s| {
            for t in 0..4u64 {
                let map = &map;
                s.spawn(move || {
                    for i in 0..20_000u64 {
                        let key = (i * 7 + t * 13) % 200;
                        match i % 5 {
                            0 => drop(map.remove(&key)),
                            1 => drop(map.get(&key, i, |_| ())),
                            2 => drop(map.alter_existing(&key, i, |item| item.0 = (i % 3) as usize)),
                            _ => drop(map.alter(&key, i, || Item(1, i + 100), |_| ())),
                        }
                    }
                });
            }
        });
        let order = map.order();
        assert_eq!(order.len(), map.map.len());
        for (place, (key, at)) in order.iter().enumerate() {
            assert_eq!(at.load(Ordering::Relaxed), place);
            assert!(map.map.contains_key(key));
        }
        assert_eq!(map.weight(), map.map.iter().map(|e| e.value().value.weight()).sum::<usize>());
        assert_eq!(map.bytes(), map.map.iter().map(|e| Bounded::<u64, Item>::weigh(&e.value().value).1).sum::<usize>());
        assert!(map.weight() <= 50 + 4, "a little over while threads race, never more");
    }
}
