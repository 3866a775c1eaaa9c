//! What is noted about one request on its way, for the metrics and the access line at its end. It is written to from several
//! layers and read once; it decides nothing.

use super::divert::Door;
use super::route::Route;
use super::traced::note_method;
use crate::fault::Fault;
use crate::listen::is_grpc;
use crate::metrics::RouteMetrics;
use crate::telemetry::{self, Kind, Notes, Parent, Recorder, Span, TraceContext, TraceId};
use crate::token::Source;
use http::{HeaderMap, Method, StatusCode, Version};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Where a request came from.
pub struct From {
    /// The caller's address.
    pub client: IpAddr,
    /// It came in over TLS.
    pub tls: bool,
}

pub struct Journal {
    pub started: Instant,
    /// The caller's address.
    client: IpAddr,
    tls: bool,
    pub method: Method,
    pub version: Version,
    /// gRPC requests get their faults as gRPC answers.
    pub grpc: bool,
    /// The path without its query, for the access line and the trace; only kept where one of them is written.
    path: Option<Box<str>>,
    /// Whom a request on an outbound listener is for, where no route names it.
    authority: OnceLock<Box<str>>,
    trace: OnceLock<TraceId>,
    /// `None`: traces are nobody's matter here.
    traced: Option<telemetry::Request>,
    route: OnceLock<Arc<Route>>,
    /// The path of the gateway's own, where it was one.
    door: OnceLock<Arc<Door>>,
    source: OnceLock<Source>,
    fault: OnceLock<Fault>,
    /// When the request left for the upstream, and when its headers came back; microseconds after `started`.
    sent: AtomicU64,
    answered: AtomicU64,
    body_too_large: AtomicBool,
}

impl Journal {
    pub fn new(head: &http::request::Parts, from: From, recorder: Option<&Arc<Recorder>>) -> Self {
        let traced = recorder.map(|recorder| telemetry::Request::begin(recorder, &head.headers));
        let trace = traced.as_ref().map(|traced| traced.context.trace).or_else(|| Parent::read(&head.headers).map(|p| p.trace));
        let recorded = traced.as_ref().is_some_and(telemetry::Request::is_recorded);
        Self {
            started: Instant::now(),
            client: from.client,
            tls: from.tls,
            method: head.method.clone(),
            version: head.version,
            grpc: is_grpc(&head.headers),
            path: (recorded || telemetry::access_wanted()).then(|| cut(&without_jwts(head.uri.path()), 256).into()),
            authority: OnceLock::new(),
            trace: trace.map_or_else(OnceLock::new, OnceLock::from),
            traced,
            route: OnceLock::new(),
            door: OnceLock::new(),
            source: OnceLock::new(),
            fault: OnceLock::new(),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            body_too_large: AtomicBool::new(false),
        }
    }

    pub fn trace(&self) -> &TraceId {
        self.trace.get_or_init(TraceId::random)
    }

    /// A step of this request; empty where that is not recorded.
    pub fn span(&self, name: &'static str, kind: Kind) -> Span {
        Span::below(self.traced.as_ref().map(|traced| &traced.context), name, kind)
    }

    /// What is begun in a step works for: the step, or the request as a whole.
    pub fn context(&self, span: &Span) -> Option<TraceContext> {
        let traced = self.traced.as_ref()?;
        Some(span.context().unwrap_or_else(|| traced.context.clone()))
    }

    /// Says in headers that go on which trace they belong to, and to which step of it.
    pub fn mark(&self, span: &Span, headers: &mut HeaderMap) {
        if let Some(traced) = &self.traced {
            span.context().as_ref().unwrap_or(&traced.context).mark(headers);
        }
    }

    pub fn routed(&self, route: &Arc<Route>) {
        let _ = self.route.set(route.clone());
    }

    pub fn route(&self) -> Option<&Arc<Route>> {
        self.route.get()
    }

    pub fn diverted(&self, door: &Arc<Door>) {
        let _ = self.door.set(door.clone());
    }

    /// The request is for somebody whom no route names.
    pub fn bound_for(&self, authority: &str) {
        if self.path.is_some() {
            let _ = self.authority.set(cut(authority, 256).into());
        }
    }

