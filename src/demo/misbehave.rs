//! Bad manners to order: what a scripted endpoint does instead of, or to, its proper answer. Tests tell the development IAM and
//! the backends to behave like this; it decides nothing by itself and knows neither of them.

use super::gzip;
use super::serve::{Body, Broken, Conn, full};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A change to a JSON object.
pub type Edit = Arc<dyn Fn(&mut Map<String, Value>) + Send + Sync>;

/// One way to misbehave.
#[derive(Clone)]
pub enum Misbehave {
    /// This answer, word for word.
    Answer { status: StatusCode, headers: HeaderMap, body: Bytes },
    /// The proper answer is worked out and lost: this status comes instead, without a body.
    Lost(StatusCode),
    /// The proper answer, with these headers instead of its own of the same name.
    Headers(HeaderMap),
    /// The proper answer, worked out when the gate opens.
    Delay(Gate),
    /// No answer, ever.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is reset after half of the proper answer's body.
    ResetMidBody,
    /// The proper answer, one byte of its body at a time.
    Drip(Duration),
    /// A body of this many bytes.
    Huge(u64),
    /// The proper answer with this many blanks after it, in gzip: who unpacks it all finds nothing wrong with it.
    Packed(usize),
    /// The proper answer's JSON, changed.
    Json(Edit),
    /// The issued token's claims, changed before it is signed (exchanges only).
    Claims(Edit),
    /// This, when the gate opens.
    After(Gate, Box<Misbehave>),
    /// The proper answer, with what came in this field of the form as the token that it issues.
    Echo(&'static str),
}

impl Misbehave {
    /// A status with an empty body.
    pub fn status(status: StatusCode) -> Self {
        Self::answer(status, "text/plain", "")
    }

    pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self::Answer { status, headers, body: body.into() }
    }

    /// An OAuth error as an IAM words it.
    pub fn refusal(status: StatusCode, error: &str, description: &str) -> Self {
        Self::answer(status, "application/json", serde_json::json!({ "error": error, "error_description": description }).to_string())
    }

    /// Adds a header to a verbatim answer, or to the proper one where no verbatim answer was given.
    pub fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.append(name, value);
                Self::Answer { status, headers, body }
            }
            Self::Headers(mut headers) => {
                headers.append(name, value);
                Self::Headers(headers)
            }
            other => other,
        }
    }

    /// The same, when the gate opens.
    pub fn after(self, gate: Gate) -> Self {
        Self::After(gate, Box::new(self))
    }

    pub fn redirect(to: HeaderValue) -> Self {
        Self::status(StatusCode::FOUND).with(header::LOCATION, to)
    }

    pub fn content_type(value: HeaderValue) -> Self {
        Self::Headers(HeaderMap::new()).with(header::CONTENT_TYPE, value)
    }

    pub fn json(edit: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static) -> Self {
        Self::Json(Arc::new(edit))
    }

    /// The proper answer with this member set; with `None`, without it.
    pub fn member(name: &'static str, value: Option<Value>) -> Self {
        Self::json(move |object| set(object, name, value.clone()))
    }

    /// The issued token with this claim set; with `None`, without it.
    pub fn claim(name: &'static str, value: Option<Value>) -> Self {
        Self::Claims(Arc::new(move |claims| set(claims, name, value.clone())))
    }
}

impl fmt::Debug for Misbehave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer { .. } => "Answer",
            Self::Lost(_) => "Lost",
            Self::Headers(_) => "Headers",
            Self::Delay(_) => "Delay",
            Self::Hang => "Hang",
            Self::Reset => "Reset",
            Self::ResetMidBody => "ResetMidBody",
            Self::Drip(_) => "Drip",
            Self::Huge(_) => "Huge",
            Self::Packed(_) => "Packed",
            Self::Json(_) => "Json",
            Self::Claims(_) => "Claims",
            Self::After(..) => "After",
            Self::Echo(_) => "Echo",
        })
    }
}

/// Holds requests back until a test opens it, and tells the test how many have come.
#[derive(Clone)]
pub struct Gate {
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    pub fn new() -> Self {
        Self { open: watch::Sender::new(false), waiting: watch::Sender::new(0) }
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns once `n` requests in all have come to the gate.
    pub async fn reached(&self, n: usize) {
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= n).await;
    }

