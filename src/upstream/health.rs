//! Active health checks: a GET of a path on every endpoint, over a connection of its own. An answer of 2xx or 3xx is healthy;
//! what follows from the outcome is the endpoint's matter.

use super::connect::{self, Opened};
use super::error::in_full;
use super::http2::Shared;
use super::member::Member;
use super::outgoing::Outgoing;
use super::secure::Tls;
use super::sender::Sender;
use super::{Health, Upstream};
use crate::clock::Clock;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, header};
use http_body_util::Empty;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Checks all endpoints for as long as the upstream lives.
pub(super) async fn run(weak: Weak<Upstream>, clock: Clock) {
    loop {
        let Some(upstream) = super::upkeep::kept(&weak) else { return };
        let Some(health) = &upstream.settings.health else { return };
        let began = clock.millis();
        let members = upstream.members.load_full();
        join_all(members.all.iter().map(|member| check(&upstream, member, health))).await;
        let next = began.saturating_add(crate::clock::millis(health.interval));
        drop(upstream);
        if !super::upkeep::reached(&weak, &clock, next).await {
            return;
        }
    }
}

async fn check(upstream: &Upstream, member: &Arc<Member>, health: &Health) {
    let timeouts = &upstream.settings.timeouts;
    let limit = health.interval.min(timeouts.connect + timeouts.response);
    let asked = tokio::time::timeout(limit, ask(member, upstream.tls.as_ref(), health, limit)).await;
    member.checked(health, &asked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}"))));
}

/// Why the endpoint is not healthy, if it is not.
async fn ask(member: &Member, tls: Option<&Arc<Tls>>, health: &Health, limit: Duration) -> Result<(), String> {
    let sender = match connect::open(&member.peer, tls, limit, false).await? {
        Opened::Http1(sender, task) => Sender::Http1(sender, task),
        Opened::Http2(sender) => Sender::Http2(Shared::new(sender, &member.peer.endpoint, 0).first()),
    };
    let mut sender = Closed(sender);
    let mut request = Request::new(Outgoing::new(Empty::<Bytes>::new()));
    *request.uri_mut() = health.path.clone().into();
    let headers = request.headers_mut();
    headers.insert(header::HOST, member.peer.host.clone());
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("cambist/", env!("CARGO_PKG_VERSION"), " health")));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.0.send(request).await.map_err(|e| in_full(e.error()))?;
    match answer.status() {
        status if status.is_success() || status.is_redirection() => Ok(()),
        status => Err(format!("{} answers {status}", health.path)),
    }
}

/// Closes the connection, whatever becomes of the answer.
struct Closed(Sender<Empty<Bytes>>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.end();
    }
}
