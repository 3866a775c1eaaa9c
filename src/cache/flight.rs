//! Single flight: one exchange a key, however many wait for it, and what becomes of it when a purge comes over it. A state
//! machine of its own: it knows neither tokens nor exchanges, nor where an outcome is kept. `tests/loom` runs it under loom.

use crate::bounded::Claims;
use crate::token::{Freshness, next_generation};
#[cfg(loom)]
use loom::sync::{Arc, Mutex, MutexGuard};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// Everything that is in the air: by key `K`, about `T`, with an outcome `O`.
pub(super) struct Flights<K, T, O> {
    /// Oldest first: a newer one may start over an older one, and is the one that is joined from then on.
    airborne: Arc<Claims<K, Arc<Flight<T, O>>>>,
}

struct Flight<T, O> {
    generation: u64,
    /// Started because what was held, or in the air, was not new enough.
    forced: bool,
    about: T,
    state: Mutex<State<O>>,
}

struct State<O> {
    phase: Phase<O>,
    /// A purge has come over it: what comes of it must not be kept.
    grounded: bool,
    /// Somebody has waited for it, or does.
    awaited: bool,
    wakers: Vec<Waker>,
}

enum Phase<O> {
    Flying,
    Landed(O),
    /// It ended, and nothing came of it.
    Lost,
}

/// What boarding came to.
pub(super) enum Boarded<K: Eq + Hash + Copy, T, O> {
    /// It was over already, and this came of it.
    Landed(O),
    /// Somebody else's exchange is waited for.
    Joined(Wait<T, O>),
    /// The asker has to make the exchange, and waits like everybody else.
    Started(Landing<K, T, O>),
}

impl<K: Eq + Hash + Copy, T, O: Clone> Flights<K, T, O> {
    pub(super) fn new() -> Self {
        Self { airborne: Arc::new(Claims::default()) }
    }

    /// Joins the flight for `key` if it is new enough for the asker, or starts one.
    /// `landed` is asked once the key is held: no flight for it can start or be joined in between.
    pub(super) fn board(
        &self,
        key: K,
        freshness: Freshness,
        about: impl FnOnce() -> T,
        landed: impl FnOnce() -> Option<O>,
    ) -> Boarded<K, T, O> {
        self.airborne.claim(key, |flights| {
            if let Some(flight) = flights.iter().rev().find(|f| f.joinable(freshness)) {
                return Boarded::Joined(Wait::new(flight));
            }
            match landed() {
                Some(outcome) => Boarded::Landed(outcome),
                None => Boarded::Started(self.start(key, freshness != Freshness::Any, about(), flights)),
            }
        })
    }

    /// Starts a flight for `key` if there is none.
    pub(super) fn start_alone(&self, key: K, about: impl FnOnce() -> T) -> Option<Landing<K, T, O>> {
        self.airborne.claim(key, |flights| flights.is_empty().then(|| self.start(key, false, about(), flights)))
    }

    /// Whether there is a flight for `key`.
    pub(super) fn under_way(&self, key: K) -> bool {
        self.airborne.claim(key, |flights| !flights.is_empty())
    }

    fn start(&self, key: K, forced: bool, about: T, flights: &mut Vec<Arc<Flight<T, O>>>) -> Landing<K, T, O> {
        let state = State { phase: Phase::Flying, grounded: false, awaited: false, wakers: Vec::new() };
        // Drawn under the claim: whoever joins later sees a generation that is not younger than the exchange.
        let flight = Arc::new(Flight { generation: next_generation(), forced, about, state: Mutex::new(state) });
        flights.push(flight.clone());
        Landing { airborne: self.airborne.clone(), key, flight }
    }

    /// Nobody joins any more what `whom` says, and nothing of it is kept. Who waits gets `verdict` at once; without one, the
    /// exchange has to be made again ([`Landing::land`]). Returns how many flights that were.
    pub(super) fn purge(&self, whom: impl Fn(&T) -> bool, verdict: Option<&O>) -> usize {
        let (mut count, mut wakers) = (0, Vec::new());
        self.airborne.retain(|flight| {
            if !whom(&flight.about) {
                return true;
            }
            let mut state = flight.state();
            state.grounded = true;
            if let Some(verdict) = verdict {
                // Over an outcome too, which somebody may not have looked at yet.
                state.phase = Phase::Landed(verdict.clone());
                wakers.append(&mut state.wakers);
            }
            count += 1;
            false
        });
        wakers.into_iter().for_each(Waker::wake);
        count
    }
}

impl<T, O> Flight<T, O> {
    /// One that is over is not joined, though its key may not be free yet: what came of it, where it was kept, is found there; and a
    /// failure that is not to be remembered is nobody's but theirs who waited for it.
    fn joinable(&self, freshness: Freshness) -> bool {
        matches!(self.state().phase, Phase::Flying) && self.new_enough(freshness)
    }

