//! A development IAM, embedded: discovery, JWKS and a token endpoint with RFC 8693, in Keycloak's shapes and with Keycloak's
//! refusals. It is the demo's IAM and the tests' fake one. It serves loopback only, keeps nothing, and `run` cannot reach it.

mod assertion;
mod client;
mod endpoints;
mod exchange;
mod keys;
mod mint;
mod record;
mod refusal;
#[cfg(test)]
mod tests;
mod ways;

use super::misbehave::Misbehave;
use super::serve::Server;
use crate::clock::Clock;
use record::Log;
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use assertion::Assertions;
pub use client::{Client, Form, field};
pub use endpoints::Endpoint;
pub use exchange::{ACCESS_TOKEN, GRANT};
pub use jsonwebtoken::Algorithm;
pub use keys::{Keys, OldKeys, verified};
pub use mint::CallerToken;
pub use record::{Exchange, Seen};
pub use refusal::Refusal;
pub use ways::JWT_BEARER;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no key could be made")]
    Key,
    #[error("the development IAM signs with RS256, PS256, ES256 and EdDSA only")]
    Algorithm,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What a realm is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: SocketAddr,
    pub realm: String,
    /// Its `iss`, where that is not its own address.
    pub issuer: Option<String>,
    pub clients: Vec<Client>,
    /// Names and passwords.
    pub users: Vec<(String, String)>,
    /// The client that callers log in with, and the one whose tokens' audience is put into theirs.
    pub login_client: String,
    pub gateway_client: String,
    pub clock: Clock,
}

impl Settings {
    /// The realm that the demo shows and the tests start from.
    pub fn demo(address: SocketAddr) -> Self {
        Self {
            address,
            realm: "demo".to_owned(),
            issuer: None,
            clients: vec![
                Client::public("demo-app").reaching("gateway").lifespan(Duration::from_secs(600)),
                Client::confidential("gateway", "gateway-secret")
                    .exchanging()
                    .reaching("orders-api")
                    .optional("billing", "billing-api")
                    .unconsented("ledger", "ledger-api"),
                Client::confidential("orders-api", "orders-secret"),
                Client::confidential("payroll-api", "payroll-secret"),
                Client::confidential("billing-api", "billing-secret"),
                Client::confidential("ledger-api", "ledger-secret"),
                Client::confidential("retired-api", "retired-secret").disabled(),
                Client::confidential("no-exchange", "no-exchange-secret"),
            ],
            users: vec![("alice".to_owned(), "alice".to_owned())],
            login_client: "demo-app".to_owned(),
            gateway_client: "gateway".to_owned(),
            clock: Clock::real(),
        }
    }

    /// The same on any free port, for tests.
    pub fn anywhere() -> Self {
        Self::demo(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// A running development IAM. Clones are the same IAM; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Iam(Arc<Inner>);

struct Inner {
    realm: Arc<Realm>,
    server: Server,
}

/// What the endpoints share.
struct Realm {
    name: String,
    issuer: String,
    base: String,
    login_client: String,
    gateway_client: String,
    users: Vec<(String, String)>,
    clock: Clock,
    keys: Keys,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: BTreeMap<String, Client>,
    /// Sessions of each user, and those that are over.
    sessions: HashMap<String, HashSet<String>>,
    ended: HashSet<String>,
    /// `jti` of assertions that were good once.
    used: HashSet<String>,
    scripts: HashMap<Endpoint, super::misbehave::Script>,
    log: Log,
    /// What tokens from exchanges are signed with; RS256 unless said otherwise.
    signing: Option<Algorithm>,
    ways: ways::Ways,
}

impl Iam {
    /// Starts it on its address (port 0: any free one), with fresh keys.
    ///
    /// # Errors
    /// When the address is not on loopback or taken.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let listener = Server::bind(settings.address)?;
        let base = format!("http://{}/realms/{}", listener.local_addr()?, settings.realm);
        // An RSA key takes its time; connections wait in the backlog meanwhile.
        let keys = tokio::task::spawn_blocking(Keys::fresh).await.map_err(|_| Error::Key)??;
        let clients = settings.clients.into_iter().map(|c| (c.id.clone(), c)).collect();
        let realm = Arc::new(Realm {
            name: settings.realm,
            issuer: settings.issuer.unwrap_or_else(|| base.clone()),
            base,
            login_client: settings.login_client,
            gateway_client: settings.gateway_client,
            users: settings.users,
            clock: settings.clock,
            keys,
            state: Mutex::new(State { clients, ..State::default() }),
        });
        let server = Server::serve(listener, realm.clone())?;
        Ok(Self(Arc::new(Inner { realm, server })))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.server.address()
    }

    /// What `iss` of its tokens is.
    pub fn issuer(&self) -> &str {
        &self.0.realm.issuer
    }

    /// Where it really is: the realm's own URL, whatever its `iss` says.
    pub fn url(&self) -> &str {
        &self.0.realm.base
    }

    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.url())
    }

    pub fn token_endpoint(&self) -> String {
        self.0.realm.token_endpoint()
    }

