//! The backends: endpoints, connections and their pools (one set per worker), balancing, health, timeouts. It sends a request as
//! it is given and streams both ways; it knows nothing of tokens, routes or the caller.

mod anywhere;
mod body;
mod connect;
mod connection;
mod error;
mod forbidden;
mod greeted;
mod health;
mod heard;
mod http2;
mod lease;
mod member;
mod members;
mod outgoing;
mod pool;
mod resolve;
mod secure;
mod seen;
mod send;
mod sender;
mod settings;
mod slots;
mod switched;
#[cfg(test)]
mod tests;
mod upkeep;
mod watch;

pub use anywhere::{Anywhere, Own};
pub use body::Body;
pub use error::{Error, Waited};
pub use pool::Pools;
pub use resolve::{Resolve, System};
pub use secure::TlsSettings;
pub use seen::SeenEndpoint;
pub use send::Terms;
pub use settings::{Balance, Eject, Endpoint, Endpoints, Health, MAX_CONNECTIONS, POOL_IDLE, Protocol, Settings, Timeouts};
pub use switched::{Switching, UpstreamsEnd};
pub use watch::Cut;

use crate::metrics::UpstreamMetrics;
use arc_swap::ArcSwap;
use connect::Peer;
use member::Member;
use members::{Choice, Members};
use secure::Tls;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::watch as signal;

/// One upstream, shared by all workers; the connections to it are each worker's own ([`Pools`]). Dropped, it lets idle
/// connections go, and what is under way ends in peace. Two with equal settings do the same: one may stay for the other.
pub struct Upstream {
    settings: Settings,
    tls: Option<Arc<Tls>>,
    /// What is written; a name's addresses are made of the first.
    written: Vec<Peer>,
    members: ArcSwap<Members>,
    choice: Choice,
    /// Whether the members are known: at once, or after the first look-up.
    looked_up: signal::Sender<bool>,
    started: AtomicBool,
    retired: AtomicBool,
    metrics: Arc<UpstreamMetrics>,
}

impl Upstream {
    /// # Errors
    /// When TLS is asked for and the host is no name or address, or no certificate authorities can be found.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Arc<Self>, Error> {
        let upstream = Self::made(settings, &[], metrics)?;
        upstream.tell(0);
        Ok(Arc::new(upstream))
    }

    /// One whose only endpoint is at these addresses, whatever its name says later. Its gauges are nobody's.
    fn at(settings: Settings, addresses: &[SocketAddr], metrics: Arc<UpstreamMetrics>) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self::made(settings, addresses, metrics)?))
    }

    fn made(settings: Settings, addresses: &[SocketAddr], metrics: Arc<UpstreamMetrics>) -> Result<Self, Error> {
        let endpoints = settings.endpoints.written();
        let tls = if endpoints.iter().any(|e| e.tls) { Some(Tls::new(&settings)?) } else { None };
        let written = endpoints.iter().map(|e| Ok(Peer::new(&settings, e)?.among(addresses))).collect::<Result<Vec<_>, _>>()?;
        let known = matches!(settings.endpoints, Endpoints::Listed(_));
        let all = if known { written.iter().map(|peer| Member::new(&settings, peer.clone())).collect() } else { Vec::new() };
        Ok(Self {
            tls,
            written,
            members: ArcSwap::from_pointee(Members { all, why_none: None }),
            choice: Choice::new(settings.balance),
            looked_up: signal::Sender::new(known),
            started: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            metrics,
            settings,
        })
    }

    /// Whether requests may go to it in HTTP/2.
    pub fn may_speak_http2(&self) -> bool {
        match self.settings.protocol {
            Protocol::Auto => self.tls.is_some(),
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who takes the next request. `None`: nobody, or nobody but those that were tried.
    fn pick(&self, now: u64, tried: &[u64]) -> Option<Arc<Member>> {
        self.choice.of(&self.members.load().all, now, tried).cloned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.members.load().all.iter().for_each(|member| member.leave());
    }
}
