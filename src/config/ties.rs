//! Two routes that take the same requests: one of them would never match, and which one would be chance. The routes' own
//! table finds the ties; only the telling of them is done here.

use super::complaint::{Code, Complaint};
use super::matching::rule;
use super::reading::Reading;
use super::routes::Route;
use crate::route::Table;
use std::collections::{BTreeMap, BTreeSet};

/// Two routes by their number, and what they have in common.
pub type Tie = (usize, usize, String);

pub fn check(routes: &[Route], reading: &Reading) {
    tell(routes, &find(routes), reading);
}

/// Names both routes of each tie, and where they stand.
pub fn tell(routes: &[Route], ties: &[Tie], reading: &Reading) {
    for (first, second, why) in ties {
        let (Some(a), Some(b)) = (routes.get(*first), routes.get(*second)) else { continue };
        let message = format!("routes `{}` ({}) and `{}` take the same requests: {why}", a.name.value, a.name.place, b.name.value);
        let it = Complaint::error(Code::Tie, b.name.place, message);
        reading.complain(it.cure("let one of them differ in host, path, method, header or listener"));
    }
}

/// Asks the table that will run: what it cannot tell apart is a tie. A listener has a table of its own.
fn find(routes: &[Route]) -> Vec<Tie> {
    let named = routes.iter().filter_map(|r| r.listeners.as_ref()).flat_map(|l| l.value.iter().map(|name| name.value.as_str()));
    // The empty name stands for every listener that no route names.
    let listeners: BTreeSet<&str> = named.chain([""]).collect();
    let mut ties = BTreeMap::new();
    for listener in listeners {
        let here: Vec<usize> = (0..routes.len()).filter(|i| readable(&routes[*i]) && serves(&routes[*i], listener)).collect();
        let rules =
            here.iter().map(|i| (rule(&routes[*i].matches, routes[*i].as_written.as_ref().is_some_and(|at| at.value)), *i)).collect();
        for tie in Table::build(rules).err().unwrap_or_default() {
            // One tie a route is enough to be told of.
            ties.entry(here[tie.second]).or_insert_with(|| (here[tie.first], why(&tie)));
        }
    }
    ties.into_iter().map(|(second, (first, why))| (first, second, why)).collect()
}

fn why(tie: &crate::route::Tie) -> String {
    let both = if tie.both.starts_with('/') { format!("`{}`, on any host", tie.both) } else { format!("`{}`", tie.both) };
    if tie.folded {
        return format!("{both} is what both are read as where case, escapes and double slashes make no difference");
    }
    both
}

/// What could not be read cannot be compared.
fn readable(route: &Route) -> bool {
    !route.matches.broken && (route.listeners.is_some() || !route.listeners_written)
}

/// No listeners are all of them.
fn serves(route: &Route, listener: &str) -> bool {
    route.listeners.as_ref().is_none_or(|l| l.value.iter().any(|name| name.value == listener))
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::codes;

    fn tied(a: &str, b: &str) -> bool {
        let route = |name: &str, fields: &str| format!("  {name}: {{ upstream: \"http://{name}\", token: strip, {fields} }}\n");
        let text = include_str!("../../config/minimal.yaml").replace("audience: orders-api", "token: strip");
        let listeners = "listeners:\n  l: { address: 127.0.0.1:0 }\n  m: { address: 127.0.0.1:0 }\n";
        let codes = codes(&format!("{text}{}{}{listeners}", route("a", a), route("b", b)));
        assert!(codes.iter().all(|c| *c == Code::Tie), "{codes:?}");
        !codes.is_empty()
    }

    #[test]
    fn the_same_requests_are_a_tie_and_the_more_specific_is_none() {
        assert!(tied("", "match: {}"));
        assert!(tied("match: { path: /x }", "match: { path: /x/ }"));
        assert!(tied("match: { hosts: [a, b] }", "match: { hosts: [B] }"));
        assert!(tied("match: { methods: [GET, PUT], headers: { a: b } }", "match: { methods: [PUT], headers: { A: b } }"));
        assert!(tied("listeners: [l]", ""));
        assert!(!tied("listeners: [l]", "listeners: [m]"));
        assert!(!tied("match: { path: /x }", "match: { path: { exact: /x } }"));
        assert!(!tied("match: { hosts: [a] }", ""), "a host is more specific than any");
        assert!(!tied("match: { methods: [GET] }", ""));
        assert!(!tied("match: { headers: { a: b } }", "match: { headers: { a: c } }"));
    }
}
