//! What an exchange came to, told to people and to programs: the claims before and after, the life of the token and what bounds
//! it; or the refusal with the issuer's words, its cause and its cure. It judges nothing itself.

use super::claims::{self, cell, clean, span};
use crate::fault::Fault;
use crate::token::{AccessToken, Granted, Target};
use serde_json::{Map, Value, json};
use std::fmt::Write;

type Claims = Map<String, Value>;

pub(super) struct Report {
    route: String,
    issuer: String,
    audiences: Vec<String>,
    scopes: Vec<String>,
    now: u64,
    verified: bool,
    before: Option<Claims>,
    outcome: Outcome,
}

enum Outcome {
    /// Nothing has come of it yet.
    Open,
    Granted {
        token: AccessToken,
        after: Option<Claims>,
        lifetime: u64,
        bound: Bound,
    },
    Refused(Box<Fault>),
}

/// What ends the life of an exchanged token first.
#[derive(Clone, Copy)]
enum Bound {
    Issuer,
    Caller,
    MaxTtl,
}

impl Bound {
    fn word(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Caller => "caller",
            Self::MaxTtl => "max_ttl",
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Issuer => "by what the issuer says of the exchanged token",
            Self::Caller => "by the caller's own token, which ends first (a renewal would buy nothing)",
            Self::MaxTtl => "by max_ttl of the route or the cache",
        }
    }
}

impl Report {
    pub fn new(route: &str, target: &Target, token: &str, now: u64) -> Self {
        let before = claims::of(token.rsplit(' ').next().unwrap_or_default());
        Self {
            route: route.to_owned(),
            issuer: target.issuer.to_string(),
            audiences: target.settings.audiences.clone(),
            scopes: target.settings.scopes.clone(),
            now,
            verified: false,
            before,
            outcome: Outcome::Open,
        }
    }

    pub fn verified(&mut self) {
        self.verified = true;
    }

    pub fn refused(&mut self, fault: &Fault) {
        self.outcome = Outcome::Refused(Box::new(fault.clone()));
    }

    /// `of_caller`, `max_ttl`: how many seconds the caller's own token and the configuration leave.
    pub fn exchanged(&mut self, granted: &Granted, of_caller: u64, max_ttl: u64) {
        let lifetime = granted.lifetime.as_secs();
        // A second may have passed since the token was asked for.
        let bound = match () {
            () if max_ttl <= lifetime => Bound::MaxTtl,
            () if of_caller <= lifetime => Bound::Caller,
            () => Bound::Issuer,
        };
        let after = claims::of(granted.token.expose());
        self.outcome = Outcome::Granted { token: granted.token.clone(), after, lifetime, bound };
    }

    /// The exchanged token; every use of this is a place to look at twice.
    pub fn token(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Granted { token, .. } => Some(token.expose()),
            Outcome::Open | Outcome::Refused(_) => None,
        }
    }

    pub fn json(&self, show_claims: bool) -> String {
        let shown = |claims: Option<&Claims>| claims.map(|c| claims::redacted(c, show_claims));
        let mut all = json!({
            "route": self.route,
            "issuer": self.issuer,
            "audience": self.audiences,
            "scopes": self.scopes,
            "caller": { "verified": self.verified, "claims": shown(self.before.as_ref()) },
        });
        let (key, value) = match &self.outcome {
            Outcome::Granted { token: _, after, lifetime, bound } => {
                ("exchanged", json!({ "claims": shown(after.as_ref()), "lifetime_seconds": lifetime, "bounded_by": bound.word() }))
            }
            Outcome::Refused(fault) => {
                let why = fault.why();
                let value = json!({
                    "code": fault.code(),
                    "status": fault.row().status.as_u16(),
                    "cause": why.map_or(fault.row().detail, |w| &*w.cause),
                    "cure": fault.cure(),
                    "issuer_words": why.and_then(|w| w.issuer_words.as_deref()),
                    "docs": docs(fault),
                });
                ("refused", value)
            }
            Outcome::Open => return all.to_string(),
        };
        all[key] = value;
        format!("{all:#}")
    }

    pub fn text(&self, show_claims: bool) -> String {
        let mut out = format!("route {}: audience {}", self.route, list(&self.audiences));
        if !self.scopes.is_empty() {
            let _ = write!(out, ", scopes {}", list(&self.scopes));
        }
        let _ = writeln!(out, ", at issuer {}\n", self.issuer);
        match &self.outcome {
            Outcome::Granted { after, lifetime, bound, .. } => {
                self.table(&mut out, after.as_ref(), show_claims);
                let _ = write!(out, "\nexchanged: good for {}, bounded {}", span(*lifetime), bound.told());
            }
            Outcome::Refused(fault) => {
                self.table(&mut out, None, show_claims);
                refusal(&mut out, fault, self.verified);
            }
            Outcome::Open => {}
        }
        out
    }

    fn table(&self, out: &mut String, after: Option<&Claims>, show_claims: bool) {
        let before = self.before.as_ref();
        let granted = matches!(self.outcome, Outcome::Granted { .. });
        if before.is_none() {
            let _ = writeln!(out, "the caller's token is no JWT: nothing of it can be shown");
        }
        let mut rows = vec![["claim".to_owned(), "caller's token".to_owned(), "exchanged token".to_owned()]];
        for name in claims::names(before, after) {
            let right = match (before.and_then(|c| c.get(name)), after.and_then(|c| c.get(name))) {
                (Some(left), Some(right)) if left == right => "the same".to_owned(),
                _ => cell(name, after, self.now, show_claims),
            };
            rows.push([clean(name), cell(name, before, self.now, show_claims), right]);
        }
        if granted && after.is_none() {
            let _ = writeln!(out, "the exchanged token is opaque: nothing of it can be shown or was checked");
        }
        let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        for [name, left, right] in rows.iter().filter(|_| before.is_some() || after.is_some()) {
            let right = if granted { right.as_str() } else { "" };
            let _ = writeln!(out, "{}", format!("  {name:first$}  {left:second$}  {right}").trim_end());
        }
    }
}

fn refusal(out: &mut String, fault: &Fault, verified: bool) {
    let row = fault.row();
    let by = match row.status.as_u16() {
        _ if verified => "the exchange was refused",
        400..=499 => "the caller's token was refused, and no exchange was asked for",
        _ => "the caller's token could not be verified, and no exchange was asked for",
    };
    let _ = write!(out, "\nrefused: {by}\n  code    {} (HTTP {})", row.code, row.status.as_u16());
    let _ = write!(out, "\n  cause   {}", fault.why().map_or_else(|| row.detail.to_owned(), |w| clean(&w.cause)));
    if let Some(words) = fault.why().and_then(|why| why.issuer_words.as_ref()) {
        let _ = write!(out, "\n  issuer  {}", clean(words));
    }
    let _ = write!(out, "\n  cure    {}", fault.cure());
    let _ = write!(out, "\n  docs    {}", docs(fault));
}

fn docs(fault: &Fault) -> String {
    format!("docs/errors.md#{}", fault.code())
}

fn list(of: &[String]) -> String {
    if of.is_empty() { "none".to_owned() } else { of.join(" ") }
}
