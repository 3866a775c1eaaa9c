//! Makes and registers one family each. Names and labels are constants of this room, so that nothing here can fail in use.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

pub(super) fn counters(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(r, IntCounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn counter(r: &Registry, name: &str, help: &str) -> IntCounter {
    registered(r, IntCounter::new(name, help))
}

pub(super) fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(r, IntGaugeVec::new(Opts::new(name, help), labels))
}

pub(super) fn gauge(r: &Registry, name: &str, help: &str) -> IntGauge {
    registered(r, IntGauge::new(name, help))
}

pub(super) fn histograms(r: &Registry, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
    registered(r, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
}

/// A name or label that prometheus refuses is a mistake in this file, seen by the first test that makes a `Metrics`.
pub(super) fn registered<C: prometheus::core::Collector + Clone + 'static>(r: &Registry, made: prometheus::Result<C>) -> C {
    #[allow(clippy::expect_used, reason = "names are constants of this file")]
    let c = made.expect("a metric's name and labels are well-formed");
    #[allow(clippy::expect_used, reason = "names are constants of this file")]
    r.register(Box::new(c.clone())).expect("a metric is registered once");
    c
}
