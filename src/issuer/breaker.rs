//! When an issuer is left in peace: after outages in a row (the circuit), and for as long as it asked for (`Retry-After`). It
//! counts what it is told and makes no call; refusals are no outages, and whoever reports one here is wrong.

use crate::clock::{Clock, millis};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest that an issuer's `Retry-After` is obeyed.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Outages in a row that open the circuit.
    pub failures: u32,
    /// How long nobody is let through then; after that one, whose luck decides for all.
    pub open_for: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 10, open_for: Duration::from_secs(5) }
    }
}

/// Why no call may be made now, and for how long at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// It has been failing; `failures` in a row.
    Circuit { left: Duration },
    /// It asked for it.
    Pause { left: Duration },
}

/// What a call that ended has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Opened,
    /// It answers again.
    Mended,
}

/// How it stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Calls are made.
    Closed,
    /// None are, after outages in a row.
    Open,
    /// One call is let through, or under way, to find out.
    Probing,
    /// None are, because the issuer asked for it.
    Paused,
}

/// A breaker, and the clock that it goes by.
pub struct Breaker {
    clock: Clock,
    state: Mutex<State>,
}

impl Breaker {
    pub fn new(settings: Settings, clock: Clock) -> Self {
        Self { clock, state: Mutex::new(State::new(settings)) }
    }

    /// Leave for one call.
    ///
    /// # Errors
    /// When it must not be made.
    pub fn admit(&self) -> Result<Pass<'_>, Barred> {
        let ticket = self.state().admit(self.clock.millis())?;
        Ok(Pass { breaker: self, ticket: Some(ticket) })
    }

    /// Whether a call would be admitted now.
    ///
    /// # Errors
    /// When it would not.
    pub fn look(&self) -> Result<(), Barred> {
        self.state().look(self.clock.millis())
    }

    /// How it stands, and for how long at least where no call is made.
    pub fn standing(&self) -> (Standing, Option<Duration>) {
        let state = self.state();
        match (state.circuit, state.look(self.clock.millis())) {
            (_, Err(Barred::Pause { left })) => (Standing::Paused, Some(left)),
            (Circuit::Open { .. }, Err(Barred::Circuit { left })) => (Standing::Open, Some(left)),
            (Circuit::Closed { .. }, _) => (Standing::Closed, None),
            (Circuit::Open { .. } | Circuit::Probing, _) => (Standing::Probing, None),
        }
    }

    /// No calls for as long as the issuer asked, [`LONGEST_PAUSE`] at the most.
    pub fn pause(&self, asked: Duration) {
        self.state().pause(self.clock.millis(), asked);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one call, to be given back with how it ended. Dropped without a word, nothing is known of the issuer.
pub struct Pass<'a> {
    breaker: &'a Breaker,
    ticket: Option<Ticket>,
}

impl Pass<'_> {
    /// It answered, a refusal included.
    pub fn answered(self) -> Change {
        self.ended(Ended::Answered)
    }

    /// It could not be reached, did not answer, or answered nonsense.
    pub fn failed(self) -> Change {
        self.ended(Ended::Failed)
    }

    fn ended(mut self, how: Ended) -> Change {
        let Some(ticket) = self.ticket.take() else { return Change::Nothing };
        self.breaker.state().ended(self.breaker.clock.millis(), ticket, how)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.state().ended(self.breaker.clock.millis(), ticket, Ended::Unknown);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Answered,
    Failed,
    Unknown,
}

/// Which time between two openings a call began in: what it finds out says nothing of a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    era: u64,
}

#[derive(Clone, Copy, Debug)]
enum Circuit {
    Closed {
        failures: u32,
    },
    Open {
        until: u64,
    },
    /// One call is under way to find out.
    Probing,
}

/// The breaker without clock and lock: every `now` is in milliseconds and never goes back.
#[derive(Debug)]
struct State {
    settings: Settings,
    circuit: Circuit,
    era: u64,
    paused_until: u64,
}

impl State {
    fn new(settings: Settings) -> Self {
        Self { settings, circuit: Circuit::Closed { failures: 0 }, era: 0, paused_until: 0 }
    }

    fn look(&self, now: u64) -> Result<(), Barred> {
        let left = |until: u64| Duration::from_millis(until.saturating_sub(now));
        match self.circuit {
            Circuit::Open { until } if now < until => Err(Barred::Circuit { left: left(until) }),
            Circuit::Probing => Err(Barred::Circuit { left: Duration::ZERO }),
            _ if now < self.paused_until => Err(Barred::Pause { left: left(self.paused_until) }),
            Circuit::Open { .. } | Circuit::Closed { .. } => Ok(()),
        }
    }

    fn admit(&mut self, now: u64) -> Result<Ticket, Barred> {
        self.look(now)?;
        if let Circuit::Open { .. } = self.circuit {
            self.circuit = Circuit::Probing;
            self.era += 1;
        }
        Ok(Ticket { era: self.era })
    }

    fn ended(&mut self, now: u64, ticket: Ticket, how: Ended) -> Change {
        if ticket.era != self.era {
            return Change::Nothing;
        }
        match (self.circuit, how) {
            // Whoever was still under way when it opened.
            (Circuit::Open { .. }, _) | (Circuit::Closed { .. }, Ended::Unknown) => Change::Nothing,
            (Circuit::Closed { .. }, Ended::Answered) => {
                self.circuit = Circuit::Closed { failures: 0 };
                Change::Nothing
            }
            (Circuit::Closed { failures }, Ended::Failed) if failures + 1 < self.settings.failures => {
                self.circuit = Circuit::Closed { failures: failures + 1 };
                Change::Nothing
            }
            (Circuit::Closed { .. }, Ended::Failed) => {
                self.open_until(now + millis(self.settings.open_for));
                Change::Opened
            }
            (Circuit::Probing, Ended::Answered) => {
                self.circuit = Circuit::Closed { failures: 0 };
                Change::Mended
            }
            (Circuit::Probing, Ended::Failed) => {
                self.open_until(now + millis(self.settings.open_for));
                Change::Nothing
            }
            // The next one finds out.
            (Circuit::Probing, Ended::Unknown) => {
                self.open_until(now);
                Change::Nothing
            }
        }
    }

    fn open_until(&mut self, until: u64) {
        self.circuit = Circuit::Open { until };
    }

    fn pause(&mut self, now: u64, asked: Duration) {
        self.paused_until = self.paused_until.max(now + millis(asked.min(LONGEST_PAUSE)));
    }
}

#[cfg(test)]
mod tests;
