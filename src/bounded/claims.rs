//! Keys for which something is under way, each behind a lock of its own kind: who decides about a key decides alone. It bounds
//! nothing; what is under way is bounded by those who start it.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::hash::Hash;

/// What is under way, by key.
pub struct Claims<K, F> {
    map: DashMap<K, Vec<F>, foldhash::fast::RandomState>,
}

impl<K: Eq + Hash, F> Default for Claims<K, F> {
    fn default() -> Self {
        Self { map: DashMap::with_hasher(Default::default()) }
    }
}

impl<K: Eq + Hash, F> Claims<K, F> {
    /// Looks at, and changes, what is under way for `key` while nobody else can.
    pub fn claim<R>(&self, key: K, decide: impl FnOnce(&mut Vec<F>) -> R) -> R {
        match self.map.entry(key) {
            Entry::Occupied(mut at) => {
                let out = decide(at.get_mut());
                if at.get().is_empty() {
                    at.remove();
                }
                out
            }
            Entry::Vacant(at) => {
                let mut under_way = Vec::new();
                let out = decide(&mut under_way);
                if !under_way.is_empty() {
                    at.insert(under_way);
                }
                out
            }
        }
    }

    /// Keeps of everything that is under way what `keep` says.
    pub fn retain(&self, mut keep: impl FnMut(&F) -> bool) {
        self.map.retain(|_, under_way| {
            under_way.retain(|f| keep(f));
            !under_way.is_empty()
        });
    }

    /// Keys for which something is under way.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_last_while_something_is_under_way() {
        let claims: Claims<u64, u64> = Claims::default();
        claims.claim(1, |under_way| under_way.extend([10, 11]));
        claims.claim(2, |_| ());
        assert_eq!(claims.len(), 1);
        claims.retain(|f| *f != 10);
        assert_eq!(claims.claim(1, std::mem::take), [11]);
        assert!(claims.is_empty());
    }
}
