//! Why a request ended badly, for the operator: cause, cure, the issuer's own words, and whom else it concerns. None of it is for the
//! caller's eyes.

use std::borrow::Cow;
use std::sync::Arc;

/// What the operator is told and the caller is not: cause, cure and the issuer's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    pub cause: Cow<'static, str>,
    pub cure: Option<Cow<'static, str>>,
    /// What the issuer said, word for word (`error: error_description`), cut at [`Why::WORDS`] characters.
    pub issuer_words: Option<String>,
    /// Whom else it concerns.
    pub reach: Reach,
    /// The place in `docs/errors.md` that is about this very refusal; the code's own where there is none.
    pub anchor: Option<&'static str>,
}

/// Whom the issuer's refusal concerns besides this request: who would be told the same if they asked now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nobody that we know of: an outage, or no issuer's refusal at all.
    #[default]
    Request,
    /// The subject token: it is dead, whatever it is exchanged for.
    Subject,
    /// The same target for the same subject token.
    Target,
    /// Everybody: it is us whom the issuer turns away.
    Client,
}

impl Why {
    /// The most of an issuer's words that is kept, in characters.
    pub const WORDS: usize = 400;

    pub fn new(cause: impl Into<Cow<'static, str>>) -> Self {
        Self { cause: cause.into(), ..Self::default() }
    }

    pub fn cure(mut self, cure: impl Into<Cow<'static, str>>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    pub fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    pub fn anchored(mut self, anchor: &'static str) -> Self {
        self.anchor = Some(anchor);
        self
    }

    /// Control characters are replaced: these words end up in logs and on a terminal.
    pub fn words(mut self, words: &str) -> Self {
        let clean = words.chars().take(Self::WORDS).map(|c| if c.is_control() { '\u{fffd}' } else { c });
        self.issuer_words = Some(clean.collect());
        self
    }
}

impl From<Why> for Arc<Explained> {
    fn from(why: Why) -> Self {
        Arc::new(Explained(why))
    }
}

/// A [`Why`] that many may hold: a failed exchange wakes all its waiters with the same one.
#[derive(Debug, PartialEq, Eq)]
pub struct Explained(pub Why);
