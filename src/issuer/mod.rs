//! An IAM from outside: discovery, keys (JWKS), the HTTP client and our authentication there. It says what came back and
//! whether it came; what an answer means is for `verify` and `exchange` to judge. Nobody else sees the reqwest crate.

mod auth;
mod client;
mod discovery;
pub mod json;
mod jwk;
pub mod jws;
mod keys;
mod refetch;
mod refresh;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use auth::{Form, without_tokens};
pub use client::{CallError, Reply};
pub use keys::{Algorithm, Found, Key, Keys};
pub use refetch::Refetched;

use crate::clock::Clock;
use crate::fault::{Explained, Why};
use crate::metrics::IssuerMetrics;
use crate::tls;
use crate::token::Secret;
use arc_swap::ArcSwapOption;
use client::Client;
use discovery::Endpoints;
use refetch::Refetches;
use refresh::KeyStore;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use url::Url;

/// One issuer, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration; a metric label.
    pub name: Arc<str>,
    /// What `iss` of its tokens must equal; discovery is read from here unless `discovery_url` says otherwise.
    pub url: Arc<str>,
    pub discovery_url: Option<Url>,
    /// With both this and `jwks_uri` given, no discovery is needed.
    pub token_endpoint: Option<Url>,
    pub jwks_uri: Option<Url>,
    pub client_id: String,
    pub client_auth: ClientAuth,
    pub ca_file: Option<PathBuf>,
    /// http is allowed to addresses other than loopback.
    pub allow_http: bool,
    /// How often the keys are fetched anew.
    pub jwks_refresh: Duration,
    pub timeouts: Timeouts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// For one call with everything that belongs to it.
    pub total: Duration,
}

/// How we prove to the token endpoint who we are (RFC 6749 §2.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    ClientSecretBasic(Secret),
    ClientSecretPost(Secret),
}

/// Why an issuer cannot be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {url:?} is no URL: {why}")]
    NoUrl { what: &'static str, url: String, why: String },
    #[error("{what} {url} is refused: {why}")]
    Refused { what: &'static str, url: String, why: String },
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("the HTTP client cannot be built: {0}")]
    Client(String),
}

/// One issuer, running. Its calls are made on the control runtime, whoever asks for them.
pub struct Issuer {
    settings: Settings,
    client: Client,
    clock: Clock,
    metrics: Arc<IssuerMetrics>,
    control: Handle,
    /// Where discovery is read from; `None` where both endpoints are given.
    discovery_url: Option<Url>,
    endpoints: ArcSwapOption<Endpoints>,
    keys: KeyStore,
    refetches: Refetches,
    /// What went wrong last with discovery or keys, while it is wrong.
    trouble: ArcSwapOption<Explained>,
    started: AtomicBool,
}

impl Issuer {
    /// Does no I/O towards the issuer; [`Issuer::start`] does.
    ///
    /// # Errors
    /// A URL that is none or that may not be used, an unreadable `ca_file`, no certificate authorities where TLS is needed.
    pub fn new(settings: Settings, clock: Clock, metrics: Arc<IssuerMetrics>, control: Handle) -> Result<Arc<Self>, Error> {
        let discovery_url = discovery::url(&settings)?;
        let client = Client::new(&settings, discovery_url.as_ref())?;
        let endpoints = Endpoints::given(&settings).map(Arc::new);
        Ok(Arc::new(Self {
            client,
            metrics,
            control,
            discovery_url,
            endpoints: ArcSwapOption::from(endpoints),
            keys: KeyStore::new(clock.clone(), settings.jwks_refresh),
            refetches: Refetches::default(),
            trouble: ArcSwapOption::empty(),
            started: AtomicBool::new(false),
            clock,
            settings,
        }))
    }

    /// Begins to fetch endpoints and keys, and goes on until the issuer is dropped. A second call changes nothing.
    pub fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::SeqCst) {
            self.control.spawn(refresh::run(Arc::downgrade(self)));
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether keys have come in once. It stays true when they are lost again.
    pub fn loaded(&self) -> bool {
        self.keys.loaded()
    }

    /// Waits until keys have come in once.
    pub async fn when_loaded(&self) {
        self.keys.when_loaded().await;
    }

    /// The keys that may be used now; `None` while none have come in, or when those we have are too old to be trusted.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.current()
    }

    /// The generation of [`Issuer::keys`], without touching their reference count.
    pub fn generation(&self) -> Option<u64> {
        self.keys.generation()
    }

    /// What went wrong last with discovery or keys, while it is wrong.
    pub fn trouble(&self) -> Option<Arc<Explained>> {
        self.trouble.load_full()
    }

    /// Fetches the keys because a token names one that we do not have: one fetch at a time, and one in ten seconds, however
    /// many ask. Who asks in between gets the outcome of the last one.
    pub fn refetch(self: &Arc<Self>, kid: Option<&str>) -> impl Future<Output = Refetched> + Send + use<> {
        refetch::refetch(self, kid)
    }

    /// One POST to the token endpoint, with our authentication. Redirects are answers like any other.
    ///
    /// # Errors
    /// When no answer came, or none that can be read.
    pub async fn post_token(self: &Arc<Self>, form: Form) -> Result<Reply, CallError> {
        let Some(endpoint) = self.token_endpoint() else { return Err(CallError::NoEndpoint) };
        let this = self.clone();
        // On the control runtime: the connection belongs to no worker, and outlives whoever asked.
        let call = self.control.spawn(async move {
            let reply = this.client.post_token(endpoint, form, &this.settings).await;
            this.metrics.up(reply.as_ref().is_ok_and(Reply::well_formed));
            reply
        });
        call.await.unwrap_or_else(|_| Err(CallError::Broken("the call was broken off".to_owned())))
    }

    /// An issuer's words without our secret and without anything that could be a token, fit for the log.
    pub fn cleaned(&self, words: &str) -> String {
        let (ClientAuth::ClientSecretBasic(secret) | ClientAuth::ClientSecretPost(secret)) = &self.settings.client_auth;
        auth::cleaned(words, secret)
    }

    fn token_endpoint(&self) -> Option<Url> {
        let found = || self.endpoints.load().as_ref().map(|e| e.token.clone());
        self.settings.token_endpoint.clone().or_else(found)
    }

    fn note(&self, trouble: Why) {
        self.trouble.store(Some(trouble.into()));
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.settings.name).field("url", &self.settings.url).finish_non_exhaustive()
    }
}
