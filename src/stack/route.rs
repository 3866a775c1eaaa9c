//! A route: as the configuration describes it, and as the stack runs it.

use super::force::ForceRoute;
use super::limit_rate::{RateLimit, RouteRate};
use super::rates::Rate;
use super::retry::Retries;
use super::rewrite::{HostRewrite, Rewrite};
use super::shared_answers::SharedAnswers;
use crate::metrics::RouteMetrics;
use crate::route::{Rule, Table};
use crate::token::{AccessToken, Actor, SubjectToken, Target, TargetSettings};
use crate::upstream;
use crate::verify::{Require, Verifiers};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use std::sync::Arc;

/// One route, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Its name in the configuration; a metric label.
    pub name: Arc<str>,
    pub rule: Rule,
    /// Names of listeners; empty: all.
    pub listeners: Vec<Arc<str>>,
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Over the upstream's, where the route says so; resolved.
    pub timeouts: upstream::Timeouts,
    pub retries: Retries,
    /// Whose tokens callers bring, and who issues those that go upstream.
    pub issuer: IssuerChoice,
    pub callers: Callers,
    /// Of the caller's token.
    pub require: Require,
    pub token: TokenMode,
    /// Bytes; `None`: any.
    pub max_body: Option<u64>,
    /// Callers may go on in another protocol, if the upstream agrees.
    pub websocket: bool,
    pub force: ForceRoute,
    pub headers: TokenHeaders,
    pub rewrite: Rewrite,
    /// CORS preflights, which bring no token, are let through without one.
    pub preflight: bool,
    pub rate: Option<RateLimit>,
}

/// Where tokens stand in a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeaders {
    /// The caller's, as it comes; it goes upstream in none.
    pub callers: HeaderName,
    /// The one that goes upstream: behind `Bearer` in `Authorization`, alone in any other.
    pub upstream: HeaderName,
}

impl Default for TokenHeaders {
    fn default() -> Self {
        Self { callers: AUTHORIZATION, upstream: AUTHORIZATION }
    }
}

impl TokenHeaders {
    /// Puts in the token that was granted.
    pub(super) fn inject(&self, headers: &mut HeaderMap, token: &AccessToken) {
        let value = if self.upstream == AUTHORIZATION { token.authorization() } else { token.bare() };
        headers.insert(&self.upstream, value);
    }

    /// Puts in the caller's own.
    pub(super) fn hand_on(&self, headers: &mut HeaderMap, token: &SubjectToken) {
        let value = if self.upstream == AUTHORIZATION { token.authorization() } else { token.bare() };
        headers.insert(&self.upstream, value);
    }

    /// Those of the two that no other layer looks after.
    fn own(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.callers, &self.upstream].into_iter().filter(|name| **name != AUTHORIZATION)
    }
}

/// Which of the issuers is a route's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerChoice {
    /// By its name in the configuration.
    Named(Arc<str>),
    /// The one whose url is the `iss` of the caller's token.
    ByToken,
    /// None: nobody brings a token that counts, and none is asked for.
    Unneeded,
}

/// Who may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Callers {
    /// Whoever brings a token that is good.
    #[default]
    Verified,
    /// Anybody: a token that is brought is not looked at.
    Anonymous,
}

/// What becomes of the caller's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenMode {
    /// Exchanged; the caller's own never goes upstream.
    Exchange(TargetSettings),
    /// Taken out; the gateway's own goes upstream, whoever calls.
    ClientCredentials(TargetSettings),
    /// Taken out.
    Strip,
    /// Left in.
    Passthrough,
}

impl TokenMode {
    /// What the issuer is asked for, if it is.
    pub fn target(&self) -> Option<&TargetSettings> {
        match self {
            Self::Exchange(target) | Self::ClientCredentials(target) => Some(target),
            Self::Strip | Self::Passthrough => None,
        }
    }
}

/// What holds for every request before it has a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_in_flight: usize,
    pub header_bytes: usize,
    pub header_count: usize,
    pub uri_bytes: usize,
    /// The largest body that is kept for a second time, and of all of them together.
    pub replay_body: usize,
    pub replay_total: usize,
    /// By source; `None`: off.
    pub failed_authentication: Option<Rate>,
}

