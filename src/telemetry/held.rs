//! Warnings that come again and again: the first of a kind is written at once, those of the next seconds are summed up in one line. Of a
//! kind are lines of one place in the code about the same route, issuer, upstream and so on. Its memory has a bound, and access lines
//! are none of its business.

use super::Format;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// At most one line of a kind in this time.
const EVERY: Duration = Duration::from_secs(10);
/// Kinds that are told apart in that time; what is beyond goes as one.
const MOST_KINDS: usize = 1024;
/// Of a line that is kept.
const LONGEST: usize = 16 * 1024;

/// What a line is about. Its cause, its trace and its numbers may differ.
const ABOUT: [&str; 16] = [
    "message", "route", "issuer", "upstream", "endpoint", "listener", "reason", "docs", "key", "code", "place", "file", "address", "name",
    "worker", "what",
];
/// Who has these fields sums up by itself.
const SUMS: [&str; 2] = ["count", "times"];
/// What is said of one request is said as often as there are requests, however harmless it is.
const OF_A_REQUEST: &str = "trace_id";

#[derive(Default)]
pub(super) struct Held {
    kinds: Mutex<HashMap<u64, Kind>>,
    hasher: RandomState,
    back: AtomicU64,
}

struct Kind {
    /// Until then, its lines are held.
    until: Instant,
    /// The first of those, to be written then.
    line: Option<String>,
    /// The others.
    more: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    /// Kept, to be written later.
    Keep,
    /// Counted only.
    Drop,
}

