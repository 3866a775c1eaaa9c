//! Spans: what one step of a request took, from when to when, and what is known of it. A span that nobody records is empty and costs
//! nothing. What may stand in an attribute is decided by who notes it; a token never may.

use super::context::{Parent, SpanId, TraceContext, TraceId, around, state};
use super::recorder::Recorder;
use crate::fault::Fault;
use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{KeyValue, trace};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Whose work a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step of our own.
    Internal,
    /// A question to somebody else.
    Client,
}

/// What is said of a span.
pub struct Notes {
    name: Option<Cow<'static, str>>,
    attributes: Vec<KeyValue>,
    failed: bool,
}

impl Notes {
    fn new() -> Self {
        Self { name: None, attributes: Vec::with_capacity(8), failed: false }
    }

    pub fn name(&mut self, name: impl Into<Cow<'static, str>>) {
        self.name = Some(name.into());
    }

    pub fn text(&mut self, key: &'static str, value: impl Into<String>) {
        self.attributes.push(KeyValue::new(key, value.into()));
    }

    /// A word of the program's own.
    pub fn word(&mut self, key: &'static str, value: &'static str) {
        self.attributes.push(KeyValue::new(key, value));
    }

    pub fn number(&mut self, key: &'static str, value: impl Into<i64>) {
        self.attributes.push(KeyValue::new(key, value.into()));
    }

    pub fn flag(&mut self, key: &'static str, value: bool) {
        self.attributes.push(KeyValue::new(key, value));
    }

    /// It ended with a fault. One that is the caller's own doing is named, and by the conventions no error.
    pub fn fault(&mut self, fault: &Fault) {
        if fault.row().status.is_server_error() {
            self.failed(fault.code());
        } else {
            self.word("error.type", fault.code());
        }
    }

    /// It came to a bad end, of this kind. Of several the first counts: what came after is its consequence.
    pub fn failed(&mut self, kind: impl Into<Cow<'static, str>>) {
        if !std::mem::replace(&mut self.failed, true) {
            self.attributes.push(KeyValue::new("error.type", kind.into()));
        }
    }
}

/// A step that is under way. It ends when it is dropped; who drops it unended has been broken off.
pub struct Span(Option<Box<Open>>);

struct Open {
    context: TraceContext,
    parent: SpanId,
    kind: Kind,
    name: &'static str,
    start: SystemTime,
    began: Instant,
    notes: Notes,
    ended: bool,
}

impl Span {
    /// A step below `above`; empty where that is not recorded.
    pub fn below(above: Option<&TraceContext>, name: &'static str, kind: Kind) -> Self {
        Self(above.filter(|above| above.recorder.is_some()).map(|above| {
            let context = TraceContext { span: SpanId::random(), ..above.clone() };
            let (start, began, notes) = (SystemTime::now(), Instant::now(), Notes::new());
            Box::new(Open { context, parent: above.span, kind, name, start, began, notes, ended: false })
        }))
    }

    pub fn none() -> Self {
        Self(None)
    }

    /// A step of what this task works for.
    pub fn here(name: &'static str, kind: Kind) -> Self {
        Self::below(around().as_ref(), name, kind)
    }

    /// What its own steps are below; `None`: it is not recorded.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.context.clone())
    }

    /// Notes something; what it takes to know that is only done where it is recorded.
    pub fn note(&mut self, note: impl FnOnce(&mut Notes)) {
        if let Some(open) = &mut self.0 {
            note(&mut open.notes);
        }
    }

    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    pub fn end(mut self) {
        self.end_now();
    }

    /// Ends it where it is; it is empty from then on.
    pub fn end_now(&mut self) {
        if let Some(mut open) = self.0.take() {
            open.ended = true;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut notes = std::mem::replace(&mut self.notes, Notes::new());
        if !self.ended {
            notes.failed("cancelled");
        }
        let Some(recorder) = &self.context.recorder else { return };
        let kind = match self.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Client => SpanKind::Client,
        };
        let name = notes.name.take().unwrap_or(Cow::Borrowed(self.name));
        let times = (self.start, self.start + self.began.elapsed());
        let ids = (self.context.trace, self.context.span, Some(self.parent));
        recorder.take(data(ids, false, kind, name, times, notes));
    }
}

/// What a whole request is in its trace.
pub struct Request {
    pub context: TraceContext,
    parent: Option<SpanId>,
    start: SystemTime,
}

impl Request {
    /// Continues the caller's trace or begins one, and decides, once, whether it is recorded: where the caller has decided, so.
    pub fn begin(recorder: &Arc<Recorder>, headers: &HeaderMap) -> Self {
        let parent = Parent::read(headers);
        let trace = parent.map_or_else(TraceId::random, |parent| parent.trace);
        let sampled = parent.map_or_else(|| recorder.samples(trace), |parent| parent.sampled);
        let span = match parent {
            // Not recorded, we are nobody in it: whoever comes next is the caller's child.
            Some(parent) if !sampled => parent.span,
            _ => SpanId::random(),
        };
        let (recorder, state) = (sampled.then(|| recorder.clone()), parent.and_then(|_| state(headers)));
        let context = TraceContext { trace, span, recorder, continued: parent.is_some(), state };
        let start = if sampled { SystemTime::now() } else { SystemTime::UNIX_EPOCH };
        Self { context, parent: parent.map(|parent| parent.span), start }
    }

    pub fn is_recorded(&self) -> bool {
        self.context.recorder.is_some()
    }

    /// The end, with all that is known by then.
    pub fn end(&self, took: Duration, note: impl FnOnce(&mut Notes)) {
        let Some(recorder) = &self.context.recorder else { return };
        let mut notes = Notes::new();
        note(&mut notes);
        let name = notes.name.take().unwrap_or(Cow::Borrowed("HTTP"));
        let ids = (self.context.trace, self.context.span, self.parent);
        recorder.take(data(ids, self.parent.is_some(), SpanKind::Server, name, (self.start, self.start + took), notes));
    }
}

type Ids = (TraceId, SpanId, Option<SpanId>);

fn data(
    (id, span, parent): Ids,
    remote: bool,
    kind: SpanKind,
    name: Cow<'static, str>,
    times: (SystemTime, SystemTime),
    n: Notes,
) -> SpanData {
    let of = |id: SpanId| trace::SpanId::from_bytes(id.0.to_be_bytes());
    let trace = trace::TraceId::from_bytes(id.0.to_be_bytes());
    SpanData {
        // A caller's tracestate stays out: anything may stand there.
        span_context: SpanContext::new(trace, of(span), TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent.map_or(trace::SpanId::INVALID, of),
        parent_span_is_remote: remote,
        span_kind: kind,
        name,
        start_time: times.0,
        end_time: times.1,
        attributes: n.attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if n.failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: super::recorder::scope(),
    }
}
