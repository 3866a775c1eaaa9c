//! One issuer, as the configuration describes it: where it is, who we are there, and how much of it we may take. It says where
//! secrets are, reads none, and prints none.

use super::breaker;
use super::signing::SigningAlgorithm;
use crate::tls::{self, Identity};
use crate::token::Secret;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

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
    /// Where to ask about tokens (RFC 7662), unless discovery says so.
    pub introspection_endpoint: Option<Url>,
    pub client_id: String,
    pub client_auth: ClientAuth,
    pub ca_file: Option<PathBuf>,
    /// http is allowed to addresses other than loopback.
    pub allow_http: bool,
    /// How often the keys are fetched anew.
    pub jwks_refresh: Duration,
    pub timeouts: Timeouts,
    pub protection: Protection,
}

impl Settings {
    /// Whether its endpoints and keys are the same ones, come by in the same way.
    pub(super) fn reads_the_same_as(&self, other: &Self) -> bool {
        let Self {
            url,
            discovery_url,
            token_endpoint,
            jwks_uri,
            introspection_endpoint,
            ca_file,
            allow_http,
            // What it is called, who we are there, and how much of it we may take.
            name: _,
            client_id: _,
            client_auth: _,
            jwks_refresh: _,
            timeouts: _,
            protection: _,
        } = self;
        let endpoints = (token_endpoint, jwks_uri, introspection_endpoint);
        let others = (&other.token_endpoint, &other.jwks_uri, &other.introspection_endpoint);
        (url, discovery_url, ca_file, allow_http) == (&other.url, &other.discovery_url, &other.ca_file, &other.allow_http)
            && endpoints == others
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// For one call with everything that belongs to it: the wait for its turn, and further attempts.
    pub total: Duration,
}

/// How much of the issuer we may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Attempts after the first, where it could not be reached or answered 502, 503 or 504.
    pub retries: u32,
    /// Calls under way at one time.
    pub max_in_flight: usize,
    /// Calls that wait for their turn; more are refused.
    pub max_queue: usize,
    pub breaker: breaker::Settings,
}

impl Default for Protection {
    fn default() -> Self {
        Self { retries: 1, max_in_flight: 64, max_queue: 1024, breaker: breaker::Settings::default() }
    }
}

/// How we prove to the token endpoint who we are. What is in files is read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// RFC 6749 §2.3.1.
    ClientSecretBasic {
        secret: Credential,
        encoding: Encoding,
    },
    ClientSecretPost {
        secret: Credential,
    },
    /// A JWT that we sign (RFC 7523, OpenID Connect Core §9).
    PrivateKeyJwt {
        key: Credential,
        algorithm: SigningAlgorithm,
        key_id: Option<String>,
    },
    /// The certificate of the connection (RFC 8705 §2).
    TlsClientAuth(Identity),
    /// A JWT that somebody else has signed: a projected token of Kubernetes, a JWT-SVID of SPIFFE.
    ClientAssertion {
        file: PathBuf,
    },
}

impl ClientAuth {
    pub fn basic(secret: Secret) -> Self {
        Self::ClientSecretBasic { secret: Credential::Given(secret), encoding: Encoding::Form }
    }

    pub fn post(secret: Secret) -> Self {
        Self::ClientSecretPost { secret: Credential::Given(secret) }
    }
}

/// Where a secret or a private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    File(PathBuf),
    /// In the environment, or in the configuration itself: it stays what it is.
    Given(Secret),
}

/// How id and secret go into Basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As RFC 6749 §2.3.1 has it.
    Form,
    /// For servers that do not decode.
    Raw,
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
    #[error("{what}{}: {why}", .file.as_ref().map(|f| format!(" {}", f.display())).unwrap_or_default())]
    Credential { what: &'static str, file: Option<PathBuf>, why: String },
    #[error("the HTTP client cannot be built: {0}")]
    Client(String),
}
