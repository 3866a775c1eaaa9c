//! Two routes that take the same requests: one of them would never match, and which one would be chance. Where the routes' own
//! table finds the ties, only the telling of them stays here.

use super::complaint::{Code, Complaint};
use super::matching::rule;
use super::reading::Reading;
use super::routes::Route;
use crate::route::{PathPattern, Rule};
use std::collections::HashMap;

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

fn find(routes: &[Route]) -> Vec<Tie> {
    let rules: Vec<Rule> = routes.iter().map(|route| rule(&route.matches, false)).collect();
    // Only routes with the same path can be a tie, so that many routes are compared with few.
    let mut by_path: HashMap<&PathPattern, Vec<usize>> = HashMap::new();
    let mut ties = Vec::new();
    for (i, route) in routes.iter().enumerate().filter(|(_, route)| readable(route)) {
        let same_path = by_path.entry(&rules[i].path).or_default();
        let tie = same_path.iter().find_map(|&j| share_listeners(&routes[j], route).then_some((j, tied(&rules[j], &rules[i])?)));
        // One tie a route is enough to be told of.
        ties.extend(tie.map(|(j, why)| (j, i, why)));
        same_path.push(i);
    }
    ties
}

/// What could not be read cannot be compared.
fn readable(route: &Route) -> bool {
    !route.matches.broken && (route.listeners.is_some() || !route.listeners_written)
}

/// No listeners are all of them.
fn share_listeners(a: &Route, b: &Route) -> bool {
    match (&a.listeners, &b.listeners) {
        (Some(a), Some(b)) => a.value.iter().any(|l| b.value.iter().any(|m| l.value == m.value)),
        _ => true,
    }
}

/// Why neither is more specific than the other, where that is so.
fn tied(a: &Rule, b: &Rule) -> Option<String> {
    if a.path != b.path || a.headers != b.headers || !overlap(&a.methods, &b.methods) || !overlap(&a.hosts, &b.hosts) {
        return None;
    }
    let path = match &a.path {
        PathPattern::Prefix(p) => format!("all below `{p}`"),
        PathPattern::Exact(p) => format!("exactly `{p}`"),
    };
    let host = a.hosts.iter().find(|h| b.hosts.contains(h));
    Some(host.map_or_else(|| format!("{path}, on any host"), |h| format!("{path}, on `{h}`")))
}

/// Both say nothing, or have one in common; where only one says something, it is the more specific one.
fn overlap<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.is_empty() && b.is_empty() || a.iter().any(|x| b.contains(x))
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
