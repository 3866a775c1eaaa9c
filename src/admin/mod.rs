//! What operators and their tools ask: metrics and probes on one listener, the status as JSON on another. It asks the program
//! through [`Program`], and never serves callers.

use crate::metrics::Metrics;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceBuilder;
use tower_http::set_header::SetResponseHeaderLayer;

/// The running program, as far as an operator may look into it.
pub trait Program: Send + Sync + 'static {
    /// The configuration is in force and a caller could be served; false again once the end has begun.
    fn ready(&self) -> bool;
    fn metrics(&self) -> Arc<Metrics>;
    /// The status page's data: no token, no secret, no subject.
    fn status(&self) -> serde_json::Value;
}

type Answer = Response<Full<Bytes>>;

/// `/metrics`, `/livez` and `/readyz`; nothing else is reachable there.
pub fn probes(program: Arc<dyn Program>) -> impl Service {
    harmless(tower::service_fn(move |request: Request<Incoming>| {
        let program = program.clone();
        async move { Ok::<_, Infallible>(probe(&program, &request).await) }
    }))
}

/// The admin listener: the status as JSON. `address` is where it listens: other names in `Host` are refused (DNS rebinding).
pub fn status(program: Arc<dyn Program>, address: SocketAddr) -> impl Service {
    harmless(tower::service_fn(move |request: Request<Incoming>| {
        let answer = inspect(&*program, &request, address);
        async move { Ok::<_, Infallible>(answer) }
    }))
}

/// What [`crate::listen::serve_plain`] serves.
pub trait Service:
    tower::Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Future + Send> + Clone + Send + 'static
{
}

impl<S> Service for S where
    S: tower::Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Nothing from here is to be kept, framed or guessed at by a browser.
fn harmless<S: Service>(inner: S) -> impl Service {
    let set = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    ServiceBuilder::new()
        .layer(set(header::CACHE_CONTROL, "no-store"))
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .layer(set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .service(inner)
}

async fn probe(program: &Arc<dyn Program>, request: &Request<Incoming>) -> Answer {
    if let Some(refused) = reads_only(request) {
        return refused;
    }
    match request.uri().path() {
        "/metrics" => {
            let metrics = program.metrics();
            // Takes milliseconds where there are many series.
            match tokio::task::spawn_blocking(move || metrics.encode()).await {
                Ok(text) => answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
                Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written out\n"),
            }
        }
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" if program.ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready: no issuer's keys have come in yet, or the gateway is shutting down\n")
        }
        _ => text(StatusCode::NOT_FOUND, "here are /metrics, /livez and /readyz\n"),
    }
}

fn inspect(program: &dyn Program, request: &Request<Incoming>, address: SocketAddr) -> Answer {
    if !names_us(request, address) {
        return text(StatusCode::MISDIRECTED_REQUEST, "this listener answers to localhost and its own address alone\n");
    }
    if let Some(refused) = reads_only(request) {
        return refused;
    }
    match request.uri().path() {
        "/v1/status" => answer(StatusCode::OK, "application/json", program.status().to_string()),
        _ => text(StatusCode::NOT_FOUND, "here is /v1/status\n"),
    }
}

/// A page of another site must not read this one by giving its own name our address.
fn names_us(request: &Request<Incoming>, address: SocketAddr) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = request.uri().authority().map(|a| a.as_str()).or_else(|| hosts.next().and_then(|h| h.to_str().ok())).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    hosts.next().is_none()
        && (name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse() == Ok(address.ip()) || is_loopback(name))
}

fn is_loopback(name: &str) -> bool {
    name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn reads_only(request: &Request<Incoming>) -> Option<Answer> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(refused)
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
