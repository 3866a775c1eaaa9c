//! The table itself: hosts, then paths, then methods and headers; of several rules that match, the most specific wins.
//! Ties are found when it is built, so that a look-up never has to choose.

use super::path::{self, Reading};
use super::{HostPattern, PathPattern, Rule};
use http::{HeaderMap, Method};
use std::collections::HashMap;

/// What a look-up came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, R> {
    Route(&'a R),
    /// Something is there, but not for this method; these it takes.
    MethodNotAllowed(Vec<Method>),
    Nothing,
    /// The path's two readings lead to different places.
    Ambiguous,
}

/// Two rules that would both take the same request, neither more specific than the other. Indices into what was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    pub first: usize,
    pub second: usize,
    /// What they both take, for example `api.example.com/orders`.
    pub both: String,
    /// They differ only in spelling that some programs ignore (case, encoding, double slashes).
    pub folded: bool,
}

/// Routes, found by what a request looks like.
#[derive(Debug)]
pub struct Table<R> {
    routes: Vec<(Rule, R)>,
    written: Hosts,
    folded: Hosts,
    /// Some pattern is not its own boldest reading: a path that is may be taken for it.
    bent: bool,
}

/// For each kind of host pattern, its paths.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<String, Paths>,
    below: HashMap<String, Paths>,
    any: Paths,
}

/// Routes by path; within one path the most specific first.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<String, Vec<usize>>,
    prefix: HashMap<String, Vec<usize>>,
}

impl<R> Table<R> {
    /// # Errors
    /// Every pair of rules that tie.
    pub fn build(routes: Vec<(Rule, R)>) -> Result<Self, Vec<Tie>> {
        let (mut written, mut folded, mut bent, mut ties) = (Hosts::default(), Hosts::default(), false, Vec::new());
        for (i, (rule, _)) in routes.iter().enumerate() {
            let rule_of = |j: usize| &routes[j].0;
            ties.extend(written.add(i, rule, &rule.path, &rule_of, false));
            let fold = rule.path.folded();
            bent |= fold != rule.path;
            ties.extend(folded.add(i, rule, &fold, &rule_of, true));
        }
        // A pair that ties as written ties folded too: it is told once.
        let plain: Vec<_> = ties.iter().filter(|t| !t.folded).map(|t| (t.first, t.second)).collect();
        ties.retain(|t| !t.folded || !plain.contains(&(t.first, t.second)));
        ties.sort_by_key(|t| (t.first, t.second));
        ties.dedup_by_key(|t| (t.first, t.second));
        if ties.is_empty() { Ok(Self { routes, written, folded, bent }) } else { Err(ties) }
    }

    pub fn routes(&self) -> impl Iterator<Item = &R> {
        self.routes.iter().map(|(_, r)| r)
    }

    pub(super) fn all(&self) -> &[(Rule, R)] {
        &self.routes
    }

    /// The most specific rule that takes the path as it is written, and where it stands.
    pub(super) fn winner(&self, host: &str, path: &str, method: &Method, headers: &HeaderMap) -> Option<(usize, &Rule)> {
        let at = self.look(&self.written, host, path, method, headers).ok()?;
        Some((at, &self.routes[at].0))
    }

    /// Whether some rule asks for this very host, or for those that it is among.
    pub fn names(&self, host: &str) -> bool {
        self.written.named(host).next().is_some()
    }

