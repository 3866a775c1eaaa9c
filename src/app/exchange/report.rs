//! What an exchange came to, told to people and to programs: the claims before and after, the life of the token and what bounds
//! it; or the refusal with the issuer's words, its cause and its cure. It judges nothing itself.

use super::claims::{self, cell, clean, span};
use super::way::Way;
use crate::fault::Fault;
use crate::token::{AccessToken, Granted};
use serde_json::{Map, Value, json};
use std::fmt::Write;

type Claims = Map<String, Value>;

pub(super) struct Report {
    /// `None`: the exchange API's.
    route: Option<String>,
    /// `None`: it goes by the caller's token, which did not get that far.
    issuer: Option<String>,
    audiences: Vec<String>,
    scopes: Vec<String>,
    now: u64,
    verified: bool,
    /// Whether a caller's token was given, and whether it has a part in what is asked for.
    caller: bool,
    own: bool,
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
    pub fn new(way: &Way, token: Option<&str>, now: u64) -> Self {
        let wanted = way.asks_for();
        let list = |of: fn(&crate::token::TargetSettings) -> &Vec<String>| wanted.map(of).cloned().unwrap_or_default();
        Self {
            route: way.route.as_deref().map(str::to_owned),
            issuer: way.target(None).map(|only| only.issuer.to_string()),
            audiences: list(|settings| &settings.audiences),
            scopes: list(|settings| &settings.scopes),
            now,
            verified: false,
            caller: token.is_some(),
            own: way.own,
            before: token.and_then(|token| claims::of(token.rsplit(' ').next().unwrap_or_default())),
            outcome: Outcome::Open,
        }
    }

    /// Nothing stands against asking this issuer any more.
    pub fn asks(&mut self, issuer: &str, verified: bool) {
        self.issuer = Some(issuer.to_owned());
        self.verified = verified;
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
            "token": if self.own { "client_credentials" } else { "exchange" },
            "caller": self.caller.then(|| json!({ "verified": self.verified, "claims": shown(self.before.as_ref()) })),
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
                    "docs": fault.docs(),
                });
                ("refused", value)
            }
            Outcome::Open => return all.to_string(),
        };
        all[key] = value;
        format!("{all:#}")
    }

    pub fn text(&self, show_claims: bool) -> String {
        let whose = self.route.as_ref().map_or_else(|| "the exchange API".to_owned(), |route| format!("route {route}"));
        let mut out = format!("{whose}: audience {}", list(&self.audiences));
        if !self.scopes.is_empty() {
            let _ = write!(out, ", scopes {}", list(&self.scopes));
        }
        if let Some(issuer) = &self.issuer {
            let _ = write!(out, ", at issuer {issuer}");
        }
        out.push_str("\n\n");
        if self.own {
            let _ = writeln!(out, "token: client_credentials: the token is the gateway's own, and no caller's goes to the issuer");
        }
        match &self.outcome {
            Outcome::Granted { after, lifetime, bound, .. } => {
                self.table(&mut out, after.as_ref(), show_claims);
                let _ = write!(out, "\nexchanged: good for {}, bounded {}", span(*lifetime), bound.told());
            }
            Outcome::Refused(fault) => {
                self.table(&mut out, None, show_claims);
                self.refusal(&mut out, fault);
            }
            Outcome::Open => {}
        }
        out
    }

    fn table(&self, out: &mut String, after: Option<&Claims>, show_claims: bool) {
        let before = self.before.as_ref();
        let granted = matches!(self.outcome, Outcome::Granted { .. });
        if before.is_none() && self.caller {
            let _ = writeln!(out, "the caller's token is no JWT: nothing of it can be shown");
        }
        let heads =
            ["claim", if self.caller { "caller's token" } else { "" }, if self.own { "gateway's token" } else { "exchanged token" }];
        let mut rows = vec![heads.map(str::to_owned)];
        for name in claims::names(before, after) {
            let right = match (before.and_then(|c| c.get(name)), after.and_then(|c| c.get(name))) {
                (Some(left), Some(right)) if left == right => "the same".to_owned(),
                _ => cell(name, after, self.now, show_claims),
            };
            let left = if self.caller { cell(name, before, self.now, show_claims) } else { String::new() };
            rows.push([clean(name), left, right]);
        }
        if granted && after.is_none() {
            let _ = writeln!(out, "the token that was issued is opaque: nothing of it can be shown or was checked");
        }
        let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        for [name, left, right] in rows.iter().filter(|_| before.is_some() || after.is_some()) {
            let right = if granted { right.as_str() } else { "" };
            let _ = writeln!(out, "{}", format!("  {name:first$}  {left:second$}  {right}").trim_end());
        }
    }

    fn refusal(&self, out: &mut String, fault: &Fault) {
        let row = fault.row();
        let by = match row.status.as_u16() {
            _ if self.own && (self.verified || !self.caller) => "the gateway gets no token of its own",
            _ if self.verified => "the exchange was refused",
            400..=499 => "the caller's token was refused, and no exchange was asked for",
            _ => "the caller's token could not be verified, and no exchange was asked for",
        };
        let _ = write!(out, "\nrefused: {by}\n  code    {} (HTTP {})", row.code, row.status.as_u16());
        let _ = write!(out, "\n  cause   {}", fault.why().map_or_else(|| row.detail.to_owned(), |w| clean(&w.cause)));
        if let Some(words) = fault.why().and_then(|why| why.issuer_words.as_ref()) {
            let _ = write!(out, "\n  issuer  {}", clean(words));
        }
        let _ = write!(out, "\n  cure    {}", fault.cure());
        let _ = write!(out, "\n  docs    {}", fault.docs());
    }
}

fn list(of: &[String]) -> String {
    if of.is_empty() { "none".to_owned() } else { of.join(" ") }
}
