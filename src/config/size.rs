//! Sizes as people write them: `32KiB`, `10MiB`. A bare number is refused, since nobody knows its unit.

use super::complaint::{Code, quoted};
use super::reading::Value;
use bytesize::ByteSize;

/// A size from 1 byte to `most`.
pub fn size(value: &Value, most: u64) -> Option<u64> {
    let Some(text) = value.scalar() else { return value.wrong_type("a size", "write a number and a unit, as in `32KiB`") };
    if let Ok(bytes) = text.parse::<u64>() {
        return value.refuse(
            Code::Quantity,
            format_args!("{} has no unit; did you mean `{}`?", quoted(text), meant(bytes)),
            "units are B, KiB, MiB, GiB",
        );
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => value.refuse(Code::Range, "zero makes no sense here", "choose a larger one"),
        Ok(ByteSize(bytes)) if bytes <= most => Some(bytes),
        Ok(_) => value.refuse(Code::Range, format_args!("{} is too much", quoted(text)), format_args!("at most {}", written(most))),
        Err(_) => value.refuse(
            Code::Quantity,
            format_args!("{} is no size", quoted(text)),
            "write a number and one of B, KiB, MiB, GiB, as in `32KiB`",
        ),
    }
}

/// A size, or `off`.
pub fn or_off(value: &Value, most: u64) -> Option<Option<u64>> {
    if value.scalar() == Some("off") { Some(None) } else { size(value, most).map(Some) }
}

/// What a bare number most likely stands for: bytes where it is large, else the unit that people leave out.
fn meant(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes}KiB") } else { written(bytes) }
}

fn written(bytes: u64) -> String {
    let fits = |unit: u64| bytes >= unit && bytes.is_multiple_of(unit);
    match () {
        () if fits(bytesize::GIB) => format!("{}GiB", bytes / bytesize::GIB),
        () if fits(bytesize::MIB) => format!("{}MiB", bytes / bytesize::MIB),
        () if fits(bytesize::KIB) => format!("{}KiB", bytes / bytesize::KIB),
        () => format!("{bytes}B"),
    }
}
