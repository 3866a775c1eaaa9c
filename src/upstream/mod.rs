//! The backends: endpoints, connections and their pools (one set per worker), timeouts. It sends a request as it is given and
//! streams both ways; it knows nothing of tokens, routes or the caller.

use std::sync::Arc;
use std::time::Duration;

/// A named upstream, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration, or the authority of the URL that a route gave instead; a metric label.
    pub name: Arc<str>,
    pub endpoint: Endpoint,
    pub timeouts: Timeouts,
    /// An idle connection is dropped before the backend drops it.
    pub pool_idle: Duration,
}

/// Where an upstream listens. `host` is a name or an IP address without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub tls: bool,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// From the request's end until the answer's headers.
    pub response: Duration,
    /// While no byte moves on a body, either way.
    pub idle: Duration,
    /// For the whole exchange of messages; off unless set, since it would end streams.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), response: Duration::from_secs(30), idle: Duration::from_secs(60), total: None }
    }
}
