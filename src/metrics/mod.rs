//! Every metric of the gateway: its name, help and labels, and handles that are resolved when the configuration loads.
//! Nobody else sees the prometheus crate. A label is never a user, a path, a raw host or an issuer's text.

mod cache;
mod codes;
mod issuer;
mod leavers;
mod overhead;
mod process;
mod reading;
mod register;
mod reloads;
mod traces;
mod upstream;

use crate::fault::Fault;
use crate::token::Source;
pub use cache::{CacheMetrics, Force, ForcedUpdates};
pub use issuer::{Exchanged, IssuerMetrics};
pub use leavers::Named;
pub use reading::{IssuerReading, LOOKUPS, RouteReading, Spread, UpstreamReading};
pub use reloads::Reloads;
pub use traces::TraceMetrics;
pub use upstream::UpstreamMetrics;

use codes::Codes;
use http::{Method, StatusCode};
use prometheus::{Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};
use register::{counter, counters, gauges, histograms};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The `route` label of requests that match no route. No route may have this name.
pub const UNMATCHED: &str = "unmatched";

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "other"];

/// Upper bounds in seconds, for requests and exchanges.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds in seconds, for what the gateway itself adds.
const OVERHEAD: [f64; 13] = [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];
/// Upper bounds in seconds, for the life of an issued token.
const LIFETIMES: [f64; 9] = [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 86400.0];

type Hook = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All families. One of it is shared by the whole program.
pub struct Metrics {
    registry: Registry,
    http: Http,
    upstreams: upstream::Upstreams,
    tokens: Tokens,
    pub cache: CacheMetrics,
    pub forced: ForcedUpdates,
    log_lines_dropped: IntCounter,
    log_lines_held_back: IntCounter,
    pub traces: TraceMetrics,
    pub reloads: Reloads,
    process: process::Process,
    hooks: Mutex<Vec<Hook>>,
    leavers: leavers::Leavers,
}

/// Families about requests.
struct Http {
    requests: IntCounterVec,
    duration: HistogramVec,
    overhead: overhead::Overhead,
    in_flight: IntGaugeVec,
    upgraded: IntGaugeVec,
    upstream_unauthorized: IntCounterVec,
    rejections: IntCounterVec,
    malformed: IntCounter,
    unwelcome: IntCounterVec,
    certificate_expiry: IntGaugeVec,
}

/// Families about tokens and who issues them.
struct Tokens {
    lookups: IntCounterVec,
    exchanges: IntCounterVec,
    exchange_duration: HistogramVec,
    exchanges_in_flight: IntGaugeVec,
    lifetimes: HistogramVec,
    issuer_up: IntGaugeVec,
    issuer_circuit_open: IntGaugeVec,
    jwks_success: IntGaugeVec,
}

/// A gauge that somebody else sets.
#[derive(Clone)]
pub struct Gauge(IntGauge);

