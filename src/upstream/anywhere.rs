//! Upstreams that no configuration names: a caller of an outbound listener says where. A name is looked up once, its addresses are
//! judged, and what was judged is what is dialled. It keeps few of them and not for long, and decides nothing about tokens.

use super::forbidden;
use super::resolve::Resolve;
use super::{Endpoint, Endpoints, Error, Settings, Timeouts, Upstream};
use crate::clock::{Clock, millis};
use crate::metrics::{UNMATCHED, UpstreamMetrics};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where the gateway itself listens.
pub type Own = Arc<ArcSwap<Vec<SocketAddr>>>;

/// As many are kept at the most.
const MOST: usize = 256;
/// What was looked up counts for so long.
const FRESH: Duration = Duration::from_secs(10);
/// One that nobody asks for is forgotten, its connections with it.
const IDLE: Duration = Duration::from_secs(60);

/// All of a gateway, for all its workers.
pub struct Anywhere {
    resolver: Arc<dyn Resolve>,
    clock: Clock,
    own: Own,
    metrics: Arc<UpstreamMetrics>,
    name: Arc<str>,
    kept: Mutex<HashMap<Endpoint, Kept>>,
}

struct Kept {
    upstream: Arc<Upstream>,
    addresses: Vec<SocketAddr>,
    looked_up: u64,
    used: u64,
}

impl Anywhere {
    pub fn new(resolver: Arc<dyn Resolve>, clock: Clock, own: Own, metrics: Arc<UpstreamMetrics>) -> Self {
        Self { resolver, clock, own, metrics, name: UNMATCHED.into(), kept: Mutex::default() }
    }

    /// What all of them are called, in logs and metrics.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The upstream at `host` (a name, or an address without brackets) and `port`, in clear text.
    ///
    /// # Errors
    /// When the name cannot be looked up in time, or every address behind it is forbidden.
    pub async fn upstream(&self, host: &str, port: u16) -> Result<Arc<Upstream>, Error> {
        let endpoint = Endpoint { tls: false, host: host.to_owned(), port };
        if let Some(upstream) = self.fresh(&endpoint) {
            return Ok(upstream);
        }
        let unreachable = |why: String| Error::Unreachable { upstream: self.name.clone(), why: format!("{endpoint}: {why}") };
        let limit = Timeouts::default().connect;
        let found = match tokio::time::timeout(limit, self.resolver.addresses(host, port)).await {
            Ok(found) => found.map_err(|e| unreachable(e.to_string()))?,
            Err(_) => return Err(unreachable(format!("the name was not looked up within {limit:?}"))),
        };
        let mut addresses = Vec::new();
        let mut against = None;
        for address in found {
            match self.why_not(address) {
                Some(why) => against = Some((address, why)),
                None if addresses.contains(&address) => {}
                None => addresses.push(address),
            }
        }
        match (addresses.is_empty(), against) {
            (true, Some((address, why))) => {
                let why = format!("{endpoint} is {address}: {why}, and never dialled");
                Err(Error::Forbidden { upstream: self.name.clone(), why })
            }
            (true, None) => Err(unreachable("the name has no address".to_owned())),
            (false, _) => self.keep(endpoint, addresses),
        }
    }

    fn fresh(&self, endpoint: &Endpoint) -> Option<Arc<Upstream>> {
        let now = self.clock.millis();
        self.with(|all| {
            let kept = all.get_mut(endpoint)?;
            kept.used = now;
            (now.saturating_sub(kept.looked_up) < millis(FRESH)).then(|| kept.upstream.clone())
        })
    }

    fn why_not(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = address.ip().to_canonical();
        let is_there = |own: &SocketAddr| {
            let listening = own.ip().to_canonical();
            // Asked last, since it opens a socket: only an address of this machine's can be bound.
            let all_of_it = || listening.is_unspecified() && (listening.is_ipv6() || ip.is_ipv4()) && UdpSocket::bind((ip, 0)).is_ok();
            own.port() == address.port() && (listening == ip || all_of_it())
        };
        forbidden::why_not(ip).or_else(|| self.own.load().iter().any(is_there).then_some("this gateway itself"))
    }

    /// Whoever is at the same addresses as before keeps its connections.
    fn keep(&self, endpoint: Endpoint, mut addresses: Vec<SocketAddr>) -> Result<Arc<Upstream>, Error> {
        let now = self.clock.millis();
        addresses.sort_unstable();
        // Dropped outside the lock.
        let mut gone = Vec::new();
        self.with(|all| {
            if let Some(kept) = all.get_mut(&endpoint)
                && kept.addresses == addresses
            {
                (kept.looked_up, kept.used) = (now, now);
                return Ok(kept.upstream.clone());
            }
            let settings = Settings { eject: None, ..Settings::to(self.name.clone(), Endpoints::Listed(vec![endpoint.clone()])) };
            let upstream = Upstream::at(settings, &addresses, self.metrics.clone())?;
            gone.extend(all.extract_if(|_, kept| now.saturating_sub(kept.used) >= millis(IDLE)));
            if all.len() >= MOST
                && let Some(oldest) = all.iter().min_by_key(|(_, kept)| kept.used).map(|(endpoint, _)| endpoint.clone())
            {
                gone.extend(all.remove_entry(&oldest));
            }
            let kept = Kept { upstream: upstream.clone(), addresses, looked_up: now, used: now };
            gone.extend(all.insert(endpoint.clone(), kept).map(|before| (endpoint, before)));
            Ok(upstream)
        })
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.with(|all| all.len())
    }

    fn with<R>(&self, f: impl FnOnce(&mut HashMap<Endpoint, Kept>) -> R) -> R {
        f(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