impl Held {
    /// Lines that were counted instead of written, so far.
    pub fn back(&self) -> u64 {
        self.back.load(Ordering::Relaxed)
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<u64, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: it is written in any case.
    fn kind(&self, event: &Event<'_>) -> Option<u64> {
        let level = *event.metadata().level();
        let fields = event.metadata().fields();
        let is_told = level <= Level::WARN || level == Level::INFO && fields.field(OF_A_REQUEST).is_some();
        if !is_told || SUMS.iter().any(|name| fields.field(name).is_some()) {
            return None;
        }
        let mut about = About(self.hasher.build_hasher());
        event.metadata().callsite().hash(&mut about.0);
        event.record(&mut about);
        Some(about.0.finish())
    }

    fn judge(&self, kind: u64, now: Instant) -> Verdict {
        let mut kinds = self.kinds();
        if kinds.len() >= MOST_KINDS && !kinds.contains_key(&kind) {
            kinds.retain(|_, k| k.until > now || k.line.is_some());
        }
        let kind = if kinds.len() >= MOST_KINDS && !kinds.contains_key(&kind) { 0 } else { kind };
        let Some(known) = kinds.get_mut(&kind) else {
            kinds.insert(kind, Kind { until: now + EVERY, line: None, more: 0 });
            return Verdict::Write;
        };
        match &known.line {
            None if known.until <= now => {
                known.until = now + EVERY;
                Verdict::Write
            }
            None => Verdict::Keep,
            Some(_) => {
                known.more += 1;
                self.back.fetch_add(1, Ordering::Relaxed);
                Verdict::Drop
            }
        }
    }

    fn keep(&self, kind: u64, line: String) {
        let mut kinds = self.kinds();
        let known = if kinds.contains_key(&kind) { kinds.get_mut(&kind) } else { kinds.get_mut(&0) };
        let Some(known) = known else { return };
        if known.line.is_none() && line.len() <= LONGEST {
            known.line = Some(line);
        } else {
            // Somebody else was faster.
            known.more += 1;
            self.back.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is to be written now; `all`: whatever its time.
    pub fn due(&self, now: Instant, all: bool, format: Format) -> Vec<String> {
        let mut due = Vec::new();
        self.kinds().retain(|_, kind| {
            if kind.until > now && !all {
                return true;
            }
            let Some(line) = kind.line.take() else { return false };
            due.push(summed(line, std::mem::take(&mut kind.more), format));
            kind.until = now + EVERY;
            true
        });
        due
    }
}

/// The line that stands for others, too.
fn summed(mut line: String, more: u64, format: Format) -> String {
    let end = if format == Format::Json { "}\n" } else { "\n" };
    if more > 0 && line.ends_with(end) {
        line.truncate(line.len() - end.len());
        // Writing to a String cannot fail.
        let _ = match format {
            Format::Json => writeln!(line, ",\"held_back\":{more}}}"),
            Format::Text => writeln!(line, " held_back={more}"),
        };
    }
    line
}

struct About<H>(H);

impl<H: Hasher> Visit for About<H> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if ABOUT.contains(&field.name()) {
            (field.name(), value).hash(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if ABOUT.contains(&field.name()) {
            field.name().hash(&mut self.0);
            // Hashing cannot fail.
            let _ = write!(Hashed(&mut self.0), "{value:?}");
        }
    }
}

struct Hashed<'a, H>(&'a mut H);

impl<H: Hasher> Write for Hashed<'_, H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// Writes a line as `inner` does, unless it is held.
pub(super) struct Summed<F> {
    pub inner: F,
    pub held: std::sync::Arc<Held>,
}

impl<S, N, F> FormatEvent<S, N> for Summed<F>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(kind) = self.held.kind(event) else { return self.inner.format_event(context, writer, event) };
        match self.held.judge(kind, Instant::now()) {
            Verdict::Write => self.inner.format_event(context, writer, event)?,
            Verdict::Keep => {
                let mut line = String::new();
                self.inner.format_event(context, Writer::new(&mut line), event)?;
                self.held.keep(kind, line);
            }
            Verdict::Drop => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_is_written_and_the_others_are_one_line_each_while() {
        let (held, start) = (Held::default(), Instant::now());
        assert_eq!(held.judge(7, start), Verdict::Write);
        assert_eq!(held.judge(8, start), Verdict::Write, "another kind is not held by this one");
        assert_eq!(held.judge(7, start + SECOND), Verdict::Keep);
        held.keep(7, "{\"n\":2}\n".to_owned());
        (0..5).for_each(|_| assert_eq!(held.judge(7, start + SECOND * 2), Verdict::Drop));
        assert_eq!((held.due(start + SECOND * 9, false, Format::Json), held.back()), (Vec::new(), 5));
        assert_eq!(held.due(start + EVERY, false, Format::Json), ["{\"n\":2,\"held_back\":5}\n"]);
        assert_eq!(held.judge(7, start + EVERY + SECOND), Verdict::Keep, "that line, too, begins a while");
        held.keep(7, "again\n".to_owned());
        assert_eq!(held.due(start + EVERY + SECOND, true, Format::Text), ["again\n"], "the end");
        assert_eq!(held.due(start + EVERY * 3, false, Format::Text), Vec::<String>::new());
        assert_eq!(held.kinds().len(), 0, "what has come to rest is forgotten");
        assert_eq!(held.judge(7, start + EVERY * 3), Verdict::Write);
        assert_eq!(held.back(), 5);
    }

    #[test]
    fn kinds_beyond_the_bound_go_as_one() {
        let (held, start) = (Held::default(), Instant::now());
        (1..=MOST_KINDS as u64).for_each(|kind| assert_eq!(held.judge(kind, start), Verdict::Write));
        assert_eq!(held.judge(1_000_001, start), Verdict::Write, "the first of all others");
        assert_eq!(held.judge(1_000_002, start), Verdict::Keep);
        held.keep(1_000_002, "x\n".to_owned());
        assert_eq!(held.judge(1_000_003, start), Verdict::Drop);
        assert_eq!(held.kinds().len(), MOST_KINDS + 1);
        assert_eq!(held.due(start + EVERY, false, Format::Text), ["x held_back=1\n"]);
        assert_eq!(held.kinds().len(), 1);
    }

    #[test]
    fn a_line_says_how_many_it_stands_for() {
        assert_eq!(summed("{\"a\":1}\n".to_owned(), 0, Format::Json), "{\"a\":1}\n");
        assert_eq!(summed(" WARN a: b=1\n".to_owned(), 3, Format::Text), " WARN a: b=1 held_back=3\n");
    }
}
