//! Durations as people write them: `250ms`, `5s`, `1m30s`. A bare number is refused, since nobody knows its unit.

use super::complaint::{Code, quoted};
use super::reading::Value;
use std::time::Duration;

/// Longer than anything that makes sense here, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const UNITS: [&str; 5] = ["ms", "s", "m", "h", "d"];

/// Any duration, zero too.
pub fn duration(value: &Value) -> Option<Duration> {
    let Some(text) = value.scalar() else { return value.wrong_type("a duration", "write a number and a unit, as in `5s`") };
    let units: Vec<&str> = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|u| !u.is_empty()).collect();
    let numeric = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric {
        return value.refuse(
            Code::Quantity,
            format_args!("{} has no unit; did you mean `{text}s`?", quoted(text)),
            "units are ms, s, m, h, d",
        );
    }
    // humantime would also take `M` for a month, and words such as `months`.
    let known = !units.is_empty() && units.iter().all(|u| UNITS.contains(u));
    match humantime::parse_duration(text) {
        Ok(d) if known && d <= LONGEST => Some(d),
        Ok(_) if known => value.refuse(Code::Range, format_args!("{} is longer than a year", quoted(text)), "choose a shorter one"),
        _ => value.refuse(
            Code::Quantity,
            format_args!("{} is no duration", quoted(text)),
            "write a number and one of ms, s, m, h, d, as in `5s`",
        ),
    }
}

/// A duration that is not zero.
pub fn positive(value: &Value) -> Option<Duration> {
    let d = duration(value)?;
    if d.is_zero() { value.refuse(Code::Range, "zero makes no sense here", "choose a longer one, as in `5s`") } else { Some(d) }
}

/// A duration of `least` or more.
pub fn at_least(value: &Value, least: Duration) -> Option<Duration> {
    let d = positive(value)?;
    if d >= least {
        return Some(d);
    }
    value.refuse(
        Code::Range,
        format_args!("`{}` is too short", humantime::format_duration(d)),
        format_args!("at least {}", humantime::format_duration(least)),
    )
}

/// A duration, or `off`.
pub fn or_off(value: &Value) -> Option<Option<Duration>> {
    if value.scalar() == Some("off") { Some(None) } else { positive(value).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused};
    use std::time::Duration;

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [("250ms", 250), ("5s", 5000), ("1m30s", 90_000), ("1.5s", 1500), ("\"2h\"", 7_200_000), ("1d", 86_400_000)] {
            let read = config(&format!("shutdown: {{ grace: {text} }}\n")).shutdown.grace;
            assert_eq!(read, Duration::from_millis(millis), "{text}");
        }
        for bad in ["5", "0", "5M", "1 month", "s", "-5s", "5.5.5s", "1e3s", "[5s]", "99999999999999999999s", "", "\u{e9}s"] {
            let codes = refused(&format!("shutdown: {{ grace: {bad} }}\n"));
            assert!(matches!(codes[..], [Code::Quantity | Code::WrongType | Code::Range]), "{bad}: {codes:?}");
        }
    }
}
