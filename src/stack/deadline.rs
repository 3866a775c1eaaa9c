//! `grpc-timeout`: how long a gRPC caller waits for the whole of its call. It shortens the route's `total` and never lengthens it. One
//! that cannot be read is passed on and changes nothing: what it means is between the caller and its server.

use crate::upstream::Timeouts;
use http::HeaderMap;
use std::time::Duration;

pub(super) fn shortened(timeouts: Timeouts, headers: &HeaderMap) -> Timeouts {
    let asked = headers.get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(read);
    match asked {
        Some(asked) => Timeouts { total: Some(timeouts.total.map_or(asked, |total| total.min(asked))), ..timeouts },
        None => timeouts,
    }
}

/// At most eight digits and a unit (the gRPC protocol over HTTP/2, `Timeout`).
fn read(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_own_spelling_and_nothing_else() {
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "S", "1", "1s", "-1S", "1.5S", "123456789S", "1 S", "\u{e4}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn it_shortens_and_never_lengthens() {
        let mut headers = HeaderMap::new();
        let total = |headers: &HeaderMap, total| shortened(Timeouts { total, ..Timeouts::default() }, headers).total;
        let (short, long) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(60)));
        assert_eq!((total(&headers, None), total(&headers, short)), (None, short));
        headers.insert("grpc-timeout", http::HeaderValue::from_static("10S"));
        assert_eq!(
            (total(&headers, None), total(&headers, short), total(&headers, long)),
            (Some(Duration::from_secs(10)), short, Some(Duration::from_secs(10)))
        );
        headers.insert("grpc-timeout", http::HeaderValue::from_static("soon"));
        assert_eq!(total(&headers, long), long);
    }
}
