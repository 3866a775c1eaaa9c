//! `routes`: which requests go where, with what token. Whether the names in them exist is for `check` to say.

use super::callers::{self, Callers};
use super::force_update::{self, OnRoute};
use super::matching::{self, Match};
use super::place::At;
use super::rate_limit::{self, RateLimit};
use super::reading::Value;
use super::retries::retries;
use super::rewrite::{self, Rewrite};
use super::section::{Section, named};
use super::size;
use super::target::{self, Target};
use super::timeouts::{self, Timeouts};
use super::token_headers::{self, TokenHeaders};
use super::url::endpoint;
use crate::stack::{IssuerChoice, Retries, RouteSettings, TokenMode};
use crate::upstream::{self, Endpoint};
use std::time::Duration;

const LARGEST_BODY: u64 = 1 << 50;
const MODES: &[(&str, Mode)] = &[
    ("exchange", Mode::Exchange),
    ("client_credentials", Mode::ClientCredentials),
    ("passthrough", Mode::Passthrough),
    ("strip", Mode::Strip),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Exchange,
    ClientCredentials,
    Strip,
    Passthrough,
}

/// Where a route's requests go.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    Name(String),
    Url(Endpoint),
}

#[derive(Debug)]
pub struct Route {
    pub name: At<String>,
    pub matches: Match,
    pub listeners: Option<At<Vec<At<String>>>>,
    /// The key is there, whatever stands in it.
    pub listeners_written: bool,
    pub upstream: Option<At<To>>,
    pub issuer: Option<At<String>>,
    /// The key is there, whatever stands in it.
    pub issuer_written: bool,
    pub mode: Option<At<Mode>>,
    pub callers: Callers,
    pub target: Target,
    pub force_update: Option<At<OnRoute>>,
    pub headers: TokenHeaders,
    pub rewrite: Rewrite,
    pub preflight: Option<At<bool>>,
    pub rate_limit: Option<At<RateLimit>>,
    pub max_body: Option<At<Option<u64>>>,
    pub as_written: Option<At<bool>>,
    pub websocket: Option<At<bool>>,
    pub timeouts: Timeouts,
    pub retries: Option<At<Retries>>,
}

impl Route {
    /// What becomes of the token, where that could be read.
    pub fn mode(&self) -> Mode {
        self.mode.map_or(Mode::Exchange, |at| at.value)
    }

    /// Whether it has anything to do with an issuer.
    pub fn needs_issuer(&self) -> bool {
        !self.callers.anonymous() || matches!(self.mode(), Mode::Exchange | Mode::ClientCredentials)
    }
}

/// `None`: the section is missing.
pub fn read(root: &mut Section) -> Option<Vec<Route>> {
    let value = root.value("routes")?;
    named(&value, "route", |value, name| value.section(&[]).map(|section| one(section, name))).or(Some(Vec::new()))
}

fn one(mut section: Section, name: At<String>) -> Route {
    let s = &mut section;
    let matches = matching::read(s);
    let listeners_written = s.has("listeners");
    let listeners = s.take("listeners", |v| v.list(|v| v.text()));
    let upstream = s.require("upstream", "write the name of an upstream, or a URL as in `http://orders:8080`", to);
    let issuer_written = s.has("issuer");
    let issuer = s.take("issuer", |v| v.text());
    let mode_written = s.has("token");
    let mode = s.take("token", |v| v.choice(MODES, &[]));
    let callers = callers::read(s);
    let target = target::read(s);
    let force_update = force_update::on_route(s);
    // A mode that could not be read says nothing about the other keys.
    let meant = mode.map(|at| at.value).or((!mode_written).then_some(Mode::Exchange));
    match meant {
        None => {}
        Some(Mode::Exchange) => target::check_exchange(s, &target),
        Some(Mode::ClientCredentials) => target::check_own(s, &target),
        Some(Mode::Strip) => target::check_absent(s, &target, "strip"),
        Some(Mode::Passthrough) => target::check_absent(s, &target, "passthrough"),
    }
    force_update::check(s, force_update.as_ref(), meant);
    callers::check(s, &callers, meant);
    let headers = token_headers::read(s);
    token_headers::check(s, &headers, meant);
    let rewrite = rewrite::read(s);
    rewrite::check(s, &rewrite, &matches);
    let preflight = s.take("preflight", |v| v.choice(&[("refuse", false), ("forward", true)], &[]));
    let rate_limit = rate_limit::read(s);
    rate_limit::check(s, rate_limit.as_ref(), &callers);
    let max_body = s.take("max_body", |v| size::or_off(v, LARGEST_BODY));
    let as_written = s.take("paths", |v| v.choice(&[("strict", false), ("as_written", true)], &[]));
    let websocket = s.take("websocket", |v| v.boolean());
    let timeouts = timeouts::read(s);
    let retries = s.take("retries", retries);
    section.finish();
    Route {
        name,
        matches,
        listeners,
        listeners_written,
        upstream,
        issuer,
        issuer_written,
        mode,
        callers,
        target,
        force_update,
        headers,
        rewrite,
        preflight,
        rate_limit,
        max_body,
        as_written,
        websocket,
        timeouts,
        retries,
    }
}

