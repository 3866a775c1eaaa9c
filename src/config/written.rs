//! The whole configuration as it was written, section by section, and how what runs is made of it. It judges nothing: each
//! section has judged itself, and `check` what they say of each other.

use super::admin::{self, Admin};
use super::cache::{self, Cache};
use super::exchange_api::{self, ExchangeApi};
use super::force_update::{self, ForceUpdate};
use super::limits::{self, Limits};
use super::listeners::{self, Listener};
use super::log::{self, Log};
use super::logout::{self, Logout};
use super::metrics::{self, Metrics};
use super::place::At;
use super::routes::{self, Found, Route, To};
use super::section::{BY_TOKEN, Section};
use super::tracing::{self, Tracing};
use super::upstreams::{self, Upstream};
use super::{Config, issuers, shutdown, workers};
use crate::api;
use crate::stack::{IssuerChoice, RouteSettings};
use crate::upstream::{self, Endpoint};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

#[derive(Debug)]
pub struct Written {
    pub listeners: Option<Vec<Listener>>,
    pub metrics: Metrics,
    pub admin: Option<Admin>,
    pub issuers: Option<Vec<issuers::Written>>,
    pub upstreams: Vec<Upstream>,
    pub routes: Option<Vec<Route>>,
    pub exchange_api: Option<ExchangeApi>,
    pub logout: Option<Logout>,
    pub cache: Cache,
    pub force_update: ForceUpdate,
    pub limits: Limits,
    pub shutdown: shutdown::Written,
    pub workers: Option<At<Option<usize>>>,
    pub log: Log,
    pub tracing: Option<Tracing>,
}

/// Sections that a later version will know.
const LATER: &[&str] = &[];

impl Written {
    pub fn later() -> &'static [&'static str] {
        LATER
    }

    pub fn read(mut root: Section) -> Self {
        root.expect("issuers", "write who issues the tokens; see config/minimal.yaml");
        root.expect("routes", "write which requests go where; see config/minimal.yaml");
        let written = Self {
            listeners: listeners::read(&mut root),
            metrics: metrics::read(&mut root),
            admin: admin::read(&mut root),
            issuers: issuers::read(&mut root),
            upstreams: upstreams::read(&mut root),
            routes: routes::read(&mut root),
            exchange_api: exchange_api::read(&mut root),
            logout: logout::read(&mut root),
            cache: cache::read(&mut root),
            force_update: force_update::read(&mut root),
            limits: limits::read(&mut root),
            shutdown: shutdown::read(&mut root),
            workers: root.take("workers", workers::workers),
            log: log::read(&mut root),
            tracing: tracing::read(&mut root),
        };
        root.finish();
        written
    }

    /// `None` only where something was refused, and complained about, before.
    pub fn settings(self) -> Option<Config> {
        let Self {
            listeners,
            metrics,
            admin,
            issuers,
            upstreams,
            routes,
            exchange_api,
            logout,
            cache,
            force_update,
            limits,
            shutdown,
            workers,
            log,
            tracing,
        } = self;
        let (connections, requests) = limits::settings(limits);
        let (cache, max_ttl) = cache::settings(cache, force_update.min_interval.map(|at| at.value));
        let mut issuers: Vec<_> = issuers?.into_iter().map(issuers::settings).collect::<Option<_>>()?;
        let routes = routes?;
        let mut upstreams: Vec<_> = upstreams.into_iter().map(upstreams::settings).collect::<Option<_>>()?;
        upstreams.extend(by_url(&routes));
        let first = issuers.first().map(|i| i.issuer.name.clone());
        let exchange_api = exchange_api::settings(exchange_api, first.as_ref(), max_ttl);
        let only = first.map(IssuerChoice::Named);
        let routes = resolved(routes, &upstreams, only.as_ref(), max_ttl)?;
        let asked_about = claims(&routes, exchange_api.as_ref());
        for issuer in &mut issuers {
            issuer.verify.keep.clone_from(&asked_about);
        }
        Some(Config {
            routes,
            outbound: listeners::outbound(listeners.as_deref()),
            listeners: listeners::settings(listeners)?,
            connections,
            requests,
            metrics: metrics::settings(metrics),
            admin: admin::settings(admin),
            issuers,
            upstreams,
            cache,
            exchange_api,
            logout: logout::settings(logout),
            force: force_update::settings(force_update),
            shutdown: shutdown::settings(shutdown),
            workers: workers.and_then(|at| at.value),
            log: log::settings(log),
            tracing: tracing::settings(tracing),
        })
    }
}

/// The routes with their upstreams and issuers found.
fn resolved(
    routes: Vec<Route>,
    upstreams: &[upstream::Settings],
    only: Option<&IssuerChoice>,
    cache_max_ttl: Duration,
) -> Option<Vec<RouteSettings>> {
    let by_name: HashMap<&str, &upstream::Settings> = upstreams.iter().map(|u| (&*u.name, u)).collect();
    let by_url = upstreams.iter().filter(|u| u.name.contains(':'));
    let by_endpoint: HashMap<&Endpoint, &upstream::Settings> = by_url.filter_map(|u| Some((u.endpoints.written().first()?, u))).collect();
    let found = routes.into_iter().map(|route| {
        let issuer = match &route.issuer {
            _ if !route.needs_issuer() => IssuerChoice::Unneeded,
            Some(at) if at.value == BY_TOKEN => IssuerChoice::ByToken,
            Some(at) => IssuerChoice::Named(at.value.as_str().into()),
            None => only.cloned()?,
        };
        let upstream = match &route.upstream.as_ref()?.value {
            To::Name(name) => by_name.get(name.as_str()),
            To::Url(endpoint) => by_endpoint.get(endpoint),
        };
        Some(routes::settings(route, &Found { upstream: upstream?, issuer, cache_max_ttl }))
    });
    found.collect()
}

/// The claims that routes and the exchange API ask about, each once.
fn claims(routes: &[RouteSettings], api: Option<&api::Settings>) -> Vec<String> {
    let of_api = api.into_iter().flat_map(|api| &api.audiences).map(|audience| &audience.require);
    let names: BTreeSet<&String> = routes.iter().map(|r| &r.require).chain(of_api).flat_map(|r| &r.claims).map(|(name, _)| name).collect();
    names.into_iter().cloned().collect()
}

/// One upstream for each URL that routes give. A `:` is in each of their names, so that none is also a name in `upstreams`.
fn by_url(routes: &[Route]) -> Vec<upstream::Settings> {
    let (mut endpoints, mut seen): (Vec<&Endpoint>, HashSet<&Endpoint>) = Default::default();
    for route in routes {
        if let Some(At { value: To::Url(endpoint), .. }) = &route.upstream
            && seen.insert(endpoint)
        {
            endpoints.push(endpoint);
        }
    }
    let name = |e: &Endpoint| {
        let host = if e.host.contains(':') { format!("[{}]", e.host) } else { e.host.clone() };
        let twin = seen.contains(&Endpoint { tls: !e.tls, ..e.clone() });
        format!("{}{host}:{}", if twin && e.tls { "https://" } else { "" }, e.port)
    };
    endpoints.iter().map(|e| upstreams::by_url(&name(e), (*e).clone())).collect()
}
