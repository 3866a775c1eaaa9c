//! The development IAM over HTTP: which path is which endpoint, the grants of the token endpoint, and the answers in Keycloak's
//! shape. Scripts and counters come first, so that a test sees a request even where no proper answer is given.

use super::client::{Client, Form, authenticate, field};
use super::exchange::{self, Decision};
use super::keys::Head;
use super::record::{Exchange, Seen};
use super::refusal::{Refusal, answer, json_answer};
use super::ways::JWT_BEARER;
use super::{Algorithm, CallerToken, Realm, random_id, seconds};
use crate::demo::misbehave::{self, Edit, Misbehave};
use crate::demo::serve::{Body, Broken, Conn, Service, full};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jsonwebtoken::dangerous::insecure_decode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What can be scripted and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Discovery,
    Jwks,
    Token,
    Introspection,
}

impl Service for Realm {
    fn call(self: Arc<Self>, request: Request<Incoming>, conn: Conn) -> BoxFuture<'static, Result<Response<Body>, Broken>> {
        async move {
            let (parts, body) = request.into_parts();
            let Some(endpoint) = self.endpoint(parts.uri.path()) else { return Ok(not_found()) };
            let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
            let form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
            let told = match self.came(endpoint, &parts.headers, &form) {
                Some(Misbehave::Echo(name)) => Some(Misbehave::member("access_token", field(&form, name).map(|text| json!(text)))),
                told => told,
            };
            let edit = match &told {
                Some(Misbehave::Claims(edit)) => Some(edit.clone()),
                _ => None,
            };
            misbehave::apply(told, &conn, async move { self.properly(endpoint, &parts, &form, edit.as_ref()) }).await
        }
        .boxed()
    }
}

