//! Sends the request on as it was authorised, and the answer back as it came; what ends at this hop ends here. Connections,
//! pools and timeouts are the `upstream` room's matter.

use super::body::{Body, RequestBody};
use super::deadline;
use super::forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::headers;
use super::outbound;
use super::request::{Authorized, Caller};
use super::retry::Again;
use super::rewrite::HostRewrite;
use super::route::{Injection, Towards};
use super::scrub;
use super::traced::Sending;
use super::tunnel::Joining;
use super::upgrade::Upgrade;
use crate::fault::{Fault, Why};
use crate::telemetry::Kind;
use crate::upstream::{Anywhere, Pools, Terms, Upstream};
use futures_util::future::{BoxFuture, FutureExt};
use http::header;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct Forward {
    pools: Arc<Pools<RequestBody>>,
}

impl Forward {
    pub(super) fn new(pools: Arc<Pools<RequestBody>>) -> Self {
        Self { pools }
    }
}

impl tower::Service<Authorized> for Forward {
    type Response = Response<Body>;
    type Error = Fault;
    type Future = BoxFuture<'static, Result<Response<Body>, Fault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, authorized: Authorized) -> Self::Future {
        forward(self.clone(), authorized).boxed()
    }
}

async fn forward(Forward { pools }: Forward, mut authorized: Authorized) -> Result<Response<Body>, Fault> {
    let (route, trailers) = (authorized.route.clone(), authorized.trailers);
    let (journal, from) = (authorized.caught.journal.clone(), authorized.caught.from.clone());
    let looked_up;
    let upstream = match &route.upstream {
        Towards::Upstream(upstream) => upstream,
        // Boxed, so that the future of every other request is not as large.
        Towards::Anywhere(anywhere) => {
            looked_up = Box::pin(asked_for(anywhere, &authorized.authority)).await?;
            &looked_up
        }
    };
    let upgrade = authorized.upgrade.take();
    let timeouts = if journal.grpc { deadline::shortened(route.timeouts, &authorized.caught.head.headers) } else { route.timeouts };
    let mut request = outgoing(authorized, upgrade.as_ref());
    let again = Again::keep(&mut request, &route.retries, upstream.may_speak_http2(), &from.in_force.replays);
    // Of a request that is sent again, the first time counts.
    if let Some(added) = journal.sent() {
        route.metrics.added(journal.source(), added);
    }
    let mut terms = Terms::new(timeouts, Some(from.cut.clone()));
    terms.own_host = route.host == HostRewrite::Upstream;
    (terms.retries, terms.on_connect) = (route.retries.attempts, route.retries.on_connect);
    let mut times = 0;
    let sent = loop {
        let span = journal.span("upstream", Kind::Client);
        journal.mark(&span, request.headers_mut());
        let sending = Sending::of(span, &mut terms, &request, &route.upstream, times);
        let sent = pools.send(upstream, request, &mut terms).await;
        let span = sending.answered(upstream, &terms, &sent);
        let sent = sent.map(|answer| answer.map(|body| Body::upstream(body, trailers, span)));
        match again.as_ref().and_then(|again| again.after(&sent, &route.retries)) {
            // The answer that is not taken goes first: its connection is closed or free before another is looked for.
            Some(once_more) if terms.again(Some(from.cut.clone())) => (request, times) = (once_more, times + 1),
            _ => break sent,
        }
    };
    journal.answered();
    let mut answer = sent.map_err(|e| if journal.is_body_too_large() { Fault::BodyTooLarge } else { e.into() })?;
    let received = answer.version();
    headers::strip_hop_by_hop(answer.headers_mut());
    if !trailers {
        answer.headers_mut().remove(header::TRAILER);
    }
    headers::append_via(answer.headers_mut(), received);
    route.shared.look(&route, answer.headers_mut());
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer);
    }
    let joining = upgrade.and_then(|upgrade| {
        Upgrade::say(upgrade.protocol, answer.headers_mut());
        Some(Joining::new(upgrade.on, answer.body_mut().take_switching()?))
    });
    // Where nobody asked, the pool has made an error of it.
    joining.map(|joining| answer.map(|_| Body::switched(joining))).ok_or_else(|| Fault::UpstreamError(Why::new("an unasked 101").into()))
}

/// The upstream that the caller names.
async fn asked_for(anywhere: &Anywhere, authority: &HeaderValue) -> Result<Arc<Upstream>, Fault> {
    let host = scrub::normal_host(authority)?;
    Ok(anywhere.upstream(outbound::bare(&host), outbound::port(authority)).await?)
}

/// The request in the form that the upstream gets: origin-form, HTTP/1.1, with what the gateway says of its caller.
fn outgoing(authorized: Authorized, upgrade: Option<&Upgrade>) -> Request<RequestBody> {
    let Authorized { caught, authority, route, .. } = authorized;
    let (mut head, body, from) = (caught.head, caught.body, caught.from);
    headers::append_via(&mut head.headers, head.version);
    let fields = &mut head.headers;
    fields.insert(X_FORWARDED_FOR, from.address.clone());
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme(&from)));
    if let Ok(forwarded) = forwarded(&from.forwarded_node, &authority, scheme(&from)) {
        fields.insert(header::FORWARDED, forwarded);
    }
    if !authority.is_empty() {
        fields.insert(X_FORWARDED_HOST, authority.clone());
    }
    if let Some(said) = caught.said {
        said.precede(fields);
    }
    let host = match &route.host {
        HostRewrite::Name(name) => name.clone(),
        // Another one takes its place once it is known which endpoint it goes to.
        HostRewrite::Preserve | HostRewrite::Upstream => authority,
    };
    fields.insert(header::HOST, host);
    if head.uri.authority().is_some() {
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = Uri::from(path);
    }
    if let Some(query) = head.uri.query().filter(|_| !matches!(route.token, Injection::Callers)).and_then(headers::without_tokens) {
        let path = if query.is_empty() { head.uri.path().to_owned() } else { format!("{}?{query}", head.uri.path()) };
        if let Ok(uri) = Uri::try_from(path) {
            head.uri = uri;
        }
    }
    // hyper takes a GET of unknown length for one without a body, and would drop it.
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(upgrade) = upgrade {
        Upgrade::say(upgrade.protocol.clone(), &mut head.headers);
    }
    head.version = Version::HTTP_11;
    Request::from_parts(head, body)
}

/// How the caller came in.
fn scheme(from: &Caller) -> &'static str {
    if from.peer.tls.is_some() { "https" } else { "http" }
}

/// RFC 7239 §4. A host was checked by `scrub`: it needs no escaping, but quotes for its colon.
fn forwarded(node: &str, host: &HeaderValue, scheme: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut text = String::with_capacity(64);
    text.push_str("for=");
    text.push_str(node);
    if let Ok(host) = host.to_str()
        && !host.is_empty()
    {
        text.push_str(";host=\"");
        text.push_str(host);
        text.push('"');
    }
    text.push_str(";proto=");
    text.push_str(scheme);
    HeaderValue::try_from(text)
}
