//! `rate_limit` of a route: how many requests, counted by whom. It refuses to count callers whom nobody knows.

use super::callers::Callers;
use super::complaint::{Code, Complaint};
use super::place::At;
use super::rate::{self, rate};
use super::reading::Value;
use super::section::Section;
use crate::stack::{self, CountedBy, Rate};

const BY: &[(&str, CountedBy)] = &[("subject", CountedBy::Subject), ("client", CountedBy::Client), ("address", CountedBy::Address)];

#[derive(Debug)]
pub struct RateLimit {
    rate: Option<At<Rate>>,
    burst: Option<At<usize>>,
    by: Option<At<CountedBy>>,
    by_written: bool,
}

pub fn read(route: &mut Section) -> Option<At<RateLimit>> {
    route.take("rate_limit", |value: &Value| {
        let mut section = value.section(&[])?;
        let by_written = section.has("by");
        let read = RateLimit {
            rate: section.require("rate", "write how many requests in what time, as in `100/s`", rate),
            burst: section.take("burst", |v| v.count(1, rate::MOST as usize)),
            by: section.take("by", |v| v.choice(BY, &[])),
            by_written,
        };
        section.finish();
        Some(read)
    })
}

/// Nobody is known by name where anybody may call.
pub fn check(route: &Section, written: Option<&At<RateLimit>>, callers: &Callers) {
    let Some(at) = written.filter(|_| callers.anonymous()) else { return };
    let by = at.value.by;
    if by.is_some_and(|by| by.value == CountedBy::Address) || by.is_none() && at.value.by_written {
        return;
    }
    let message = format!("{}: with `callers: anonymous` there is no caller to count by", route.name);
    let place = by.map_or(at.key, |by| by.place);
    route.reading.complain(Complaint::error(Code::Anonymous, place, message).cure("write `by: address`"));
}

pub fn settings(written: Option<At<RateLimit>>) -> Option<stack::RateLimit> {
    let RateLimit { rate, burst, by, by_written: _ } = written?.value;
    let rate = rate?.value;
    let burst = burst.and_then(|at| u32::try_from(at.value).ok()).unwrap_or(rate.burst);
    Some(stack::RateLimit { rate: Rate { burst, ..rate }, by: by.map_or(CountedBy::Subject, |at| at.value) })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{codes, config, refused, refused_route, with_route};
    use super::*;
    use std::time::Duration;

    fn found(written: &str) -> Option<stack::RateLimit> {
        with_route(&format!("rate_limit: {{ {written} }}")).routes.remove(0).rate
    }

    #[test]
    fn rates_as_people_write_them() {
        assert_eq!(with_route("").routes[0].rate, None);
        let rate = |count, seconds, burst| Rate { count, per: Duration::from_secs(seconds), burst };
        assert_eq!(found("rate: 100/s"), Some(stack::RateLimit { rate: rate(100, 1, 100), by: CountedBy::Subject }));
        assert_eq!(found("rate: 10/m, burst: 3, by: client"), Some(stack::RateLimit { rate: rate(10, 60, 3), by: CountedBy::Client }));
        assert_eq!(found("rate: 1/h, by: address"), Some(stack::RateLimit { rate: rate(1, 3600, 1), by: CountedBy::Address }));
        assert_eq!(config("").requests.failed_authentication, None);
        assert_eq!(config("limits: { failed_authentication: off }\n").requests.failed_authentication, None);
        assert_eq!(config("limits: { failed_authentication: 20/s }\n").requests.failed_authentication, Some(rate(20, 1, 20)));
        assert_eq!(refused("limits: { failed_authentication: 20 }\n"), [Code::Quantity]);
    }

    #[test]
    fn what_is_no_rate() {
        for (written, code) in [
            ("rate: 100", Code::Quantity),
            ("rate: fast", Code::Quantity),
            ("rate: 100/d", Code::Quantity),
            ("rate: 1.5/s", Code::Quantity),
            ("rate: -1/s", Code::Quantity),
            ("rate: /s", Code::Quantity),
            ("rate: 0/s", Code::Range),
            ("rate: 1000001/s", Code::Range),
            ("rate: 99999999999/s", Code::Range),
            ("rate: [1/s]", Code::WrongType),
            ("rate: 1/s, burst: 0", Code::Range),
            ("rate: 1/s, by: user", Code::Choice),
            ("burst: 10", Code::Missing),
        ] {
            assert_eq!(refused_route(&format!("rate_limit: {{ {written} }}")), [code], "{written}");
        }
    }

    #[test]
    fn nobody_is_counted_by_a_name_that_nobody_has() {
        let text = |by: &str| {
            let more = format!("token: strip\n    callers: anonymous\n    rate_limit: {{ rate: 1/s{by} }}");
            codes(&include_str!("../../config/minimal.yaml").replace("audience: orders-api", &more))
        };
        assert_eq!((text(""), text(", by: subject"), text(", by: address")), (vec![Code::Anonymous], vec![Code::Anonymous], vec![]));
    }
}