    /// `host` is lower case, without port and trailing dot; empty where the request has none.
    pub fn find(&self, host: &str, path: &Reading<'_>, method: &Method, headers: &HeaderMap) -> Found<'_, R> {
        let found = self.look(&self.written, host, path.written, method, headers);
        let Ok(at) = found else { return self.missed(host, path, method, headers) };
        let (rule, route) = &self.routes[at];
        if self.in_doubt(path) && !rule.as_written {
            let elsewhere = |path: &str| self.look(&self.folded, host, path, method, headers) != Ok(at);
            // What begins with two slashes is never its own boldest reading.
            let beyond_host = || path.differs().then(|| path::beyond_host(path.written)).flatten();
            if elsewhere(path.boldest()) || beyond_host().is_some_and(|left| elsewhere(&left)) {
                return Found::Ambiguous;
            }
        }
        Found::Route(route)
    }

    /// Whether its boldest reading, or that of a pattern, could be what another program goes by.
    fn in_doubt(&self, path: &Reading<'_>) -> bool {
        path.differs() || self.bent
    }

    /// Nothing takes it as written. If the boldest reading leads somewhere, that is a doubt and no plain miss.
    fn missed(&self, host: &str, path: &Reading<'_>, method: &Method, headers: &HeaderMap) -> Found<'_, R> {
        if self.in_doubt(path) && self.look(&self.folded, host, path.boldest(), method, headers).is_ok() {
            return Found::Ambiguous;
        }
        match self.look(&self.written, host, path.written, method, headers) {
            Err(methods) if !methods.is_empty() => Found::MethodNotAllowed(methods),
            _ => Found::Nothing,
        }
    }

    /// The index of the route, or the methods that would have been taken.
    fn look(&self, hosts: &Hosts, host: &str, path: &str, method: &Method, headers: &HeaderMap) -> Result<usize, Vec<Method>> {
        let mut other_methods: Vec<Method> = Vec::new();
        for paths in hosts.tiers(host) {
            for &at in paths.candidates(path) {
                let rule = &self.routes[at].0;
                if !rule.headers.iter().all(|(name, value)| headers.get_all(name).iter().eq([value])) {
                    continue;
                }
                if rule.methods.is_empty() || rule.methods.contains(method) {
                    return Ok(at);
                }
                for method in &rule.methods {
                    if !other_methods.contains(method) {
                        other_methods.push(method.clone());
                    }
                }
            }
        }
        Err(other_methods)
    }
}

impl Hosts {
    /// The tables that may know the host, the most specific first.
    fn tiers<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Paths> {
        self.named(host).chain([&self.any])
    }

    fn named<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Paths> {
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(host)).flatten();
        let below = (!self.below.is_empty()).then(|| {
            let suffixes = host.match_indices('.').filter(|(i, _)| *i > 0).map(move |(i, _)| &host[i + 1..]);
            suffixes.filter_map(|suffix| self.below.get(suffix))
        });
        exact.into_iter().chain(below.into_iter().flatten())
    }

    fn add<'a>(&mut self, i: usize, rule: &'a Rule, path: &PathPattern, rule_of: &impl Fn(usize) -> &'a Rule, folded: bool) -> Vec<Tie> {
        let mut ties = Vec::new();
        let mut add = |paths: &mut Paths, host: &str| {
            let tie = |j: usize| Tie { first: j, second: i, both: format!("{host}{}", path.text()), folded };
            ties.extend(paths.add(i, rule, path, rule_of, folded).into_iter().map(tie));
        };
        for host in &rule.hosts {
            match host {
                HostPattern::Exact(name) => add(self.exact.entry(name.clone()).or_default(), name),
                HostPattern::Below(name) => add(self.below.entry(name.clone()).or_default(), &format!("*.{name}")),
            }
        }
        if rule.hosts.is_empty() {
            add(&mut self.any, "");
        }
        ties
    }
}

impl Paths {
    /// Every rule whose path matches, the most specific first.
    fn candidates<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a usize> {
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(path)).flatten();
        // `/a/b/c`, `/a/b`, `/a`, `/`: the longest first. A trailing slash belongs to the segment before it.
        let whole = Some(path.strip_suffix('/').unwrap_or(path)).filter(|p| !p.is_empty());
        let shorter = whole.into_iter().flat_map(|p| p.rmatch_indices('/').filter(|(i, _)| *i > 0).map(move |(i, _)| &p[..i]));
        let prefixes = whole.into_iter().chain(shorter).chain(["/"]).filter_map(|p| self.prefix.get(p));
        exact.into_iter().chain(prefixes).flatten()
    }

    /// Adds a rule and returns those that it ties with.
    fn add<'a>(&mut self, i: usize, rule: &'a Rule, path: &PathPattern, rule_of: &impl Fn(usize) -> &'a Rule, folded: bool) -> Vec<usize> {
        let list = match path {
            PathPattern::Prefix(text) => self.prefix.entry(text.clone()).or_default(),
            PathPattern::Exact(text) => self.exact.entry(text.clone()).or_default(),
        };
        // A route may name a host twice.
        if list.contains(&i) {
            return Vec::new();
        }
        let ties = list.iter().copied().filter(|j| ties(rule_of(*j), rule) && !(folded && (rule.as_written || rule_of(*j).as_written)));
        let ties = ties.collect();
        list.push(i);
        list.sort_by_key(|j| std::cmp::Reverse(rank(rule_of(*j))));
        ties
    }
}

/// How specific a rule is beyond its host and path.
fn rank(rule: &Rule) -> (bool, usize) {
    (!rule.methods.is_empty(), rule.headers.len())
}

/// Whether some request is taken by both, and neither is more specific. Host and path are the same already.
fn ties(a: &Rule, b: &Rule) -> bool {
    let methods = a.methods.is_empty() || a.methods.iter().any(|m| b.methods.contains(m));
    let apart = |(name, value): &(http::HeaderName, http::HeaderValue)| b.headers.iter().any(|(n, v)| n == name && v != value);
    rank(a) == rank(b) && methods && !a.headers.iter().any(apart)
}
