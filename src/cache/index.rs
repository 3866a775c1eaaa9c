//! Whose tokens are where: which subject tokens are held for a user or a session, so that a purge need not look at everything.
//! A bucket lists itself when it is made and is struck out when it is dropped: the index is never larger than what is held.

use crate::token::{Digest, Subject};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pairs of a name's digest and a bucket's. Locked after a bucket's shard, never before one.
#[derive(Default)]
pub(super) struct Index {
    pairs: Mutex<BTreeSet<(Digest, Digest)>>,
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

impl Index {
    /// What a listed bucket takes here: two pairs, a third larger than themselves on the average of the tree's nodes.
    pub(super) const BYTES: usize = 2 * size_of::<(Digest, Digest)>() * 4 / 3;

    /// The buckets that are listed under `name`.
    pub(super) fn find(&self, name: Name) -> Vec<Digest> {
        let (first, last) = (Digest::FIRST, Digest::LAST);
        self.pairs().range((name.0, first)..=(name.0, last)).map(|(_, bucket)| *bucket).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pairs().len()
    }

    fn pairs(&self) -> MutexGuard<'_, BTreeSet<(Digest, Digest)>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a bucket listed for as long as it lives.
pub(super) struct Listed {
    index: Arc<Index>,
    subject: Arc<Subject>,
    bucket: Digest,
}

impl Listed {
    pub(super) fn new(index: &Arc<Index>, subject: &Arc<Subject>, bucket: Digest) -> Self {
        let mut pairs = index.pairs();
        pairs.extend(Name::all_of(subject).map(|name| (name.0, bucket)));
        drop(pairs);
        Self { index: index.clone(), subject: subject.clone(), bucket }
    }

    pub(super) fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut pairs = self.index.pairs();
        for name in Name::all_of(&self.subject) {
            pairs.remove(&(name.0, self.bucket));
        }
    }
}