/// One route, ready to run.
pub struct Route {
    pub name: Arc<str>,
    /// The pattern that takes its requests' paths.
    pub path: Box<str>,
    pub upstream: Towards,
    pub timeouts: upstream::Timeouts,
    pub retries: Retries,
    /// `None`: anybody may call, and no token is looked at.
    pub verifiers: Option<Verifiers>,
    pub require: Require,
    pub token: Injection,
    pub max_body: Option<u64>,
    pub websocket: bool,
    pub force: ForceRoute,
    pub headers: TokenHeaders,
    pub shared: SharedAnswers,
    pub strip_prefix: Option<Box<str>>,
    /// The `Host` that goes upstream.
    pub host: HostRewrite,
    /// Paths are taken as they are written.
    pub as_written: bool,
    pub preflight: bool,
    pub rate: Option<RouteRate>,
    /// The headers that chose it.
    pub matched: Vec<HeaderName>,
    pub metrics: Arc<RouteMetrics>,
}

/// Where a route leads.
pub enum Towards {
    Upstream(Arc<upstream::Upstream>),
    /// Wherever the caller says.
    Anywhere(Arc<upstream::Anywhere>),
}

impl Towards {
    /// A metric label.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Upstream(upstream) => &upstream.settings().name,
            Self::Anywhere(anywhere) => anywhere.name(),
        }
    }
}

/// What goes upstream in `Authorization`.
pub enum Injection {
    /// A token for this target.
    Exchange(Targets),
    /// The gateway's own for this target.
    Own(Targets),
    Nothing,
    /// The caller's own.
    Callers,
}

/// A route's target at each issuer that its callers may come from: one, but for routes that go by the token.
#[derive(Debug)]
pub struct Targets(Vec<Arc<Target>>);

impl Targets {
    pub fn new(targets: Vec<Arc<Target>>) -> Self {
        Self(targets)
    }

    /// The target for a caller of this issuer. Where there is one only, it is that one, whoever calls.
    pub fn of(&self, issuer: Option<&str>) -> Option<&Arc<Target>> {
        match &*self.0 {
            [only] => Some(only),
            several => several.iter().find(|t| issuer == Some(&*t.issuer)),
        }
    }

    pub fn first(&self) -> Option<&Arc<Target>> {
        self.0.first()
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.0.iter()
    }
}

impl Route {
    /// The header in which callers bring the token of who acts for them.
    pub fn actor_header(&self) -> Option<&HeaderName> {
        match &self.token {
            Injection::Exchange(targets) => match &targets.first()?.settings.actor {
                Actor::Header(name) => Some(name),
                Actor::Nobody | Actor::Gateway => None,
            },
            Injection::Own(_) | Injection::Nothing | Injection::Callers => None,
        }
    }
}

/// A table for each listener, since a route may be for some listeners only.
#[derive(Default)]
pub struct Routes {
    pub by_listener: Vec<(Arc<str>, Table<Arc<Route>>)>,
    /// Headers that hold tokens for the gateway: none of them goes upstream, on whatever route it comes.
    pub token_headers: Vec<HeaderName>,
    /// Headers that choose a route: none of them goes upstream in another spelling.
    pub matched: Vec<HeaderName>,
}

impl Routes {
    pub fn new(by_listener: Vec<(Arc<str>, Table<Arc<Route>>)>) -> Self {
        let routes = || by_listener.iter().flat_map(|(_, table)| table.routes());
        let token_headers = each_once(routes().flat_map(|r| r.actor_header().into_iter().chain(r.headers.own())));
        let matched = each_once(routes().flat_map(|r| &r.matched));
        Self { token_headers, matched, by_listener }
    }

    pub fn for_listener(&self, name: &str) -> Option<&Table<Arc<Route>>> {
        self.by_listener.iter().find(|(n, _)| &**n == name).map(|(_, t)| t)
    }
}

fn each_once<'a>(names: impl Iterator<Item = &'a HeaderName>) -> Vec<HeaderName> {
    let mut all: Vec<HeaderName> = names.cloned().collect();
    all.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    all.dedup();
    all
}