fn to(value: &Value) -> Option<To> {
    let text = value.text()?;
    if text.contains([':', '/']) { endpoint(value).map(To::Url) } else { Some(To::Name(text)) }
}

/// What a route's words were found to mean.
pub struct Found<'a> {
    pub upstream: &'a upstream::Settings,
    pub issuer: IssuerChoice,
    pub cache_max_ttl: Duration,
}

pub fn settings(route: Route, found: &Found) -> RouteSettings {
    let Route {
        name,
        matches,
        listeners,
        listeners_written: _,
        upstream: _,
        issuer: _,
        issuer_written: _,
        mode,
        callers,
        target,
        force_update,
        headers,
        rewrite,
        preflight,
        rate_limit,
        max_body,
        as_written,
        websocket,
        timeouts,
        retries,
    } = route;
    let (callers, require) = callers::settings(callers);
    RouteSettings {
        name: name.value.into(),
        rule: matching::rule(&matches, as_written.is_some_and(|at| at.value)),
        listeners: listeners.map_or_else(Vec::new, |at| at.value.into_iter().map(|at| at.value.into()).collect()),
        upstream: found.upstream.name.clone(),
        timeouts: timeouts::over(timeouts, found.upstream.timeouts),
        retries: retries.map_or_else(Retries::default, |at| at.value),
        issuer: found.issuer.clone(),
        callers,
        require,
        token: match mode.map_or(Mode::Exchange, |at| at.value) {
            Mode::Exchange => TokenMode::Exchange(target::settings(target, found.cache_max_ttl)),
            Mode::ClientCredentials => TokenMode::ClientCredentials(target::settings(target, found.cache_max_ttl)),
            Mode::Strip => TokenMode::Strip,
            Mode::Passthrough => TokenMode::Passthrough,
        },
        max_body: max_body.and_then(|at| at.value),
        websocket: websocket.is_some_and(|at| at.value),
        force: force_update::route_settings(force_update),
        headers: token_headers::settings(headers),
        rewrite: rewrite::settings(rewrite),
        preflight: preflight.is_some_and(|at| at.value),
        rate: rate_limit::settings(rate_limit),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{refused_route, with_route};
    use super::*;

    #[test]
    fn modes_and_who_may_leave_the_issuer_out() {
        let text = include_str!("../../config/minimal.yaml").replace("audience: orders-api", "token: passthrough");
        let route = super::super::sample::whole(&text).routes.remove(0);
        let main = IssuerChoice::Named("main".into());
        assert_eq!((route.token, route.issuer, route.max_body, route.listeners.len()), (TokenMode::Passthrough, main, None, 0));
        assert_eq!(with_route("issuer: by_token").routes[0].issuer, IssuerChoice::ByToken);
        assert_eq!(&*with_route("issuer: main\nlisteners: [main]").routes[0].listeners[0], "main");
        assert_eq!(refused_route("token: strip"), [Code::ExchangeOnly]);
        assert!(matches!(with_route("token: client_credentials").routes[0].token, TokenMode::ClientCredentials(_)));
    }

    #[test]
    fn timeouts_go_over_the_upstreams() {
        let found = with_route("timeouts: { response: 1s, total: 1m }").routes[0].timeouts;
        let expected =
            upstream::Timeouts { response: Duration::from_secs(1), total: Some(Duration::from_secs(60)), ..upstream::Timeouts::default() };
        assert_eq!(found, expected);
    }
}
