//! Counters by HTTP status: made when a status is first seen, and found again without a hash.

use http::StatusCode;
use prometheus::{IntCounter, IntCounterVec};
use std::sync::OnceLock;

/// One counter a status, of a family whose last label is `code`.
pub(super) struct Codes {
    family: IntCounterVec,
    labels: Vec<String>,
    /// Made with the first count: most methods of most routes never come.
    cells: OnceLock<Box<[OnceLock<IntCounter>]>>,
}

/// 100 to 599; the last cell counts everything outside as `other`.
const CELLS: usize = 501;

impl Codes {
    /// `labels` are all but the last.
    pub(super) fn new(family: &IntCounterVec, labels: &[&str]) -> Self {
        let labels = labels.iter().map(|l| (*l).to_owned()).collect();
        Self { family: family.clone(), labels, cells: OnceLock::new() }
    }

    pub(super) fn inc(&self, status: StatusCode) {
        let at = usize::from(status.as_u16().saturating_sub(100)).min(CELLS - 1);
        let cells = self.cells.get_or_init(|| (0..CELLS).map(|_| OnceLock::new()).collect());
        let counter = cells[at].get_or_init(|| {
            let code = if at == CELLS - 1 { "other" } else { status.as_str() };
            let all: Vec<&str> = self.labels.iter().map(String::as_str).chain([code]).collect();
            self.family.with_label_values(&all)
        });
        counter.inc();
    }
}
