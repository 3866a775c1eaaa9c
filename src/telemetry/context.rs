//! Which trace a thing belongs to (W3C Trace Context): `traceparent` is read strictly and written, and what is under way carries its
//! context from task to task. It records nothing and sends nothing.

use super::recorder::Recorder;
use futures_util::future::Either;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::sync::Arc;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most of a caller's `tracestate` that goes to the issuer: the standard asks for 512 bytes at the least.
const LONGEST_STATE: usize = 4 * 1024;

/// A W3C trace id: never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub(super) u128);

/// A span's id: never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub(super) u64);

impl TraceId {
    pub fn random() -> Self {
        Self(rand::random::<u128>().max(1))
    }
}

impl SpanId {
    pub fn random() -> Self {
        Self(rand::random::<u64>().max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a caller's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace: TraceId,
    pub span: SpanId,
    pub sampled: bool,
}

impl Parent {
    /// The one `traceparent` of these headers, if it is valid (§3.2.2).
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(&TRACEPARENT).iter();
        match (all.next(), all.next()) {
            (Some(only), None) => Self::parsed(only.as_bytes()),
            _ => None,
        }
    }

    /// `00-<32 hex>-<16 hex>-<2 hex>`; later versions may have more behind it.
    fn parsed(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(55)?;
        let text = std::str::from_utf8(known).ok()?;
        let lower_hex = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lengths = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2) && parts.next().is_none();
        let ends = if version == "00" { more.is_empty() } else { more.first().is_none_or(|b| *b == b'-') };
        if !lengths || !ends || version == "ff" || ![version, trace, span, flags].into_iter().all(lower_hex) {
            return None;
        }
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (trace != 0 && span != 0).then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled })
    }
}

/// The trace that something under way belongs to, and the span whose children it makes.
#[derive(Clone)]
pub struct TraceContext {
    pub trace: TraceId,
    pub(super) span: SpanId,
    /// Who gets the spans; `None`: the trace is not recorded.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// The trace was begun by somebody before us.
    pub(super) continued: bool,
    /// What vendors said of it, where it was.
    pub(super) state: Option<HeaderValue>,
}

impl TraceContext {
    fn traceparent(&self) -> Option<HeaderValue> {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&self.trace.0.to_be_bytes(), &mut value[3..35]);
        hex(&self.span.0.to_be_bytes(), &mut value[36..52]);
        value[54] += u8::from(self.recorder.is_some());
        HeaderValue::from_bytes(&value).ok()
    }

    /// Puts the context into a caller's headers, which go on. What is not recorded goes on as it came.
    pub fn mark(&self, headers: &mut HeaderMap) {
        if self.recorder.is_none() && self.continued && headers.contains_key(&TRACEPARENT) {
            return;
        }
        if let Some(value) = self.traceparent() {
            headers.insert(TRACEPARENT, value);
        }
        if !self.continued {
            headers.remove(&TRACESTATE);
        }
    }

    /// The headers of a question of our own.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.extend(self.traceparent().map(|value| (TRACEPARENT, value)));
        headers.extend(self.state.clone().map(|value| (TRACESTATE, value)));
        headers
    }
}

/// By hand: every request that begins a trace has this done.
fn hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// `tracestate` as one value; `None` too where it is longer than anybody needs.
pub(super) fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut all = headers.get_all(&TRACESTATE).iter();
    let (first, more) = (all.next()?, all.next());
    if more.is_none() {
        return (first.len() <= LONGEST_STATE).then(|| first.clone());
    }
    let all: Vec<&[u8]> = headers.get_all(&TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
    let joined = all.join(&b","[..]);
    if joined.len() > LONGEST_STATE { None } else { HeaderValue::from_bytes(&joined).ok() }
}

tokio::task_local! {
    static AROUND: TraceContext;
}

/// The trace that this task works for.
pub fn around() -> Option<TraceContext> {
    AROUND.try_with(Clone::clone).ok()
}

/// Runs `f`, and what it begins, for a trace.
pub fn within<R>(context: Option<TraceContext>, f: impl FnOnce() -> R) -> R {
    match context {
        Some(context) => AROUND.sync_scope(context, f),
        None => f(),
    }
}

/// A future that works for a trace, on whichever task it runs.
pub fn carried<F: Future>(context: Option<TraceContext>, future: F) -> impl Future<Output = F::Output> {
    match context {
        Some(context) => Either::Left(AROUND.scope(context, future)),
        None => Either::Right(future),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn read(values: &[&str]) -> Option<(String, String, bool)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        Parent::read(&headers).map(|p| (p.trace.to_string(), p.span.to_string(), p.sampled))
    }

    #[test]
    fn a_valid_traceparent_is_continued() {
        let found = |sampled| Some((TRACE.to_owned(), "00f067aa0ba902b7".to_owned(), sampled));
        assert_eq!(read(&[&format!("00-{TRACE}-00f067aa0ba902b7-01")]), found(true));
        assert_eq!(read(&[&format!("00-{TRACE}-00f067aa0ba902b7-02")]), found(false));
        assert_eq!(read(&[&format!("cc-{TRACE}-00f067aa0ba902b7-03-what-is-to-come")]), found(true));
    }

    #[test]
    fn any_other_is_not() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        assert_eq!(read(&[&good, &good]), None, "two");
        for bad in [
            String::new(),
            "00".to_owned(),
            good.replace("00-4", "ff-4"),
            good.replace(TRACE, &"0".repeat(32)),
            good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            good.replace(TRACE, &TRACE.to_uppercase()),
            good.replace("b7-01", "b7-0x"),
            format!("{good}-more"),
            format!("{good} "),
            format!("01{}x", &good[2..]),
            good.replace('-', "_"),
            good.replace("00f067aa0ba902b7", "00f067aa-ba902b7"),
        ] {
            assert_eq!(read(&[&bad]), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let context = TraceContext { trace: TraceId(0xab << 120 | 0xc), span: SpanId(7), recorder: None, continued: false, state: None };
        let mut headers = context.headers();
        assert_eq!(headers[TRACEPARENT], "00-ab00000000000000000000000000000c-0000000000000007-00");
        assert_eq!(Parent::read(&headers), Some(Parent { trace: context.trace, span: context.span, sampled: false }));
        // What came of another trace goes.
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        context.mark(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), [TRACEPARENT]);
    }

    #[test]
    fn a_state_in_several_fields_is_one_and_a_long_one_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(state(&headers), None);
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        assert_eq!(state(&headers).unwrap(), "a=1");
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        assert_eq!(state(&headers).unwrap(), "a=1,b=2");
        headers.append(TRACESTATE, HeaderValue::try_from("c".repeat(LONGEST_STATE)).unwrap());
        assert_eq!(state(&headers), None);
    }
}
