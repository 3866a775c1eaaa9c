//! A connection for one request: an endpoint is chosen, a place among its connections taken, and what rests is used before
//! another is opened. What takes time here, waiting for a place too, is part of `connect`. It sends nothing.

use super::connection::Connection;
use super::member::Member;
use super::members::Choice;
use super::slots::Slot;
use super::{Error, Pools, Terms, Timeouts, Upstream, Waited};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

impl<B> Pools<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection that is this request's alone.
    pub(super) async fn lease(&self, upstream: &Upstream, terms: &mut Terms) -> Result<Box<Connection<B>>, Error> {
        // Boxed, what is rare and large: unboxed it would make every request's future five times as big.
        match upstream.pick(self.now(), &terms.tried).map(Slot::free) {
            Some(Ok(slot)) => match self.rested(slot.member(), terms.http1).await {
                Some(connection) => Ok(connection.used(slot)),
                None => Box::pin(self.connected(upstream, Some(slot), None, terms)).await,
            },
            Some(Err(full)) => Box::pin(self.connected(upstream, None, Some(full), terms)).await,
            None => Box::pin(self.connected(upstream, None, None, terms)).await,
        }
    }

    /// Waits for what has to be waited for, and goes from one endpoint to another while no connection comes about.
    async fn connected(
        &self,
        upstream: &Upstream,
        slot: Option<Slot>,
        picked: Option<Arc<Member>>,
        terms: &mut Terms,
    ) -> Result<Box<Connection<B>>, Error> {
        let Timeouts { connect, total, .. } = terms.timeouts;
        let until = Instant::now() + total.map_or(connect, |total| total.min(connect));
        let found = self.found(upstream, slot, picked, terms, until).await;
        // Whose `total` is shorter than `connect` is told of that end, and not that the upstream is unreachable.
        match found {
            Err(Error::Unreachable { upstream, .. } | Error::Overloaded { upstream, .. }) if ended_by(total, connect, until) => {
                Err(Error::Timeout { upstream, waited: Waited::Total })
            }
            found => found,
        }
    }

    async fn found(
        &self,
        upstream: &Upstream,
        mut slot: Option<Slot>,
        mut picked: Option<Arc<Member>>,
        terms: &mut Terms,
        until: Instant,
    ) -> Result<Box<Connection<B>>, Error> {
        loop {
            let slot = match slot.take() {
                Some(slot) => slot,
                None => {
                    let member = match picked.take() {
                        Some(member) => member,
                        None => self.somebody(upstream, until).await?,
                    };
                    terms.tries(&member);
                    let slot = self.place(upstream, member, terms, until).await?;
                    // Whoever gave the place back may have left a connection.
                    if let Some(connection) = self.rested(slot.member(), terms.http1).await {
                        return Ok(connection.used(slot));
                    }
                    slot
                }
            };
            let member = slot.member();
            terms.tries(member);
            terms.opened += 1;
            let error = match self.open(upstream, member, self.share(upstream, terms, until), terms.http1).await {
                Ok(connection) => return Ok(connection.used(slot)),
                Err(error) => error,
            };
            // A caller's own short deadline says nothing of the endpoint: nobody may shut it for others with one.
            if !ended_by(terms.timeouts.total, terms.timeouts.connect, until) {
                member.failed(self.clock().millis());
            }
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
    async fn place(&self, upstream: &Upstream, member: Arc<Member>, terms: &Terms, until: Instant) -> Result<Slot, Error> {
        let member = match Slot::free(member) {
            Ok(slot) => return Ok(slot),
            Err(member) => member,
        };
        let members = upstream.members.load_full();
        if let Some(slot) = Choice::others(&members.all, self.now(), &terms.tried).find_map(|m| Slot::free(m.clone()).ok()) {
            return Ok(slot);
        }
        let too_much = |_| Error::Overloaded { upstream: upstream.settings.name.clone(), max: upstream.settings.max_connections };
        timeout_at(until, Slot::wait(&member)).await.map_err(too_much)
    }
}

/// Whether it is `total` that ended the search for a connection.
fn ended_by(total: Option<Duration>, connect: Duration, until: Instant) -> bool {
    total.is_some_and(|total| total < connect) && Instant::now() >= until
}
