//! What the gateway answers itself, put together: the exchange API's rooms, logout, and the stack's doors to them. It answers nothing.

use super::gateway::Tokens;
use super::world::{Issuers, MadeIssuer, Rooms};
use crate::api::{self, Audience, ExchangeApi, Logout, Purger};
use crate::cache::Purge;
use crate::config::Config;
use crate::revocation::Revoked;
use crate::stack::{Answering, Door};
use crate::token::TargetSettings;
use crate::verify::{Verifier, Verifiers};
use anyhow::anyhow;
use futures_util::future::{FutureExt, ready};
use http::Method;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn make(config: &Config, issuers: &Issuers, rooms: &Rooms) -> anyhow::Result<Vec<Arc<Door>>> {
    let mut doors = Vec::new();
    if let Some(settings) = &config.exchange_api {
        doors.extend(exchange_api(settings, issuers, rooms)?);
    }
    if let Some(settings) = &config.logout {
        // In the order in which they are written: the map's is another at each start.
        let verifiers = config.issuers.iter().filter_map(|at| issuers.get(&at.issuer.name)).map(|made| made.verifier.clone()).collect();
        doors.push(logout(settings, verifiers, rooms));
    }
    Ok(doors)
}

fn exchange_api(settings: &api::Settings, issuers: &Issuers, rooms: &Rooms) -> anyhow::Result<[Arc<Door>; 2]> {
    let Rooms { tokens, revoked, clock, metrics, .. } = rooms;
    let audiences = settings.audiences.iter().map(|wanted| audience(wanted, issuers)).collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let api = Arc::new(ExchangeApi::new(tokens.clone(), audiences, revoked.clone(), clock.clone(), metrics.route(api::EXCHANGE_PATH)));
    let exchange: Answering = Box::new(move |request, token| {
        let api = api.clone();
        async move { api.answer(request, token).await }.boxed()
    });
    let door = |path: &str, method, max_body, answer| {
        let listeners = settings.listeners.clone();
        Arc::new(Door { path: path.into(), method, listeners, max_body, metrics: metrics.route(path), answer })
    };
    Ok([
        door(api::EXCHANGE_PATH, Method::POST, api::MAX_BODY, exchange),
        door(api::OPENAPI_PATH, Method::GET, 0, Box::new(|_, _| ready(Ok(api::description())).boxed())),
    ])
}

pub(super) fn audience(wanted: &api::AudienceSettings, issuers: &Issuers) -> anyhow::Result<(String, Audience)> {
    let api::AudienceSettings { name, issuer, scopes, resources, require, max_ttl } = wanted;
    let named = |name: &Arc<str>| issuers.get(name).ok_or_else(|| anyhow!("exchange_api: issuer `{name}` is missing"));
    let from: Vec<&MadeIssuer> = match issuer {
        Some(name) => vec![named(name)?],
        None => issuers.values().collect(),
    };
    let settings = TargetSettings {
        expect_audiences: vec![name.clone()],
        audiences: vec![name.clone()],
        scopes: scopes.clone(),
        resources: resources.clone(),
        max_ttl: *max_ttl,
        ..TargetSettings::default()
    };
    let targets = from.iter().map(|made| Arc::new(made.exchanger.target(settings.clone()))).collect();
    let verifiers = match (issuer, &*from) {
        (Some(_), [one]) => Verifiers::One(one.verifier.clone()),
        _ => Verifiers::ByToken(from.iter().map(|made| made.verifier.clone()).collect()),
    };
    Ok((name.clone(), Audience { verifiers, targets, require: require.clone() }))
}

fn logout(settings: &api::LogoutSettings, verifiers: Vec<Arc<Verifier>>, rooms: &Rooms) -> Arc<Door> {
    let Rooms { tokens, revoked, clock, metrics, .. } = rooms;
    let api::LogoutSettings { path, listeners, clients } = settings;
    let held: Arc<dyn Purger> = Arc::new(Held(tokens.clone()));
    let logout = Arc::new(Logout::new(clients.clone(), verifiers, revoked.clone(), Some(held), clock.clone()));
    let answer: Answering = Box::new(move |request, _| {
        let logout = logout.clone();
        async move { logout.answer(request).await }.boxed()
    });
    let (path, method, max_body) = (Arc::<str>::from(&**path), Method::POST, api::MAX_LOGOUT);
    Arc::new(Door { metrics: metrics.route(&path), path, method, listeners: listeners.clone(), max_body, answer })
}

/// What the cache holds, and what is under way for it, goes with the session.
struct Held(Tokens);

impl Purger for Held {
    fn purge(&self, what: &Revoked) {
        let purge = match what {
            Revoked::Session { issuer, sid } => Purge::Session { issuer: issuer.to_string(), sid: sid.clone() },
            Revoked::Subject { issuer, sub, .. } => Purge::Subject { issuer: issuer.to_string(), sub: sub.clone() },
        };
        let gone = self.0.purge(&purge);
        tracing::info!(held = gone.held, under_way = gone.under_way, "tokens of a session that is over were thrown out");
    }
}
