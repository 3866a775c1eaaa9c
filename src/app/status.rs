//! What the admin listener shows of a running gateway. It only looks; nothing here changes anything.

use super::gateway::{State, Tokens};
use crate::admin::Program;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::stack::{Injection, Route, Shared, Targets};
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
