//! How the configuration in force stands to what is written: which file, since when, and what was wrong with the last attempt.
//! It tells the metrics and the status page, and holds no text of the file.

use crate::config::Complaint;
use crate::metrics::Metrics;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct Standing {
    metrics: Arc<Metrics>,
    told: Mutex<Told>,
}

struct Told {
    file: Option<String>,
    loaded_at: u64,
    attempted_at: u64,
    failed: Vec<Failed>,
}

/// One thing that was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Of the complaint; none where the configuration itself was good.
    pub code: Option<&'static str>,
    /// Line and column.
    pub place: Option<String>,
    pub cause: String,
    pub cure: Option<String>,
}

impl Failed {
    /// In one line.
    pub fn words(&self) -> String {
        let Self { code, place, cause, cure } = self;
        let code = code.map(|c| format!("[{c}] ")).unwrap_or_default();
        let place = place.as_ref().map(|p| format!("{p} ")).unwrap_or_default();
        let cure = cure.as_ref().map(|c| format!(" (cure: {c})")).unwrap_or_default();
        format!("{code}{place}{cause}{cure}")
    }
}

impl From<&Complaint> for Failed {
    fn from(complaint: &Complaint) -> Self {
        let Complaint { code, severity: _, place, message, cure, excerpt: _ } = complaint;
        Self { code: Some(code.as_str()), place: place.map(|p| p.to_string()), cause: message.clone(), cure: cure.clone() }
    }
}

impl Standing {
    /// The first configuration is in force.
    pub fn new(metrics: &Arc<Metrics>, now: u64) -> Self {
        metrics.reloads.succeeded(now);
        let told = Told { file: None, loaded_at: now, attempted_at: now, failed: Vec::new() };
        Self { metrics: metrics.clone(), told: Mutex::new(told) }
    }

    pub fn read_from(&self, file: String) {
        self.told().file = Some(file);
    }

    /// What is written is what is in force; `changed`: since now.
    pub fn succeeded(&self, changed: bool, now: u64) {
        let mut told = self.told();
        told.attempted_at = now;
        told.failed.clear();
        if changed {
            told.loaded_at = now;
        }
        self.metrics.reloads.succeeded(now);
    }

    /// Returns whether something else was wrong before.
    pub fn failed(&self, failed: Vec<Failed>, now: u64) -> bool {
        let mut told = self.told();
        told.attempted_at = now;
        let news = told.failed != failed;
        told.failed = failed;
        self.metrics.reloads.failed();
        news
    }

    pub fn has_failed(&self) -> bool {
        !self.told().failed.is_empty()
    }

    pub fn json(&self) -> Value {
        let told = self.told();
        let failed = told
            .failed
            .iter()
            .map(|Failed { code, place, cause, cure }| json!({ "code": code, "place": place, "cause": cause, "cure": cure }));
        json!({
            "file": told.file,
            "loaded_at": told.loaded_at,
            "last_attempt": { "at": told.attempted_at, "successful": told.failed.is_empty(), "errors": failed.collect::<Vec<_>>() },
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
