//! The real Keycloak: logins, exchanges asked of it directly, and its admin API. Every test takes its turn here, as some of them
//! stop the server or change what all share.

use crate::ask::Ask;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cambist::demo::backend::Trust;
use cambist::demo::fetch::{Answer, Connection};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN: &str = "/realms/cambist/protocol/openid-connect/token";

static TURNS: RwLock<()> = RwLock::const_new(());

#[allow(dead_code, reason = "held for its drop")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

pub struct Keycloak {
    address: SocketAddr,
    _turn: Turn,
}

/// What a login brings.
pub struct Login {
    pub access: String,
    pub refresh: String,
    pub token_type: String,
}

/// A user of one test alone.
pub struct User {
    pub id: String,
    pub name: String,
}

impl Keycloak {
    /// The server, for tests that change nothing that others see. `None`: there is none, and the test is skipped.
    pub async fn shared() -> Option<Self> {
        let turn = Turn::Shared(TURNS.read().await);
        Self::found(turn).await
    }

    /// The server, while no other test uses it.
    pub async fn alone() -> Option<Self> {
        let turn = Turn::Alone(TURNS.write().await);
        Self::found(turn).await
    }

    async fn found(turn: Turn) -> Option<Self> {
        if let Some(address) = address() {
            let keycloak = Self { address, _turn: turn };
            if keycloak.answers().await {
                return Some(keycloak);
            }
        }
        assert!(std::env::var_os("CAMBIST_REQUIRE_KEYCLOAK").is_none(), "CAMBIST_REQUIRE_KEYCLOAK is set, and no Keycloak answers");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let how = "tests/keycloak/start start 18180 --fresh; export CAMBIST_KEYCLOAK_URL=http://127.0.0.1:18180";
        // Past the test harness, which keeps what a passing test prints to itself.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: no Keycloak ({how}): {test}").unwrap();
        None
    }

