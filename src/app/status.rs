//! What the admin listener shows of a running gateway, and what it may have done to it. It judges nobody: who asks has been let in.

use super::lasting::Lasting;
use super::reload::{self, Reloaded};
use crate::admin::{Program, Reload};
use crate::cache::{Purge, Purged};
use crate::metrics::Metrics;
use crate::stack::{Injection, Route, Targets};
use crate::token::Subject;
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Status {
    lasting: Arc<Lasting>,
    started: u64,
}

impl Status {
    pub fn new(lasting: Arc<Lasting>) -> Self {
        Self { started: lasting.rooms.clock.unix(), lasting }
    }
}

impl Program for Status {
    fn ready(&self) -> bool {
        self.lasting.ready()
    }

    fn metrics(&self) -> Arc<Metrics> {
        self.lasting.rooms.metrics.clone()
    }

    fn issuers(&self) -> Vec<Arc<str>> {
        self.lasting.world.load().issuers.keys().cloned().collect()
    }

    fn purge(&self, what: &Purge) -> Purged {
        // Whoever is asked about anew is asked before there is a new token for them.
        for made in self.lasting.world.load().issuers.values() {
            made.verifier.forget(|subject| concerns(what, subject));
        }
        self.lasting.shared.tokens.evict(what)
    }

    fn reload(&self) -> BoxFuture<'static, Reload> {
        let lasting = self.lasting.clone();
        let told = move |reloaded| {
            let config = lasting.standing.json();
            match reloaded {
                Reloaded::Same => Reload::InForce(json!({ "changed": false, "config": config })),
                Reloaded::Changed(changes) => Reload::InForce(json!({ "changed": true, "changes": changes.json(), "config": config })),
                Reloaded::Refused(_) => Reload::Refused(json!({ "changed": false, "config": config })),
            }
        };
        let lasting = self.lasting.clone();
        async move { reload::now(&lasting).await.map_or(Reload::NoFile, told) }.boxed()
    }

    fn status(&self) -> Value {
        let shared = &self.lasting.shared;
        let (in_force, world, addresses) = (shared.in_force.load(), self.lasting.world.load(), self.lasting.addresses());
        let listeners = addresses.iter().map(|(name, address)| {
            let here = in_force.routes.for_listener(name).into_iter().flat_map(|t| t.routes());
            json!({ "name": name, "address": address.to_string(), "routes": here.map(|r| route(r)).collect::<Vec<_>>() })
        });
        let issuers = world.issuers.values().map(|made| &made.issuer);
        let issuers = issuers.map(|i| json!({ "name": i.settings().name, "url": i.settings().url, "keys_loaded": i.loaded() }));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.lasting.rooms.clock.unix().saturating_sub(self.started),
            "ready": self.ready(),
            "config": self.lasting.standing.json(),
            "listeners": listeners.collect::<Vec<_>>(),
            "issuers": issuers.collect::<Vec<_>>(),
            "cache": { "entries": shared.tokens.len(), "max_entries": shared.tokens.max_entries() },
            "failures": shared.failures.latest(),
        })
    }
}

/// Whose verification is forgotten with their tokens: nobody's, where it is all about an audience.
fn concerns(what: &Purge, subject: &Subject) -> bool {
    match what {
        Purge::Subject { issuer, sub } => *subject.issuer == **issuer && *subject.sub == **sub,
        Purge::Session { issuer, sid } => *subject.issuer == **issuer && subject.sid.as_deref() == Some(sid),
        Purge::Audience(_) => false,
        Purge::All => true,
    }
}

fn audiences(targets: &Targets) -> Option<Vec<String>> {
    targets.first().map(|target| target.settings.audiences.clone())
}

fn route(route: &Route) -> Value {
    let (token, audience) = match &route.token {
        Injection::Exchange(targets) => ("exchange", audiences(targets)),
        Injection::Own(targets) => ("client_credentials", audiences(targets)),
        Injection::Nothing => ("strip", None),
        Injection::Callers => ("passthrough", None),
    };
    json!({ "name": route.name, "upstream": route.upstream.name(), "token": token, "audience": audience })
}
