//! Whose tokens are where: what is held for a user or a session, so that a purge need not look at everything. What is held lists
//! itself when it is made and is struck out when it is dropped: the index is never larger than what is held.

use crate::token::{Digest, Subject};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pairs of a name's digest and a place of what is held. Locked after a bucket's shard, never before one.
pub(super) struct Index<P> {
    pairs: Mutex<BTreeSet<(Digest, P)>>,
}

/// A bucket, or one token in a bucket.
pub(super) trait Place: Ord + Copy {
    const FIRST: Self;
    const LAST: Self;
}

impl Place for Digest {
    const FIRST: Self = Self::FIRST;
    const LAST: Self = Self::LAST;
}

impl Place for (Digest, Digest) {
    const FIRST: Self = (Digest::FIRST, Digest::FIRST);
    const LAST: Self = (Digest::LAST, Digest::LAST);
}

/// A user or a session, at one issuer.
#[derive(Clone, Copy)]
pub(super) struct Name(Digest);

impl Name {
    pub(super) fn user(issuer: &str, sub: &str) -> Self {
        Self(Digest::of_parts([&b"sub"[..], issuer.as_bytes(), sub.as_bytes()]))
    }

    pub(super) fn session(issuer: &str, sid: &str) -> Self {
        Self(Digest::of_parts([&b"sid"[..], issuer.as_bytes(), sid.as_bytes()]))
    }

    fn all_of(subject: &Subject) -> impl Iterator<Item = Self> {
        let session = subject.sid.as_ref().map(|sid| Self::session(&subject.issuer, sid));
        [Some(Self::user(&subject.issuer, &subject.sub)), session].into_iter().flatten()
    }
}

impl<P> Default for Index<P> {
    fn default() -> Self {
        Self { pairs: Mutex::default() }
    }
}

impl<P: Place> Index<P> {
    /// What one listing takes here: two pairs, a third larger than themselves on the average of the tree's nodes.
    pub(super) const BYTES: usize = 2 * size_of::<(Digest, P)>() * 4 / 3;

    /// What is listed under `name`.
    pub(super) fn find(&self, name: Name) -> Vec<P> {
        self.pairs().range((name.0, P::FIRST)..=(name.0, P::LAST)).map(|(_, place)| *place).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pairs().len()
    }

    fn pairs(&self) -> MutexGuard<'_, BTreeSet<(Digest, P)>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps something listed for as long as it lives.
pub(super) struct Listed<P: Place> {
    index: Arc<Index<P>>,
    subject: Arc<Subject>,
    place: P,
}

impl<P: Place> Listed<P> {
    pub(super) fn new(index: &Arc<Index<P>>, subject: &Arc<Subject>, place: P) -> Self {
        let mut pairs = index.pairs();
        pairs.extend(Name::all_of(subject).map(|name| (name.0, place)));
        drop(pairs);
        Self { index: index.clone(), subject: subject.clone(), place }
    }
}

impl<P: Place> Listed<P> {
    /// Whose it is.
    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl<P: Place> Drop for Listed<P> {
    fn drop(&mut self) {
        let mut pairs = self.index.pairs();
        for name in Name::all_of(&self.subject) {
            pairs.remove(&(name.0, self.place));
        }
    }
}
