//! A request's way to an upstream: pick an endpoint, lease a connection to it, send. It sends a request at most once: only what
//! hyper hands back unsent goes out again, on another connection, whatever the method.

use super::connection::Connection;
use super::outgoing::Outgoing;
use super::watch::Cut;
use super::{Body, Error, Pools, Timeouts, Upstream};
use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// How a request is to be sent.
pub struct Terms {
    pub timeouts: Timeouts,
    /// Ends the caller's connection when it takes no byte of the answer for longer than `timeouts.idle`.
    pub cut: Option<Arc<dyn Cut>>,
}

/// What has been tried for one request.
#[derive(Default)]
struct Tried {
    /// Connections that were opened.
    opened: usize,
}

impl<B> Pools<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Sends `request` as it is (origin-form, Host set) and comes back with the answer's head; both bodies stream.
    ///
    /// # Errors
    /// Before the answer's headers; what goes wrong later is an error of its body.
    pub async fn send(&self, upstream: &Arc<Upstream>, request: Request<B>, terms: Terms) -> Result<Response<Body>, Error> {
        let began = Instant::now();
        let answer = self.exchange(upstream, request, terms).await;
        match &answer {
            Ok(answer) => upstream.metrics.answered(answer.status(), began.elapsed()),
            Err(error) => upstream.metrics.failed(error.code()),
        }
        answer
    }

    async fn exchange(&self, upstream: &Upstream, request: Request<B>, terms: Terms) -> Result<Response<Body>, Error> {
        let since = self.clock().millis();
        let mut request = request.map(Outgoing::new);
        let mut tried = Tried::default();
        let asked = request.headers().get(UPGRADE).cloned();
        loop {
            let mut connection = self.lease(upstream, &terms.timeouts, &mut tried).await?;
            request.body_mut().watched_by(&connection.watch);
            connection.watch.begin(&terms.timeouts, since, request.body().whole());
            let sent = pin!(connection.sender.try_send_request(request));
            match connection.watch.unless_expired(&connection.member.upstream, sent).await? {
                Ok(response) => return connection.answered(response, asked.as_ref(), terms.cut),
                Err(mut unsent) => match unsent.take_message() {
                    Some(unsent) if tried.opened < 2 => request = unsent,
                    _ => return Err(connection.broken(&unsent.into_error())),
                },
            }
        }
    }

    /// A connection that is this request's alone.
    async fn lease(&self, upstream: &Upstream, timeouts: &Timeouts, tried: &mut Tried) -> Result<Box<Connection<B>>, Error> {
        let member = upstream.pick()?;
        if let Some(connection) = self.rested(&member).await {
            return Ok(connection);
        }
        tried.opened += 1;
        let limit = timeouts.total.map_or(timeouts.connect, |total| total.min(timeouts.connect));
        // Boxed, since it is rare and large: unboxed it would make every request's future five times as big.
        Box::pin(self.open(upstream, member, limit)).await
    }
}
