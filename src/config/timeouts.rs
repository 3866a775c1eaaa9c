//! `timeouts` of upstreams, and of routes, where they go over the upstream's. It starts no timer, and refuses a total that is
//! over before one of its parts.

use super::complaint::{Code, Complaint};
use super::duration::{or_off, positive};
use super::place::At;
use super::section::Section;
use crate::upstream;
use std::time::Duration;

#[derive(Debug, Default, Clone, Copy)]
pub struct Timeouts {
    pub connect: Option<At<Duration>>,
    pub response: Option<At<Duration>>,
    pub idle: Option<At<Duration>>,
    pub total: Option<At<Option<Duration>>>,
}

pub fn read(parent: &mut Section) -> Timeouts {
    let Some(at) = parent.take("timeouts", |value| value.section(&[])) else { return Timeouts::default() };
    let mut section = at.value;
    let read = Timeouts {
        connect: section.take("connect", positive),
        response: section.take("response", positive),
        idle: section.take("idle", positive),
        total: section.take("total", or_off),
    };
    // Compared only where both are written here: a short total over the defaults is nobody's mistake.
    let total = read.total.and_then(|at| at.value);
    for (key, part) in [("connect", read.connect), ("response", read.response)] {
        if let Some(part) = part.filter(|part| total.is_some_and(|total| total < part.value)) {
            complain_of_total(&section, key, part, total.unwrap_or_default());
        }
    }
    section.finish();
    read
}

/// `total` is over before `key` is.
pub fn complain_of_total(section: &Section, key: &str, part: At<Duration>, total: Duration) {
    let (part_is, total_is) = (humantime::format_duration(part.value), humantime::format_duration(total));
    let message = format!("{}: `{key}` ({part_is}) can never pass: `total` ({total_is}) ends before it", section.name);
    section
        .reading
        .complain(Complaint::error(Code::Timeouts, part.place, message).cure(format!("make `total` longer, or `{key}` shorter")));
}

/// What is written here, over `base`.
pub fn over(written: Timeouts, base: upstream::Timeouts) -> upstream::Timeouts {
    let Timeouts { connect, response, idle, total } = written;
    upstream::Timeouts {
        connect: connect.map_or(base.connect, |at| at.value),
        response: response.map_or(base.response, |at| at.value),
        idle: idle.map_or(base.idle, |at| at.value),
        total: total.map_or(base.total, |at| at.value),
    }
}
