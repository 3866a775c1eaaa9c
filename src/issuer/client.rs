//! The HTTP client towards an issuer: what came back, whole and bounded, or why nothing did. It follows no redirect, uses no
//! proxy of the environment, asks for no compression, and judges no answer.

use super::proof::Shown;
use super::traced::Question;
use super::{ClientAuth, Error, Form, Settings, auth};
use crate::tls::{self, Identity};
use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// The most that is read of a token answer or a discovery document.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// The most that is read of a key set.
pub(super) const MAX_KEYS: usize = 256 * 1024;
/// How long a connection waits for its next call.
const IDLE: Duration = Duration::from_secs(30);
/// The most of an error's text that is kept, in characters.
const WORDS: usize = 300;

/// What an issuer answered.
pub struct Reply {
    pub status: u16,
    /// `Retry-After`, as seconds or as a date.
    pub retry_after: Option<Duration>,
    pub content_type: Option<String>,
    /// What time it says it is.
    pub date: Option<SystemTime>,
    pub body: Bytes,
}

impl Reply {
    /// Whether it is an answer at all, a refusal included: what `cambist_issuer_up` tells.
    pub fn well_formed(&self) -> bool {
        self.status < 500 && serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Why there is no answer. The words hold no URL and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("its token endpoint is not known yet: discovery has not succeeded")]
    NoEndpoint,
    #[error("as many calls as may be are under way, and there is no room in the queue or no end of it (max_in_flight, max_queue)")]
    Busy,
    #[error("it has failed again and again and is left in peace for a while (circuit_breaker; last: {last})")]
    CircuitOpen { left: Duration, last: String },
    #[error("it asked not to be called for now (Retry-After)")]
    Paused { left: Duration },
    #[error("our proof of who we are cannot be signed")]
    Unsigned,
    #[error("it cannot be reached ({0})")]
    Unreachable(String),
    #[error("it did not answer in time")]
    Timeout,
    #[error("its answer is longer than {} KiB", .0 / 1024)]
    TooLarge(usize),
    #[error("its answer broke off or is no HTTP ({0})")]
    Broken(String),
}

#[derive(Clone)]
pub(super) struct Client(reqwest::Client);

impl Client {
    pub(super) fn new(settings: &Settings, discovery: Option<&Url>) -> Result<Self, Error> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("cambist/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // The gateway may itself be the proxy that HTTP_PROXY names.
            .no_proxy()
            .pool_idle_timeout(IDLE)
            .connect_timeout(settings.timeouts.connect)
            .timeout(settings.timeouts.total);
        let given = [&settings.token_endpoint, &settings.jwks_uri, &settings.introspection_endpoint];
        let urls = given.into_iter().map(Option::as_ref).chain([discovery]);
        let plain = urls.flatten().all(|u| u.scheme() == "http");
        let identity = match &settings.client_auth {
            ClientAuth::TlsClientAuth(identity) => Some(identity),
            _ => None,
        };
        let builder = match tls::client_as(settings.ca_file.as_deref(), identity, &[b"h2", b"http/1.1"]) {
            Ok(config) => builder.tls_backend_preconfigured((*config).clone()),
            // Nothing here is spoken to over TLS: a machine without authorities is good enough.
            Err(tls::Error::Platform(_)) if plain => builder.tls_certs_only([]),
            Err(e) => return Err(e.into()),
        };
        Ok(Self(builder.build().map_err(|e| Error::Client(words(e)))?))
    }

    pub(super) async fn get(&self, url: Url, max: usize) -> Result<Reply, CallError> {
        let question = Question::of("GET", &url);
        let outcome = answer(question.marked(self.0.get(url)), max).await;
        question.answered(outcome)
    }

    /// What is not answered by the deadline is timed out; whoever asks for more attempts has one deadline for all.
    pub(super) async fn post(&self, url: Url, form: &Form, shown: &Shown, deadline: Instant) -> Result<Reply, CallError> {
        let question = Question::of("POST", &url);
        let request = question.marked(auth::authenticated(self.0.post(url), form, shown));
        let outcome = answer(request.timeout(deadline.saturating_duration_since(Instant::now())), MAX_ANSWER).await;
        question.answered(outcome)
    }

    /// The files that it is made of.
    pub(super) fn files(settings: &Settings) -> Vec<PathBuf> {
        let identity = match &settings.client_auth {
            ClientAuth::TlsClientAuth(Identity { cert_file, key_file }) => vec![cert_file.clone(), key_file.clone()],
            _ => Vec::new(),
        };
        settings.ca_file.iter().cloned().chain(identity).collect()
    }
}

async fn answer(request: RequestBuilder, max: usize) -> Result<Reply, CallError> {
    let mut response = request.header(ACCEPT, "application/json").send().await.map_err(call_error)?;
    let text = |response: &Response, name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (content_type, retry_after) = (text(&response, CONTENT_TYPE), text(&response, RETRY_AFTER));
    let date = text(&response, DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(call_error)? {
        if body.len() + chunk.len() > max {
            return Err(CallError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply {
        status: response.status().as_u16(),
        retry_after: retry_after.and_then(|s| waiting_time(s.trim())),
        content_type,
        date,
        body: body.freeze(),
    })
}

/// RFC 9110 §10.2.3: seconds, or a date, which is compared with the machine's own clock.
fn waiting_time(text: &str) -> Option<Duration> {
    let until = |date: SystemTime| date.duration_since(SystemTime::now()).unwrap_or_default();
    text.parse().ok().map(Duration::from_secs).or_else(|| httpdate::parse_http_date(text).ok().map(until))
}

fn call_error(e: reqwest::Error) -> CallError {
    match () {
        // A connect timeout too: there was nobody to be late.
        () if e.is_connect() => CallError::Unreachable(words(e)),
        () if e.is_timeout() => CallError::Timeout,
        () => CallError::Broken(words(e)),
    }
}

/// An error and its causes in one line, without the URL.
fn words(e: reqwest::Error) -> String {
    let e = e.without_url();
    let mut out = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&e);
    while let Some(c) = cause {
        let text = c.to_string();
        if out.last() != Some(&text) {
            out.push(text);
        }
        cause = c.source();
    }
    out.join(": ").chars().take(WORDS).collect()
}
