//! What is told about the configuration in force: whether the last one that was tried could be used, and since when it is.

use super::register::gauge;
use prometheus::{IntGauge, Registry};

pub struct Reloads {
    successful: IntGauge,
    success_at: IntGauge,
}

impl Reloads {
    pub(super) fn new(r: &Registry) -> Self {
        Self {
            successful: gauge(r, "cambist_config_last_reload_successful", "1: the configuration that was last tried is in force."),
            success_at: gauge(
                r,
                "cambist_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was last found to be the one that is written.",
            ),
        }
    }

    /// `at` is in seconds since 1970.
    pub fn succeeded(&self, at: u64) {
        self.successful.set(1);
        self.success_at.set(i64::try_from(at).unwrap_or(i64::MAX));
    }

    pub fn failed(&self) {
        self.successful.set(0);
    }
}
