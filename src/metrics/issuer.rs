//! What is counted about one issuer: exchanges with it, what it issues, and whether it answers.

use super::InFlight;
use prometheus::{Histogram, IntCounterVec, IntGauge};
use std::time::Duration;

/// How an exchange ended; the values of the label `result` of `cambist_token_exchanges_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchanged {
    Success,
    Denied,
    Misconfigured,
    Unavailable,
    Timeout,
    BadAnswer,
}

impl Exchanged {
    pub const ALL: [Self; 6] = [Self::Success, Self::Denied, Self::Misconfigured, Self::Unavailable, Self::Timeout, Self::BadAnswer];

    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Misconfigured => "misconfigured",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::BadAnswer => "bad_answer",
        }
    }
}

/// The handles of one issuer.
pub struct IssuerMetrics {
    pub(super) name: String,
    pub(super) exchanges: IntCounterVec,
    pub(super) duration: Histogram,
    pub(super) in_flight: IntGauge,
    pub(super) lifetime: Histogram,
    pub(super) up: IntGauge,
    pub(super) circuit_open: IntGauge,
    pub(super) jwks_success: IntGauge,
}

impl IssuerMetrics {
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// An exchange ended after `took`; `audience` is the target's label, which comes from the configuration.
    /// It is looked up by name: what ended here was a call over the network, not a request's hot path.
    pub fn exchanged(&self, audience: &str, result: Exchanged, took: Duration) {
        self.exchanges.with_label_values(&[self.name.as_str(), audience, result.label()]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Makes the series of one target exist, at 0.
    pub fn expect(&self, audience: &str) {
        for result in Exchanged::ALL {
            self.exchanges.with_label_values(&[self.name.as_str(), audience, result.label()]);
        }
    }

    pub fn issued(&self, lifetime: Duration) {
        self.lifetime.observe(lifetime.as_secs_f64());
    }

    /// The last call to the issuer got a well-formed answer, or did not.
    pub fn up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// The issuer has failed so often that it is not asked, or is asked by one at a time.
    pub fn circuit_open(&self, open: bool) {
        self.circuit_open.set(i64::from(open));
    }

    pub fn keys_came(&self, unix: u64) {
        self.jwks_success.set(i64::try_from(unix).unwrap_or(i64::MAX));
    }
}
