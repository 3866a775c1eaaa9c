//! One thing that was looked at, and what came of it: a tick, or words, cause and cure. It looks at nothing itself.

use crate::app::clean;
use crate::fault::{Fault, Why};
use serde_json::{Value, json};
use std::fmt::Write;

pub struct Step {
    issuer: String,
    what: String,
    came: Came,
}

enum Came {
    Good(String),
    Failed {
        cause: String,
        cure: String,
        issuer_words: Option<String>,
        /// An anchor in docs/errors.md.
        docs: &'static str,
    },
    Skipped(String),
}

impl Step {
    pub fn good(issuer: &str, what: &str, said: impl Into<String>) -> Self {
        Self { issuer: issuer.to_owned(), what: what.to_owned(), came: Came::Good(said.into()) }
    }

    pub fn skipped(issuer: &str, what: &str, why: &str) -> Self {
        Self { issuer: issuer.to_owned(), what: what.to_owned(), came: Came::Skipped(why.to_owned()) }
    }

    pub fn failed(issuer: &str, what: &str, why: &Why, docs: &'static str) -> Self {
        let came = Came::Failed {
            cause: why.cause.to_string(),
            cure: why.cure.as_deref().unwrap_or_default().to_owned(),
            issuer_words: why.issuer_words.clone(),
            docs,
        };
        Self { issuer: issuer.to_owned(), what: what.to_owned(), came }
    }

    pub fn refused(issuer: &str, what: &str, fault: &Fault) -> Self {
        let why = fault.why().cloned().unwrap_or_else(|| Why::new(fault.row().detail));
        Self::failed(issuer, what, &why.cure(fault.cure().to_owned()), fault.anchor())
    }

    pub fn is_good(&self) -> bool {
        !matches!(self.came, Came::Failed { .. })
    }

    pub fn json(&self) -> Value {
        let (issuer, step) = (&self.issuer, &self.what);
        match &self.came {
            Came::Good(said) => json!({ "issuer": issuer, "step": step, "outcome": "ok", "said": said }),
            Came::Skipped(why) => json!({ "issuer": issuer, "step": step, "outcome": "skipped", "said": why }),
            Came::Failed { cause, cure, issuer_words, docs } => json!({
                "issuer": issuer,
                "step": step,
                "outcome": "failed",
                "cause": cause,
                "issuer_words": issuer_words,
                "cure": cure,
                "docs": anchor(docs),
            }),
        }
    }
}

fn anchor(code: &str) -> String {
    format!("docs/errors.md#{code}")
}

/// For people: the issuers one after the other, each with its steps.
pub fn text(steps: &[Step]) -> String {
    let (mut out, mut issuer) = (String::new(), "");
    let width = steps.iter().map(|s| s.what.chars().count()).max().unwrap_or(0);
    for step in steps {
        if step.issuer != issuer {
            issuer = &step.issuer;
            let _ = write!(out, "\nissuer {issuer}");
        }
        let mut line = |mark: char, said: &str| {
            let _ = write!(out, "\n  {mark} {:width$}  {}", step.what, clean(said));
        };
        match &step.came {
            Came::Good(said) => line('\u{2713}', said),
            Came::Skipped(why) => line('-', why),
            Came::Failed { cause, cure, issuer_words, docs } => {
                line('\u{2717}', cause);
                let issuer = issuer_words.as_deref().unwrap_or_default();
                for (name, text) in [("issuer", issuer), ("cure", cure), ("docs", &anchor(docs))].into_iter().filter(|(_, t)| !t.is_empty())
                {
                    let _ = write!(out, "\n      {name:7} {}", clean(text));
                }
            }
        }
    }
    out
}
