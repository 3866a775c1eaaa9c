//! How an issuer is, for an operator who looks: what is known already. It asks nobody.

use super::Issuer;
use super::breaker::Standing;
use crate::fault::Why;
use crate::metrics::IssuerReading;
use std::time::Duration;

/// What is known of an issuer now.
pub struct Seen {
    pub reading: IssuerReading,
    pub circuit: Standing,
    /// How long it is left in peace.
    pub left: Option<Duration>,
    pub last_error: Option<LastError>,
}

pub struct LastError {
    /// Seconds since 1970; `None`: now, it goes on.
    pub at: Option<u64>,
    pub cause: String,
    pub cure: Option<String>,
}

/// How an outage showed itself.
pub(super) struct Outage {
    pub words: String,
    /// Seconds since 1970.
    pub at: u64,
}

impl Issuer {
    pub fn seen(&self) -> Seen {
        let (circuit, left) = self.breaker.standing();
        Seen { reading: self.metrics.read(), circuit, left, last_error: self.last_error() }
    }

    fn last_error(&self) -> Option<LastError> {
        if let Some(trouble) = self.trouble() {
            let Why { cause, cure, issuer_words, .. } = &trouble.0;
            let said = issuer_words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
            let cause = self.cleaned(&format!("{cause}{said}"));
            return Some(LastError { at: None, cause, cure: cure.as_deref().map(str::to_owned) });
        }
        let outage = self.last_outage.load_full()?;
        Some(LastError { at: Some(outage.at), cause: self.cleaned(&outage.words), cure: None })
    }
}
