//! Keycloak's standard token exchange (RFC 8693), judged in Keycloak's order: what it refuses, refuses with its words, and what
//! it silently ignores (`resource`, `actor_token`) is ignored here too. It signs nothing and keeps no record.

use super::client::{Client, Form, field};
use super::refusal::Refusal;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// What may be issued: the claims that differ from the subject's, and the members of the answer.
#[derive(Debug)]
pub(super) struct Decision {
    pub audiences: Vec<String>,
    pub scope: String,
    pub token_type: &'static str,
    pub issued_token_type: &'static str,
}

/// Refusals that come before the subject token is looked at. The switch comes before the parameters: so does Keycloak.
pub(super) fn supported(client: &Client, form: &Form) -> Result<(), Refusal> {
    for name in ["requested_subject", "requested_issuer", "subject_issuer"] {
        if field(form, name).is_some() {
            return Err(Refusal::unsupported_parameter(name));
        }
    }
    if !client.exchange || client.is_public() {
        return Err(Refusal::switch_off());
    }
    for name in ["subject_token", "subject_token_type"] {
        if field(form, name).is_none() {
            return Err(Refusal::required_parameter(name));
        }
    }
    if field(form, "subject_token_type") != Some(ACCESS_TOKEN) {
        return Err(Refusal::subject_type());
    }
    Ok(())
}

/// Decides for a `subject` that is genuine and alive.
pub(super) fn decide(
    client: &Client,
    clients: &BTreeMap<String, Client>,
    form: &Form,
    subject: &Map<String, Value>,
) -> Result<Decision, Refusal> {
    let owns = subject.get("azp").and_then(Value::as_str) == Some(client.id.as_str());
    if subject.contains_key("cnf") && !owns {
        return Err(Refusal::sender_constrained());
    }
    let wants_id = match field(form, "requested_token_type") {
        None | Some(ACCESS_TOKEN) => false,
        Some(ID_TOKEN) => true,
        Some(_) => return Err(Refusal::requested_type()),
    };
    let wanted: Vec<&str> = form.iter().filter(|(n, _)| n == "audience").map(|(_, v)| v.as_str()).collect();
    for audience in &wanted {
        clients.get(*audience).ok_or_else(Refusal::audience_not_found)?;
    }
    if wanted.iter().any(|a| clients.get(*a).is_some_and(|c| !c.enabled)) {
        return Err(Refusal::client_disabled());
    }
    if !owns && !audiences_of(subject).contains(&client.id.as_str()) {
        return Err(Refusal::not_in_audience());
    }
    let scope = field(form, "scope").unwrap_or_default();
    let reachable = reachable(client, scope)?;
    let missing: Vec<&str> = wanted.iter().copied().filter(|a| !reachable.contains(a)).collect();
    if !missing.is_empty() {
        return Err(Refusal::audience_not_available(&missing));
    }
    if wants_id {
        let audiences = vec![client.id.clone()];
        return Ok(Decision { audiences, scope: granted_scope(scope), token_type: "N_A", issued_token_type: ID_TOKEN });
    }
    // `audience` only filters what the scopes add.
    let audiences = reachable.into_iter().filter(|a| wanted.is_empty() || wanted.contains(a)).map(str::to_owned).collect();
    Ok(Decision { audiences, scope: granted_scope(scope), token_type: "Bearer", issued_token_type: ACCESS_TOKEN })
}

/// One audience is a string, several are an array, none is no claim at all.
pub(super) fn aud_claim(audiences: &[String]) -> Option<Value> {
    match audiences {
        [] => None,
        [one] => Some(json!(one)),
        several => Some(json!(several)),
    }
}

pub(super) fn audiences_of(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn reachable<'a>(client: &'a Client, scope: &str) -> Result<Vec<&'a str>, Refusal> {
    let mut reachable: Vec<&str> = client.reaches.iter().map(String::as_str).collect();
    for name in scope.split(' ').filter(|s| !s.is_empty() && !BUILT_IN.contains(s)) {
        let adds = client.optional.get(name).ok_or_else(|| Refusal::invalid_scopes(scope))?;
        if client.unconsented.iter().any(|u| u == name) {
            return Err(Refusal::missing_consents(&client.id));
        }
        reachable.extend(adds.iter().map(String::as_str));
    }
    reachable.dedup();
    Ok(reachable)
}

/// Scopes that every client has.
const BUILT_IN: [&str; 4] = ["openid", "profile", "email", "basic"];

fn granted_scope(asked: &str) -> String {
    let extra = asked.split(' ').filter(|s| !s.is_empty() && !["profile", "email"].contains(s));
    extra.chain(["email", "profile"]).collect::<Vec<_>>().join(" ")
}
