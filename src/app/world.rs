//! What one configuration makes: issuers, upstreams, routes, the gateway's own paths. What the configuration before it made of
//! equal settings is taken over as it runs. It is made whole or not at all, and nothing of it serves before it is swapped in.

use super::doors;
use super::gateway::Tokens;
use super::outbound::{make_anywhere, make_outbound};
use super::routes::{make_limiters, make_routes, make_upstreams, needed};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::exchange::{Exchange, Exchanger};
use crate::issuer::Issuer;
use crate::metrics::{Metrics, Named};
use crate::revocation::Revocations;
use crate::stack::{Door, FailedAuthentication, InForce, Limiter, ReplayRoom};
use crate::telemetry::Recorder;
use crate::upstream::{Anywhere, Own, Upstream};
use crate::verify::Verifier;
use anyhow::Context;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long keys of issuers that are new are waited for before their configuration is in force without them.
const KEYS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

pub(super) type Issuers = HashMap<Arc<str>, MadeIssuer>;
pub(super) type Upstreams = HashMap<Arc<str>, Arc<Upstream>>;
pub(super) type Limiters = HashMap<Arc<str>, Arc<Limiter>>;

/// An issuer, and what three rooms make of its settings.
pub(super) struct MadeIssuer {
    settings: config::Issuer,
    pub issuer: Arc<Issuer>,
    pub verifier: Arc<Verifier>,
    pub exchanger: Arc<Exchanger>,
}

/// What every configuration is made with.
#[derive(Clone)]
pub(super) struct Rooms {
    pub clock: Clock,
    pub control: Handle,
    pub metrics: Arc<Metrics>,
    pub exchange: Arc<Exchange>,
    pub tokens: Tokens,
    pub revoked: Arc<Revocations>,
    /// Where the gateway itself listens.
    pub own: Own,
}

pub(super) struct World {
    pub config: Config,
    pub issuers: Issuers,
    pub upstreams: Upstreams,
    /// By the route's name.
    pub limiters: Limiters,
    /// `None`: only what the configuration names is dialled.
    pub anywhere: Option<Arc<Anywhere>>,
    doors: Vec<Arc<Door>>,
    failed: Option<Arc<FailedAuthentication>>,
    replays: Arc<ReplayRoom>,
    traces: Option<Arc<Recorder>>,
    /// Without which no caller could be let in.
    needed: Vec<Arc<Verifier>>,
}

impl World {
    /// `followed`: listeners that have given their address to another of this configuration.
    ///
    /// # Errors
    /// When a file cannot be used, or routes tie.
    pub fn make(config: Config, rooms: &Rooms, old: Option<&Self>, followed: Vec<(Arc<str>, Arc<str>)>) -> anyhow::Result<(Self, InForce)> {
        let issuers = make_issuers(&config, &rooms.clock, &rooms.metrics, &rooms.control, old)?;
        let upstreams = make_upstreams(&config, &rooms.metrics, old)?;
        let limiters = make_limiters(&config, &rooms.clock, old);
        let routes = make_routes(&config, &issuers, &upstreams, &limiters, &rooms.metrics)?;
        let anywhere = make_anywhere(&config, rooms, old);
        let outbound = make_outbound(&config, anywhere.as_ref(), &rooms.metrics);
        let doors = match old {
            // What they remember of logout tokens stays with them.
            Some(old) if old.opens_the_same_doors(&config, &issuers) => old.doors.clone(),
            _ => doors::make(&config, &issuers, rooms)?,
        };
        let replays = match old {
            Some(old) if old.config.requests == config.requests => old.replays.clone(),
            _ => ReplayRoom::new(config.requests.replay_body, config.requests.replay_total),
        };
        let failed = match old {
            Some(old) if old.config.requests.failed_authentication == config.requests.failed_authentication => old.failed.clone(),
            _ => FailedAuthentication::above(config.requests.failed_authentication, &rooms.clock),
        };
        let traces = make_traces(&config, &rooms.metrics, old)?;
        let needed = needed(&routes);
        let held: Vec<Arc<Exchanger>> = issuers.values().map(|made| made.exchanger.clone()).collect();
        let in_force = InForce {
            routes,
            outbound,
            doors: doors.clone(),
            limits: config.requests,
            force: config.force.clone(),
            failed: failed.clone(),
            replays: replays.clone(),
            traces: traces.clone(),
            followed,
            held: Box::new(held),
        };
        Ok((Self { config, issuers, upstreams, limiters, anywhere, doors, failed, replays, traces, needed }, in_force))
    }

    /// The issuers by name and URL.
    pub fn names(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        self.config.issuers.iter().map(|at| (at.issuer.name.clone(), at.issuer.url.clone()))
    }

    /// Whether a caller could be served, if no more goes wrong.
    pub fn ready(&self) -> bool {
        self.needed.is_empty() || self.needed.iter().any(|v| v.ready())
    }

    /// Hands over the last spans; bounded, and for a thread that may block.
    pub fn end_traces(&self) {
        if let Some(traces) = &self.traces {
            traces.end();
        }
    }

    pub fn exchangers(&self) -> impl Iterator<Item = &Arc<Exchanger>> {
        self.issuers.values().map(|made| &made.exchanger)
    }

    /// Begins what runs beside requests; what runs already is left alone.
    pub fn start(&self, rooms: &Rooms) {
        for made in self.issuers.values() {
            made.issuer.start();
        }
        for upstream in self.upstreams.values() {
            upstream.start(&rooms.clock, &rooms.control);
        }
    }

