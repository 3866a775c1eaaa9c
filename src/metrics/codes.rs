//! Counters by HTTP status and by fault: made when one is first seen, and found again without a hash.

use crate::fault::Fault;
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

/// One counter a fault, of a family whose labels are `label` and the fault's code.
pub(super) struct Reasons {
    family: IntCounterVec,
    label: String,
    cells: [OnceLock<IntCounter>; Fault::CODES.len()],
}

impl Reasons {
    /// Those of backends that do not answer exist from the start, at 0: that they begin is what is looked for.
    pub(super) fn new(family: &IntCounterVec, label: &str) -> Self {
        let it = Self { family: family.clone(), label: label.to_owned(), cells: [const { OnceLock::new() }; Fault::CODES.len()] };
        for code in ["upstream_unreachable", "upstream_error", "upstream_timeout"] {
            it.counter(code);
        }
        it
    }

    pub(super) fn inc(&self, code: &str) {
        if let Some(counter) = self.counter(code) {
            counter.inc();
        }
    }

    pub(super) fn sum(&self) -> u64 {
        self.cells.iter().filter_map(OnceLock::get).map(IntCounter::get).sum()
    }

    fn counter(&self, code: &str) -> Option<&IntCounter> {
        let at = Fault::CODES.iter().position(|c| *c == code)?;
        Some(self.cells[at].get_or_init(|| self.family.with_label_values(&[self.label.as_str(), Fault::CODES[at]])))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use http::{Method, StatusCode};
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// The lines of one family.
    fn series(metrics: &Metrics, family: &str) -> BTreeSet<String> {
        let text = String::from_utf8(metrics.encode()).unwrap();
        text.lines().filter_map(|l| Some(l.strip_prefix(family)?.strip_prefix('{')?.to_owned())).collect()
    }

    #[test]
    fn whatever_methods_statuses_and_faults_come_labels_stay_few() {
        let metrics = Metrics::new();
        let (route, upstream) = (metrics.route("r"), metrics.upstream("u"));
        let all = (100..=999).map(|code| StatusCode::from_u16(code).unwrap());
        for status in all.clone() {
            upstream.answered(status, Duration::ZERO);
        }
        for n in 0..1000 {
            let method = Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
            route.answered(&method, all.clone().nth(n % 900).unwrap(), Duration::ZERO);
            upstream.failed("of_nobody");
        }
        upstream.failed("upstream_timeout");
        upstream.failed("overloaded");
        let answers = series(&metrics, "cambist_http_requests_total");
        assert_eq!(answers.len(), 501, "100 to 599, and one for all others");
        assert!(answers.iter().all(|line| line.contains("method=\"other\"")));
        let upstreams = series(&metrics, "cambist_upstream_requests_total");
        assert_eq!(upstreams.len(), 501 + 4, "three that are there from the start, and the one that came");
        for line in ["code=\"other\",upstream=\"u\"} 400", "code=\"upstream_timeout\",upstream=\"u\"} 1", "code=\"599\",upstream=\"u\"} 1"]
        {
            assert!(upstreams.contains(line), "{line}");
        }
    }
}
