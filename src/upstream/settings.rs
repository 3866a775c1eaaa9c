//! An upstream as the configuration describes it. It judges nothing: the configuration has, and two that are equal mean the same.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A named upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration, or the authority of the URL that a route gave instead; a metric label.
    pub name: Arc<str>,
    pub endpoints: Endpoints,
    pub timeouts: Timeouts,
    /// An idle connection is dropped before the backend drops it.
    pub pool_idle: Duration,
}

/// Where an upstream's endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// These; a name among them is one endpoint, however many addresses it has.
    Listed(Vec<Endpoint>),
}

impl Endpoints {
    /// All that are written: their names, ports and schemes.
    pub fn written(&self) -> &[Endpoint] {
        match self {
            Self::Listed(listed) => listed,
        }
    }
}

/// Where an upstream listens. `host` is a name or an IP address without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub tls: bool,
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
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