    pub fn jwks_uri(&self) -> String {
        self.0.realm.jwks_uri()
    }

    pub fn introspection_endpoint(&self) -> String {
        self.0.realm.introspection_endpoint()
    }

    /// A handle on its keys, for backends that verify what it issued.
    pub fn keys(&self) -> Keys {
        self.0.realm.keys.clone()
    }

    /// A token for `sub`, as a login with the realm's login client gives it: good at the gateway, in a session of its own.
    pub fn caller(&self, sub: &str) -> CallerToken {
        let realm = &self.0.realm;
        let lifespan = realm.state().clients.get(&realm.login_client).map_or(300, |c| seconds(c.lifespan));
        CallerToken::new(realm, sub, &realm.login_client, std::slice::from_ref(&realm.gateway_client), lifespan)
    }

    /// [`Iam::caller`]'s token as it stands.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn caller_token(&self, sub: &str) -> Result<String, Error> {
        self.caller(sub).token()
    }

    /// New keys for every algorithm in use. Blocks while they are made.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate(&self, old: OldKeys) -> Result<(), Error> {
        self.keys().rotate(old)
    }

    /// Publishes a key for `algorithm`, and signs what exchanges give with it from now on.
    ///
    /// # Errors
    /// When the IAM has no such algorithm.
    pub fn sign_with(&self, algorithm: Algorithm) -> Result<(), Error> {
        if self.keys().kid(algorithm).is_none() {
            self.keys().add(algorithm)?;
        }
        self.0.realm.state().signing = Some(algorithm);
        Ok(())
    }

    /// Ends one session, by its `sid`, or all sessions of a user, by the `sub`.
    pub fn logout(&self, sid_or_sub: &str) {
        let mut state = self.0.realm.state();
        let sids = state.sessions.remove(sid_or_sub).unwrap_or_else(|| HashSet::from([sid_or_sub.to_owned()]));
        state.ended.extend(sids);
    }

    /// Changes a client, or does nothing where there is none of that name.
    pub fn edit_client(&self, id: &str, edit: impl FnOnce(&mut Client)) {
        if let Some(client) = self.0.realm.state().clients.get_mut(id) {
            edit(client);
        }
    }

    /// The next request to `endpoint` is treated like this; those after it are not.
    pub fn script(&self, endpoint: Endpoint, misbehave: Misbehave) {
        self.0.realm.state().scripts.entry(endpoint).or_default().once(misbehave);
    }

    /// Every request to `endpoint` is treated like this, until [`Iam::behave`].
    pub fn script_always(&self, endpoint: Endpoint, misbehave: Misbehave) {
        self.0.realm.state().scripts.entry(endpoint).or_default().always(misbehave);
    }

    /// Forgets all scripts.
    pub fn behave(&self) {
        self.0.realm.state().scripts.clear();
    }

    /// Requests that came to `endpoint`, however they were answered.
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.0.realm.state().log.requests(endpoint)
    }

    /// Exchanges asked for, however they were answered.
    pub fn exchanges(&self) -> u64 {
        self.0.realm.state().log.exchanges()
    }

    /// Exchanges asked for with a token of `sub`.
    pub fn exchanges_of(&self, sub: &str) -> u64 {
        self.0.realm.state().log.exchanges_of(sub)
    }

    /// The latest exchanges, oldest first; only those that were answered properly.
    pub fn record(&self) -> Vec<Exchange> {
        self.0.realm.state().log.record()
    }

    /// The last request that came to `endpoint`.
    pub fn last(&self, endpoint: Endpoint) -> Option<Seen> {
        self.0.realm.state().log.last(endpoint)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.0.server.connections()
    }

    /// Closes the port and all connections; sessions, keys and counters stay.
    pub async fn down(&self) {
        self.0.server.down().await;
    }

    /// Comes back on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub fn up(&self) -> Result<(), Error> {
        Ok(self.0.server.up()?)
    }
}

impl Realm {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.unix()).unwrap_or(i64::MAX)
    }

    fn session_begun(&self, sub: &str, sid: &str) {
        self.state().sessions.entry(sub.to_owned()).or_default().insert(sid.to_owned());
    }

    fn token_endpoint(&self) -> String {
        format!("{}/protocol/openid-connect/token", self.base)
    }

    fn introspection_endpoint(&self) -> String {
        format!("{}/introspect", self.token_endpoint())
    }

    fn jwks_uri(&self) -> String {
        format!("{}/protocol/openid-connect/certs", self.base)
    }

    fn discovery(&self) -> serde_json::Value {
        json!({
            "issuer": self.issuer,
            "token_endpoint": self.token_endpoint(),
            "jwks_uri": self.jwks_uri(),
            "introspection_endpoint": self.introspection_endpoint(),
            "grant_types_supported": ["password", "client_credentials", GRANT, JWT_BEARER],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA"],
        })
    }
}

fn seconds(d: Duration) -> i64 {
    i64::try_from(d.as_secs()).unwrap_or(i64::MAX)
}

/// 128 random bits in the shape that Keycloak gives its ids.
fn random_id() -> String {
    let hex = format!("{:032x}", rand::random::<u128>());
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