    /// Starts what is new, and gives its issuers time to hand over their keys: no caller is to stand before a new configuration
    /// that an old one would have let in.
    pub async fn warm_up(&self, old: &Self, rooms: &Rooms) {
        self.start(rooms);
        let known = |v: &Verifier| old.issuers.values().any(|made| Arc::ptr_eq(&made.issuer, v.issuer()));
        let fresh: Vec<_> = self.needed.iter().filter(|v| !known(v)).collect();
        let all_in = async {
            while !fresh.iter().all(|v| v.ready()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(KEYS, all_in).await.is_err() {
            for late in fresh.iter().filter(|v| !v.ready()) {
                tracing::warn!(issuer = %late.issuer().settings().name, "the keys of this issuer have not come in; its callers are served once they have");
            }
        }
    }

    /// Has the series of names that are no longer configured go, in a while.
    fn leave_behind(&self, old: &Self, rooms: &Rooms) {
        let is_here = |named: Named, name: &str| match named {
            Named::Route => self.config.routes.iter().any(|route| *route.name == *name),
            Named::Issuer => self.issuers.contains_key(name),
            Named::Upstream => self.upstreams.contains_key(name),
        };
        let routes = old.config.routes.iter().map(|route| (Named::Route, &route.name));
        let issuers = old.issuers.keys().map(|name| (Named::Issuer, name));
        let upstreams = old.upstreams.keys().map(|name| (Named::Upstream, name));
        let gone = routes.chain(issuers).chain(upstreams).filter(|(named, name)| !is_here(*named, name));
        rooms.metrics.left(rooms.clock.millis(), gone.map(|(named, name)| (named, name.to_string())), is_here);
    }

    /// Ends what only `old` needed. What is under way there finishes.
    pub fn retire(&self, old: &Self, rooms: &Rooms) {
        for (name, gone) in &old.issuers {
            let now = self.issuers.get(name);
            if now.is_none_or(|made| !Arc::ptr_eq(&made.issuer, &gone.issuer)) {
                gone.issuer.retire();
                rooms.tokens.forgive(name);
            }
            if now.is_none() {
                rooms.metrics.forget_issuer(name);
            }
        }
        self.leave_behind(old, rooms);
        let has_tls = |config: &Config, name: &str| config.listeners.iter().any(|l| *l.name == *name && l.manner.tls.is_some());
        for gone in old.config.listeners.iter().filter(|l| l.manner.tls.is_some() && !has_tls(&self.config, &l.name)) {
            rooms.metrics.forget_certificates(&gone.name);
        }
        for (name, gone) in &old.upstreams {
            let now = self.upstreams.get(name);
            if now.is_none_or(|upstream| !Arc::ptr_eq(upstream, gone)) {
                gone.retire();
            }
            if now.is_none() {
                rooms.metrics.forget_upstream(name);
            }
        }
        for made in self.issuers.values() {
            made.verifier.remember_at_most(self.config.cache.max_entries);
        }
    }

    fn opens_the_same_doors(&self, config: &Config, issuers: &Issuers) -> bool {
        let same = |(name, made): (_, &MadeIssuer)| self.issuers.get(name).is_some_and(|old| Arc::ptr_eq(&old.verifier, &made.verifier));
        (&self.config.exchange_api, &self.config.logout) == (&config.exchange_api, &config.logout)
            && self.issuers.len() == issuers.len()
            && issuers.iter().all(same)
    }
}

fn make_traces(config: &Config, metrics: &Arc<Metrics>, old: Option<&World>) -> anyhow::Result<Option<Arc<Recorder>>> {
    let Some(wanted) = &config.tracing else { return Ok(None) };
    match old.and_then(|old| old.traces.as_ref()) {
        // What it still holds goes on its way.
        Some(running) if running.settings() == wanted => Ok(Some(running.clone())),
        _ => Recorder::start(wanted.clone(), metrics.clone()).map(Some).context("tracing"),
    }
}

pub(super) fn make_issuers(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    control: &Handle,
    old: Option<&World>,
) -> anyhow::Result<Issuers> {
    let mut made = HashMap::new();
    for settings in &config.issuers {
        let config::Issuer { issuer, verify, exchange } = settings;
        let before = old.and_then(|old| old.issuers.get(&issuer.name));
        let (at, exchanger) = match before {
            // Together or not at all: a target knows its exchanger by its issuer.
            Some(old) if old.settings.issuer == *issuer && old.settings.exchange == *exchange => {
                (old.issuer.clone(), old.exchanger.clone())
            }
            _ => {
                let handles = metrics.issuer(&issuer.name);
                let at = Issuer::new(issuer.clone(), clock.clone(), handles.clone(), control.clone());
                let at = at.with_context(|| format!("issuer `{}`", issuer.name))?;
                if let Some(old) = before {
                    at.succeed(&old.issuer);
                }
                let exchanger = Arc::new(Exchanger::new(exchange.clone(), at.clone(), handles));
                (at, exchanger)
            }
        };
        let verifier = match before {
            Some(old) if Arc::ptr_eq(&old.issuer, &at) && old.settings.verify == *verify => old.verifier.clone(),
            _ => Verifier::new(verify.clone(), at.clone(), clock.clone(), config.cache.max_entries),
        };
        made.insert(issuer.name.clone(), MadeIssuer { settings: settings.clone(), issuer: at, verifier, exchanger });
    }
    Ok(made)
}
