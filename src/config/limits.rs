//! `limits`: what holds for every caller's connection and every request. It refuses what hyper and the http crate could not
//! keep, and what no ordinary request could keep to, so that a limit that is accepted is one that holds and can be lived with.

use super::duration::at_least;
use super::place::At;
use super::section::Section;
use super::size::{rate, size};
use crate::{listen, stack};
use std::time::Duration;

const LATER: &[&str] = &["failed_authentication"];
const MOST: usize = 10_000_000;
/// What the http crate can hold of a URI, in whole KiB, and of headers in one request.
const LONGEST_URI: u64 = 63 * 1024;
const MOST_HEADERS: usize = 10_000;
/// Bodies that may have to be sent again are held in memory.
const LARGEST_REPLAY: u64 = 64 * 1024 * 1024;
const MOST_REPLAYS: u64 = 1 << 40;
const LARGEST_HEAD: u64 = 4 * 1024 * 1024;
/// Below these, requests as every browser sends them would be refused, or cut off before they are whole.
const SMALLEST_HEAD: u64 = 1024;
const FEWEST_HEADERS: usize = 16;
const SHORTEST_URI: u64 = 256;
const SHORTEST_HEADER_TIMEOUT: Duration = Duration::from_millis(100);
/// Each may hold a window and a buffer.
const MOST_STREAMS: usize = 10_000;
/// Bytes a second that nobody would call slow.
const FASTEST: u64 = 1024 * 1024;
const SHORTEST_IDLE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Limits {
    pub max_connections: Option<At<usize>>,
    pub max_in_flight: Option<At<usize>>,
    pub header_bytes: Option<At<u64>>,
    pub header_count: Option<At<usize>>,
    pub uri_bytes: Option<At<u64>>,
    pub header_timeout: Option<At<Duration>>,
    pub idle_timeout: Option<At<Duration>>,
    pub min_body_rate: Option<At<u64>>,
    pub h2_streams: Option<At<usize>>,
    pub replay_body: Option<At<u64>>,
    pub replay_total: Option<At<u64>>,
}

pub fn read(root: &mut Section) -> Limits {
    let Some(at) = root.take("limits", |value| value.section(LATER)) else { return Limits::default() };
    let mut section = at.value;
    let read = Limits {
        max_connections: section.take("max_connections", |v| v.count(1, MOST)),
        max_in_flight: section.take("max_in_flight", |v| v.count(1, MOST)),
        header_bytes: section.take("header_bytes", |v| size(v, SMALLEST_HEAD, LARGEST_HEAD)),
        header_count: section.take("header_count", |v| v.count(FEWEST_HEADERS, MOST_HEADERS)),
        uri_bytes: section.take("uri_bytes", |v| size(v, SHORTEST_URI, LONGEST_URI)),
        header_timeout: section.take("header_timeout", |v| at_least(v, SHORTEST_HEADER_TIMEOUT)),
        idle_timeout: section.take("idle_timeout", |v| at_least(v, SHORTEST_IDLE)),
        min_body_rate: section.take("min_body_rate", |v| rate(v, FASTEST)),
        h2_streams: section.take("h2_streams", |v| v.count(1, MOST_STREAMS)),
        replay_body: section.take("replay_body", |v| size(v, 1, LARGEST_REPLAY)),
        replay_total: section.take("replay_total", |v| size(v, 1, MOST_REPLAYS)),
    };
    section.finish();
    read
}

pub fn settings(written: Limits) -> (listen::Limits, stack::Limits) {
    let Limits {
        max_connections,
        max_in_flight,
        header_bytes,
        header_count,
        uri_bytes,
        header_timeout,
        idle_timeout,
        min_body_rate,
        h2_streams,
        replay_body,
        replay_total,
    } = written;
    let bytes = |at: Option<At<u64>>, default: usize| at.map_or(default, |at| usize::try_from(at.value).unwrap_or(default));
    let requests = stack::Limits {
        max_in_flight: max_in_flight.map_or(4096, |at| at.value),
        header_bytes: bytes(header_bytes, 32 * 1024),
        header_count: header_count.map_or(200, |at| at.value),
        uri_bytes: bytes(uri_bytes, 16 * 1024),
        replay_body: bytes(replay_body, 64 * 1024),
        replay_total: bytes(replay_total, 64 * 1024 * 1024),
    };
    let connections = listen::Limits {
        max_connections: max_connections.map_or(10_000, |at| at.value),
        // Well above what the stack allows, so that the stack refuses with a problem body before hyper gives up without one.
        head_bytes: 2 * (requests.header_bytes + requests.uri_bytes) + 8 * 1024,
        // Cookie crumbs are fields to hyper, and one field to the stack.
        head_fields: 2 * requests.header_count + 112,
        header_timeout: header_timeout.map_or(Duration::from_secs(10), |at| at.value),
        idle_timeout: idle_timeout.map_or(Duration::from_secs(75), |at| at.value),
        min_body_rate: min_body_rate.map_or(100, |at| at.value),
        h2_streams: h2_streams.and_then(|at| u32::try_from(at.value).ok()).unwrap_or(100),
    };
    (connections, requests)
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused};
    use super::*;

    #[test]
    fn the_defaults_of_the_contract() {
        let found = config("");
        let defaults = stack::Limits {
            max_in_flight: 4096,
            header_bytes: 32 * 1024,
            header_count: 200,
            uri_bytes: 16 * 1024,
            replay_body: 64 * 1024,
            replay_total: 64 * 1024 * 1024,
        };
        assert_eq!(found.requests, defaults);
        let timeouts = (found.connections.header_timeout, found.connections.idle_timeout);
        assert_eq!((found.connections.max_connections, timeouts), (10_000, (Duration::from_secs(10), Duration::from_secs(75))));
    }

    #[test]
    fn hyper_gives_up_later_than_the_stack() {
        for limits in ["{}", "{ header_bytes: 4MiB, uri_bytes: 63KiB }", "{ header_bytes: 1KiB, uri_bytes: 256B }"] {
            let found = config(&format!("limits: {limits}\n"));
            assert!(found.connections.head_bytes >= 8192 + found.requests.header_bytes + found.requests.uri_bytes, "{limits}");
        }
    }

    #[test]
    fn rates_as_people_write_them() {
        let read = |text: &str| config(&format!("limits: {{ min_body_rate: {text}, h2_streams: 7 }}\n")).connections;
        assert_eq!(["100B/s", "1KiB/s", "1MiB/s"].map(|text| read(text).min_body_rate), [100, 1024, 1 << 20]);
        assert_eq!((read("1B/s").h2_streams, config("").connections.h2_streams, config("").connections.min_body_rate), (7, 100, 100));
        for bad in ["100", "100B", "0B/s", "2MiB/s", "100/s", "100 B/m", "off"] {
            let codes = refused(&format!("limits: {{ min_body_rate: {bad} }}\n"));
            assert!(matches!(codes[..], [Code::Quantity | Code::Range]), "{bad}: {codes:?}");
        }
        assert_eq!(refused("limits: { h2_streams: 0 }\n"), [Code::Range]);
    }
}
