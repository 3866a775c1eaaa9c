//! What a route asks of its callers, what it would ask the issuer for, and what goes upstream. It shows what the configuration says,
//! and no secret of it: of parameters that are added to an exchange, the names alone.

use crate::config::{self, Config};
use crate::exchange::{KEY_PARTS, Profile};
use crate::stack::{Callers, HostRewrite, IssuerChoice, RouteSettings, TokenMode};
use crate::token::{Actor, TargetSettings};
use serde_json::{Map, Value, json};

pub fn callers(config: &Config, route: &RouteSettings) -> Value {
    match route.callers {
        Callers::Anonymous => json!({ "callers": "anonymous" }),
        Callers::Verified => {
            let claims: Map<String, Value> = route.require.claims.iter().map(|(name, values)| (name.clone(), json!(values))).collect();
            json!({
                "callers": "verified",
                "issuers": issuers(config, route).map(|i| json!({ "name": *i.issuer.name, "url": *i.issuer.url, "audiences": i.verify.audiences })).collect::<Vec<_>>(),
                "token_in": route.headers.callers.as_str(),
                "require": { "scopes": route.require.scopes, "claims": claims },
            })
        }
    }
}

pub fn issuers<'a>(config: &'a Config, route: &'a RouteSettings) -> impl Iterator<Item = &'a config::Issuer> {
    config.issuers.iter().filter(|issuer| match &route.issuer {
        IssuerChoice::Named(name) => issuer.issuer.name == *name,
        IssuerChoice::ByToken => true,
        IssuerChoice::Unneeded => false,
    })
}

pub fn token(config: &Config, route: &RouteSettings) -> Value {
    let sent_in = route.headers.upstream.as_str();
    match &route.token {
        TokenMode::Strip => json!({ "token": "strip" }),
        TokenMode::Passthrough => json!({ "token": "passthrough", "token_in": sent_in }),
        TokenMode::Exchange(target) => asked_for("exchange", sent_in, config, route, target),
        TokenMode::ClientCredentials(target) => asked_for("client_credentials", sent_in, config, route, target),
    }
}

fn asked_for(mode: &str, sent_in: &str, config: &Config, route: &RouteSettings, target: &TargetSettings) -> Value {
    let exchanged = mode == "exchange";
    let grant = |issuer: &config::Issuer| match (exchanged, issuer.exchange.profile) {
        (false, _) => "client_credentials",
        (true, Profile::Keycloak | Profile::Rfc8693) => "urn:ietf:params:oauth:grant-type:token-exchange",
        (true, Profile::EntraObo) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
    };
    let at = |issuer: &config::Issuer| {
        let own = issuer.exchange.extra_params.iter().chain(&target.extra_params).map(|(name, _)| name.as_str());
        let mut names: Vec<&str> = own.collect();
        names.sort_unstable();
        names.dedup();
        json!({
            "name": *issuer.issuer.name,
            "url": *issuer.issuer.url,
            "token_endpoint": issuer.issuer.token_endpoint.as_ref().map(|url| url.as_str()),
            "client_id": issuer.issuer.client_id,
            "grant": grant(issuer),
            "extra_params": names,
        })
    };
    let actor = match &target.actor {
        Actor::Nobody => Value::Null,
        Actor::Header(name) => json!({ "header": name.as_str() }),
        Actor::Gateway => json!({ "gateway": true }),
    };
    let mut key = Vec::new();
    if exchanged {
        key.push("the caller's token (a keyed digest of it)");
        if matches!(target.actor, Actor::Header(_)) {
            key.push("the actor's token (a keyed digest of it)");
        }
    }
    key.extend(KEY_PARTS);
    json!({
        "token": mode,
        "token_in": sent_in,
        "issuers": issuers(config, route).map(at).collect::<Vec<_>>(),
        "audience": target.audiences,
        "scopes": target.scopes,
        "resource": target.resources,
        "expect_audience": target.expect_audiences,
        "subject_token_type": exchanged.then_some(&target.subject_token_type),
        "requested_token_type": exchanged.then_some(&target.requested_token_type),
        "actor": actor,
        "max_ttl_seconds": target.max_ttl.as_secs(),
        "cache_key": key,
    })
}

pub fn upstream(config: &Config, route: &RouteSettings, path: &str) -> Value {
    let settings = config.upstreams.iter().find(|u| u.name == route.upstream);
    let endpoints: Vec<String> = settings.into_iter().flat_map(|u| u.endpoints.written()).map(ToString::to_string).collect();
    let host = match &route.rewrite.host {
        HostRewrite::Preserve => "the caller's",
        HostRewrite::Upstream => "the endpoint's own",
        HostRewrite::Name(name) => name.to_str().unwrap_or_default(),
    };
    json!({ "name": *route.upstream, "endpoints": endpoints, "path": path, "host": host })
}