    /// What the request's matters are noted under: its route, or the gateway's own path.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.route.get().map(|r| &r.name).or_else(|| self.door.get().map(|d| &d.path))
    }

    pub fn token_from(&self, source: Source) {
        let _ = self.source.set(source);
    }

    pub fn source(&self) -> Option<Source> {
        self.source.get().copied()
    }

    pub fn failed(&self, fault: &Fault) {
        let _ = self.fault.set(fault.clone());
    }

    /// Notes that the request leaves now, and returns what the gateway added until here. `None`: it has left before.
    pub fn sent(&self) -> Option<Duration> {
        let added = self.started.elapsed();
        self.sent.compare_exchange(0, micros(added).max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok().then_some(added)
    }

    /// Notes that the upstream's headers came, or that none will.
    pub fn answered(&self) {
        self.answered.store(micros(self.started.elapsed()), Ordering::Relaxed);
    }

    pub fn body_was_too_large(&self) {
        self.body_too_large.store(true, Ordering::Relaxed);
    }

    pub fn is_body_too_large(&self) -> bool {
        self.body_too_large.load(Ordering::Relaxed)
    }

    /// The end: everything is counted and the access line is written.
    pub(super) fn close(&self, unmatched: &RouteMetrics, status: StatusCode, passed: Passed) {
        let took = self.started.elapsed();
        let metrics = self.route.get().map(|r| &r.metrics).or_else(|| self.door.get().map(|d| &d.metrics));
        let metrics = metrics.map_or(unmatched, |m| m);
        // How long a tunnel stood says nothing of how long anybody waited.
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        let waited = if switched { Duration::from_micros(self.answered.load(Ordering::Relaxed)) } else { took };
        metrics.answered(&self.method, status, waited);
        if let Some(fault) = self.fault.get() {
            metrics.rejected(fault);
        }
        if let Some(traced) = &self.traced {
            traced.end(took, |notes| self.note(notes, status, &passed));
        }
        if self.path.is_some() && telemetry::access_wanted() {
            self.access_line(status, passed, took);
        }
    }

    /// What the trace says of the request as a whole: no more of what the caller sent than the access line does.
    fn note(&self, notes: &mut Notes, status: StatusCode, passed: &Passed) {
        let route = self.route.get();
        let template = route.map(|r| &*r.path).or_else(|| self.door.get().map(|d| &*d.path));
        let method = note_method(notes, &self.method);
        match template {
            None => notes.name(method),
            Some(path) => notes.name(format!("{method} {path}")),
        }
        notes.number("http.response.status_code", status.as_u16());
        notes.word("url.scheme", if self.tls { "https" } else { "http" });
        notes.text("url.path", self.path.as_deref().unwrap_or_default());
        notes.text("client.address", self.client.to_string());
        notes.word("network.protocol.version", protocol_version(self.version));
        if let Some(template) = template {
            notes.text("http.route", template);
        }
        if let Some(route) = route {
            notes.text("cambist.route", &*route.name);
            notes.text("cambist.upstream", &**route.upstream.name());
        }
        if let Some(source) = self.source.get() {
            notes.word("cambist.cache.result", source.label());
        }
        // No answer to a HEAD is asked for its end, and what follows a 101 is none.
        let asked_for_all = self.method != Method::HEAD && status != StatusCode::SWITCHING_PROTOCOLS;
        match (self.fault.get(), passed.broke.as_deref()) {
            (Some(fault), _) => notes.fault(fault),
            (None, _) if status.is_server_error() => notes.failed(status.as_u16().to_string()),
            (None, Some(broke)) => notes.fault(broke),
            (None, None) if !passed.whole && asked_for_all => notes.word("error.type", "cancelled"),
            (None, None) => {}
        }
    }

    fn access_line(&self, status: StatusCode, Passed { bytes, received, whole, .. }: Passed, took: Duration) {
        let route = self.route.get();
        let (sent, answered) = (self.sent.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed));
        let total = micros(took);
        let upstream_us = if sent == 0 { 0 } else { (if answered == 0 { total } else { answered }).saturating_sub(sent) };
        telemetry::access(|line| {
            line.plain("client", &self.client);
            // Of any length, since a caller may make it up.
            line.text("method", cut(self.method.as_str(), 32));
            line.text("path", self.path.as_deref().unwrap_or_default());
            if let Some(authority) = self.authority.get() {
                line.text("authority", authority);
            }
            line.text("route", self.name().map_or("-", |name| name));
            line.text("upstream", route.map_or("-", |r| r.upstream.name()));
            line.number("status", status.as_u16().into());
            line.number("bytes", bytes);
            if let Some(received) = received {
                line.number("received", received);
            }
            line.flag("whole", whole);
            line.number("total_us", total);
            line.number("added_us", if sent == 0 { total } else { sent });
            line.number("upstream_us", upstream_us);
            line.text("token", self.source.get().map_or("-", |s| s.label()));
            line.text("reason", self.fault.get().map_or("-", Fault::code));
            line.plain("trace_id", self.trace());
        });
    }
}

/// What went over the wire.
pub(super) struct Passed {
    /// To the caller.
    pub bytes: u64,
    /// From the caller; counted for upgraded connections alone.
    pub received: Option<u64>,
    /// Both to their end.
    pub whole: bool,
    /// What ended the answer before its end, where it was not its caller who left.
    pub broke: Option<Box<Fault>>,
}

pub(super) fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

/// A path as it may be logged: some callers put their token there. A JWT's first part opens a JSON object, so it begins alike.
pub(super) fn without_jwts(path: &str) -> Cow<'_, str> {
    const BEGINS: &str = "eyJ";
    /// No JWT is that short.
    const LEAST: usize = 64;
    let of_jwt = |c: char| c.is_ascii_alphanumeric() || "-_.%".contains(c);
    let mut path = Cow::Borrowed(path);
    let mut from = 0;
    while let Some(start) = path[from..].find(BEGINS).map(|at| from + at) {
        let end = path[start..].find(|c| !of_jwt(c)).map_or(path.len(), |at| start + at);
        from = if end - start > LEAST {
            path.to_mut().replace_range(start..end, "[token]");
            start
        } else {
            end
        };
    }
    path
}

pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_path_is_not_logged() {
        let jwt = format!("eyJ{}.eyJ{}.{}", "a".repeat(30), "b".repeat(90), "c".repeat(80));
        assert_eq!(without_jwts(&format!("/orders/{jwt}/a/{jwt}")), "/orders/[token]/a/[token]");
        assert_eq!(without_jwts(&format!("/orders;t={}", jwt.replace('.', "%2E"))), "/orders;t=[token]");
        assert_eq!(without_jwts("/eyJ/eyJhbGciOiJIUzI1NiJ9/x"), "/eyJ/eyJhbGciOiJIUzI1NiJ9/x");
    }

    #[test]
    fn long_paths_are_cut_between_characters() {
        assert_eq!(cut("/\u{e4}\u{e4}", 2), "/");
        assert_eq!(cut("/abc", 256), "/abc");
    }
}
