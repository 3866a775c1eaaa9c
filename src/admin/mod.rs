//! What operators and their tools ask: metrics and probes on one listener; the status, and what an operator may have done, on
//! another. It asks the program through [`Program`], and never serves callers.

mod action;
mod answer;
mod explain;
mod guard;
mod log;
mod page;
mod purge;
mod reload;
mod token;

pub use explain::Question;
pub use reload::Reload;

use crate::cache::{Purge, Purged};
use crate::issuer::Credential;
use crate::metrics::Metrics;
use action::Action;
use answer::{Answer, answer, json, method_not_allowed, text};
use futures_util::future::BoxFuture;
use guard::Guard;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceBuilder;
use tower_http::set_header::SetResponseHeaderLayer;

/// The admin listener, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub address: SocketAddr,
    /// Names that it answers to besides its own address; lower case.
    pub hosts: Vec<String>,
    /// What an operator has to show for anything but looking. `None`: nobody may do more.
    pub token: Option<Credential>,
}

/// The running program, as far as an operator may look into it and act on it.
pub trait Program: Send + Sync + 'static {
    /// The configuration is in force and a caller could be served; false again once the end has begun.
    fn ready(&self) -> bool;
    fn metrics(&self) -> Arc<Metrics>;
    /// The status page's data: no token, no secret, no subject.
    fn status(&self) -> serde_json::Value;
    /// The issuers in the configuration: the name of each, and its URL. Names of the same URL are names of the same issuer.
    fn issuers(&self) -> Vec<(Arc<str>, Arc<str>)>;
    /// Throws tokens out, and stops what is being exchanged for them. It may take a while where there are many.
    fn purge(&self, what: &Purge) -> Purged;
    /// Reads the configuration file again, now.
    fn reload(&self) -> BoxFuture<'static, Reload>;
    /// What would become of a request, and why.
    ///
    /// # Errors
    /// What is wrong with the question.
    fn explain(&self, question: &Question) -> Result<serde_json::Value, String>;
}

const STATUS: &str = "/v1/status";

/// `/metrics`, `/livez` and `/readyz`; nothing else is reachable there.
pub fn probes(program: Arc<dyn Program>) -> impl Service {
    harmless(tower::service_fn(move |request: Request<Incoming>| {
        let program = program.clone();
        async move { Ok::<_, Infallible>(probe(&program, &request).await) }
    }))
}

/// The admin listener. `address` is where it really listens.
pub fn operators(program: Arc<dyn Program>, settings: Settings, address: SocketAddr) -> impl Service {
    let guard = Arc::new(Guard::new(Settings { address, ..settings }));
    harmless(tower::service_fn(move |request: Request<Incoming>| {
        let (program, guard) = (program.clone(), guard.clone());
        async move { Ok::<_, Infallible>(guarded(&program, &guard, request).await) }
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
        // The status page has one of its own.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ))
        .layer(set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .service(inner)
}

fn looks_only(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn probe(program: &Arc<dyn Program>, request: &Request<Incoming>) -> Answer {
    if !looks_only(request.method()) {
        return method_not_allowed(&[&Method::GET, &Method::HEAD]);
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

async fn guarded(program: &Arc<dyn Program>, guard: &Guard, request: Request<Incoming>) -> Answer {
    if let Err(refused) = guard.judge(&request).await {
        return refused;
    }
    match request.uri().path() {
        STATUS if looks_only(request.method()) => json(&program.status()),
        STATUS => method_not_allowed(&[&Method::GET, &Method::HEAD]),
        explain::PATH if looks_only(request.method()) => explain::looked(program, request.uri().query().unwrap_or_default()),
        log::PATH if looks_only(request.method()) => log::looked(),
        path => match Action::find(path, request.method()) {
            Some(action) => action.take(program, request).await,
            None => page::at(path).filter(|_| looks_only(request.method())).unwrap_or_else(|| action::none_such(path)),
        },
    }
}
