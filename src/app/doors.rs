//! What the gateway answers itself, put together: the exchange API's rooms, and the stack's doors to them. It answers nothing.

use super::gateway::{MadeIssuer, Tokens};
use crate::api::{self, Audience, ExchangeApi};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::stack::{Answering, Door};
use anyhow::anyhow;
use futures_util::future::{FutureExt, ready};
use http::Method;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(super) type Issuers = HashMap<Arc<str>, MadeIssuer>;

pub(super) fn make(
    config: &Config,
    issuers: &Issuers,
    tokens: &Tokens,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Vec<Arc<Door>>> {
    let mut doors = Vec::new();
    if let Some(settings) = &config.exchange_api {
        doors.extend(exchange_api(settings, issuers, tokens, clock, metrics)?);
    }
    Ok(doors)
}

fn exchange_api(
    settings: &api::Settings,
    issuers: &Issuers,
    tokens: &Tokens,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<[Arc<Door>; 2]> {
    let audiences = settings.audiences.iter().map(|wanted| audience(wanted, issuers)).collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let api = Arc::new(ExchangeApi::new(tokens.clone(), audiences, clock.clone(), metrics.route(api::EXCHANGE_PATH)));
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

fn audience(wanted: &api::AudienceSettings, issuers: &Issuers) -> anyhow::Result<(String, Audience)> {
    let api::AudienceSettings { name, issuer, scopes, resources, max_ttl } = wanted;
    let made = issuers.get(issuer).ok_or_else(|| anyhow!("exchange_api: issuer `{issuer}` is missing"))?;
    let audiences = vec![name.clone()];
    let target = made.exchanger.target(audiences.clone(), scopes.clone(), resources.clone(), audiences, *max_ttl, false);
    Ok((name.clone(), Audience { verifier: made.verifier.clone(), target: Arc::new(target) }))
}
