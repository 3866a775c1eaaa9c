//! The listeners that are outbound proxies, ready to run: the way of what no route names, and whoever dials it. It opens no connection.

use super::world::{Rooms, World};
use crate::config::Config;
use crate::metrics::{Metrics, UNMATCHED};
use crate::stack::{
    ForceRoute, HostRewrite, Injection, Outbound, OutboundSettings, Retries, Route, SharedAnswers, TokenHeaders, Towards, Unmatched,
};
use crate::upstream::{Anywhere, System, Timeouts};
use crate::verify::Require;
use std::net::SocketAddr;
use std::sync::Arc;

/// `None`: no listener has a use for it.
pub(super) fn make_anywhere(config: &Config, rooms: &Rooms, old: Option<&World>) -> Option<Arc<Anywhere>> {
    config.outbound.iter().find(|o| o.unmatched != Unmatched::Refuse)?;
    if let Some(running) = old.and_then(|old| old.anywhere.clone()) {
        return Some(running);
    }
    let metrics = rooms.metrics.upstream(UNMATCHED);
    // How many endpoints there are, and how they are, is said of what the configuration names.
    rooms.metrics.forget_upstream(UNMATCHED);
    Some(Arc::new(Anywhere::new(Arc::new(System), rooms.clock.clone(), rooms.own.clone(), metrics)))
}

pub(super) fn make_outbound(config: &Config, anywhere: Option<&Arc<Anywhere>>, metrics: &Arc<Metrics>) -> Vec<Arc<Outbound>> {
    let made = config.outbound.iter().map(|OutboundSettings { listener, unmatched }| {
        let token = match unmatched {
            Unmatched::Refuse => None,
            Unmatched::Strip => Some(Injection::Nothing),
            Unmatched::Passthrough => Some(Injection::Callers),
        };
        let unmatched = token.zip(anywhere).map(|(token, anywhere)| Arc::new(way(token, anywhere, metrics)));
        Arc::new(Outbound { listener: listener.clone(), unmatched })
    });
    made.collect()
}

/// A route as it would be written with nothing but its token.
fn way(token: Injection, anywhere: &Arc<Anywhere>, metrics: &Arc<Metrics>) -> Route {
    let headers = TokenHeaders::default();
    let shared = SharedAnswers::new(&token, &headers, false);
    Route {
        name: UNMATCHED.into(),
        path: "/".into(),
        upstream: Towards::Anywhere(anywhere.clone()),
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        verifiers: None,
        shared,
        require: Require::default(),
        token,
        max_body: None,
        websocket: false,
        force: ForceRoute::default(),
        headers,
        strip_prefix: None,
        host: HostRewrite::Preserve,
        as_written: false,
        preflight: false,
        rate: None,
        matched: Vec::new(),
        metrics: metrics.route(UNMATCHED),
    }
}

/// Where the gateway listens from now on: none of it is dialled for a caller.
pub(super) fn own(listeners: &[(Arc<str>, SocketAddr)], operators: &[SocketAddr]) -> Arc<Vec<SocketAddr>> {
    Arc::new(listeners.iter().map(|(_, at)| *at).chain(operators.iter().copied()).collect())
}
