//! Everything that the layer needs, in one go: an issuer, its keys, exchanges there, and a cache around them, for programs that
//! have no configuration file. It opens no port, reads no file, and tells a metric to nobody who does not ask for it.

use super::TokenSwapLayer;
use crate::cache::{self, Cache};
use crate::clock::Clock;
use crate::exchange::{self, Exchange, Exchanger, Profile};
use crate::fault::{Fault, bad_request, invalid_token};
use crate::issuer::jws::Jws;
use crate::issuer::{self, ClientAuth, Issuer, json};
use crate::metrics::Metrics;
use crate::token::{Caller, Secret, Subject, SubjectToken, Target, TargetSettings};
use crate::verify::{self, Algorithm, Verifier};
use http::HeaderValue;
use http::request::Parts;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// A cache around exchanges: the token source that an [`Engine`] runs on.
pub type Tokens = Cache<Arc<Exchange>>;

/// What the issuer is called, here and in a [`Subject`].
const NAME: &str = "main";

/// An issuer, and tokens from it. Clones are the same engine; it ends with the last of them.
#[derive(Clone)]
pub struct Engine {
    verifier: Arc<Verifier>,
    exchanger: Arc<Exchanger>,
    tokens: Tokens,
    metrics: Arc<Metrics>,
    max_ttl: Duration,
}

/// An engine in the making; see [`Engine::at`].
pub struct Builder {
    issuer: issuer::Settings,
    verify: verify::Settings,
    profile: Profile,
    cache: cache::Settings,
    max_ttl: Duration,
    clock: Clock,
}

impl Engine {
    /// Begins one: `url` is what stands in `iss` of the issuer's tokens and where its discovery document is found; the client is
    /// ours there, and callers' tokens must name it in `aud`.
    pub fn at(url: &str, client_id: &str, secret: Secret) -> Builder {
        Builder {
            issuer: issuer::Settings {
                name: NAME.into(),
                url: url.into(),
                discovery_url: None,
                token_endpoint: None,
                jwks_uri: None,
                introspection_endpoint: None,
                protection: issuer::Protection::default(),
                client_id: client_id.to_owned(),
                client_auth: ClientAuth::basic(secret),
                ca_file: None,
                allow_http: false,
                jwks_refresh: Duration::from_secs(600),
                timeouts: issuer::Timeouts { connect: Duration::from_secs(1), total: Duration::from_secs(5) },
            },
            verify: verify::Settings {
                audiences: vec![client_id.to_owned()],
                algorithms: vec![Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa],
                clock_skew: Duration::from_secs(30),
                strict_at_jwt: false,
                by: verify::By::default(),
                keep: Vec::new(),
            },
            profile: Profile::Keycloak,
            cache: cache::Settings::default(),
            max_ttl: Duration::from_secs(300),
            clock: Clock::real(),
        }
    }

    /// A layer that swaps callers' tokens for tokens that are good at `audience`.
    pub fn layer<F>(&self, audience: &str, caller: F) -> TokenSwapLayer<Tokens, F>
    where
        F: Fn(&Parts) -> Option<Caller> + Clone,
    {
        TokenSwapLayer::new(self.tokens(), self.target(audience, &[]), caller)
    }

    /// Where tokens come from. Clones share what they hold.
    pub fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }

    /// What to ask for, so that the token is good at `audience`, with `scopes` if any are needed. To be made once and kept.
    pub fn target(&self, audience: &str, scopes: &[&str]) -> Arc<Target> {
        let (audiences, scopes) = (vec![audience.to_owned()], scopes.iter().map(|s| (*s).to_owned()).collect());
        let max_ttl = self.max_ttl;
        Arc::new(self.exchanger.target(TargetSettings {
            expect_audiences: audiences.clone(),
            audiences,
            scopes,
            max_ttl,
            ..TargetSettings::default()
        }))
    }

    /// Verifies a caller's token by the issuer's keys, and waits for the first of them if need be.
    ///
    /// # Errors
    /// What the gateway would refuse it with.
    pub async fn verify(&self, token: &str) -> Result<Caller, Fault> {
        let token = bearer(token).map_err(bad_request)?;
        let issuer = self.verifier.issuer();
        let timeout = issuer.settings().timeouts.total;
        // Whether they came or not: the verifier says what is wrong.
        let _ = tokio::time::timeout(timeout, issuer.when_loaded()).await;
        self.verifier.verify(token).await
    }

    /// The caller behind a JWT that *was verified elsewhere*: by a layer above, or by whoever handed it on. What it says of
    /// itself is believed. It is asked for nothing but to be of our issuer.
    ///
    /// # Errors
    /// When it is no JWT, or says too little: `iss`, `sub` and `exp` must be there.
    pub fn vouched(&self, token: &str) -> Result<Caller, Fault> {
        let told = Told::read(token, self.verifier.issuer().settings()).map_err(|e| invalid_token(format!("the vouched token: {e}")))?;
        let Told { sub, sid, azp, scopes, issued_at, expires_at } = told;
        let clock_skew = self.verifier.settings().clock_skew;
        caller(token, Subject { issuer: NAME.into(), sub, sid, azp, scopes, claims: Vec::new(), issued_at, expires_at, clock_skew })
            .map_err(bad_request)
    }

    /// Whether the issuer's keys have come in.
    pub fn ready(&self) -> bool {
        self.verifier.issuer().loaded()
    }

    /// What is counted, in Prometheus's text format.
    pub fn metrics(&self) -> Vec<u8> {
        self.metrics.encode()
    }
}

