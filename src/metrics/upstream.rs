//! What is counted about one upstream: its answers and how long they took, and how many of its endpoints are good. A label is a
//! name from the configuration, never an address.

use super::codes::{Codes, Reasons};
use super::register::{counters, gauges, histograms};
use super::{Gauge, SECONDS};
use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGaugeVec, Registry};
use std::time::Duration;

/// Families about upstreams.
pub(super) struct Upstreams {
    pub(super) requests: IntCounterVec,
    pub(super) duration: HistogramVec,
    endpoints: IntGaugeVec,
    healthy: IntGaugeVec,
}

impl Upstreams {
    pub fn new(r: &Registry) -> Self {
        Self {
            requests: counters(
                r,
                "cambist_upstream_requests_total",
                "Answers of upstreams; code is the HTTP status or the reason that none came.",
                &["upstream", "code"],
            ),
            duration: histograms(
                r,
                "cambist_upstream_request_duration_seconds",
                "From sending to an upstream until its headers.",
                &["upstream"],
                &SECONDS,
            ),
            endpoints: gauges(r, "cambist_upstream_endpoints", "Endpoints of an upstream that are known.", &["upstream"]),
            healthy: gauges(
                r,
                "cambist_upstream_endpoints_healthy",
                "Endpoints of an upstream that pass their health checks and are not ejected. 0: all are used all the same.",
                &["upstream"],
            ),
        }
    }

    /// How many endpoints it has is no longer told.
    pub fn forget(&self, name: &str) {
        for gauges in [&self.endpoints, &self.healthy] {
            // An error says that there is none.
            let _ = gauges.remove_label_values(&[name]);
        }
    }

    pub fn one(&self, name: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            answers: Codes::new(&self.requests, &[name]),
            failures: Reasons::new(&self.requests, name),
            duration: self.duration.with_label_values(&[name]),
            endpoints: Gauge(self.endpoints.with_label_values(&[name])),
            healthy: Gauge(self.healthy.with_label_values(&[name])),
        }
    }
}

/// The handles of one upstream.
pub struct UpstreamMetrics {
    answers: Codes,
    pub(super) failures: Reasons,
    pub(super) duration: Histogram,
    pub endpoints: Gauge,
    pub healthy: Gauge,
}

impl UpstreamMetrics {
    pub fn answered(&self, status: StatusCode, took: Duration) {
        self.answers.inc(status);
        self.duration.observe(took.as_secs_f64());
    }

    /// No answer came; `code` is the fault's.
    pub fn failed(&self, code: &'static str) {
        self.failures.inc(code);
    }
}