    /// Whether the realm is there.
    pub async fn answers(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.address).await else { return false };
        connection.get("/realms/cambist/.well-known/openid-configuration", None).await.is_ok_and(|a| a.status == 200)
    }

    pub fn issuer(&self) -> String {
        format!("http://{}/realms/cambist", self.address)
    }

    pub fn token_endpoint(&self) -> String {
        format!("http://{}{TOKEN}", self.address)
    }

    /// The same where the server speaks TLS.
    pub fn token_endpoint_over_tls(&self, port: u16) -> String {
        format!("https://127.0.0.1:{port}{TOKEN}")
    }

    /// Stops the server.
    pub async fn stop(&self) {
        self.script("stop", &[]).await;
        assert!(!self.answers().await, "CAMBIST_KEYCLOAK_URL must lead to a server that tests/keycloak/start has started");
    }

    /// Starts it again: keys, users, sessions and tokens are as they were. `settings` are Keycloak's own, by environment.
    pub async fn start(&self, settings: &[(&str, &str)]) {
        self.script("start", settings).await;
        // On a busy machine the first login after a start takes longer than a test would wait for it.
        let fields = [("grant_type", "password"), ("client_id", "shop-web"), ("username", "bob"), ("password", "bob-password")];
        for _ in 0..6 {
            let Ok(mut connection) = Connection::open(self.address).await else { continue };
            if connection.post_form(TOKEN, &fields, None).await.is_ok_and(|a| a.status == 200) {
                return;
            }
        }
        panic!("started, and nobody can log in");
    }

    async fn script(&self, verb: &'static str, settings: &[(&str, &str)]) {
        let port = self.address.port().to_string();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keycloak/start");
        let mut command = Command::new(script);
        command.args([verb, &port]).envs(settings.iter().copied());
        let run = move || command.output().unwrap();
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A user's login by password, at a public client.
    pub async fn login(&self, client: &str, user: &str) -> Login {
        self.login_with(client, user, &[]).await
    }

    pub async fn login_with(&self, client: &str, user: &str, headers: &[(&str, &str)]) -> Login {
        let password = format!("{user}-password");
        let fields = [("grant_type", "password"), ("client_id", client), ("username", user), ("password", &password)];
        let said = self.post(TOKEN, &fields, None, headers).await;
        assert_eq!(said.status, 200, "{client}, {user}: {:?}", said.body);
        let said = said.json();
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        Login { access: text("access_token"), refresh: text("refresh_token"), token_type: text("token_type") }
    }

    /// The login that most tests get along with.
    pub async fn ada(&self) -> String {
        self.login("shop-web", "ada").await.access
    }

    /// What the gateway would ask, asked here and now.
    pub async fn exchange(&self, ask: &Ask<'_>, token: &str) -> Answer {
        self.exchange_with(ask, token, &[], &[]).await
    }

    /// The same with more fields and headers, which the gateway never sends.
    pub async fn exchange_with(&self, ask: &Ask<'_>, token: &str, more: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let scopes = ask.scopes.join(" ");
        let mut fields = vec![("grant_type", GRANT), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
        fields.extend(ask.audiences.iter().map(|a| ("audience", *a)));
        fields.extend(ask.resources.iter().map(|r| ("resource", *r)));
        fields.extend((!scopes.is_empty()).then_some(("scope", &*scopes)));
        fields.extend(more);
        self.post(TOKEN, &fields, Some((ask.client, ask.secret)), headers).await
    }

    /// A form of one's own to the token endpoint.
    pub async fn ask_token(&self, fields: &[(&str, &str)], basic: Option<(&str, &str)>) -> Answer {
        self.post(TOKEN, fields, basic, &[]).await
    }

    pub async fn introspect(&self, token: &str, client: &str, secret: &str) -> Value {
        let path = format!("{TOKEN}/introspect");
        self.post(&path, &[("token", token)], Some((client, secret)), &[]).await.json()
    }

    /// What a login client tells Keycloak when its user logs out.
    pub async fn logout(&self, client: &str, refresh_token: &str) {
        let fields = [("client_id", client), ("refresh_token", refresh_token)];
        assert_eq!(self.post("/realms/cambist/protocol/openid-connect/logout", &fields, None, &[]).await.status, 204);
    }

    pub async fn revoke(&self, client: &str, token: &str) {
        let fields = [("client_id", client), ("token", token)];
        assert_eq!(self.post("/realms/cambist/protocol/openid-connect/revoke", &fields, None, &[]).await.status, 200);
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)], basic: Option<(&str, &str)>, headers: &[(&str, &str)]) -> Answer {
        let encoded = |s: &str| url::form_urlencoded::byte_serialize(s.as_bytes()).collect::<String>();
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut map = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))]);
        if let Some((id, secret)) = basic {
            let credentials = BASE64_STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
            map.insert(AUTHORIZATION, format!("Basic {credentials}").parse().unwrap());
        }
        for (name, value) in headers {
            map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Connection::open(self.address).await.unwrap().send(Method::POST, path, map, form.into()).await.unwrap()
    }

    /// A request of one's own, which may fail.
    pub async fn raw(&self, method: Method, path: &str, headers: HeaderMap, body: String) -> anyhow::Result<Answer> {
        Connection::open(self.address).await?.send(method, path, headers, body.into()).await
    }

    /// A form of one's own, to anywhere.
    pub async fn raw_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post(path, fields, None, &[]).await
    }

    /// The realm's keys, as they are published now.
    pub async fn certs(&self) -> Answer {
        Connection::open(self.address).await.unwrap().get("/realms/cambist/protocol/openid-connect/certs", None).await.unwrap()
    }

    /// For backends: they believe what the realm's present keys have signed.
    pub async fn trust(&self) -> Trust {
        Trust::jwks(&self.issuer(), self.certs().await.json())
    }

    /// The admin API below `/admin/realms/cambist`.
    pub async fn admin(&self, method: Method, path: &str, body: Value) -> Answer {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        headers.insert(AUTHORIZATION, format!("Bearer {}", self.master_token().await).parse().unwrap());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/admin/realms/cambist{path}");
        let said = Connection::open(self.address).await.unwrap().send(method, &path, headers, body.into()).await.unwrap();
        assert!(said.status.is_success(), "{path}: {} {:?}", said.status, said.body);
        said
    }

    /// The admin's token: good for a minute, and of another realm.
    pub async fn master_token(&self) -> String {
        let fields = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", "admin"), ("password", "admin")];
        let said = self.post("/realms/master/protocol/openid-connect/token", &fields, None, &[]).await;
        said.json()["access_token"].as_str().expect("the admin admin/admin may log in").to_owned()
    }

    /// Makes a user whom no other test knows; the password is as everywhere the name and `-password`.
    pub async fn user(&self) -> User {
        let name = unique("user");
        let password = json!([{ "type": "password", "value": format!("{name}-password"), "temporary": false }]);
        let user = json!({
            "username": name, "enabled": true, "email": format!("{name}@example.com"), "emailVerified": true,
            "firstName": "U", "lastName": "Ser", "credentials": password,
        });
        let id = created(&self.admin(Method::POST, "/users", user).await);
        User { id, name }
    }

    /// Makes a client whom no other test knows, and returns its client id.
    pub async fn client(&self, settings: Value) -> String {
        let name = unique("client");
        let mut client = json!({ "clientId": name, "enabled": true, "fullScopeAllowed": false, "standardFlowEnabled": false });
        client.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.admin(Method::POST, "/clients", client).await;
        name
    }

    /// A login client of one test alone, whose tokens have `audience` in `aud`.
    pub async fn login_client(&self, audience: &str, attributes: Value) -> String {
        let mapper = json!({
            "name": "aud", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
            "config": { "included.client.audience": audience, "access.token.claim": "true", "introspection.token.claim": "true" },
        });
        let settings = json!({
            "publicClient": true, "directAccessGrantsEnabled": true, "attributes": attributes,
            "defaultClientScopes": ["basic"], "protocolMappers": [mapper],
        });
        self.client(settings).await
    }

    /// A gateway's client of one test alone, with the secret `secret`.
    pub async fn gateway_client(&self, mut attributes: Value) -> String {
        attributes["standard.token.exchange.enabled"] = json!("true");
        let settings = json!({
            "secret": "secret", "publicClient": false, "serviceAccountsEnabled": false, "attributes": attributes,
            "defaultClientScopes": ["basic", "orders"],
        });
        self.client(settings).await
    }

    /// The admin's way of logging a user out: all sessions end.
    pub async fn end_sessions_of(&self, user: &User) {
        self.admin(Method::POST, &format!("/users/{}/logout", user.id), Value::Null).await;
    }
}

