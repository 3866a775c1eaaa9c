//! Single flight: one exchange a key, however many wait for it. It knows who flies and who waits, and nothing of how an
//! exchange is made or where its outcome is kept.

use super::Key;
use crate::bounded::{Claimed, Claims};
use crate::fault::{Fault, Why};
use crate::token::{Freshness, Granted, next_generation};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

type Outcome = Result<Granted, Fault>;
type Slot = watch::Sender<Option<Outcome>>;

/// Everything that is in the air.
#[derive(Default)]
pub(super) struct Flights {
    airborne: Claims<Key, Airborne>,
}

struct Airborne {
    generation: u64,
    slot: Slot,
}

/// What boarding came to.
pub(super) enum Flight {
    /// It was over already, and this came of it.
    Landed(Granted),
    /// Somebody else's exchange is waited for.
    Joined(BoxFuture<'static, Outcome>),
    /// The asker has to start the exchange, with this generation, and waits like everybody else.
    Started { wait: BoxFuture<'static, Outcome>, takeoff: Takeoff },
}

/// What the one who starts a flight needs to land it.
pub(super) struct Takeoff {
    key: Key,
    generation: u64,
    /// The waiters' channel, held here too: a newer flight may take the key over while this one is in the air.
    slot: Slot,
}

impl Flights {
    /// Joins the flight for `key` if it started later than what the asker has seen, or starts one.
    /// `landed` is asked once the key is held: no flight for it can land in between.
    pub(super) fn board(&self, key: &Key, freshness: Freshness, landed: impl FnOnce() -> Option<Granted>) -> Flight {
        self.airborne.claim(*key, |held| match held {
            Some(at) if joinable(at.generation, freshness) => Claimed::Keep(Flight::Joined(wait(at.slot.subscribe()))),
            _ => match landed() {
                Some(granted) => Claimed::Keep(Flight::Landed(granted)),
                None => {
                    // Drawn under the claim: whoever joins later sees a generation that is not younger than the exchange.
                    let generation = next_generation();
                    let (slot, outcome) = watch::channel(None);
                    let takeoff = Takeoff { key: *key, generation, slot: slot.clone() };
                    Claimed::Replace(Airborne { generation, slot }, Flight::Started { wait: wait(outcome), takeoff })
                }
            },
        })
    }
}

fn joinable(generation: u64, freshness: Freshness) -> bool {
    match freshness {
        Freshness::Any => true,
        Freshness::NewerThan(seen) => generation > seen,
    }
}

fn wait(mut outcome: watch::Receiver<Option<Outcome>>) -> BoxFuture<'static, Outcome> {
    Box::pin(async move {
        match outcome.wait_for(Option::is_some).await {
            Ok(seen) => seen.clone().unwrap_or_else(|| Err(lost())),
            Err(_) => Err(lost()),
        }
    })
}

fn lost() -> Fault {
    Fault::Internal(Why::new("an exchange ended without an outcome").cure("please report this as a bug").into())
}

/// The end of one flight: frees the key and wakes everybody who waits, even if nothing came of it.
pub(super) struct Landing<'a> {
    flights: &'a Flights,
    takeoff: Takeoff,
}

impl<'a> Landing<'a> {
    pub(super) fn new(flights: &'a Flights, takeoff: Takeoff) -> Self {
        Self { flights, takeoff }
    }

    pub(super) fn generation(&self) -> u64 {
        self.takeoff.generation
    }

    /// The outcome must have been kept before: after this, the next asker looks in the store and finds it.
    pub(super) fn land(self, outcome: Outcome) {
        self.free();
        self.takeoff.slot.send_replace(Some(outcome));
    }

    fn free(&self) {
        let Takeoff { key, generation, .. } = &self.takeoff;
        drop(self.flights.airborne.release(key, |at| at.generation == *generation));
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        // After `land` there is nothing left to free. Otherwise both ends of the channel go, and whoever waits is told.
        self.free();
    }
}
