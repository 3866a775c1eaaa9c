//! Sizes as people write them: `32KiB`, `10MiB`. A bare number is refused, since nobody knows its unit.

use super::complaint::{Code, quoted};
use super::reading::Value;
use bytesize::ByteSize;

/// A size from `least` to `most`, and never zero.
pub fn size(value: &Value, least: u64, most: u64) -> Option<u64> {
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
        Ok(ByteSize(bytes)) if bytes < least => {
            value.refuse(Code::Range, format_args!("{} is too little", quoted(text)), format_args!("at least {}", written(least)))
        }
        Ok(ByteSize(bytes)) if bytes <= most => Some(bytes),
        Ok(_) => value.refuse(Code::Range, format_args!("{} is too much", quoted(text)), format_args!("at most {}", written(most))),
        Err(_) => value.refuse(
            Code::Quantity,
            format_args!("{} is no size", quoted(text)),
            "write a number and one of B, KiB, MiB, GiB, as in `32KiB`",
        ),
    }
}

/// Bytes a second, from one to `most`: `100B/s`.
pub fn rate(value: &Value, most: u64) -> Option<u64> {
    let how = "write a size and `/s`, as in `100B/s` or `1KiB/s`";
    let Some(text) = value.scalar() else { return value.wrong_type("a rate", how) };
    let size = text.strip_suffix("/s").filter(|size| size.ends_with('B'));
    match size.and_then(|size| size.parse::<ByteSize>().ok()) {
        Some(ByteSize(bytes)) if (1..=most).contains(&bytes) => Some(bytes),
        Some(_) => {
            let range = format_args!("choose a rate from `1B/s` to `{}/s`", written(most)).to_string();
            value.refuse(Code::Range, format_args!("{} makes no sense here", quoted(text)), range)
        }
        None => value.refuse(Code::Quantity, format_args!("{} is no number of bytes a second", quoted(text)), how),
    }
}

/// A size, or `off`.
pub fn or_off(value: &Value, most: u64) -> Option<Option<u64>> {
    if value.scalar() == Some("off") { Some(None) } else { size(value, 1, most).map(Some) }
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

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{refused_route, with_route};

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("32KiB", Some(32 * 1024)),
            ("10MiB", Some(10 << 20)),
            ("1kB", Some(1000)),
            ("7B", Some(7)),
            ("1.5KiB", Some(1536)),
            ("off", None),
        ] {
            assert_eq!(with_route(&format!("max_body: {text}")).routes[0].max_body, bytes, "{text}");
        }
        for bad in ["10", "0B", "10 apples", "-1KiB", "KiB", "NaNKiB", "99999999EiB", "{}"] {
            let codes = refused_route(&format!("max_body: {bad}"));
            assert!(matches!(codes[..], [Code::Quantity | Code::WrongType | Code::Range]), "{bad}: {codes:?}");
        }
    }

    #[test]
    fn a_bare_number_is_given_the_unit_it_most_likely_meant() {
        let meant = [(10, "10KiB"), (32_768, "32KiB"), (10 << 20, "10MiB"), (1500, "1500B")];
        assert_eq!(meant.map(|(n, _)| super::meant(n)), meant.map(|(_, text)| text.to_owned()));
    }
}
