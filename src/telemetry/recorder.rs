//! Hands spans to an OpenTelemetry collector over OTLP/HTTP, from a thread of its own. A queue with a bound stands between: whatever
//! becomes of the collector, no request waits for it, and what finds no room is dropped and counted.

use super::context::TraceId;
use crate::metrics::Metrics;
use crate::tls;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// Spans that wait, those that are being handed over included.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
/// The longest that a span waits for company.
const DELAY: Duration = Duration::from_secs(1);
/// For one batch, with all attempts.
const EXPORT: Duration = Duration::from_secs(5);
/// How long the end waits for the collector.
const LAST: Duration = Duration::from_secs(3);
/// The least time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// Without `/v1/traces`.
    pub endpoint: Url,
    /// The share of requests (0.0 to 1.0) that is recorded where the caller has not decided.
    pub sample: f64,
}

/// Why spans cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("{0}")]
    Exporter(String),
}

pub struct Recorder {
    settings: TraceSettings,
    /// Trace ids below it are recorded.
    threshold: u64,
    processor: Arc<BatchSpanProcessor>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    ended: AtomicBool,
}

/// What one collector has yet to get, and what it did not.
#[derive(Default)]
struct Queue {
    waiting: AtomicUsize,
    /// Since that was last said.
    lost: AtomicUsize,
}

impl Recorder {
    /// # Errors
    /// When there are no certificate authorities where TLS is needed.
    pub fn start(settings: TraceSettings, metrics: Arc<Metrics>) -> Result<Arc<Self>, TraceError> {
        let queue = Arc::new(Queue::default());
        let (its, counting, endpoint) = (queue.clone(), metrics.clone(), settings.endpoint.clone());
        // The client is made, used and dropped on threads that belong to no runtime: it would panic on one that does.
        let made = std::thread::spawn(move || processor(&endpoint, its, counting)).join();
        let processor = Arc::new(made.map_err(|_| TraceError::Exporter("its thread has panicked".to_owned()))??);
        let threshold = threshold(settings.sample);
        Ok(Arc::new(Self { settings, threshold, processor, queue, metrics, ended: AtomicBool::new(false) }))
    }

    pub fn settings(&self) -> &TraceSettings {
        &self.settings
    }

