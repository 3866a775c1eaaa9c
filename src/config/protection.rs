//! How much of an issuer may be taken: attempts, calls at a time, the queue, the circuit breaker. It counts nothing itself.

use super::duration::positive;
use super::section::Section;
use crate::issuer::{BreakerSettings, Protection};

pub fn read(section: &mut Section) -> Protection {
    let by_default = Protection::default();
    let attempts = section.take("retries", |value| {
        let mut section = value.section(&[])?;
        let attempts = section.take("attempts", |v| v.count(0, 10));
        section.finish();
        attempts.map(|at| at.value)
    });
    let max_in_flight = section.take("max_in_flight", |v| v.count(1, 100_000));
    let max_queue = section.take("max_queue", |v| v.count(0, 1_000_000));
    let breaker = section.take("circuit_breaker", |value| {
        let mut section = value.section(&[])?;
        let failures = section.take("failures", |v| v.count(1, 1_000_000));
        let open_for = section.take("open_for", positive);
        section.finish();
        Some(BreakerSettings {
            failures: failures.and_then(|at| u32::try_from(at.value).ok()).unwrap_or(by_default.breaker.failures),
            open_for: open_for.map_or(by_default.breaker.open_for, |at| at.value),
        })
    });
    Protection {
        retries: attempts.and_then(|at| u32::try_from(at.value).ok()).unwrap_or(by_default.retries),
        max_in_flight: max_in_flight.map_or(by_default.max_in_flight, |at| at.value),
        max_queue: max_queue.map_or(by_default.max_queue, |at| at.value),
        breaker: breaker.map_or(by_default.breaker, |at| at.value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{refused_issuer, with_issuer};
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_defaults_of_the_contract_and_all_that_can_be_said() {
        let of = |written: &str| with_issuer(written).issuers.remove(0).issuer.protection;
        let breaker = BreakerSettings { failures: 10, open_for: Duration::from_secs(5) };
        assert_eq!(of(""), Protection { retries: 1, max_in_flight: 64, max_queue: 1024, breaker });
        let said = "retries: { attempts: 0 }\nmax_in_flight: 8\nmax_queue: 0\ncircuit_breaker: { failures: 3, open_for: 2s }";
        let breaker = BreakerSettings { failures: 3, open_for: Duration::from_secs(2) };
        assert_eq!(of(said), Protection { retries: 0, max_in_flight: 8, max_queue: 0, breaker });
        assert_eq!(of("circuit_breaker: { failures: 3 }").breaker.open_for, Duration::from_secs(5));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for written in
            ["max_in_flight: 0", "circuit_breaker: { failures: 0 }", "retries: { attempts: 1000 }", "circuit_breaker: { open_for: 0s }"]
        {
            assert_eq!(refused_issuer(written), [Code::Range], "{written}");
        }
        assert_eq!(refused_issuer("circuit_breaker: { open_for: 5 }"), [Code::Quantity]);
        assert_eq!(refused_issuer("retries: 1"), [Code::WrongType]);
    }
}
