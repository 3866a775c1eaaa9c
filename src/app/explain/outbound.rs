//! What is different on a listener that is an outbound proxy: which requests it has no way for at all, and what becomes of those to
//! hosts that no route names.

use super::asked::Asked;
use crate::config::Config;
use crate::fault::{Fault, Why, bad_request, no_route};
use crate::stack::Unmatched;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn of(config: &Config, listener: &Arc<str>) -> Option<Unmatched> {
    config.outbound.iter().find(|o| o.listener == *listener).map(|o| o.unmatched)
}

/// What is refused before a route is looked for.
pub fn refused(asked: &Asked) -> Option<Fault> {
    if asked.method == Method::CONNECT {
        return Some(Fault::NoTunnel(Why::new("a proxy could put no token into a tunnel (CONNECT)").into()));
    }
    match asked.scheme() {
        None => Some(no_route(Why::new("this listener is a proxy: it takes absolute http:// URLs only"))),
        Some(true) => Some(bad_request("an https:// URL was asked for in clear text; ask the proxy for the http:// URL")),
        Some(false) => None,
    }
}

/// Where no route takes a request to a host that none names.
pub fn let_through(unmatched: Unmatched, listener: &Arc<str>, asked: &Asked, routes: &[Value]) -> Option<Value> {
    let token = match unmatched {
        Unmatched::Refuse => return None,
        Unmatched::Strip => "strip",
        Unmatched::Passthrough => "passthrough",
    };
    let at = asked.authority().unwrap_or_default();
    Some(json!({
        "listener": **listener,
        "outcome": "unmatched",
        "why": format!("no route names this host, and the listener says `unmatched: {token}`"),
        "routes": routes,
        "callers": { "callers": "anonymous" },
        "token": { "token": token },
        "upstream": { "name": at, "endpoints": [format!("http://{at}")], "path": asked.path(), "host": "the caller's" },
    }))
}