    /// By the trace's id, so that all who have the same share come to the same decision.
    pub(super) fn samples(&self, trace: TraceId) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "the lower half is what counts")]
        let low = trace.0 as u64;
        low >> 1 < self.threshold
    }

    /// Takes a span that has ended, if there is room.
    pub(super) fn take(&self, span: SpanData) {
        if self.ended.load(Ordering::Relaxed) {
            return self.metrics.traces.dropped();
        }
        if self.queue.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
            return self.metrics.traces.dropped();
        }
        self.processor.on_end(span);
    }

    /// Hands over what is left, and waits a little for the collector. For a thread that may block.
    pub fn end(&self) {
        if !self.ended.swap(true, Ordering::Relaxed) && self.processor.shutdown_with_timeout(LAST).is_err() {
            let spans = self.queue.waiting.load(Ordering::Relaxed);
            tracing::warn!(endpoint = %self.settings.endpoint, spans, "the collector has not taken the last spans in time: they are lost");
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            let processor = self.processor.clone();
            // Another configuration is in force. The last request under the old one may end on a worker, which must not wait.
            let ending = std::thread::Builder::new().name("spans".to_owned()).spawn(move || processor.shutdown_with_timeout(LAST));
            drop(ending);
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Of 63 bits, as the OpenTelemetry SDKs count.
fn threshold(sample: f64) -> u64 {
    const ALL: u64 = 1 << 63;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of 2^63")]
    let part = (sample.clamp(0.0, 1.0) * ALL as f64) as u64;
    part
}

/// Who says so: this program.
pub(super) fn scope() -> InstrumentationScope {
    static SCOPE: LazyLock<InstrumentationScope> =
        LazyLock::new(|| InstrumentationScope::builder("cambist").with_version(env!("CARGO_PKG_VERSION")).build());
    SCOPE.clone()
}

fn processor(endpoint: &Url, queue: Arc<Queue>, metrics: Arc<Metrics>) -> Result<BatchSpanProcessor, TraceError> {
    let failed = |e: &dyn fmt::Display| TraceError::Exporter(e.to_string());
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client(endpoint)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(signal(endpoint))
        .with_timeout(EXPORT)
        .build()
        .map_err(|e| failed(&e))?;
    let counted = Counted { exporter, endpoint: endpoint.clone(), queue, metrics, told: Mutex::new(None) };
    let config =
        BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_max_export_batch_size(BATCH).with_scheduled_delay(DELAY).build();
    let mut processor = BatchSpanProcessor::builder(counted).with_batch_config(config).build();
    processor.set_resource(&resource());
    Ok(processor)
}

/// OTLP/HTTP: the signal's path stands below the endpoint's.
fn signal(endpoint: &Url) -> String {
    format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'))
}

/// As the issuer's: no redirect, no proxy of the environment.
fn client(endpoint: &Url) -> Result<reqwest::blocking::Client, TraceError> {
    // By the other client's builder: the blocking one's own limit begins anew with every byte of an answer.
    let builder = reqwest::Client::builder()
        .user_agent(concat!("cambist/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(EXPORT)
        .timeout(EXPORT);
    let builder = match tls::client_as(None, None, &[b"http/1.1"]) {
        Ok(config) => builder.tls_backend_preconfigured((*config).clone()),
        // Nothing here is spoken to over TLS: a machine without authorities is good enough.
        Err(tls::Error::Platform(_)) if endpoint.scheme() == "http" => builder.tls_certs_only([]),
        Err(e) => return Err(e.into()),
    };
    let builder = reqwest::blocking::ClientBuilder::from(builder).timeout(EXPORT);
    builder.build().map_err(|e| TraceError::Exporter(e.without_url().to_string()))
}

/// Who we are: what the environment says goes before our own words.
fn resource() -> Resource {
    let builder = Resource::builder_empty()
        .with_service_name("cambist")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.with_service_name(name).build(),
        _ => builder.build(),
    }
}

/// Counts what is handed over, and says now and then what is not.
struct Counted<E> {
    exporter: E,
    endpoint: Url,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// When it was last said that spans are lost.
    told: Mutex<Option<Instant>>,
}

impl<E> fmt::Debug for Counted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        self.queue.waiting.fetch_sub(spans, Ordering::Relaxed);
        match &outcome {
            Ok(()) => {
                self.metrics.traces.sent(spans);
                self.complain(&"it takes them more slowly than they come");
            }
            Err(error) => {
                self.metrics.traces.failed(spans);
                self.queue.lost.fetch_add(spans, Ordering::Relaxed);
                self.complain(error);
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E> Counted<E> {
    /// Says that spans were lost, if any were since that was last said.
    fn complain(&self, error: &dyn fmt::Display) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        let spans = self.queue.lost.swap(0, Ordering::Relaxed);
        if spans == 0 {
            return;
        }
        *told = Some(Instant::now());
        let cure = "check that tracing.otlp_endpoint is the collector's OTLP/HTTP receiver (port 4318 by custom) and that it is up";
        tracing::warn!(endpoint = %self.endpoint, spans, cause = %error, cure, "spans are lost: the collector does not take them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signals_path_stands_below_the_endpoints() {
        let of = |endpoint: &str| signal(&Url::parse(endpoint).unwrap());
        assert_eq!(of("http://otel:4318"), "http://otel:4318/v1/traces");
        assert_eq!(of("https://otel.example.com/tenant/a/"), "https://otel.example.com/tenant/a/v1/traces");
    }

    #[test]
    fn a_share_of_all_traces() {
        let taken = |sample: f64, id: u128| (id as u64) >> 1 < threshold(sample);
        assert!(!taken(0.0, 1) && !taken(0.0, u128::MAX));
        assert!(taken(1.0, 1) && taken(1.0, u128::MAX));
        let ids: Vec<u128> = (0..20_000).map(|_| TraceId::random().0).collect();
        let quarter = ids.iter().filter(|id| taken(0.25, **id)).count();
        assert!((4_000..6_000).contains(&quarter), "{quarter}");
        assert!(ids.iter().filter(|id| taken(0.1, **id)).all(|id| taken(0.25, *id)), "a larger share takes what a smaller one does");
    }
}
