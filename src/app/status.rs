//! What the admin listener shows of a running gateway, and what it may have done to it. It judges nobody: who asks has been let in.

use super::gateway::{State, Tokens};
use crate::admin::Program;
use crate::cache::{Purge, Purged};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::stack::{Injection, Route, Shared, Targets};
use crate::token::Subject;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) struct Status {
    shared: Arc<Shared<Tokens>>,
    state: Arc<State>,
    listeners: Vec<(Arc<str>, SocketAddr)>,
    clock: Clock,
    started: u64,
}

impl Status {
    pub fn new(shared: Arc<Shared<Tokens>>, state: Arc<State>, listeners: &[(Arc<str>, SocketAddr)], clock: Clock) -> Self {
        Self { shared, state, listeners: listeners.to_vec(), started: clock.unix(), clock }
    }
}

impl Program for Status {
    fn ready(&self) -> bool {
        self.state.ready()
    }

    fn metrics(&self) -> Arc<Metrics> {
        self.shared.metrics.clone()
    }

    fn issuers(&self) -> Vec<Arc<str>> {
        self.state.issuers.iter().map(|issuer| issuer.settings().name.clone()).collect()
    }

    fn purge(&self, what: &Purge) -> Purged {
        // Whoever is asked about anew is asked before there is a new token for them.
        for verifier in &self.state.verifiers {
            verifier.forget(|subject| concerns(what, subject));
        }
        self.shared.tokens.evict(what)
    }

    fn status(&self) -> Value {
        let routes = self.shared.routes.load();
        let listeners = self.listeners.iter().map(|(name, address)| {
            let here = routes.for_listener(name).into_iter().flat_map(|t| t.routes());
            json!({ "name": name, "address": address.to_string(), "routes": here.map(|r| route(r)).collect::<Vec<_>>() })
        });
        let issuers =
            self.state.issuers.iter().map(|i| json!({ "name": i.settings().name, "url": i.settings().url, "keys_loaded": i.loaded() }));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.clock.unix().saturating_sub(self.started),
            "ready": self.ready(),
            "listeners": listeners.collect::<Vec<_>>(),
            "issuers": issuers.collect::<Vec<_>>(),
            "cache": { "entries": self.shared.tokens.len(), "max_entries": self.shared.tokens.max_entries() },
            "failures": self.shared.failures.latest(),
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
    json!({ "name": route.name, "upstream": route.upstream.settings().name, "token": token, "audience": audience })
}
