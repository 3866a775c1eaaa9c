//! An upstream as the configuration describes it. It judges nothing: the configuration has, and two that are equal mean the same.

use super::secure::TlsSettings;
use http::uri::PathAndQuery;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A named upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration, or the authority of the URL that a route gave instead; a metric label.
    pub name: Arc<str>,
    pub endpoints: Endpoints,
    pub protocol: Protocol,
    pub tls: TlsSettings,
    pub balance: Balance,
    pub timeouts: Timeouts,
    /// `None`: nobody asks how endpoints are.
    pub health: Option<Health>,
    /// `None`: no endpoint is left out for what it does to requests.
    pub eject: Option<Eject>,
    /// Connections in use, to each endpoint, all workers together.
    pub max_connections: usize,
    /// An idle connection is dropped before the backend drops it.
    pub pool_idle: Duration,
}

pub const MAX_CONNECTIONS: usize = 1024;
pub const POOL_IDLE: Duration = Duration::from_secs(30);

impl Settings {
    /// The defaults, with endpoints.
    pub fn to(name: impl Into<Arc<str>>, endpoints: Endpoints) -> Self {
        Self {
            name: name.into(),
            endpoints,
            protocol: Protocol::default(),
            tls: TlsSettings::default(),
            balance: Balance::default(),
            timeouts: Timeouts::default(),
            health: None,
            eject: Some(Eject::default()),
            max_connections: MAX_CONNECTIONS,
            pool_idle: POOL_IDLE,
        }
    }
}

/// Which HTTP an upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What ALPN comes to over TLS; HTTP/1.1 in clear text.
    #[default]
    Auto,
    Http1,
    /// By prior knowledge.
    Http2,
}

/// How one endpoint of several is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Two are drawn, and the one with fewer connections in use is taken.
    #[default]
    LeastLoaded,
    /// One after the other.
    RoundRobin,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub path: PathAndQuery,
    pub interval: Duration,
    /// Checks in a row.
    pub unhealthy_after: u32,
    /// Checks in a row.
    pub healthy_after: u32,
}

/// When an endpoint is left out for what it does to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Bad ends in a row: no connection, no headers in time, an answer that is broken or is 502, 503 or 504.
    pub failures: u32,
    /// For how long.
    pub time: Duration,
}

impl Default for Eject {
    fn default() -> Self {
        Self { failures: 5, time: Duration::from_secs(10) }
    }
}

/// Where an upstream's endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// These; a name among them is one endpoint, however many addresses it has.
    Listed(Vec<Endpoint>),
    /// Every address behind one name, looked up again and again.
    Dns { name: Endpoint, refresh: Duration },
}

impl Endpoints {
    /// All that are written: their names, ports and schemes.
    pub fn written(&self) -> &[Endpoint] {
        match self {
            Self::Listed(listed) => listed,
            Self::Dns { name, .. } => std::slice::from_ref(name),
        }
    }

    /// Whether there is never more than one.
    pub fn is_one(&self) -> bool {
        matches!(self, Self::Listed(listed) if listed.len() < 2)
    }
}

/// Where an upstream listens. `host` is a name or an IP address without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub tls: bool,
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// Host and port as they stand in `Host`: a port that the scheme implies is left out.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let implied = if self.tls { 443 } else { 80 };
        let port = if self.port == implied { String::new() } else { format!(":{}", self.port) };
        format!("{open}{}{close}{port}", self.host)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}", if self.tls { "https" } else { "http" }, self.host, self.port)
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
