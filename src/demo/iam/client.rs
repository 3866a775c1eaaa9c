//! The realm's clients, and how one proves at the token endpoint who it is: `client_secret_basic` and `client_secret_post`, both
//! form-decoded; assertions are judged beside it. It knows no certificates, and judges nothing but the client.

use super::assertion::Assertions;
use super::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use std::collections::BTreeMap;
use std::time::Duration;

/// A client of the realm, with what matters to an exchange.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    /// `None`: a public client, unless it has `assertions`.
    pub secret: Option<String>,
    /// The client proves itself by assertions and by nothing else.
    pub assertions: Option<Assertions>,
    /// The only `typ` that its assertions may have; `None`: any, as at Keycloak.
    pub assertion_typ: Option<&'static str>,
    pub enabled: bool,
    /// Keycloak's switch *Standard token exchange*.
    pub exchange: bool,
    /// Audiences that its default client scopes add.
    pub reaches: Vec<String>,
    /// Its optional client scopes, with the audiences that each adds.
    pub optional: BTreeMap<String, Vec<String>>,
    /// Optional scopes to which the user has not consented.
    pub unconsented: Vec<String>,
    /// The life of the access tokens issued to it.
    pub lifespan: Duration,
}

impl Client {
    pub fn confidential(id: &str, secret: &str) -> Self {
        Self { secret: Some(secret.to_owned()), ..Self::public(id) }
    }

    pub fn public(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: None,
            assertions: None,
            assertion_typ: None,
            enabled: true,
            exchange: false,
            reaches: Vec::new(),
            optional: BTreeMap::new(),
            unconsented: Vec::new(),
            lifespan: Duration::from_secs(300),
        }
    }

    pub fn by_assertions(id: &str, assertions: Assertions) -> Self {
        Self { assertions: Some(assertions), ..Self::public(id) }
    }

    /// Neither secret nor assertions.
    pub fn is_public(&self) -> bool {
        self.secret.is_none() && self.assertions.is_none()
    }

    pub fn exchanging(self) -> Self {
        Self { exchange: true, ..self }
    }

    pub fn disabled(self) -> Self {
        Self { enabled: false, ..self }
    }

    pub fn reaching(mut self, audience: &str) -> Self {
        self.reaches.push(audience.to_owned());
        self
    }

    pub fn optional(mut self, scope: &str, audience: &str) -> Self {
        self.optional.entry(scope.to_owned()).or_default().push(audience.to_owned());
        self
    }

    pub fn unconsented(mut self, scope: &str, audience: &str) -> Self {
        self.unconsented.push(scope.to_owned());
        self.optional(scope, audience)
    }

    pub fn lifespan(self, lifespan: Duration) -> Self {
        Self { lifespan, ..self }
    }
}

/// A decoded form, in the order it came.
pub type Form = Vec<(String, String)>;

/// The first value of a form's field.
pub fn field<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// The client that the request comes from.
pub(super) fn authenticate<'a>(clients: &'a BTreeMap<String, Client>, headers: &HeaderMap, form: &Form) -> Result<&'a Client, Refusal> {
    let basic = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(basic);
    let (id, secret) = match &basic {
        Some((id, secret)) => (Some(id.as_str()), Some(secret.as_str())),
        None => (field(form, "client_id"), field(form, "client_secret")),
    };
    let client = id.and_then(|id| clients.get(id)).filter(|c| c.enabled).ok_or_else(Refusal::unknown_client)?;
    if client.assertions.is_some() {
        return Err(Refusal::assertion("Parameter client_assertion_type is missing"));
    }
    match &client.secret {
        Some(wanted) if secret != Some(wanted) => Err(Refusal::wrong_secret()),
        _ => Ok(client),
    }
}

/// RFC 6749 §2.3.1: id and secret are form-encoded before they are joined.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // Escaped, since here the two are data: a raw `&` or `=` would otherwise end the value.
    let value = text.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(value.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_decoded() {
        assert_eq!(basic("Basic Z2F0ZXdheTpzZWNyZXQ="), Some(("gateway".into(), "secret".into())));
        // `g+w:a%2Bb%3A%25` in base64.
        assert_eq!(basic("basic Zyt3OmElMkJiJTNBJTI1"), Some(("g w".into(), "a+b:%".into())));
        assert_eq!(basic("Bearer abc"), None);
        assert_eq!(basic("Basic ***"), None);
    }
}
