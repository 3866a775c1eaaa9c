//! Rates as people write them: `100/s`, `10/m`, `1/h`. A bare number is refused, since nobody knows in what time.

use super::complaint::{Code, quoted};
use super::reading::Value;
use crate::stack::Rate;
use std::time::Duration;

const EXAMPLE: &str = "write a whole number and a time, as in `100/s`, `10/m` or `1/h`";
pub const MOST: u32 = 1_000_000;

/// A rate whose burst is what it allows in its time.
pub fn rate(value: &Value) -> Option<Rate> {
    let Some(text) = value.scalar() else { return value.wrong_type("a rate", EXAMPLE) };
    let Some((count, per)) = text.split_once('/') else {
        let hint = if text.parse::<u32>().is_ok() { format!("; did you mean `{text}/s`?") } else { String::new() };
        return value.refuse(Code::Quantity, format_args!("{} does not say in what time{hint}", quoted(text)), EXAMPLE);
    };
    let seconds = match per {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return value.refuse(Code::Quantity, format_args!("{} is no rate", quoted(text)), EXAMPLE),
    };
    let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    match count.parse::<u32>() {
        Ok(count) if digits && (1..=MOST).contains(&count) => Some(Rate { count, per: Duration::from_secs(seconds), burst: count }),
        _ if digits => value.refuse(Code::Range, format_args!("{} makes no sense here", quoted(text)), "choose a number from 1 to 1000000"),
        _ => value.refuse(Code::Quantity, format_args!("{} is no rate", quoted(text)), EXAMPLE),
    }
}

/// A rate, or `off`.
pub fn or_off(value: &Value) -> Option<Option<Rate>> {
    if value.scalar() == Some("off") { Some(None) } else { rate(value).map(Some) }
}
