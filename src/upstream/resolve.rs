//! Which addresses stand behind a name: whom to ask, and the loop that asks again every `dns_refresh`. A look-up that fails takes
//! no address away. It opens no connection.

use super::member::Member;
use super::members::Members;
use super::{Endpoint, Endpoints, Upstream};
use crate::clock::{Clock, millis};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver: `/etc/hosts`, and the name servers of `/etc/resolv.conf`.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Resolve for System {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed()
    }
}

/// The longest pause after a look-up that failed while there is no address at all.
const SOON: Duration = Duration::from_secs(1);
/// Failures are told at once, and then summed up this often.
const SUM: Duration = Duration::from_secs(60);

/// Looks the name up for as long as the upstream lives.
pub(super) async fn run(weak: Weak<Upstream>, clock: Clock, resolver: Arc<dyn Resolve>) {
    let Some((name, refresh)) = weak.upgrade().and_then(|upstream| match &upstream.settings.endpoints {
        Endpoints::Dns { name, refresh } => Some((name.clone(), *refresh)),
        Endpoints::Listed(_) => None,
    }) else {
        return;
    };
    let mut failures = Failures::default();
    let mut due = clock.millis();
    loop {
        // The upstream is not held meanwhile: a resolver may take its time.
        let found = resolver.addresses(&name.host, name.port).await;
        let Some(upstream) = weak.upgrade() else { return };
        let now = clock.millis();
        let known = match found {
            Ok(found) if !found.is_empty() => {
                failures.ended(&upstream, &name);
                take(&upstream, &name, found);
                true
            }
            Ok(_) => failed(&upstream, &name, "the name has no address", &mut failures, now),
            Err(e) => failed(&upstream, &name, &e.to_string(), &mut failures, now),
        };
        drop(upstream);
        let pause = if known { refresh } else { refresh.min(SOON) };
        // From when it was due, not from when it was done; what was missed is not made up for.
        due = due.saturating_add(millis(pause)).max(now);
        if !super::upkeep::reached(&weak, &clock, due).await {
            return;
        }
    }
}

/// The endpoints of now are these addresses: those that were there before stay as they are.
fn take(upstream: &Upstream, name: &Endpoint, mut found: Vec<SocketAddr>) {
    found.sort_unstable();
    found.dedup();
    let before = upstream.members.load_full();
    let at = |address: &SocketAddr| before.all.iter().find(|m| m.peer.address == Some(*address)).cloned();
    let new = |address| Member::new(&upstream.settings, upstream.written[0].at(address));
    let all: Vec<_> = found.iter().map(|address| at(address).unwrap_or_else(|| new(*address))).collect();
    let left: Vec<_> = before.all.iter().filter(|m| !all.iter().any(|other| other.id == m.id)).collect();
    if left.is_empty() && all.len() == before.all.len() {
        return;
    }
    let (added, removed) = (all.len() + left.len() - before.all.len(), left.len());
    tracing::info!(upstream = &*upstream.settings.name, %name, endpoints = all.len(), added, removed, "the name has other addresses");
    upstream.members.store(Arc::new(Members { all, why_none: None }));
    left.iter().for_each(|member| member.leave());
    upstream.looked_up.send_replace(true);
}

/// Whether there are addresses all the same.
fn failed(upstream: &Upstream, name: &Endpoint, why: &str, failures: &mut Failures, now: u64) -> bool {
    failures.add(upstream, name, why, now);
    if !upstream.members.load_full().all.is_empty() {
        return true;
    }
    upstream.members.store(Arc::new(Members { all: Vec::new(), why_none: Some(format!("{name}: {why}")) }));
    upstream.looked_up.send_replace(true);
    false
}

/// Look-ups that failed one after the other.
#[derive(Default)]
struct Failures {
    count: u64,
    told: u64,
}

impl Failures {
    fn add(&mut self, upstream: &Upstream, name: &Endpoint, why: &str, now: u64) {
        self.count += 1;
        if self.count == 1 || now.saturating_sub(self.told) >= millis(SUM) {
            self.told = now;
            let (upstream, times) = (&*upstream.settings.name, self.count);
            tracing::warn!(upstream, %name, times, why, "the name cannot be looked up; the addresses that were known last are used");
        }
    }

    fn ended(&mut self, upstream: &Upstream, name: &Endpoint) {
        if self.count > 0 {
            tracing::info!(upstream = &*upstream.settings.name, %name, times = self.count, "the name can be looked up again");
        }
        *self = Self::default();
    }
}
