//! The exchange as a tower layer, for Rust programs that are no gateway: around a client, it gives what leaves a token for its
//! backend; in a server's stack, it does so before a handler. It never lets the caller's own token through, whatever fails.
//!
//! ```
//! use cambist::demo::iam::{Iam, Settings};
//! use cambist::swap::Engine;
//! use cambist::token::{Caller, Secret};
//! use http::{Request, Response, header::AUTHORIZATION};
//! use std::convert::Infallible;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A development IAM; yours is somewhere else.
//! let iam = Iam::start(Settings::anywhere()).await?;
//! let engine = Engine::at(iam.issuer(), "gateway", Secret::new("gateway-secret")).start()?;
//!
//! // Whatever speaks `Service<http::Request<_>>`: here, a backend that says what it was sent.
//! let backend = service_fn(|request: Request<()>| async move {
//!     Ok::<_, Infallible>(Response::new(request.headers()[AUTHORIZATION].clone()))
//! });
//! let mut client = engine.layer("orders-api", |parts| parts.extensions.get::<Caller>().cloned()).layer(backend);
//!
//! // Who calls is found out once, by the issuer's keys, and goes with the request.
//! let token = iam.caller_token("alice")?;
//! let mut request = Request::get("/orders").header(AUTHORIZATION, format!("Bearer {token}")).body(())?;
//! request.extensions_mut().insert(engine.verify(&token).await?);
//! let sent = client.ready().await?.call(request).await?.into_body();
//! assert!(sent.is_sensitive() && !sent.to_str()?.contains(&token));
//! # Ok(())
//! # }
//! ```
//!
//! `docs/library.md` tells of tonic, of tower's other layers, of servers, and of what fails.

mod engine;
#[cfg(test)]
mod tests;

pub use engine::{Builder, Engine, Tokens, caller};

use crate::fault::{Fault, Why};
use crate::route::holds;
use crate::token::{Answer, Ask, Asker, Caller, Granted, Target, TokenSource};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower::BoxError;

/// Puts a [`TokenSwap`] around a service.
#[derive(Clone)]
pub struct TokenSwapLayer<T, F> {
    tokens: T,
    target: Arc<Target>,
    caller: F,
}

impl<T, F> TokenSwapLayer<T, F> {
    /// `caller` says who is behind a request: from its extensions, say, where a layer above has put it. It is shown the request
    /// as it came, with the caller's own `Authorization` still in it.
    pub fn new(tokens: T, target: Arc<Target>, caller: F) -> Self
    where
        T: TokenSource + Clone,
        F: Fn(&Parts) -> Option<Caller> + Clone,
    {
        Self { tokens, target, caller }
    }
}

impl<S, T: Clone, F: Clone> tower::Layer<S> for TokenSwapLayer<T, F> {
    type Service = TokenSwap<S, T, F>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenSwap { inner, layer: self.clone() }
    }
}

impl<T, F> fmt::Debug for TokenSwapLayer<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSwapLayer").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A service whose requests go on with a token for the layer's target in the place of the caller's.
#[derive(Clone, Debug)]
pub struct TokenSwap<S, T, F> {
    inner: S,
    layer: TokenSwapLayer<T, F>,
}

/// Why no answer came. It is an error like any other, so that whatever tower has may stand above: `Timeout`, `Buffer`, `Retry`, a
/// tonic client. What went wrong below is its source, for those who look for a type of their own in there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could be named who is behind the request. It was not sent.
    #[error("it is not known who is behind the request")]
    NoCaller,
    /// No token was to be had. It was not sent.
    #[error("no token was to be had for the request")]
    Fault(#[source] Fault),
    /// What the service below says.
    #[error("the service that the token is for failed")]
    Inner(#[source] BoxError),
}

impl<B, S, T, F> tower::Service<Request<B>> for TokenSwap<S, T, F>
where
    S: tower::Service<Request<B>, Error: Into<BoxError>> + Clone,
    T: TokenSource,
    F: Fn(&Parts) -> Option<Caller>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = Swapping<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(|e| Error::Inner(e.into()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let caller = (self.layer.caller)(&head);
        head.headers.remove(AUTHORIZATION);
        let Some(caller) = caller else { return Swapping::refused(Error::NoCaller) };
        if holds(&head, caller.token.expose()) {
            return Swapping::refused(Error::Fault(still_held()));
        }
        let target = &self.layer.target;
        // On every request, hits too: who a caller came through is no part of what the cache goes by.
        if let Err(fault) = target.permits(&caller.subject) {
            return Swapping::refused(Error::Fault(fault));
        }
        let coming = self.layer.tokens.token(&Asker::Caller(caller), target, Ask::ANY);
        // The one that was made ready goes with the request; its twin stays for the next.
        let twin = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, twin);
        Swapping { state: State::Waiting { coming, held: Some((inner, Request::from_parts(head, body))) } }
    }
}

/// `Authorization` is out, and a copy of the caller's token elsewhere would go on all the same.
fn still_held() -> Fault {
    let why = Why::new("the caller's token stands in another place too (a header, a cookie or the URL): it would reach the backend");
    Fault::BadRequest(why.cure("have it sent in Authorization alone, or take it out in a layer above this one").into())
}

pin_project! {
    /// Waits for a token, where none is at hand, and then for the answer.
    pub struct Swapping<S, B>
    where
        S: tower::Service<Request<B>>,
    {
        #[pin]
        state: State<S, S::Future, B>,
    }
}

pin_project! {
    #[project = StateNow]
    enum State<S, F, B> {
        Waiting { coming: Answer, held: Option<(S, Request<B>)> },
        Sent { #[pin] answer: F },
        Refused { error: Option<Error> },
    }
}

impl<S: tower::Service<Request<B>>, B> Swapping<S, B> {
    fn refused(error: Error) -> Self {
        Self { state: State::Refused { error: Some(error) } }
    }
}

impl<S: tower::Service<Request<B>, Error: Into<BoxError>>, B> Future for Swapping<S, B> {
    type Output = Result<S::Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            let next = match me.state.as_mut().project() {
                StateNow::Waiting { coming, held } => {
                    let granted = ready!(Pin::new(coming).poll(cx));
                    match (granted, held.take()) {
                        (Ok(granted), Some((mut inner, request))) => State::Sent { answer: inner.call(bearing(request, &granted)) },
                        (Err(fault), _) => State::Refused { error: Some(Error::Fault(fault)) },
                        (Ok(_), None) => State::Refused { error: None },
                    }
                }
                StateNow::Sent { answer } => return answer.poll(cx).map_err(|e| Error::Inner(e.into())),
                StateNow::Refused { error } => {
                    // Polled after its end, it stays silent.
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
            };
            me.state.set(next);
        }
    }
}

/// The caller's own is out already: what is put in here is the only one.
fn bearing<B>(mut request: Request<B>, granted: &Granted) -> Request<B> {
    let mut value: HeaderValue = granted.token.authorization();
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

/// What the page shows has to compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
struct Page;
