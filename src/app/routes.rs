//! The routes of a configuration and the upstreams they lead to, ready to run. It opens no connection.

use super::world::{Issuers, Limiters, MadeIssuer, Upstreams, World};
use crate::clock::Clock;
use crate::config::Config;
use crate::exchange::Exchanger;
use crate::metrics::Metrics;
use crate::stack::{
    Callers, Injection, IssuerChoice, Limiter, Route, RouteRate, RouteSettings, Routes, SharedAnswers, Targets, TokenMode, Towards,
};
use crate::token::{Target, TargetSettings};
use crate::upstream::Upstream;
use crate::verify::{Verifier, Verifiers};
use anyhow::{Context, anyhow, bail};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn make_upstreams(config: &Config, metrics: &Arc<Metrics>, old: Option<&World>) -> anyhow::Result<Upstreams> {
    let mut upstreams = HashMap::new();
    for settings in &config.upstreams {
        let name = &settings.name;
        let running = old.and_then(|old| old.upstreams.get(name)).filter(|running| running.settings() == settings);
        let upstream = match running {
            Some(running) => running.clone(),
            None => Upstream::new(settings.clone(), metrics.upstream(name)).with_context(|| format!("upstream `{name}`"))?,
        };
        upstreams.insert(name.clone(), upstream);
    }
    Ok(upstreams)
}

pub(super) fn make_routes(
    config: &Config,
    issuers: &Issuers,
    upstreams: &Upstreams,
    limiters: &Limiters,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Routes> {
    let mut routes = Vec::new();
    for settings in &config.routes {
        let context = || format!("route `{}`", settings.name);
        let upstream = upstreams
            .get(&settings.upstream)
            .ok_or_else(|| anyhow!("upstream `{}` is missing", settings.upstream))
            .with_context(context)?;
        let from = chosen(&settings.issuer, issuers).with_context(context)?;
        routes.push((settings, Arc::new(make_route(settings, upstream, &from, limiters, metrics))));
    }
    let mut by_listener = Vec::new();
    for listener in &config.listeners {
        let here = routes.iter().filter(|(s, _)| s.listeners.is_empty() || s.listeners.contains(&listener.name));
        let here: Vec<_> = here.map(|(s, r)| (s.rule.clone(), r.clone())).collect();
        let names: Vec<_> = here.iter().map(|(_, r)| r.name.clone()).collect();
        match crate::route::Table::build(here) {
            Ok(table) => by_listener.push((listener.name.clone(), table)),
            Err(ties) => {
                let tie = &ties[0];
                bail!("routes `{}` and `{}` both take {}, and neither is more specific", names[tie.first], names[tie.second], tie.both);
            }
        }
    }
    Ok(Routes::new(by_listener))
}

/// The buckets of routes that have a rate; those that counted by the same rate before go on as they are.
pub(super) fn make_limiters(config: &Config, clock: &Clock, old: Option<&World>) -> Limiters {
    let limited = config.routes.iter().filter_map(|route| Some((route, route.rate?)));
    let made = limited.map(|(route, rate)| {
        let same = |before: &&RouteSettings| before.name == route.name && before.rate == Some(rate);
        let kept = old.filter(|old| old.config.routes.iter().any(|r| same(&r))).and_then(|old| old.limiters.get(&route.name));
        (route.name.clone(), kept.cloned().unwrap_or_else(|| Arc::new(Limiter::new(rate.rate, clock.clone()))))
    });
    made.collect()
}

fn rate(settings: &RouteSettings, limiters: &Limiters) -> Option<RouteRate> {
    Some(RouteRate::new(settings.rate?.by, limiters.get(&settings.name)?.clone()))
}

/// The issuers of a route.
fn chosen<'a>(choice: &IssuerChoice, issuers: &'a Issuers) -> anyhow::Result<Vec<&'a MadeIssuer>> {
    match choice {
        IssuerChoice::Named(name) => Ok(vec![issuers.get(name).ok_or_else(|| anyhow!("issuer `{name}` is missing"))?]),
        IssuerChoice::ByToken => Ok(issuers.values().collect()),
        IssuerChoice::Unneeded => Ok(Vec::new()),
    }
}

/// The verifiers that any route has, each once.
pub(super) fn needed(routes: &Routes) -> Vec<Arc<Verifier>> {
    let mut all: Vec<Arc<Verifier>> = Vec::new();
    let of_routes = routes.by_listener.iter().flat_map(|(_, table)| table.routes()).filter_map(|r| r.verifiers.as_ref());
    for verifier in of_routes.flat_map(Verifiers::all) {
        if !all.iter().any(|v| Arc::ptr_eq(v, verifier)) {
            all.push(verifier.clone());
        }
    }
    all
}

fn make_route(
    settings: &RouteSettings,
    upstream: &Arc<Upstream>,
    from: &[&MadeIssuer],
    limiters: &Limiters,
    metrics: &Arc<Metrics>,
) -> Route {
    let at_each = |make: fn(&Exchanger, TargetSettings) -> Target, wanted: &TargetSettings| {
        Targets::new(from.iter().map(|made| Arc::new(make(&made.exchanger, wanted.clone()))).collect())
    };
    let token = match &settings.token {
        TokenMode::Strip => Injection::Nothing,
        TokenMode::Passthrough => Injection::Callers,
        TokenMode::Exchange(wanted) => Injection::Exchange(at_each(Exchanger::target, wanted)),
        TokenMode::ClientCredentials(wanted) => Injection::Own(at_each(Exchanger::own_target, wanted)),
    };
    let verifiers = match (settings.callers, &settings.issuer, from) {
        (Callers::Anonymous, ..) => None,
        (Callers::Verified, IssuerChoice::Named(_), [one]) => Some(Verifiers::One(one.verifier.clone())),
        (Callers::Verified, ..) => Some(Verifiers::ByToken(from.iter().map(|made| made.verifier.clone()).collect())),
    };
    Route {
        name: settings.name.clone(),
        path: settings.rule.path.text().into(),
        upstream: Towards::Upstream(upstream.clone()),
        timeouts: settings.timeouts,
        retries: settings.retries.clone(),
        shared: SharedAnswers::new(&token, &settings.headers, verifiers.is_some()),
        verifiers,
        require: settings.require.clone(),
        token,
        max_body: settings.max_body,
        websocket: settings.websocket,
        force: settings.force,
        headers: settings.headers.clone(),
        strip_prefix: settings.rewrite.strip_prefix.clone(),
        host: settings.rewrite.host.clone(),
        as_written: settings.rule.as_written,
        preflight: settings.preflight,
        rate: rate(settings, limiters),
        matched: settings.rule.headers.iter().map(|(name, _)| name.clone()).collect(),
        metrics: metrics.route(&settings.name),
    }
}
