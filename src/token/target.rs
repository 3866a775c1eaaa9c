//! What an issuer is asked for: as the configuration describes it, and as it runs. It holds no token and asks nobody.

use super::{Digest, Subject};
use crate::fault::{Fault, Why};
use http::HeaderName;
use std::sync::Arc;
use std::time::Duration;

/// The type of an OAuth access token (RFC 8693 §3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a token is asked for, as the configuration describes it: on a route, or under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSettings {
    pub audiences: Vec<String>,
    pub scopes: Vec<String>,
    pub resources: Vec<String>,
    /// What the issued token's `aud` must contain; the audiences unless the configuration says otherwise.
    pub expect_audiences: Vec<String>,
    /// The longest that a granted token is kept, whatever the issuer says.
    pub max_ttl: Duration,
    /// The audience may be the caller's own login client.
    pub allow_login_client: bool,
    /// URNs.
    pub subject_token_type: String,
    pub requested_token_type: String,
    pub actor: Actor,
    /// Sent as they are; none of them is a parameter that the grant itself has.
    pub extra_params: Vec<(String, String)>,
}

impl Default for TargetSettings {
    /// Nothing in particular, with what holds where the configuration is silent.
    fn default() -> Self {
        Self {
            audiences: Vec::new(),
            scopes: Vec::new(),
            resources: Vec::new(),
            expect_audiences: Vec::new(),
            max_ttl: Duration::from_secs(300),
            allow_login_client: false,
            subject_token_type: ACCESS_TOKEN.to_owned(),
            requested_token_type: ACCESS_TOKEN.to_owned(),
            actor: Actor::Nobody,
            extra_params: Vec::new(),
        }
    }
}

/// Who acts for the caller (RFC 8693 §1.1), and so must stand in `act` of what is issued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Actor {
    #[default]
    Nobody,
    /// Whose token the caller brings in this header.
    Header(HeaderName),
    /// The gateway, with a token of its own.
    Gateway,
}

/// How a token is come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// RFC 8693.
    TokenExchange,
    /// RFC 7523 as Entra has it: on behalf of.
    JwtBearer,
    /// The gateway's own, whoever calls (RFC 6749 §4.4).
    ClientCredentials,
}

/// What one issuer is asked for. One route has one for each issuer; made when the configuration loads.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The name of the issuer in the configuration.
    pub issuer: Arc<str>,
    pub grant: Grant,
    pub settings: TargetSettings,
    /// Digest of all that shapes the answer besides the tokens that are sent: the second half of a cache key.
    pub digest: Digest,
}

impl Target {
    /// The seed's rule: no audience is the very client that the caller's token was issued to, unless the route allows it. To be
    /// asked on every request, hits included: who the caller came through is no part of a cache key.
    ///
    /// # Errors
    /// When one is.
    pub fn permits(&self, subject: &Subject) -> Result<(), Fault> {
        let Some(azp) = subject.azp.as_deref().filter(|_| !self.settings.allow_login_client) else { return Ok(()) };
        if self.settings.audiences.iter().all(|audience| audience != azp) {
            return Ok(());
        }
        let why = Why::new(format!("the audience {azp} is the very client that the caller logged in with (azp {azp})"));
        let cure = "name the backend's own client as audience, or let callers log in with another client; a route on which a client                     may exchange its tokens for itself says `allow_login_client: true`";
        Err(Fault::LoginClient(why.cure(cure).into()))
    }

    /// The audiences as one metric label, or what stands in for them.
    pub fn label(&self) -> String {
        let TargetSettings { audiences, scopes, resources, .. } = &self.settings;
        [audiences, scopes, resources].into_iter().find(|list| !list.is_empty()).map_or_else(String::new, |list| list.join(" "))
    }
}
