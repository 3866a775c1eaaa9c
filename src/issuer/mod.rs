//! An IAM from outside: discovery, keys (JWKS), the HTTP client and our authentication there. It says what came back and
//! whether it came; what an answer means is for `verify` and `exchange` to judge. Nobody else sees the reqwest crate.

mod ask;
mod auth;
mod breaker;
mod client;
mod credentials;
mod discovery;
mod inspect;
mod introspect;
pub mod json;
mod jwk;
pub mod jws;
mod keys;
mod proof;
mod refetch;
mod refresh;
mod room;
mod seen;
mod settings;
mod signing;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod traced;
mod typ;
mod unanswered;

pub use auth::Form;
pub use breaker::{Settings as BreakerSettings, Standing};
pub use client::{CallError, Reply};
pub use inspect::Inspected;
pub use keys::{Algorithm, Found, Key, Keys};
pub use proof::{assertion, secret_in};
pub use refetch::Refetched;
pub use room::Priority;
pub use seen::{LastError, Seen};
pub use settings::{ClientAuth, Credential, Encoding, Error, Protection, Settings, Timeouts};
pub use signing::{SigningAlgorithm, SigningKey};

use crate::clock::Clock;
use crate::fault::{Explained, Why};
use crate::metrics::IssuerMetrics;
use crate::telemetry;
use crate::token::{Secret, SubjectToken};
use arc_swap::ArcSwapOption;
use breaker::Breaker;
use credentials::Credentials;
use discovery::Endpoints;
use refetch::Refetches;
use refresh::KeyStore;
use room::Room;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use url::Url;

/// One issuer, running. Its calls are made on the control runtime, whoever asks for them.
pub struct Issuer {
    settings: Settings,
    credentials: Credentials,
    breaker: Breaker,
    room: Room,
    /// Told when the circuit opens, for those who wait for their turn.
    opened: Notify,
    /// How the last outage showed itself.
    last_outage: ArcSwapOption<seen::Outage>,
    clock: Clock,
    metrics: Arc<IssuerMetrics>,
    control: Handle,
    /// Where discovery is read from; `None` where both endpoints are given.
    discovery_url: Option<Url>,
    endpoints: ArcSwapOption<Endpoints>,
    keys: KeyStore,
    refetches: Refetches,
    typs: typ::Typs,
    /// What went wrong last with discovery or keys, while it is wrong.
    trouble: ArcSwapOption<Explained>,
    started: AtomicBool,
    retired: AtomicBool,
}

impl Issuer {
    /// Does no I/O towards the issuer; [`Issuer::start`] does.
    ///
    /// # Errors
    /// A URL that is none or that may not be used; a file of ours that is unreadable or unfit; no certificate authorities where
    /// TLS is needed.
    pub fn new(settings: Settings, clock: Clock, metrics: Arc<IssuerMetrics>, control: Handle) -> Result<Arc<Self>, Error> {
        let discovery_url = discovery::url(&settings)?;
        let credentials = Credentials::new(&settings, discovery_url.as_ref())?;
        let endpoints = Endpoints::given(&settings).map(Arc::new);
        Ok(Arc::new(Self {
            credentials,
            breaker: Breaker::new(settings.protection.breaker, clock.clone()),
            room: Room::new(settings.protection.max_in_flight, settings.protection.max_queue),
            opened: Notify::new(),
            last_outage: ArcSwapOption::empty(),
            metrics,
            control,
            discovery_url,
            endpoints: ArcSwapOption::from(endpoints),
            keys: KeyStore::new(clock.clone(), settings.jwks_refresh),
            refetches: Refetches::default(),
            typs: typ::Typs::default(),
            trouble: ArcSwapOption::empty(),
            started: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            clock,
            settings,
        }))
    }

    /// Begins to fetch endpoints and keys and to watch our files, and goes on until the issuer is dropped. A second call changes
    /// nothing.
    pub fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::SeqCst) {
            self.metrics.circuit_open(false);
            self.control.spawn(refresh::run(Arc::downgrade(self)));
            self.control.spawn(credentials::run(Arc::downgrade(self), self.clock.clone()));
        }
    }

    /// No configuration has it any more: keys and files are not looked at again. Who still needs it is answered as before.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Takes over endpoints and keys of the same issuer under other settings, where these are not about them: whoever was let in
    /// goes on without a gap.
    pub fn succeed(&self, old: &Self) {
        if self.settings.reads_the_same_as(&old.settings) {
            self.endpoints.store(old.endpoints.load_full());
            self.keys.succeed(&old.keys);
            self.typs.succeed(&old.typs);
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

    /// Why its keys are not fetched for anybody now: it asked for it, or it has been failing. That they cannot be fetched opens no circuit
    /// by itself.
    pub fn left_alone(&self) -> Option<CallError> {
        let wish = self.keys.quiet().map(|left| CallError::Paused { left });
        wish.or_else(|| ask::barred(self))
    }

    /// Fetches the keys because a token names one that we do not have: one fetch at a time, and one in ten seconds, however
    /// many ask. Who asks in between gets the outcome of the last one.
    pub fn refetch(self: &Arc<Self>, kid: Option<&str>) -> impl Future<Output = Refetched> + Send + use<> {
        refetch::refetch(self, kid)
    }

    /// A question to the token endpoint, with our proof; it waits for its turn as [`Priority`] says. Redirects are answers like
    /// any other.
    ///
    /// # Errors
    /// When no answer came, none that can be read, or when it was not asked at all to protect it.
    pub async fn post_token(self: &Arc<Self>, form: Form, priority: Priority) -> Result<Reply, CallError> {
        let Some(endpoint) = self.token_endpoint() else { return Err(CallError::NoEndpoint) };
        if let Some(why) = ask::barred(self) {
            return Err(why);
        }
        let this = self.clone();
        // On the control runtime: the connection belongs to no worker, and outlives whoever asked.
        let asking = async move { ask::ask(&this, &endpoint, &form, priority).await };
        let call = self.control.spawn(telemetry::carried(telemetry::around(), asking));
        call.await.unwrap_or_else(|_| Err(CallError::Broken("the call was broken off".to_owned())))
    }

    /// An issuer's words without our secret and without anything that could be a token, fit for the log.
    pub fn cleaned(&self, words: &str) -> String {
        self.cleaned_of(words, &[])
    }

    /// The same, of words about a request in which these tokens were sent: they may be short, and look like anything.
    pub fn cleaned_of(&self, words: &str, sent: &[&str]) -> String {
        let tools = self.credentials.current();
        let sent: Vec<&str> = tools.proof.secret().map(Secret::expose).into_iter().chain(sent.iter().copied()).collect();
        auth::cleaned(words, &sent)
    }

    /// Whether this is what we prove to it who we are.
    pub fn proves_with(&self, text: &str) -> bool {
        self.credentials.current().proof.is(text, &self.settings)
    }

    /// What an answer that is no success says of itself, as it may be shown: `error: error_description`, without the token that it is about.
    pub fn words_of(&self, reply: &Reply, token: &SubjectToken) -> Option<String> {
        let said = json::object(&reply.body).ok()?;
        let text = |key| json::string(&said, key).ok().flatten().filter(|text| !text.is_empty());
        let error = text("error")?;
        let said = text("error_description").map_or_else(|| error.to_owned(), |more| format!("{error}: {more}"));
        Some(self.cleaned_of(&said, &[token.expose()]))
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
