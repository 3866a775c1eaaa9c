//! Logs, as JSON or text, through a writer that never blocks a request; how much is logged may change while the program runs. And traces,
//! which go to a collector from a thread of their own. Tokens do not pass through here at all: what may be logged is decided by the types in
//! `token`, whose `Debug` prints nothing.

mod context;
mod held;
mod line;
mod recorder;
mod sink;
mod span;

pub use context::{Parent, TRACEPARENT, TRACESTATE, TraceContext, TraceId, around, carried, within};
pub use line::Line;
pub use recorder::{Recorder, TraceError, TraceSettings};
pub use span::{Kind, Notes, Request, Span};

use held::{Held, Summed};
use sink::Sink;
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// The target of access lines, so that they can be told from the rest.
pub const ACCESS: &str = "access";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub const ALL: [(&str, Self); 5] =
        [("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug), ("trace", Self::Trace)];

    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(n, _)| *n == name).map(|(_, level)| level)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub struct Log(Sink);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The one log of the process.
struct Running {
    sink: Sink,
    held: Arc<Held>,
    filter: reload::Handle<Targets, Registry>,
    settings: Mutex<Settings>,
    /// What is asked for at every request, without the lock.
    access: AtomicBool,
    format: Format,
}

static RUNNING: OnceLock<Running> = OnceLock::new();

/// Starts logging to stdout, for the whole process. A second call changes nothing.
pub fn start(settings: Settings) -> Log {
    // Past the standard library's buffer, which would hide what was lost.
    match std::io::stdout().as_fd().try_clone_to_owned() {
        Ok(out) => start_to(settings, std::fs::File::from(out)),
        Err(_) => start_to(settings, std::io::stdout()),
    }
}

/// Starts logging to `out`, for the whole process.
pub fn start_to(settings: Settings, out: impl std::io::Write + Send + 'static) -> Log {
    let (sink, held, format) = (Sink::default(), Arc::new(Held::default()), settings.format);
    let summed = held.clone();
    let layer = fmt::layer().with_writer(sink.clone());
    let layer = match format {
        Format::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            layer.map_event_format(|inner| Summed { inner, held: summed }).boxed()
        }
        Format::Text => layer.with_ansi(false).map_event_format(|inner| Summed { inner, held: summed }).boxed(),
    };
    let (wanted, filter) = reload::Layer::new(filter(settings));
    let due = held.clone();
    // Without a thread every line is lost, and counted once there is no more room.
    let _ = sink.start(out, Box::new(move |all| due.due(Instant::now(), all, format)));
    if tracing_subscriber::registry().with(layer.with_filter(wanted)).try_init().is_ok() {
        let access = AtomicBool::new(settings.access);
        let _ = RUNNING.set(Running { sink: sink.clone(), held, filter, settings: Mutex::new(settings), access, format });
    }
    Log(sink)
}

/// How much is logged now. `None`: this process writes no log of ours.
pub fn in_force() -> Option<Settings> {
    RUNNING.get().map(|log| *log.settings.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Logs as much as this from now on; `None` leaves a thing as it is. Returns what is in force then.
pub fn change(level: Option<Level>, access: Option<bool>) -> Option<Settings> {
    let log = RUNNING.get()?;
    let mut now = log.settings.lock().unwrap_or_else(PoisonError::into_inner);
    *now = Settings { level: level.unwrap_or(now.level), access: access.unwrap_or(now.access), format: now.format };
    log.access.store(now.access, Ordering::Relaxed);
    // It fails only where the log is gone.
    let _ = log.filter.reload(filter(*now));
    Some(*now)
}

/// Lines lost so far because the output was too slow, or took none.
pub fn dropped() -> u64 {
    RUNNING.get().map_or(0, |log| log.sink.lost())
}

/// Lines so far that were counted instead of written, because one like them was written a moment before.
pub fn held_back() -> u64 {
    RUNNING.get().map_or(0, |log| log.held.back())
}

/// Whether access lines are wanted: asked before one is put together.
pub fn access_wanted() -> bool {
    RUNNING.get().is_some_and(|log| log.access.load(Ordering::Relaxed))
}

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Writes an access line.
pub fn access(tell: impl FnOnce(&mut Line<'_>)) {
    let Some(log) = RUNNING.get() else { return };
    let write = |out: &mut String| {
        let mut line = Line::begin(out, log.format, ACCESS);
        tell(&mut line);
        line.end(ACCESS);
        log.sink.push(out.as_bytes());
    };
    // It is there for as long as its thread has anything to do.
    let _ = LINE.try_with(|out| out.try_borrow_mut().map(|mut out| write(&mut out)));
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
    let telltales = TELLTALES.map(|target| (target, others.min(LevelFilter::INFO)));
    Targets::new().with_default(others).with_targets(telltales).with_target("cambist", level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as L;

    #[test]
    fn a_level_is_known_by_its_name() {
        for (name, level) in Level::ALL {
            assert_eq!((level.name(), Level::named(name)), (name, Some(level)));
        }
        assert_eq!((Level::named("loud"), Level::Error < Level::Trace), (None, true));
    }

    #[test]
    fn what_shows_heads_is_silent_even_where_everything_is_wanted() {
        let at = |level| filter(Settings { level, ..Settings::default() });
        assert!(at(Level::Trace).would_enable("hyper::proto", &L::TRACE) && at(Level::Trace).would_enable("h2::server", &L::INFO));
        assert!(!at(Level::Trace).would_enable("h2::server", &L::DEBUG));
        assert!(!at(Level::Debug).would_enable("h2::server", &L::INFO) && !at(Level::Error).would_enable("h2::server", &L::WARN));
        assert!(at(Level::Warn).would_enable("cambist::app", &L::WARN) && !at(Level::Warn).would_enable("cambist::app", &L::INFO));
    }
}