    async fn pass(&self) {
        self.waiting.send_modify(|n| *n += 1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// What an endpoint is told to do: once each, in order, and then always.
#[derive(Default)]
pub struct Script {
    next: VecDeque<Misbehave>,
    always: Option<Misbehave>,
}

impl Script {
    pub fn once(&mut self, misbehave: Misbehave) {
        self.next.push_back(misbehave);
    }

    pub fn always(&mut self, misbehave: Misbehave) {
        self.always = Some(misbehave);
    }

    pub fn take(&mut self) -> Option<Misbehave> {
        self.next.pop_front().or_else(|| self.always.clone())
    }
}

/// Does to `proper` what the script says. `proper` is not even begun where its answer is not wanted.
///
/// # Errors
/// [`Broken`] where the connection has to end without an answer.
pub async fn apply(told: Option<Misbehave>, conn: &Conn, proper: impl Future<Output = Response<Body>>) -> Result<Response<Body>, Broken> {
    match told {
        // Whoever reads the form has made an edit of an echo.
        None | Some(Misbehave::Claims(_) | Misbehave::Echo(_)) => Ok(proper.await),
        Some(Misbehave::Answer { status, headers, body }) => {
            let mut response = Response::new(full(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        }
        Some(Misbehave::Lost(status)) => {
            let _ = proper.await;
            let mut response = Response::new(full(""));
            *response.status_mut() = status;
            Ok(response)
        }
        Some(Misbehave::Headers(headers)) => {
            let mut response = proper.await;
            response.headers_mut().extend(headers);
            Ok(response)
        }
        Some(Misbehave::Delay(gate)) => {
            gate.pass().await;
            Ok(proper.await)
        }
        Some(Misbehave::After(gate, then)) => {
            gate.pass().await;
            Box::pin(apply(Some(*then), conn, proper)).await
        }
        Some(Misbehave::Hang) => pending().await,
        Some(Misbehave::Reset) => {
            conn.reset_on_close();
            Err(Broken)
        }
        Some(Misbehave::ResetMidBody) => in_pieces(proper.await, |bytes| broken_off(bytes, conn.clone())).await,
        Some(Misbehave::Drip(every)) => in_pieces(proper.await, |bytes| drip(bytes, every)).await,
        Some(Misbehave::Huge(bytes)) => Ok(proper.await.map(|_| huge(bytes))),
        Some(Misbehave::Packed(blanks)) => packed(proper.await, blanks).await,
        Some(Misbehave::Json(edit)) => {
            let (mut parts, body) = proper.await.into_parts();
            let mut value: Value = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
            if let Value::Object(object) = &mut value {
                edit(object);
            }
            parts.headers.remove(header::CONTENT_LENGTH);
            Ok(Response::from_parts(parts, full(value.to_string())))
        }
    }
}

fn set(object: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
}

/// The answer with the length of its whole body in its head, however the body then comes.
async fn in_pieces(answer: Response<Body>, cut: impl FnOnce(Bytes) -> Body) -> Result<Response<Body>, Broken> {
    let (mut parts, body) = answer.into_parts();
    let bytes = body.collect().await?.to_bytes();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Ok(Response::from_parts(parts, cut(bytes)))
}

async fn packed(answer: Response<Body>, blanks: usize) -> Result<Response<Body>, Broken> {
    let (mut parts, body) = answer.into_parts();
    let bytes = gzip::bomb(&body.collect().await?.to_bytes(), blanks);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(Response::from_parts(parts, full(bytes)))
}

fn drip(bytes: Bytes, every: Duration) -> Body {
    let drops = stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(every).await;
        let drop = rest.split_to(1);
        Some((Ok(Frame::data(drop)), rest))
    });
    StreamBody::new(drops).boxed_unsync()
}

fn broken_off(bytes: Bytes, conn: Conn) -> Body {
    let pieces = stream::unfold(Some(bytes), move |rest| {
        let conn = conn.clone();
        async move {
            let Some(rest) = rest else {
                // The half before has to leave the process: what hyper still holds would die with the connection.
                tokio::time::sleep(Duration::from_millis(20)).await;
                conn.reset_on_close();
                return Some((Err(Broken), None));
            };
            let half = rest.slice(..rest.len() / 2);
            Some((Ok(Frame::data(half)), None))
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// `len` bytes of `x`, never held in memory at once.
pub fn huge(len: u64) -> Body {
    const PIECE: Bytes = Bytes::from_static(&[b'x'; 16 * 1024]);
    let pieces = stream::unfold(len, |left| async move {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE.len());
        (now > 0).then(|| (Ok(Frame::data(PIECE.slice(..now))), left - now as u64))
    });
    StreamBody::new(pieces).boxed_unsync()
}
