//! What became of one route, in words: why it has won, or what of the request it does not take.

use crate::route::{By, PathPattern, Rule, Verdict};
use crate::stack::RouteSettings;
use http::Method;
use serde_json::{Value, json};

/// What is the same for all routes.
pub struct Said<'a> {
    pub winner: Option<&'a RouteSettings>,
    pub host: &'a str,
    pub method: &'a Method,
    /// Whoever asks may know which values of headers choose routes.
    pub knows_values: bool,
}

pub fn told(route: &RouteSettings, verdict: &Verdict, said: &Said<'_>) -> Value {
    let (rule, Said { winner, host, method, knows_values }) = (&route.rule, said);
    let (word, why) = match verdict {
        Verdict::Won => ("won", "it takes this request, and no other that does is more specific".to_owned()),
        Verdict::Host => {
            let asked = if host.is_empty() { "the request names no host".to_owned() } else { format!("the request is for {host}") };
            ("host", format!("it is for {} only; {asked}", list(&rule.hosts)))
        }
        Verdict::Path => ("path", format!("it takes {}", path(rule))),
        Verdict::PathAsWritten => {
            ("path", format!("it takes {}: in the path's boldest reading this would match, as written it does not", path(rule)))
        }
        Verdict::Header(name) if !knows_values => {
            ("header", format!("it wants the header `{name}`, once, with one value (which is told to who shows the admin token)"))
        }
        Verdict::Header(name) => {
            let value = rule.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.to_str().unwrap_or_default());
            ("header", format!("it wants the header `{name}: {value}`, once"))
        }
        Verdict::Method => ("method", format!("it takes {} only; this is {method}", list(&rule.methods))),
        Verdict::LessSpecific(by) => {
            let by = match by {
                By::Host => "names the host more exactly",
                By::Path => "names more of the path",
                By::Methods => "names methods",
                By::Headers => "wants more headers",
            };
            let winner = winner.map_or("another", |w| &*w.name);
            ("less_specific", format!("it takes this request too, but `{winner}` {by}"))
        }
        Verdict::Ambiguous => ("ambiguous", "it takes the path as written, but the path's boldest reading leads elsewhere".to_owned()),
    };
    json!({ "route": *route.name, "verdict": word, "why": why })
}

pub fn elsewhere(route: &RouteSettings) -> Value {
    json!({ "route": *route.name, "verdict": "listener", "why": format!("it is on other listeners only: {}", route.listeners.join(", ")) })
}

fn path(rule: &Rule) -> String {
    match &rule.path {
        PathPattern::Exact(text) => format!("{text} exactly"),
        PathPattern::Prefix(text) if text == "/" => "every path".to_owned(),
        PathPattern::Prefix(text) => format!("{text} and what is below it"),
    }
}

fn list<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
