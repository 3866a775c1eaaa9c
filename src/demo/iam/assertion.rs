//! Clients that prove themselves by assertions (RFC 7523), judged as Keycloak 26.7.3 was seen to: an assertion of the client's own
//! is good once, one that a cluster has signed is good until it expires. Nothing here is about secrets or callers.

use super::client::{Client, Form, field};
use super::exchange::audiences_of;
use super::keys::verified;
use super::refusal::Refusal;
use super::{Algorithm, Realm};
use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::decode_header;
use serde_json::{Map, Value, json};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Whose assertions a client may bring.
#[derive(Clone, Debug)]
pub enum Assertions {
    /// Its own (`private_key_jwt`), by the keys of this JWKS.
    Own { jwks: Value },
    /// Those of somebody else for this `sub`: a cluster for its service accounts.
    Of { jwks: Value, subject: String },
}

impl Assertions {
    /// Its own, by one key whose public half is `jwk`, under the name `kid`.
    pub fn by_key(mut jwk: Value, kid: &str, algorithm: Algorithm) -> Self {
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(format!("{algorithm:?}"));
        Self::Own { jwks: json!({ "keys": [jwk] }) }
    }

    fn jwks(&self) -> &Value {
        match self {
            Self::Own { jwks } | Self::Of { jwks, .. } => jwks,
        }
    }

    fn is_of(&self, id: &str, sub: &str) -> bool {
        match self {
            Self::Own { .. } => sub == id,
            Self::Of { subject, .. } => sub == subject,
        }
    }
}

impl Realm {
    /// The client whose assertion this is.
    pub(super) fn asserted(&self, assertion: &str, form: &Form) -> Result<Client, Refusal> {
        if field(form, "client_assertion_type") != Some(JWT_BEARER) {
            return Err(Refusal::assertion("Parameter client_assertion_type has value which is not supported"));
        }
        let said = insecure_decode::<Map<String, Value>>(assertion).map_err(|_| Refusal::unknown_client())?.claims;
        let sub = said.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut state = self.state();
        let known = |c: &&Client| c.enabled && c.assertions.as_ref().is_some_and(|a| a.is_of(&c.id, &sub));
        let client = state.clients.values().find(known).cloned().ok_or_else(Refusal::unknown_client)?;
        let Some(assertions) = &client.assertions else { return Err(Refusal::unknown_client()) };
        if field(form, "client_id").is_some_and(|id| id != sub) {
            return Err(Refusal::assertion("client_id parameter not matching with client assertion"));
        }
        let forged = || Refusal::assertion("Client authentication with signed JWT failed: Signature on JWT token failed validation");
        let claims = verified(assertions.jwks(), assertion).ok_or_else(forged)?;
        let typ = decode_header(assertion).ok().and_then(|head| head.typ);
        if client.assertion_typ.is_some_and(|only| typ.as_deref() != Some(only)) {
            return Err(Refusal::assertion("Invalid token type"));
        }
        match audiences_of(&claims)[..] {
            [one] if one == self.issuer || one == self.token_endpoint() => {}
            [_, _, ..] => return Err(Refusal::assertion("Multiple audiences not allowed")),
            _ => return Err(Refusal::assertion("Invalid token audience")),
        }
        let exp = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
        if exp <= self.now() {
            return Err(Refusal::assertion("Token is not active"));
        }
        if let Assertions::Own { .. } = assertions {
            let jti = claims.get("jti").and_then(Value::as_str).ok_or_else(|| Refusal::assertion("Missing ID on the token"))?;
            if !state.used.insert(jti.to_owned()) {
                return Err(Refusal::assertion("Token reuse detected"));
            }
        }
        Ok(client)
    }
}
