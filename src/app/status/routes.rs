//! What the status says of routes: their rules, what a caller's token must be to be let in, and their traffic. It shows what is
//! configured and what was counted, and nothing of any request.

use super::history::Ring;
use crate::config::Config;
use crate::metrics::{LOOKUPS, RouteReading, Spread};
use crate::route::{PathPattern, Rule};
use crate::stack::{Callers, Injection, IssuerChoice, Route, RouteSettings, Targets};
use crate::token::TargetSettings;
use crate::verify::By;
use serde_json::{Map, Value, json};

/// Results of look-ups that had a token at once.
const AT_ONCE: [usize; 2] = [0, 1];

pub(super) fn route(
    settings: &RouteSettings,
    config: &Config,
    running: Option<&Route>,
    ring: Option<&Ring<RouteReading>>,
    at: u64,
) -> Value {
    let Rule { hosts, path, methods, headers, as_written: _ } = &settings.rule;
    let exact = matches!(path, PathPattern::Exact(_));
    let (token, audience) = running.map_or(("none", None), mode);
    let target = settings.token.target();
    let mut told = json!({
        "name": settings.name,
        "rule": {
            "hosts": hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "path": path.text(),
            "path_is": if exact { "exact" } else { "prefix" },
            "methods": methods.iter().map(|m| m.as_str()).collect::<Vec<_>>(),
            // A value may be somebody's secret.
            "headers": headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        },
        "listeners": settings.listeners,
        "upstream": settings.upstream,
        "token": token,
        "audience": audience,
        "scopes": target.map(|t| &t.scopes),
        "needs": needs(settings, config, target),
        "traffic": null,
    });
    if let (Some(route), Some(ring)) = (running, ring) {
        told["traffic"] = traffic(&route.metrics.read(), ring, at);
    }
    told
}

/// What the caller's token must be. `null`: anybody may call.
fn needs(settings: &RouteSettings, config: &Config, target: Option<&TargetSettings>) -> Value {
    let here = |name: &str| match &settings.issuer {
        IssuerChoice::Named(wanted) => **wanted == *name,
        IssuerChoice::ByToken => true,
        IssuerChoice::Unneeded => false,
    };
    if settings.callers == Callers::Anonymous {
        return Value::Null;
    }
    let issuers = config.issuers.iter().filter(|i| here(&i.issuer.name)).map(|i| {
        let verify = &i.verify;
        json!({
            "name": i.issuer.name,
            "url": i.issuer.url,
            "verified_by": match verify.by {
                By::Jwks => "jwks",
                By::Introspection => "introspection",
            },
            "audiences": verify.audiences,
            "algorithms": verify.algorithms.iter().map(|a| a.name()).collect::<Vec<_>>(),
            "strict_at_jwt": verify.strict_at_jwt,
            "clock_skew_seconds": verify.clock_skew.as_secs(),
        })
    });
    let claims = settings.require.claims.iter().map(|(name, one_of)| json!({ "name": name, "one_of": one_of }));
    // The login client may be no audience of the exchange, unless the route says so.
    let not_from = target.filter(|t| !t.allow_login_client).map(|t| &t.audiences);
    json!({
        "header": settings.headers.callers.as_str(),
        "issuers": issuers.collect::<Vec<_>>(),
        "scopes": settings.require.scopes,
        "claims": claims.collect::<Vec<_>>(),
        "login_client_is_not": not_from,
    })
}

fn audiences(targets: &Targets) -> Option<Vec<String>> {
    targets.first().map(|target| target.settings.audiences.clone())
}

fn mode(route: &Route) -> (&'static str, Option<Vec<String>>) {
    match &route.token {
        Injection::Exchange(targets) => ("exchange", audiences(targets)),
        Injection::Own(targets) => ("client_credentials", audiences(targets)),
        Injection::Nothing => ("strip", None),
        Injection::Callers => ("passthrough", None),
    }
}

fn traffic(now: &RouteReading, ring: &Ring<RouteReading>, at: u64) -> Value {
    let none = RouteReading::default();
    let before = ring.oldest().unwrap_or(&none);
    let added = now.overhead.since(&before.overhead);
    json!({
        "requests_total": now.requests,
        "requests": now.requests.saturating_sub(before.requests),
        "requests_per_second": ring.rate(at, now, |r| r.requests),
        "requests_per_second_steps": ring.rates(at, now, |r| r.requests),
        "refused": now.rejected.saturating_sub(before.rejected),
        "lookups": lookups(now, before),
        "hit_ratio": hit_ratio(&difference(now, before)),
        "added_p50_seconds": added.quantile(0.5),
        "added_p99_seconds": added.quantile(0.99),
    })
}

pub(super) fn difference(now: &RouteReading, before: &RouteReading) -> [u64; LOOKUPS.len()] {
    std::array::from_fn(|at| now.lookups[at].saturating_sub(before.lookups[at]))
}

fn lookups(now: &RouteReading, before: &RouteReading) -> Value {
    by_name(&difference(now, before))
}

pub(super) fn by_name(counts: &[u64; LOOKUPS.len()]) -> Value {
    LOOKUPS.iter().zip(counts).map(|(name, count)| ((*name).to_owned(), json!(count))).collect::<Map<_, _>>().into()
}

/// `None`: nobody asked for a token.
pub(super) fn hit_ratio(counts: &[u64; LOOKUPS.len()]) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let hits: u64 = AT_ONCE.iter().map(|at| counts[*at]).sum();
    (all > 0).then(|| (hits as f64 / all as f64 * 10_000.0).round() / 10_000.0)
}

pub(super) fn spread(spread: &Spread) -> Value {
    json!({
        "bounds_seconds": spread.bounds,
        "counts": spread.counts,
        "count": spread.total(),
        "p50_seconds": spread.quantile(0.5),
        "p99_seconds": spread.quantile(0.99),
    })
}
