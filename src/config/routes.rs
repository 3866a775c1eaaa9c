//! `routes`: which requests go where, with what token. Whether the names in them exist is for `check` to say.

use super::force_update;
use super::matching::{self, Match};
use super::place::At;
use super::reading::Value;
use super::section::{Section, named};
use super::size;
use super::target::{self, Target};
use super::timeouts::{self, Timeouts};
use super::url::endpoint;
use crate::stack::{RouteSettings, TokenMode};
use crate::upstream::{self, Endpoint};
use std::sync::Arc;
use std::time::Duration;

const LATER: &[&str] = &[
    "subject_token_type",
    "requested_token_type",
    "actor",
    "callers",
    "require",
    "caller_token_header",
    "token_header",
    "rewrite",
    "preflight",
    "retries",
    "websocket",
    "rate_limit",
    "extra_params",
];
const LARGEST_BODY: u64 = 1 << 50;
const MODES: &[(&str, Mode)] = &[("exchange", Mode::Exchange), ("strip", Mode::Strip), ("passthrough", Mode::Passthrough)];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Exchange,
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
    pub target: Target,
    pub max_body: Option<At<Option<u64>>>,
    pub as_written: Option<At<bool>>,
    pub timeouts: Timeouts,
}

/// `None`: the section is missing.
pub fn read(root: &mut Section) -> Option<Vec<Route>> {
    let value = root.value("routes")?;
    named(&value, "route", |value, name| value.section(LATER).map(|section| one(section, name))).or(Some(Vec::new()))
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
    let mode = s.take("token", |v| v.choice(MODES, &["client_credentials"]));
    let target = target::read(s);
    match mode.map(|at| at.value) {
        // A mode that could not be read says nothing about the other keys.
        None if mode_written => {}
        None | Some(Mode::Exchange) => target::check_exchange(s, &target),
        Some(Mode::Strip) => target::check_absent(s, &target, "strip"),
        Some(Mode::Passthrough) => target::check_absent(s, &target, "passthrough"),
    }
    let max_body = s.take("max_body", |v| size::or_off(v, LARGEST_BODY));
    let as_written = s.take("paths", |v| v.choice(&[("strict", false), ("as_written", true)], &[]));
    let timeouts = timeouts::read(s);
    section.finish();
    Route { name, matches, listeners, listeners_written, upstream, issuer, issuer_written, mode, target, max_body, as_written, timeouts }
}

fn to(value: &Value) -> Option<To> {
    let text = value.text()?;
    if text.contains([':', '/']) { endpoint(value).map(To::Url) } else { Some(To::Name(text)) }
}

/// What a route's words were found to mean.
pub struct Found<'a> {
    pub upstream: &'a upstream::Settings,
    pub issuer: Arc<str>,
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
        mut target,
        max_body,
        as_written,
        timeouts,
    } = route;
    let force = force_update::route_settings(target.force_update.take());
    RouteSettings {
        name: name.value.into(),
        rule: matching::rule(&matches, as_written.is_some_and(|at| at.value)),
        listeners: listeners.map_or_else(Vec::new, |at| at.value.into_iter().map(|at| at.value.into()).collect()),
        upstream: found.upstream.name.clone(),
        timeouts: timeouts::over(timeouts, found.upstream.timeouts),
        issuer: found.issuer.clone(),
        token: match mode.map_or(Mode::Exchange, |at| at.value) {
            Mode::Exchange => TokenMode::Exchange(target::settings(target, found.cache_max_ttl)),
            Mode::Strip => TokenMode::Strip,
            Mode::Passthrough => TokenMode::Passthrough,
        },
        max_body: max_body.and_then(|at| at.value),
        force,
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
        assert_eq!((route.token, &*route.issuer, route.max_body, route.listeners.len()), (TokenMode::Passthrough, "main", None, 0));
        assert_eq!(&*with_route("issuer: main\nlisteners: [main]").routes[0].listeners[0], "main");
        assert_eq!(refused_route("token: strip"), [Code::ExchangeOnly]);
        assert_eq!(refused_route("token: client_credentials"), [Code::Choice]);
    }

    #[test]
    fn timeouts_go_over_the_upstreams() {
        let found = with_route("timeouts: { response: 1s, total: 1m }").routes[0].timeouts;
        let expected =
            upstream::Timeouts { response: Duration::from_secs(1), total: Some(Duration::from_secs(60)), ..upstream::Timeouts::default() };
        assert_eq!(found, expected);
    }
}
