//! Why a look-up came to what it came to: for every rule of a table, whether it takes the request, and if not, what of it does not
//! fit. It decides nothing itself: who has won is asked of the very look-up that requests go through.

use super::path::Reading;
use super::{Found, Rule, Table};
use http::{HeaderMap, HeaderName, Method};

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Won,
    Host,
    Path,
    /// Its path matches in the boldest reading alone.
    PathAsWritten,
    /// This header is missing, is another one, or is there more than once.
    Header(HeaderName),
    Method,
    /// It takes the request too, but another one is more specific, by this.
    LessSpecific(By),
    /// It would have won, but the path's other reading leads elsewhere.
    Ambiguous,
}

/// What makes one rule more specific than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Host,
    Path,
    Methods,
    Headers,
}

impl<R> Table<R> {
    /// What [`Table::find`] comes to, and what became of each route on the way there.
    pub fn explain(&self, host: &str, path: &Reading<'_>, method: &Method, headers: &HeaderMap) -> (Found<'_, R>, Vec<(&R, Verdict)>) {
        let found = self.find(host, path, method, headers);
        let winner = self.winner(host, path.written, method, headers);
        let verdict = |at: usize, rule: &Rule| match winner {
            Some((best, _)) if best == at && matches!(found, Found::Route(_)) => Verdict::Won,
            Some((best, _)) if best == at => Verdict::Ambiguous,
            better => misfit(rule, host, path, method, headers)
                .unwrap_or_else(|| Verdict::LessSpecific(better.map_or(By::Path, |(_, winner)| by(winner, rule, host)))),
        };
        let verdicts = self.all().iter().enumerate().map(|(at, (rule, route))| (route, verdict(at, rule))).collect();
        (found, verdicts)
    }
}

/// What of the request the rule does not take; `None`: it takes all of it.
fn misfit(rule: &Rule, host: &str, path: &Reading<'_>, method: &Method, headers: &HeaderMap) -> Option<Verdict> {
    let matches_host = rule.hosts.is_empty() || rule.hosts.iter().any(|h| h.matches(host));
    let other = |(name, value): &&(HeaderName, http::HeaderValue)| !headers.get_all(name).iter().eq([value]);
    if !matches_host {
        Some(Verdict::Host)
    } else if !rule.path.matches(path.written) {
        let boldly = rule.path.folded().matches(path.boldest());
        Some(if boldly { Verdict::PathAsWritten } else { Verdict::Path })
    } else if let Some((name, _)) = rule.headers.iter().find(other) {
        Some(Verdict::Header(name.clone()))
    } else if !rule.methods.is_empty() && !rule.methods.contains(method) {
        Some(Verdict::Method)
    } else {
        None
    }
}

/// By what `winner` is more specific than `rule`; both take the request.
fn by(winner: &Rule, rule: &Rule, host: &str) -> By {
    // The longest pattern counts; a name stands above all of them.
    let of_host = |rule: &Rule| rule.hosts.iter().filter(|h| h.matches(host)).map(super::HostPattern::specificity).max();
    if of_host(winner) != of_host(rule) {
        By::Host
    } else if winner.path != rule.path {
        By::Path
    } else if winner.methods.is_empty() == rule.methods.is_empty() {
        By::Headers
    } else {
        By::Methods
    }
}
