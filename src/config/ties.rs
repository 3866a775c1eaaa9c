//! Two routes that take the same requests: one of them would never match, and which one would be chance. Where the routes' own
//! table finds the ties, only the telling of them stays here.

use super::complaint::{Code, Complaint};
use super::place::At;
use super::reading::Reading;
use super::routes::Route;
use crate::route::PathPattern;

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
    let mut ties = Vec::new();
    for (i, b) in routes.iter().enumerate() {
        // One tie a route is enough to be told of.
        if let Some((j, why)) = routes[..i].iter().enumerate().find_map(|(j, a)| Some((j, tied(a, b)?))) {
            ties.push((j, i, why));
        }
    }
    ties
}

/// Why neither is more specific than the other, where that is so.
fn tied(a: &Route, b: &Route) -> Option<String> {
    let (x, y) = (&a.matches, &b.matches);
    let root = PathPattern::Prefix("/".to_owned());
    let path = |at: &Option<At<PathPattern>>| at.as_ref().map_or_else(|| root.clone(), |at| at.value.clone());
    let headers = |m: &super::matching::Match| m.headers.as_ref().map_or_else(Vec::new, |at| at.value.clone());
    let same_path = path(&x.path) == path(&y.path);
    if !same_path || headers(x) != headers(y) || !overlap(&x.methods, &y.methods) || !overlap_or_any(&a.listeners, &b.listeners) {
        return None;
    }
    if !overlap(&x.hosts, &y.hosts) {
        return None;
    }
    let path = match path(&x.path) {
        PathPattern::Prefix(p) => format!("all below `{p}`"),
        PathPattern::Exact(p) => format!("exactly `{p}`"),
    };
    let host = x.hosts.iter().flat_map(|at| &at.value).find(|h| y.hosts.iter().flat_map(|at| &at.value).any(|o| o.value == h.value));
    Some(host.map_or_else(|| format!("{path}, on any host"), |h| format!("{path}, on `{}`", h.value)))
}

/// Both say nothing, or have one in common; where only one says something, it is the more specific one.
fn overlap<T: PartialEq>(a: &Option<At<Vec<At<T>>>>, b: &Option<At<Vec<At<T>>>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.value.iter().any(|x| b.value.iter().any(|y| x.value == y.value)),
        _ => false,
    }
}

/// One in common, where saying nothing means all of them.
fn overlap_or_any<T: PartialEq>(a: &Option<At<Vec<At<T>>>>, b: &Option<At<Vec<At<T>>>>) -> bool {
    a.is_none() || b.is_none() || overlap(a, b)
}
