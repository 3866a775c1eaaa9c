//! An IAM from outside: discovery, keys (JWKS), the HTTP client and our authentication there. It says what came back and
//! whether it came; what an answer means is for `verify` and `exchange` to judge. Nobody else sees the reqwest crate.

use crate::token::Secret;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
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