impl Gauge {
    pub fn set(&self, value: u64) {
        self.0.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

/// Counts one thing up for as long as it lives.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        let r = Registry::new();
        let build = gauges(&r, "cambist_build_info", "1, with the version of the running program.", &["version", "revision"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), option_env!("CAMBIST_REVISION").unwrap_or("unknown")]).set(1);
        Arc::new(Self {
            http: Http::new(&r),
            upstreams: upstream::Upstreams::new(&r),
            tokens: Tokens::new(&r),
            cache: CacheMetrics::new(&r),
            forced: ForcedUpdates::new(&r),
            log_lines_dropped: counter(&r, "cambist_log_lines_dropped_total", "Log lines lost: the output was too slow, or took none."),
            log_lines_held_back: counter(&r, "cambist_log_lines_held_back_total", "Repeated log lines that were counted, not written."),
            traces: TraceMetrics::new(&r),
            reloads: Reloads::new(&r),
            process: process::Process::new(&r),
            hooks: Mutex::default(),
            leavers: leavers::Leavers::default(),
            registry: r,
        })
    }

    /// Has `hook` called before each scrape, for values that are only read then.
    pub fn on_scrape(&self, hook: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
    }

    /// The text format, version 0.0.4. Takes milliseconds where there are many series: not for a request's thread.
    pub fn encode(&self) -> Vec<u8> {
        self.process.refresh();
        for hook in self.hooks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            hook(self);
        }
        let mut out = Vec::new();
        if let Err(e) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::warn!(error = %e, "metrics could not be written out whole");
        }
        out
    }

    /// All that were lost so far, and all that were summed up.
    pub fn set_log_lines(&self, dropped: u64, held_back: u64) {
        for (counter, total) in [(&self.log_lines_dropped, dropped), (&self.log_lines_held_back, held_back)] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    pub fn malformed(&self) {
        self.http.malformed.inc();
    }

    /// A connection was closed before a request could come; `reason` is one of a closed set.
    pub fn unwelcome(&self, listener: &str, reason: &str) {
        self.http.unwelcome.with_label_values(&[listener, reason]).inc();
    }

    /// When the first of a listener's certificates is over, in seconds since 1970.
    pub fn certificate_expiry(&self, listener: &str, unix: i64) {
        self.http.certificate_expiry.with_label_values(&[listener]).set(unix);
    }

    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        Arc::new(ListenerMetrics { in_flight: self.http.in_flight.with_label_values(&[name]) })
    }

    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        // The series that alerts and dashboards ask for exist from the start, at 0.
        Arc::new(RouteMetrics {
            requests: METHODS.map(|m| Codes::new(&self.http.requests, &[name, m])),
            duration: self.http.duration.with_label_values(&[name]),
            rejections: Fault::CODES.map(|code| (code, self.http.rejections.with_label_values(&[name, code]))),
            lookups: Source::ALL.map(|s| self.tokens.lookups.with_label_values(&[name, s.label()])),
            denied: self.tokens.lookups.with_label_values(&[name, "denied"]),
            overhead: Source::ALL.map(|s| self.http.overhead.of(name, s.label())),
            overhead_none: self.http.overhead.of(name, "none"),
            unauthorized: self.http.upstream_unauthorized.with_label_values(&[name]),
            upgraded: self.http.upgraded.with_label_values(&[name]),
            forced: self.forced.clone(),
        })
    }

    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        Arc::new(self.upstreams.one(name))
    }

    /// What is no longer there is neither up nor down. What was counted about it stays for a while ([`Metrics::left`]).
    pub fn forget_issuer(&self, name: &str) {
        for gauges in [&self.tokens.issuer_up, &self.tokens.issuer_circuit_open, &self.tokens.jwks_success] {
            // An error says that there is none.
            let _ = gauges.remove_label_values(&[name]);
        }
    }

    /// No certificate of this listener's is in use any more.
    pub fn forget_certificates(&self, listener: &str) {
        let _ = self.http.certificate_expiry.remove_label_values(&[listener]);
    }

    /// The same of an upstream.
    pub fn forget_upstream(&self, name: &str) {
        self.upstreams.forget(name);
    }

    pub fn issuer(&self, name: &str) -> Arc<IssuerMetrics> {
        let up = self.tokens.issuer_up.with_label_values(&[name]);
        Arc::new(IssuerMetrics {
            name: name.to_owned(),
            exchanges: self.tokens.exchanges.clone(),
            duration: self.tokens.exchange_duration.with_label_values(&[name]),
            in_flight: self.tokens.exchanges_in_flight.with_label_values(&[name]),
            lifetime: self.tokens.lifetimes.with_label_values(&[name]),
            up,
            circuit_open: self.tokens.issuer_circuit_open.with_label_values(&[name]),
            jwks_success: self.tokens.jwks_success.with_label_values(&[name]),
        })
    }
}

