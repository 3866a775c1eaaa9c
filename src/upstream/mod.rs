//! The backends: endpoints, connections and their pools (one set per worker), timeouts. It sends a request as it is given and
//! streams both ways; it knows nothing of tokens, routes or the caller.

mod body;
mod connect;
mod connection;
mod error;
mod heard;
mod member;
mod outgoing;
mod pool;
mod send;
mod settings;
mod switched;
#[cfg(test)]
mod tests;
mod watch;

pub use body::Body;
pub use error::{Error, Waited};
pub use pool::Pools;
pub use send::Terms;
pub use settings::{Endpoint, Endpoints, Settings, Timeouts};
pub use switched::{Switching, UpstreamsEnd};
pub use watch::Cut;

use crate::metrics::UpstreamMetrics;
use member::Member;
use std::sync::Arc;

/// One upstream, shared by all workers; the connections to it are each worker's own ([`Pools`]).
pub struct Upstream {
    settings: Settings,
    tls: Option<connect::Tls>,
    members: Vec<Arc<Member>>,
    metrics: Arc<UpstreamMetrics>,
}

impl Upstream {
    /// # Errors
    /// When TLS is asked for and the host is no name or address, or no certificate authorities can be found.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Arc<Self>, Error> {
        let written = settings.endpoints.written();
        let tls = if written.iter().any(|e| e.tls) { Some(connect::Tls::new(&settings)?) } else { None };
        let peers = written.iter().map(|endpoint| connect::Peer::new(&settings.name, endpoint));
        let members = peers.map(|peer| Ok(Member::new(&settings, peer?))).collect::<Result<_, Error>>()?;
        Ok(Arc::new(Self { settings, tls, members, metrics }))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The endpoint that the next request goes to.
    fn pick(&self) -> Result<Arc<Member>, Error> {
        let none = || Error::Unreachable { upstream: self.settings.name.clone(), why: "it has no endpoint".to_owned() };
        self.members.first().cloned().ok_or_else(none)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.members.iter().for_each(|member| member.leave());
    }
}