/// The address in `CAMBIST_KEYCLOAK_URL`.
fn address() -> Option<SocketAddr> {
    let url = std::env::var("CAMBIST_KEYCLOAK_URL").ok().filter(|u| !u.is_empty())?;
    let address = url.trim_end_matches('/').strip_prefix("http://").and_then(|a| a.parse().ok());
    Some(address.unwrap_or_else(|| panic!("CAMBIST_KEYCLOAK_URL is {url:?}, and must be http://127.0.0.1:PORT (a name would change iss)")))
}

/// A name that is free, also on a server that has seen these tests before.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    format!("{what}-{now}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The id of what the admin API has made.
pub fn created(said: &Answer) -> String {
    said.headers["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

/// A token's claims, unverified.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

pub fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, n: usize) -> Value {
    let part = token.split('.').nth(n).unwrap_or_else(|| panic!("no JWT: {token}"));
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Claims of the token in a successful answer of the token endpoint.
pub fn granted(said: &Answer) -> Value {
    assert_eq!(said.status, 200, "{:?}", said.body);
    claims(said.json()["access_token"].as_str().unwrap())
}

/// Status, `error` and `error_description` of a refusal, as the tables of protocol.md have them.
pub type Words = (u16, &'static str, &'static str);

#[track_caller]
pub fn assert_refused(said: &Answer, (status, error, description): Words) {
    let body = said.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    assert_eq!((said.status.as_u16(), text("error"), text("error_description")), (status, error.to_owned(), description.to_owned()));
}
