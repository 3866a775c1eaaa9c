//! What the development IAM does beyond Keycloak's exchange, where it is told to: opaque tokens and introspection, delegation, and
//! Entra's way of acting on behalf of a user. It is as much of each as a gateway can see, and no more.

use super::client::{Client, Form, field};
use super::endpoints::Endpoint;
use super::exchange::audiences_of;
use super::keys::Head;
use super::refusal::Refusal;
use super::{Algorithm, CallerToken, Error, Iam, Realm, random_id, seconds};
use crate::demo::misbehave::Edit;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[derive(Default)]
pub(super) struct Ways {
    /// Opaque tokens, and the tokens that they stand for.
    opaque: HashMap<String, String>,
    delegates: bool,
    addressed: bool,
}

impl Iam {
    /// The token under a name that says nothing: only the IAM knows what it is.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn opaque(&self, token: &CallerToken) -> Result<String, Error> {
        let name = random_id();
        self.opaque_as(&name, token)?;
        Ok(name)
    }

    /// The same under a name of the test's choice: another IAM may know another token by it.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn opaque_as(&self, name: &str, token: &CallerToken) -> Result<(), Error> {
        let signed = token.token()?;
        self.0.realm.state().ways.opaque.insert(name.to_owned(), signed);
        Ok(())
    }

    /// Whether an actor's token makes it into `act`. Keycloak ignores it without a word.
    pub fn delegates(&self, yes: bool) {
        self.0.realm.state().ways.delegates = yes;
    }

    /// Whether a client's own token is for the `audience` that it asks for, and there is none without: Auth0's way. Keycloak passes that
    /// parameter over.
    pub fn addressed(&self, yes: bool) {
        self.0.realm.state().ways.addressed = yes;
    }

    /// Questions about tokens, however they were answered.
    pub fn introspections(&self) -> u64 {
        self.requests(Endpoint::Introspection)
    }
}

impl Realm {
    /// What an opaque token stands for; any other stands for itself.
    pub(super) fn resolved(&self, token: &str) -> String {
        self.state().ways.opaque.get(token).cloned().unwrap_or_else(|| token.to_owned())
    }

    /// RFC 7662. Who does not stand in a token's `aud` is told nothing of it, as by Keycloak since 26.6.2.
    pub(super) fn introspection(&self, client: &Client, form: &Form) -> Value {
        let claims = field(form, "token").and_then(|token| self.alive(token));
        match claims.filter(|claims| audiences_of(claims).contains(&client.id.as_str())) {
            Some(mut claims) => {
                claims.insert("active".to_owned(), json!(true));
                claims.insert("token_type".to_owned(), json!("Bearer"));
                Value::Object(claims)
            }
            None => json!({ "active": false }),
        }
    }

    /// `act` of what is issued (RFC 8693 §4.1).
    pub(super) fn act(&self, form: &Form) -> Result<Option<Value>, Refusal> {
        let (Some(token), true) = (field(form, "actor_token"), self.state().ways.delegates) else { return Ok(None) };
        let actor = self.alive(token).ok_or_else(Refusal::invalid_token)?;
        Ok(Some(json!({ "sub": actor.get("sub"), "client_id": actor.get("azp") })))
    }

    /// For whom a client's own token is.
    pub(super) fn own_audiences(&self, client: &Client, form: &Form) -> Result<Vec<String>, Refusal> {
        if !self.state().ways.addressed {
            return Ok(client.reaches.clone());
        }
        field(form, "audience").map(|audience| vec![audience.to_owned()]).ok_or_else(Refusal::no_audience)
    }

    /// Entra's: what is issued is for the resource that the scope names, `sub` is another in every application, `oid` is not.
    pub(super) fn on_behalf_of(&self, client: &Client, form: &Form, edit: Option<&Edit>) -> Result<Value, Refusal> {
        if field(form, "requested_token_use") != Some("on_behalf_of") {
            return Err(Refusal::entra("invalid_request", "AADSTS900144: requested_token_use is missing"));
        }
        let dead = || Refusal::entra("invalid_grant", "AADSTS500133: Assertion is not within its valid time range");
        let subject = field(form, "assertion").and_then(|token| self.alive(token)).ok_or_else(dead)?;
        if !audiences_of(&subject).contains(&client.id.as_str()) {
            return Err(Refusal::entra("invalid_grant", "AADSTS50013: Assertion failed audience validation"));
        }
        let scope = field(form, "scope").ok_or_else(|| Refusal::entra("invalid_request", "AADSTS900144: scope is missing"))?;
        let resource = scope.rsplit_once('/').map_or(scope, |(resource, _)| resource);
        let mut claims = Map::new();
        for name in ["iss", "oid", "tid"] {
            claims.extend(subject.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        let of = |name: &str| subject.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let life = seconds(client.lifespan);
        let rest = json!({
            "aud": resource, "sub": format!("{}-in-{resource}", of("sub")), "azp": client.id, "scp": "user_impersonation",
            "iat": self.now(), "exp": self.now() + life, "uti": random_id(),
        });
        claims.extend(rest.as_object().cloned().unwrap_or_default());
        if let Some(edit) = edit {
            edit(&mut claims);
        }
        let token = self.keys.sign(Algorithm::RS256, &Head::default(), &claims).map_err(|_| dead())?;
        Ok(json!({ "token_type": "Bearer", "scope": scope, "expires_in": life, "ext_expires_in": life, "access_token": token }))
    }
}
