//! An upstream's endpoints of now, and which of them a request goes to: one that is good, by load or by turns. Where none is good
//! all are used, since a request that may fail is better than one that must. It asks nobody how they are.

use super::Balance;
use super::member::Member;
use rand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One state of an upstream's endpoints.
#[derive(Default)]
pub(super) struct Members {
    pub all: Vec<Arc<Member>>,
    /// Why there is none, once that is known.
    pub why_none: Option<String>,
}

/// What a choice needs to remember.
pub(super) struct Choice {
    balance: Balance,
    /// Whose turn it is.
    turn: AtomicUsize,
    /// None of them is good.
    panicking: AtomicBool,
}

impl Choice {
    pub fn new(balance: Balance) -> Self {
        Self { balance, turn: AtomicUsize::new(0), panicking: AtomicBool::new(false) }
    }

    /// One that was not `tried`. `None`: all that could be chosen were.
    pub fn of<'a>(&self, all: &'a [Arc<Member>], now: u64, tried: &[u64]) -> Option<&'a Arc<Member>> {
        if let [only] = all {
            return (!tried.contains(&only.id)).then_some(only);
        }
        let untried = |m: &Member| !tried.contains(&m.id);
        let found = self.drawn(all, |m| m.good(now) && untried(m));
        if found.is_some() {
            if self.panicking.load(Ordering::Relaxed) && self.panicking.swap(false, Ordering::Relaxed) {
                tracing::info!(upstream = &*all[0].upstream, "endpoints are good again, and only those are used");
            }
            return found;
        }
        if all.is_empty() || all.iter().any(|m| m.good(now)) {
            return None;
        }
        if !self.panicking.swap(true, Ordering::Relaxed) {
            let upstream = &*all[0].upstream;
            tracing::error!(upstream, endpoints = all.len(), "no endpoint is healthy: all of them are used until one is");
        }
        self.drawn(all, untried)
    }

    /// All that are good, for when the chosen one has no place free.
    pub fn others<'a>(all: &'a [Arc<Member>], now: u64, tried: &'a [u64]) -> impl Iterator<Item = &'a Arc<Member>> {
        all.iter().filter(move |m| m.good(now) && !tried.contains(&m.id))
    }

    fn drawn<'a>(&self, all: &'a [Arc<Member>], may: impl Fn(&Member) -> bool) -> Option<&'a Arc<Member>> {
        match self.balance {
            Balance::RoundRobin => {
                let count = all.iter().filter(|m| may(m)).count();
                // A turn that nobody can take is nobody's.
                (count > 0).then(|| all.iter().filter(|m| may(m)).nth(self.turn.fetch_add(1, Ordering::Relaxed) % count))?
            }
            Balance::LeastLoaded => {
                // Nearly always both of the first two drawn may be chosen, and nothing has to be counted.
                let (one, other) = two(all.len())?;
                if may(&all[one]) && may(&all[other]) {
                    return Some(less_loaded(&all[one], &all[other]));
                }
                let count = all.iter().filter(|m| may(m)).count();
                let nth = |n| all.iter().filter(|m| may(m)).nth(n);
                let (one, other) = two(count)?;
                Some(less_loaded(nth(one)?, nth(other)?))
            }
        }
    }
}

fn less_loaded<'a>(one: &'a Arc<Member>, other: &'a Arc<Member>) -> &'a Arc<Member> {
    if other.load() < one.load() { other } else { one }
}

/// Two different numbers below `count`; the same one twice where there is but one.
fn two(count: usize) -> Option<(usize, usize)> {
    if count < 2 {
        return (count == 1).then_some((0, 0));
    }
    let mut rng = rand::rng();
    let one = rng.random_range(0..count);
    let other = rng.random_range(0..count - 1);
    Some((one, if other >= one { other + 1 } else { other }))
}