impl Realm {
    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        match path.strip_prefix("/realms/")?.strip_prefix(self.name.as_str())? {
            "/.well-known/openid-configuration" => Some(Endpoint::Discovery),
            "/protocol/openid-connect/certs" | "/certs" => Some(Endpoint::Jwks),
            "/protocol/openid-connect/token" => Some(Endpoint::Token),
            "/protocol/openid-connect/token/introspect" => Some(Endpoint::Introspection),
            _ => None,
        }
    }

    /// Counts the request and tells what the script wants done to it.
    fn came(&self, endpoint: Endpoint, headers: &HeaderMap, form: &Form) -> Option<Misbehave> {
        let headers = headers.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
        let mut state = self.state();
        if endpoint == Endpoint::Token && field(form, "grant_type") == Some(exchange::GRANT) {
            state.log.exchange_came(sub_of(form).as_deref());
        }
        state.log.came(endpoint, Seen { headers, form: form.clone() });
        state.scripts.get_mut(&endpoint).and_then(misbehave::Script::take)
    }

    fn properly(&self, endpoint: Endpoint, parts: &Parts, form: &Form, edit: Option<&Edit>) -> Response<Body> {
        let allowed = match endpoint {
            Endpoint::Token | Endpoint::Introspection => Method::POST,
            Endpoint::Discovery | Endpoint::Jwks => Method::GET,
        };
        if parts.method != allowed {
            return json_answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "HTTP 405 Method Not Allowed" }));
        }
        match endpoint {
            Endpoint::Discovery => json_answer(StatusCode::OK, &self.discovery()),
            Endpoint::Jwks => {
                let mut response = json_answer(StatusCode::OK, &self.keys.jwks());
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                response
            }
            Endpoint::Token => answer(&self.token(&parts.headers, form, edit)),
            Endpoint::Introspection => {
                let client = self.client(&parts.headers, form);
                answer(&client.map(|client| self.introspection(&client, form)))
            }
        }
    }

    /// Keycloak's order: the grant type, the client, parameters sent twice, and only then what was asked for.
    fn token(&self, headers: &HeaderMap, form: &Form, edit: Option<&Edit>) -> Result<Value, Refusal> {
        let grant = field(form, "grant_type").ok_or_else(Refusal::no_grant_type)?;
        if ![exchange::GRANT, JWT_BEARER, "password", "client_credentials"].contains(&grant) {
            return Err(Refusal::unsupported_grant_type());
        }
        let client = self.client(headers, form)?;
        let repeatable = |name: &str| grant == exchange::GRANT && matches!(name, "audience" | "resource");
        for (i, (name, _)) in form.iter().enumerate() {
            if !repeatable(name) && form[..i].iter().any(|(before, _)| before == name) {
                return Err(Refusal::duplicated());
            }
        }
        match grant {
            "password" => self.password(&client, form),
            "client_credentials" => self.client_credentials(&client, form),
            JWT_BEARER => self.on_behalf_of(&client, form, edit),
            _ => {
                let outcome = self.exchange(&client, form, edit);
                self.state().log.answered(Exchange {
                    sub: sub_of(form),
                    client: Some(client.id),
                    audiences: form.iter().filter(|(n, _)| n == "audience").map(|(_, v)| v.clone()).collect(),
                    unix: self.now(),
                    refused: outcome.as_ref().err().cloned(),
                });
                outcome
            }
        }
    }

    /// The client that proves who it is.
    fn client(&self, headers: &HeaderMap, form: &Form) -> Result<Client, Refusal> {
        match field(form, "client_assertion") {
            Some(assertion) => self.asserted(assertion, form),
            None => authenticate(&self.state().clients, headers, form).cloned(),
        }
    }

    fn exchange(&self, client: &Client, form: &Form, edit: Option<&Edit>) -> Result<Value, Refusal> {
        exchange::supported(client, form)?;
        let subject = field(form, "subject_token").and_then(|token| self.alive(token)).ok_or_else(Refusal::invalid_token)?;
        let (decision, algorithm) = {
            let state = self.state();
            (exchange::decide(client, &state.clients, form, &subject)?, state.signing.unwrap_or(Algorithm::RS256))
        };
        let act = self.act(form)?;
        let mut claims = self.issued(client, &decision, subject, edit);
        claims.extend(act.map(|act| ("act".to_owned(), act)));
        // Keycloak counts from the token's own times; so must this, where a test has changed them.
        let life = claims.get("exp").and_then(Value::as_i64).unwrap_or_default() - self.now();
        let session = claims.get("sid").cloned().unwrap_or_default();
        let token = self.keys.sign(algorithm, &Head::default(), &claims).map_err(|_| Refusal::invalid_token())?;
        Ok(json!({
            "access_token": token,
            "expires_in": life,
            "issued_token_type": decision.issued_token_type,
            "not-before-policy": 0,
            "refresh_expires_in": 0,
            "scope": decision.scope,
            "session_state": session,
            "token_type": decision.token_type,
        }))
    }

    /// The claims of a subject token that is ours, not expired, and whose session goes on.
    pub(super) fn alive(&self, token: &str) -> Option<Map<String, Value>> {
        let claims = self.keys.verified(&self.resolved(token))?;
        let ours = claims.get("iss").and_then(Value::as_str) == Some(self.issuer.as_str());
        let current = claims.get("exp").and_then(Value::as_i64).is_some_and(|exp| exp > self.now());
        let over = claims.get("sid").and_then(Value::as_str).is_some_and(|sid| self.state().ended.contains(sid));
        (ours && current && !over).then_some(claims)
    }

    /// The subject's own expiry does not shorten the issued token's: Keycloak's does not either.
    fn issued(&self, client: &Client, decision: &Decision, subject: Map<String, Value>, edit: Option<&Edit>) -> Map<String, Value> {
        let mut claims = subject;
        claims.retain(|name, _| ["iss", "sub", "sid", "typ", "preferred_username"].contains(&name.as_str()));
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iat", json!(self.now()));
        put("exp", json!(self.now() + seconds(client.lifespan)));
        put("jti", json!(random_id()));
        put("azp", json!(client.id));
        put("scope", json!(decision.scope));
        if let Some(aud) = exchange::aud_claim(&decision.audiences) {
            put("aud", aud);
        }
        if let Some(edit) = edit {
            edit(&mut claims);
        }
        claims
    }

    fn password(&self, client: &Client, form: &Form) -> Result<Value, Refusal> {
        let name = field(form, "username").unwrap_or_default();
        let known = self.users.iter().any(|(n, p)| n == name && Some(p.as_str()) == field(form, "password"));
        if known { self.login(client, name, &client.reaches) } else { Err(Refusal::bad_credentials()) }
    }

    fn client_credentials(&self, client: &Client, form: &Form) -> Result<Value, Refusal> {
        match client.is_public() {
            false => self.login(client, &format!("service-account-{}", client.id), &self.own_audiences(client, form)?),
            true => Err(Refusal::no_service_account()),
        }
    }

    fn login(&self, client: &Client, sub: &str, audiences: &[String]) -> Result<Value, Refusal> {
        let life = seconds(client.lifespan);
        let token = CallerToken::new(self, sub, &client.id, audiences, life);
        let signed = token.token().map_err(|_| Refusal::invalid_token())?;
        Ok(json!({
            "access_token": signed,
            "expires_in": life,
            "not-before-policy": 0,
            "refresh_expires_in": 0,
            "scope": "email profile",
            "session_state": token.sid(),
            "token_type": "Bearer",
        }))
    }
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(full("{\"error\":\"Unable to find matching target resource method\"}"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Whose token it claims to be: for counting, so that forged ones count too.
fn sub_of(form: &Form) -> Option<String> {
    let token = insecure_decode::<Map<String, Value>>(field(form, "subject_token")?).ok()?;
    token.claims.get("sub").and_then(Value::as_str).map(str::to_owned)
}
