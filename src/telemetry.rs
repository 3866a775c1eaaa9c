//! Logs, as JSON or text, through a writer that never blocks a request; and traces, which go to a collector from a thread of their own.
//! Tokens do not pass through here at all: what may be logged is decided by the types in `token`, whose `Debug` prints nothing.

mod context;
mod recorder;
mod span;

pub use context::{Parent, TRACEPARENT, TRACESTATE, TraceContext, TraceId, around, carried, within};
pub use recorder::{Recorder, TraceError, TraceSettings};
pub use span::{Kind, Notes, Request, Span};

use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The target of access lines, so that they can be told from the rest.
pub const ACCESS: &str = "access";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub level: Level,
    pub format: Format,
    /// One line a request.
    pub access: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: Level::Info, format: Format::Json, access: true }
    }
}

/// Keeps the log's writer alive; what is still in its queue is written out when this is dropped.
pub struct Log {
    _guard: WorkerGuard,
}

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines in the writer's queue before further ones are dropped.
const QUEUE: usize = 16 * 1024;

/// Starts logging to stdout, for the whole process. A second call changes nothing.
pub fn start(settings: Settings) -> Log {
    start_to(settings, std::io::stdout())
}

/// Starts logging to `out`, for the whole process.
pub fn start_to(settings: Settings, out: impl std::io::Write + Send + 'static) -> Log {
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE).thread_name("log").finish(out);
    let dropped = writer.error_counter();
    let layer = match settings.format {
        Format::Json => fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false).with_writer(writer).boxed(),
        Format::Text => fmt::layer().with_ansi(false).with_writer(writer).boxed(),
    };
    if tracing_subscriber::registry().with(layer.with_filter(filter(settings))).try_init().is_ok() {
        let _ = DROPPED.set(dropped);
    }
    Log { _guard: guard }
}

/// Lines lost so far because the output was too slow.
pub fn dropped() -> u64 {
    DROPPED.get().map_or(0, |d| d.dropped_lines() as u64)
}

/// Whether access lines are wanted: asked before one is put together.
pub fn access_wanted() -> bool {
    tracing::enabled!(target: ACCESS, tracing::Level::INFO)
}

/// Libraries whose finer lines show what callers and issuers sent: h2 writes out the path of a head that it refuses, with a token
/// in its query if there was one. Their lines end at `info`, whatever is wanted.
const TELLTALES: [&str; 1] = ["h2"];

/// Libraries stay at `warn` unless everything is wanted: their debug lines are about bytes, and are many.
fn filter(s: Settings) -> Targets {
    let level = match s.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let others = if s.level == Level::Trace { LevelFilter::TRACE } else { level.min(LevelFilter::WARN) };
    let access = if s.access { LevelFilter::INFO } else { LevelFilter::OFF };
    let telltales = TELLTALES.map(|target| (target, others.min(LevelFilter::INFO)));
    Targets::new().with_default(others).with_targets(telltales).with_target("cambist", level).with_target(ACCESS, access)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as L;

    #[test]
    fn what_shows_heads_is_silent_even_where_everything_is_wanted() {
        let at = |level| filter(Settings { level, ..Settings::default() });
        assert!(at(Level::Trace).would_enable("hyper::proto", &L::TRACE) && at(Level::Trace).would_enable("h2::server", &L::INFO));
        assert!(!at(Level::Trace).would_enable("h2::server", &L::DEBUG));
        assert!(!at(Level::Debug).would_enable("h2::server", &L::INFO) && !at(Level::Error).would_enable("h2::server", &L::WARN));
        assert!(at(Level::Warn).would_enable(ACCESS, &L::INFO) && !at(Level::Warn).would_enable("cambist::app", &L::INFO));
    }
}