impl Builder {
    /// Where discovery is read from, if not below the issuer's URL.
    #[must_use]
    pub fn discovery_url(mut self, url: url::Url) -> Self {
        self.issuer.discovery_url = Some(url);
        self
    }

    /// http to addresses other than loopback.
    #[must_use]
    pub fn allow_http(mut self) -> Self {
        self.issuer.allow_http = true;
        self
    }

    /// One of these must stand in `aud` of callers' tokens, in the place of our own client.
    #[must_use]
    pub fn audiences(mut self, audiences: &[&str]) -> Self {
        self.verify.audiences = audiences.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    /// Whose errors and rules apply; [`Profile::Keycloak`] unless said otherwise.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Bounds and margins of the cache.
    #[must_use]
    pub fn cache(mut self, cache: cache::Settings) -> Self {
        self.cache = cache;
        self
    }

    /// The longest that a token is kept, whatever the issuer says; 5 min unless said otherwise.
    #[must_use]
    pub fn max_ttl(mut self, max_ttl: Duration) -> Self {
        self.max_ttl = max_ttl;
        self
    }

    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts it on the tokio runtime that this is called on, which must outlive it.
    ///
    /// # Errors
    /// A URL that is none or that may not be used, no certificate authorities where TLS is needed.
    pub fn start(self) -> Result<Engine, issuer::Error> {
        let Self { issuer, verify, profile, cache, max_ttl, clock } = self;
        let (metrics, control) = (Metrics::new(), Handle::current());
        let handles = metrics.issuer(NAME);
        let issuer = Issuer::new(issuer, clock.clone(), handles.clone(), control.clone())?;
        let verifier = Verifier::new(verify, issuer.clone(), clock.clone(), cache.max_entries);
        let exchanger = Arc::new(Exchanger::new(exchange::Settings { profile, extra_params: Vec::new() }, issuer.clone(), handles));
        let exchange = Exchange::new(clock.clone());
        exchange.add([&exchanger]);
        let tokens = Cache::new(cache, Arc::new(exchange), clock, control, metrics.clone());
        issuer.start();
        Ok(Engine { verifier, exchanger, tokens, metrics, max_ttl })
    }
}

/// A caller whose token *was verified elsewhere*, with what is known of them. `subject.issuer` is the name of the issuer that
/// its tokens are to be had from.
///
/// # Errors
/// When `token` could be no bearer token.
pub fn caller(token: &str, subject: Subject) -> Result<Caller, &'static str> {
    let token = bearer(token)?;
    Ok(Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None })
}

fn bearer(token: &str) -> Result<SubjectToken, &'static str> {
    let header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "a bearer token with characters that no header has")?;
    SubjectToken::from_authorization(&header).and_then(|token| token.ok_or("no bearer token"))
}

/// What a JWT says of its caller.
struct Told {
    sub: Arc<str>,
    sid: Option<Arc<str>>,
    azp: Option<Arc<str>>,
    scopes: Vec<Box<str>>,
    issued_at: u64,
    expires_at: u64,
}

impl Told {
    fn read(token: &str, issuer: &issuer::Settings) -> Result<Self, String> {
        let claims = Jws::read(token)?.claims;
        let text = |key| json::string(&claims, key);
        if text("iss")? != Some(&*issuer.url) {
            return Err("it is not of our issuer".to_owned());
        }
        Ok(Self {
            sub: text("sub")?.filter(|s| !s.is_empty()).ok_or("it has no sub")?.into(),
            sid: text("sid")?.map(Into::into),
            azp: text("azp")?.map(Into::into),
            scopes: json::strings(&claims, "scope")?.into_iter().flat_map(str::split_ascii_whitespace).map(Into::into).collect(),
            issued_at: json::number(&claims, "iat")?.and_then(|iat| u64::try_from(iat).ok()).unwrap_or(0),
            expires_at: json::number(&claims, "exp")?.and_then(|exp| u64::try_from(exp).ok()).ok_or("it has no exp")?,
        })
    }
}