    fn new_enough(&self, freshness: Freshness) -> bool {
        match freshness {
            Freshness::Any => true,
            Freshness::NewerThan(seen) => self.generation > seen,
            Freshness::Forced => self.forced,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it for all who wait, if it has not ended yet. `false`: it has been grounded, and that was not to be ignored.
    fn settle(&self, phase: Phase<O>, though_grounded: bool) -> bool {
        let mut state = self.state();
        if matches!(state.phase, Phase::Flying) {
            if state.grounded && !though_grounded {
                return false;
            }
            state.phase = phase;
        }
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        true
    }
}

/// Waits for a flight; `None`: it was lost.
pub(super) struct Wait<T, O> {
    flight: Arc<Flight<T, O>>,
    /// Where its waker stands.
    place: Option<usize>,
}

impl<T, O> Wait<T, O> {
    fn new(flight: &Arc<Flight<T, O>>) -> Self {
        flight.state().awaited = true;
        Self { flight: flight.clone(), place: None }
    }
}

impl<T, O: Clone> Future for Wait<T, O> {
    type Output = Option<O>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O>> {
        let me = &mut *self;
        let mut state = me.flight.state();
        match &state.phase {
            Phase::Landed(outcome) => Poll::Ready(Some(outcome.clone())),
            Phase::Lost => Poll::Ready(None),
            Phase::Flying => {
                match me.place.and_then(|at| state.wakers.get_mut(at)) {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => {
                        me.place = Some(state.wakers.len());
                        state.wakers.push(cx.waker().clone());
                    }
                }
                Poll::Pending
            }
        }
    }
}

/// The end of one flight. Whatever becomes of it, the key is freed and everybody who waits is woken.
pub(super) struct Landing<K: Eq + Hash + Copy, T, O> {
    airborne: Arc<Claims<K, Arc<Flight<T, O>>>>,
    key: K,
    flight: Arc<Flight<T, O>>,
}

impl<K: Eq + Hash + Copy, T, O: Clone> Landing<K, T, O> {
    pub(super) fn generation(&self) -> u64 {
        self.flight.generation
    }

    pub(super) fn forced(&self) -> bool {
        self.flight.forced
    }

    /// Whether it is this very flight that is `about` that.
    pub(super) fn is_about(&self, about: &T) -> bool {
        std::ptr::eq(&raw const self.flight.about, about)
    }

    pub(super) fn wait(&self) -> Wait<T, O> {
        Wait::new(&self.flight)
    }

    /// Whether a purge has come over it. To be asked by whoever keeps what came of it, while the place where it is kept is held.
    pub(super) fn grounded(&self) -> bool {
        self.flight.state().grounded
    }

    /// Gives `outcome`, which was kept before, to everybody who waits: who asks after this looks where it was kept.
    ///
    /// # Errors
    /// A purge has come over it and left those who wait without a verdict: what was asked for before it counts for nothing.
    pub(super) fn land(self, outcome: O) -> Result<(), Self> {
        if self.flight.settle(Phase::Landed(outcome), false) { Ok(()) } else { Err(self) }
    }

    /// Gives `outcome` to everybody who waits, purge or no purge.
    pub(super) fn settle(self, outcome: O) {
        self.flight.settle(Phase::Landed(outcome), true);
    }

    /// Ends it without an outcome.
    ///
    /// # Errors
    /// When somebody waits for one by now.
    pub(super) fn retire(self) -> Result<(), Self> {
        let awaited = self.airborne.claim(self.key, |flights| {
            let awaited = self.awaited();
            if !awaited {
                flights.retain(|f| !Arc::ptr_eq(f, &self.flight));
            }
            awaited
        });
        if awaited { Err(self) } else { Ok(()) }
    }

    pub(super) fn awaited(&self) -> bool {
        self.flight.state().awaited
    }
}

impl<K: Eq + Hash + Copy, T, O> Drop for Landing<K, T, O> {
    fn drop(&mut self) {
        // After a landing it has an outcome already. Otherwise whoever waits is told that there will be none.
        self.flight.settle(Phase::Lost, true);
        self.airborne.claim(self.key, |flights| flights.retain(|f| !Arc::ptr_eq(f, &self.flight)));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_joined_by_nobody_even_before_its_key_is_free() {
        for freshness in [Freshness::Any, Freshness::NewerThan(0)] {
            let flights: Flights<u8, (), Result<u64, ()>> = Flights::new();
            let Boarded::Started(landing) = flights.board(7, Freshness::Any, || (), || None) else { panic!("nobody else is here") };
            assert!(matches!(flights.board(7, freshness, || (), || None), Boarded::Joined(_)));
            // What `land` does first; the thread that lands may stand still before it frees the key.
            landing.flight.settle(Phase::Landed(Err(())), false);
            assert!(matches!(flights.board(7, freshness, || (), || None), Boarded::Started(_)));
            drop(landing);
        }
    }
}
