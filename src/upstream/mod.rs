//! The backends: endpoints, connections and their pools (one set per worker), timeouts. It sends a request as it is given and
//! streams both ways; it knows nothing of tokens, routes or the caller.

mod body;
mod connect;
mod error;
mod heard;
mod outgoing;
mod pool;
mod switched;
#[cfg(test)]
mod tests;
mod watch;

pub use body::Body;
pub use error::{Error, Waited};
pub use pool::Pools;
pub use switched::{Switching, UpstreamsEnd};
pub use watch::Cut;

use crate::metrics::UpstreamMetrics;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// One upstream, shared by all workers; the connections to it are each worker's own ([`Pools`]).
pub struct Upstream {
    /// What pools know it by. A reload makes a new one, so that no connection made under old settings is used under new ones.
    id: u64,
    settings: Settings,
    tls: Option<connect::Tls>,
    metrics: Arc<UpstreamMetrics>,
}

impl Upstream {
    /// # Errors
    /// When TLS is asked for and the host is no name or address, or no certificate authorities can be found.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Arc<Self>, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let tls = if settings.endpoint.tls { Some(connect::Tls::new(&settings)?) } else { None };
        Ok(Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), settings, tls, metrics }))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