impl Http {
    fn new(r: &Registry) -> Self {
        Self {
            requests: counters(r, "cambist_http_requests_total", "Requests answered.", &["route", "method", "code"]),
            duration: histograms(
                r,
                "cambist_http_request_duration_seconds",
                "From a request's head to the last byte of its answer.",
                &["route"],
                &SECONDS,
            ),
            overhead: overhead::Overhead::new(r),
            in_flight: gauges(r, "cambist_http_requests_in_flight", "Requests whose answer is not out yet.", &["listener"]),
            upgraded: gauges(r, "cambist_upgraded_connections", "Connections that speak WebSocket or another protocol now.", &["route"]),
            upstream_unauthorized: counters(
                r,
                "cambist_upstream_unauthorized_total",
                "Upstreams' 401 answers that were passed on.",
                &["route"],
            ),
            rejections: counters(
                r,
                "cambist_rejections_total",
                "Requests that the gateway answered itself, by reason.",
                &["route", "reason"],
            ),
            malformed: counter(
                r,
                "cambist_malformed_requests_total",
                "Heads that the head guard or the HTTP parser refused, before any route.",
            ),
            unwelcome: counters(
                r,
                "cambist_connections_refused_total",
                "Connections closed before a request could come, by the reason.",
                &["listener", "reason"],
            ),
            certificate_expiry: gauges(
                r,
                "cambist_tls_certificate_expiry_timestamp_seconds",
                "When the first of a listener's certificates expires.",
                &["listener"],
            ),
        }
    }
}

impl Tokens {
    fn new(r: &Registry) -> Self {
        Self {
            lookups: counters(
                r,
                "cambist_token_cache_lookups_total",
                "Where the exchanged token of a request came from.",
                &["route", "result"],
            ),
            exchanges: counters(
                r,
                "cambist_token_exchanges_total",
                "Token exchanges with an issuer, by result.",
                &["issuer", "audience", "result"],
            ),
            exchange_duration: histograms(
                r,
                "cambist_token_exchange_duration_seconds",
                "How long an exchange with the issuer took.",
                &["issuer"],
                &SECONDS,
            ),
            exchanges_in_flight: gauges(r, "cambist_token_exchanges_in_flight", "Exchanges under way.", &["issuer"]),
            lifetimes: histograms(
                r,
                "cambist_issued_token_lifetime_seconds",
                "How long issued tokens are good for, by the issuer's word.",
                &["issuer"],
                &LIFETIMES,
            ),
            issuer_up: gauges(
                r,
                "cambist_issuer_up",
                "1: the last call to the issuer, any endpoint, got a well-formed answer, a refusal included.",
                &["issuer"],
            ),
            issuer_circuit_open: gauges(
                r,
                "cambist_issuer_circuit_open",
                "1: the issuer fails again and again, and is left in peace but for one try at a time.",
                &["issuer"],
            ),
            jwks_success: gauges(r, "cambist_jwks_last_success_timestamp_seconds", "When the issuer's keys last came in.", &["issuer"]),
        }
    }
}

pub struct ListenerMetrics {
    in_flight: IntGauge,
}

impl ListenerMetrics {
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }
}

/// The handles of one route.
pub struct RouteMetrics {
    requests: [Codes; METHODS.len()],
    duration: Histogram,
    rejections: [(&'static str, IntCounter); Fault::CODES.len()],
    lookups: [IntCounter; Source::ALL.len()],
    denied: IntCounter,
    overhead: [Histogram; Source::ALL.len()],
    overhead_none: Histogram,
    unauthorized: IntCounter,
    upgraded: IntGauge,
    /// Of all routes together.
    pub forced: ForcedUpdates,
}

impl RouteMetrics {
    pub fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let known = METHODS.iter().position(|m| *m == method.as_str()).unwrap_or(METHODS.len() - 1);
        self.requests[known].inc(status);
        self.duration.observe(took.as_secs_f64());
    }

    pub fn rejected(&self, fault: &Fault) {
        let code = fault.code();
        if let Some((_, counter)) = self.rejections.iter().find(|(c, _)| *c == code) {
            counter.inc();
        }
    }

    pub fn looked_up(&self, source: Source) {
        self.lookups[source as usize].inc();
    }

    /// The token was refused, without asking anybody, because it has been refused before.
    pub fn lookup_denied(&self) {
        self.denied.inc();
    }

    /// `source` is `None` on routes that inject no token.
    pub fn added(&self, source: Option<Source>, took: Duration) {
        source.map_or(&self.overhead_none, |s| &self.overhead[s as usize]).observe(took.as_secs_f64());
    }

    pub fn unauthorized(&self) {
        self.unauthorized.inc();
    }

    /// A connection of this route speaks another protocol, for as long as what is returned lives.
    pub fn upgraded(&self) -> InFlight {
        self.upgraded.inc();
        InFlight(self.upgraded.clone())
    }
}
