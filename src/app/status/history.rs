//! Ten minutes of what was counted, in rings of fixed size: a look at the counters every few seconds, and nothing on a request's way.
//! What is told of a time is the difference between two looks.

use crate::app::lasting::Lasting;
use crate::metrics::{IssuerReading, RouteReading, UpstreamReading};
use crate::stack::{InForce, Route};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Between two looks.
pub(super) const STEP_SECONDS: u64 = 10;
/// Steps that are kept.
pub(super) const STEPS: usize = 60;
/// Routes (the first by their names) that have a history, so that the memory for it has a bound.
pub(super) const MOST_ROUTES: usize = 1000;
/// A time shorter than this says nothing about a rate.
const SHORTEST: f64 = 1.0;

type Named<T> = BTreeMap<Arc<str>, Ring<T>>;

#[derive(Default)]
pub(super) struct History {
    pub routes: Named<RouteReading>,
    pub issuers: Named<IssuerReading>,
    pub upstreams: Named<UpstreamReading>,
}

/// What was seen, the oldest first.
pub(super) struct Ring<T>(VecDeque<(u64, T)>);

impl<T> Ring<T> {
    fn push(&mut self, at: u64, seen: T) {
        if self.0.len() > STEPS {
            self.0.pop_front();
        }
        self.0.push_back((at, seen));
    }

    /// What was seen first of all that is kept.
    pub fn oldest(&self) -> Option<&T> {
        self.0.front().map(|(_, seen)| seen)
    }

    /// How much a number has grown a second: in each step, and in what has begun since.
    pub fn rates(&self, at: u64, now: &T, number: impl Fn(&T) -> u64) -> Vec<f64> {
        let looks = self.0.iter().map(|(at, seen)| (*at, number(seen))).chain([(at, number(now))]);
        let looks: Vec<(u64, u64)> = looks.collect();
        looks.windows(2).filter_map(|pair| rate(pair[0], pair[1])).collect()
    }

    /// What came in each step, and in what has begun since.
    pub fn steps<'a, D>(&'a self, now: &'a T, came: impl Fn(&T, &T) -> D) -> impl Iterator<Item = D> {
        let before = self.0.iter().map(|(_, seen)| seen);
        let after = before.clone().skip(1).chain([now]);
        before.zip(after).map(move |(before, after)| came(after, before))
    }

    /// How much a number grows a second now: in the last full step and what has begun since.
    pub fn rate(&self, at: u64, now: &T, number: impl Fn(&T) -> u64) -> f64 {
        let before = self.0.iter().rev().find(|(then, _)| at.saturating_sub(*then) >= STEP_SECONDS * 1000).or(self.0.front());
        before.and_then(|(then, seen)| rate((*then, number(seen)), (at, number(now)))).unwrap_or(0.0)
    }
}

fn rate((then, before): (u64, u64), (at, now): (u64, u64)) -> Option<f64> {
    let seconds = at.saturating_sub(then) as f64 / 1000.0;
    // Three digits are all that anybody looks at.
    (seconds >= SHORTEST).then(|| (now.saturating_sub(before) as f64 / seconds * 1000.0).round() / 1000.0)
}

/// A history that is written by one and read by those who look.
#[derive(Default)]
pub(super) struct Kept(Mutex<History>);

impl Kept {
    pub fn now(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more look at everything that there is; what is no more is forgotten.
    pub fn look(&self, lasting: &Lasting) {
        let at = lasting.rooms.clock.millis();
        let (in_force, world) = (lasting.shared.in_force.load(), lasting.world.load());
        let routes = routes(&in_force);
        let mut history = self.now();
        fill(&mut history.routes, at, routes.iter().take(MOST_ROUTES).map(|(name, route)| ((*name).clone(), route.metrics.read())));
        fill(&mut history.issuers, at, world.issuers.iter().map(|(name, made)| (name.clone(), made.issuer.seen().reading)));
        fill(&mut history.upstreams, at, world.upstreams.iter().map(|(name, upstream)| (name.clone(), upstream.reading())));
    }
}

fn fill<T>(rings: &mut Named<T>, at: u64, seen: impl Iterator<Item = (Arc<str>, T)>) {
    let mut before = std::mem::take(rings);
    for (name, seen) in seen {
        let mut ring = before.remove(&name).unwrap_or(Ring(VecDeque::with_capacity(STEPS + 1)));
        ring.push(at, seen);
        rings.insert(name, ring);
    }
}

/// Each route once, by its name, whatever listeners it is at.
pub(super) fn routes(in_force: &InForce) -> BTreeMap<&Arc<str>, &Arc<Route>> {
    in_force.routes.by_listener.iter().flat_map(|(_, table)| table.routes()).map(|route| (&route.name, route)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(looks: impl IntoIterator<Item = (u64, u64)>) -> Ring<u64> {
        let mut ring = Ring(VecDeque::new());
        looks.into_iter().for_each(|(at, seen)| ring.push(at, seen));
        ring
    }

    #[test]
    fn rates_are_told_by_the_time_that_really_went_by() {
        let ring = ring([(0, 0), (10_000, 100), (30_000, 100)]);
        assert_eq!(ring.rates(32_000, &108, |n| *n), [10.0, 0.0, 4.0]);
        assert_eq!(ring.rates(30_500, &108, |n| *n), [10.0, 0.0], "too short a time to tell");
        assert_eq!(ring.rate(32_000, &108, |n| *n), 0.364, "since a full step ago");
        assert_eq!(ring.rate(40_000, &150, |n| *n), 5.0);
    }

    #[test]
    fn it_holds_ten_minutes_and_no_more() {
        let ring = ring((0..1000).map(|n| (n * 10_000, n)));
        assert_eq!((ring.0.len(), ring.oldest()), (STEPS + 1, Some(&(999 - STEPS as u64))));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut rings = BTreeMap::new();
        fill(&mut rings, 0, [("a".into(), 1), ("b".into(), 1)].into_iter());
        fill(&mut rings, 1, [("b".into(), 2), ("c".into(), 2)].into_iter());
        let told: Vec<(&str, usize)> = rings.iter().map(|(name, ring)| (&**name, ring.0.len())).collect();
        assert_eq!(told, [("b", 2), ("c", 1)]);
    }
}
