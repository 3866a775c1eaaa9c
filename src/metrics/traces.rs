//! What became of spans: handed over, or lost, and to what.

use super::register::counters;
use prometheus::{IntCounter, Registry};

pub struct TraceMetrics {
    sent: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
}

impl TraceMetrics {
    pub(super) fn new(r: &Registry) -> Self {
        let spans = counters(r, "cambist_trace_spans_total", "Spans of sampled requests, by what became of them.", &["result"]);
        let of = |result| spans.with_label_values(&[result]);
        Self { sent: of("sent"), dropped: of("dropped"), failed: of("failed") }
    }

    /// The collector has taken them.
    pub fn sent(&self, spans: usize) {
        self.sent.inc_by(spans as u64);
    }

    /// There was no room left for one.
    pub fn dropped(&self) {
        self.dropped.inc();
    }

    /// The collector has not taken them.
    pub fn failed(&self, spans: usize) {
        self.failed.inc_by(spans as u64);
    }
}
