//! A connection for one request: an endpoint is chosen, a place among its connections taken, and what rests is used before
//! another is opened. What takes time here, waiting for a place too, is part of `connect`. It sends nothing.

use super::connection::Connection;
use super::member::Member;
use super::members::Choice;
use super::slots::Slot;
use super::{Error, Pools, Terms, Upstream};
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

impl<B> Pools<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection that is this request's alone.
    pub(super) async fn lease(&self, upstream: &Upstream, terms: &mut Terms) -> Result<Box<Connection<B>>, Error> {
        let picked = upstream.pick(self.now(), &terms.tried);
        let slot = picked.as_ref().and_then(Slot::free);
        if let (Some(member), Some(slot)) = (&picked, slot) {
            let Some(connection) = self.rested(member, terms.http1).await else {
                return Box::pin(self.connected(upstream, picked, Some(slot), terms)).await;
            };
            return Ok(connection.used(slot));
        }
        // Boxed, since it is rare and large: unboxed it would make every request's future five times as big.
        Box::pin(self.connected(upstream, picked, None, terms)).await
    }

    /// Waits for what has to be waited for, and goes from one endpoint to another while no connection comes about.
    async fn connected(
        &self,
        upstream: &Upstream,
        mut picked: Option<Arc<Member>>,
        mut slot: Option<Slot>,
        terms: &mut Terms,
    ) -> Result<Box<Connection<B>>, Error> {
        let timeouts = &terms.timeouts;
        let until = Instant::now() + timeouts.total.map_or(timeouts.connect, |total| total.min(timeouts.connect));
        loop {
            let (member, slot) = match (picked.take(), slot.take()) {
                (Some(member), Some(slot)) => (member, slot),
                (picked, _) => {
                    let member = match picked {
                        Some(member) => member,
                        None => self.somebody(upstream, until).await?,
                    };
                    let (member, slot) = self.place(upstream, member, terms, until).await?;
                    // Whoever gave the place back may have left a connection.
                    if let Some(connection) = self.rested(&member, terms.http1).await {
                        return Ok(connection.used(slot));
                    }
                    (member, slot)
                }
            };
            terms.opened += 1;
            let error = match self.open(upstream, &member, self.share(upstream, terms, until), terms.http1).await {
                Ok(connection) => return Ok(connection.used(slot)),
                Err(error) => error,
            };
            member.failed(self.clock().millis());
            terms.tried.push(member.id);
            if !terms.on_connect || terms.retries == 0 || Instant::now() >= until {
                return Err(error);
            }
            terms.retries -= 1;
            terms.opened -= 1;
            picked = upstream.pick(self.now(), &terms.tried);
            if picked.is_none() {
                return Err(error);
            }
        }
    }

    /// Until when this try may take: an endpoint that swallows packets must leave time for another.
    fn share(&self, upstream: &Upstream, terms: &Terms, until: Instant) -> Instant {
        let another = terms.on_connect && terms.retries > 0 && upstream.members.load().all.len() > terms.tried.len() + 1;
        let now = Instant::now();
        if another { now + until.saturating_duration_since(now) / (terms.retries.min(3) + 1) } else { until }
    }

    /// Somebody, although there was nobody or all that there are have been tried.
    async fn somebody(&self, upstream: &Upstream, until: Instant) -> Result<Arc<Member>, Error> {
        let mut looked_up = upstream.looked_up.subscribe();
        let known = timeout_at(until, looked_up.wait_for(|known| *known)).await.is_ok();
        let why = match upstream.pick(self.now(), &[]) {
            Some(member) => return Ok(member),
            None if known => upstream.members.load().why_none.clone().unwrap_or_else(|| "it has no endpoint".to_owned()),
            None => format!("{} has not been looked up yet", upstream.written.first().map_or_else(String::new, |p| p.endpoint.to_string())),
        };
        Err(Error::Unreachable { upstream: upstream.settings.name.clone(), why })
    }

    /// A place: at `member`, or at another that has one free, or the first that becomes free at `member`.
    async fn place(&self, upstream: &Upstream, member: Arc<Member>, terms: &Terms, until: Instant) -> Result<(Arc<Member>, Slot), Error> {
        if let Some(slot) = Slot::free(&member) {
            return Ok((member, slot));
        }
        let members = upstream.members.load_full();
        for other in Choice::others(&members.all, self.now(), &terms.tried) {
            if let Some(slot) = Slot::free(other) {
                return Ok((other.clone(), slot));
            }
        }
        match timeout_at(until, Slot::wait(&member)).await {
            Ok(slot) => Ok((member, slot)),
            Err(_) => Err(Error::Overloaded { upstream: upstream.settings.name.clone(), max: upstream.settings.max_connections }),
        }
    }
}
