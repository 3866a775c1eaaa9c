//! What a token's claims must say for its caller to be let in: whose it is, for whom, and for how long. A claim of the wrong
//! type is a refusal, never as good as absent, and a token bound to a key that we do not have is refused as well.

use super::Verifier;
use crate::fault::Why;
use crate::issuer::json;
use crate::token::Subject;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

type Claims = Map<String, Value>;

/// `typ` of payloads that Keycloak marks as something else than an access token.
const OTHERS: [&str; 4] = ["ID", "Refresh", "Offline", "Logout"];

/// Where claims were found. What an issuer says to our face may leave out what a token must say for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    InTheToken,
    ByAsking,
}

/// # Errors
/// Cause and cure.
pub(super) fn read(claims: &Claims, found: Found, verifier: &Verifier) -> Result<Subject, Why> {
    let (settings, issuer) = (&verifier.settings, verifier.issuer.settings());
    let (now, skew) = (verifier.clock.unix(), settings.clock_skew);
    if found == Found::InTheToken || claims.contains_key("iss") {
        from_issuer(claims, &issuer.url)?;
    }
    let expires_at = match (time(claims, "exp")?, found) {
        (Some(exp), _) => exp,
        // It is asked about again before long.
        (None, Found::ByAsking) => u64::MAX,
        (None, Found::InTheToken) => return Err(Why::new("the caller's token has no exp")),
    };
    in_time(expires_at, now, skew)?;
    if time(claims, "nbf")?.is_some_and(|nbf| nbf > now.saturating_add(skew.as_secs())) {
        return Err(Why::new("the caller's token is not valid yet (nbf)").cure("compare the clocks of the IAM and of this machine"));
    }
    let issued_at = time(claims, "iat")?.unwrap_or(0);
    for_us(claims, &settings.audiences)?;
    access_token(claims)?;
    let text = |key| json::string(claims, key).map_err(wrong);
    let sub = text("sub")?.filter(|s| !s.is_empty()).ok_or_else(|| {
        Why::new("the caller's token has no sub").cure("Keycloak: give the login client the client scope `basic`, whose mapper adds sub")
    })?;
    let azp = match text("azp")? {
        Some(azp) => Some(azp),
        None => text("client_id")?,
    };
    Ok(Subject {
        issuer: issuer.name.clone(),
        sub: sub.into(),
        sid: text("sid")?.map(Arc::from),
        azp: azp.map(Arc::from),
        scopes: scopes(claims)?,
        claims: kept(claims, &settings.keep),
        issued_at,
        expires_at,
        clock_skew: skew,
    })
}

/// # Errors
/// When a token with this `exp` has expired at `now`, in seconds since 1970.
pub(super) fn in_time(expires_at: u64, now: u64, skew: Duration) -> Result<(), Why> {
    if now < expires_at.saturating_add(skew.as_secs()) {
        return Ok(());
    }
    Err(Why::new(format!("the caller's token expired {} s ago", now - expires_at)))
}

/// Whether what a token says of itself speaks against it before anybody is asked.
///
/// # Errors
/// When it is another issuer's, or over.
pub(super) fn not_against(claims: &Claims, verifier: &Verifier) -> Result<(), Why> {
    if claims.contains_key("iss") {
        from_issuer(claims, &verifier.issuer.settings().url)?;
    }
    time(claims, "exp")?.map_or(Ok(()), |exp| in_time(exp, verifier.clock.unix(), verifier.settings.clock_skew))
}

/// The beginning of a text that a caller chose.
pub(super) fn cut(s: &str) -> String {
    s.chars().take(200).collect()
}

fn from_issuer(claims: &Claims, url: &str) -> Result<(), Why> {
    match json::string(claims, "iss").map_err(wrong)? {
        Some(iss) if iss == url => Ok(()),
        Some(iss) => Err(Why::new(format!("the caller's token is of the issuer {:?}, not of {url:?}", cut(iss)))
            .cure("if that is the same IAM, the issuer's url in the configuration must be exactly what stands in iss")),
        None => Err(Why::new("the caller's token has no iss")),
    }
}

fn for_us(claims: &Claims, wanted: &[String]) -> Result<(), Why> {
    let found = json::strings(claims, "aud").map_err(wrong)?;
    if found.iter().any(|a| wanted.iter().any(|w| w == a)) {
        return Ok(());
    }
    let wanted = wanted.join(" or ");
    let cause = if found.is_empty() {
        format!("the caller's token has no audience; {wanted} must stand in aud")
    } else {
        format!("the caller's token is for {:?}; {wanted} must stand in aud", cut(&found.join(" ")))
    };
    Err(Why::new(cause).cure(format!(
        "Keycloak: give the login client a mapper of the type Audience (Client scopes, its dedicated scope, Add mapper) \
         with Included Client Audience {wanted} and Add to access token on"
    )))
}

fn access_token(claims: &Claims) -> Result<(), Why> {
    let typ = json::string(claims, "typ").map_err(wrong)?;
    if let Some(typ) = typ.filter(|t| OTHERS.iter().any(|o| o.eq_ignore_ascii_case(t))) {
        return Err(Why::new(format!("the caller's token is a token of the type {typ:?}, not an access token")));
    }
    if claims.contains_key("cnf") {
        return Err(Why::new("the caller's token is bound to a key or certificate of the caller (cnf), which cannot be proven from here")
            .cure("have the login client fetch plain bearer tokens (Keycloak: Require DPoP bound tokens, and mutual TLS binding, off)"));
    }
    Ok(())
}

/// Seconds since 1970. What lies before them is as good as 0.
fn time(claims: &Claims, key: &str) -> Result<Option<u64>, Why> {
    Ok(json::number(claims, key).map_err(wrong)?.map(|t| u64::try_from(t).unwrap_or(0)))
}

/// What routes ask about, in one order.
fn kept(claims: &Claims, names: &[String]) -> Vec<(Box<str>, Vec<Box<str>>)> {
    let found = names.iter().filter_map(|name| Some((name.as_str().into(), texts(at(claims, name)?))));
    found.filter(|(_, values): &(_, Vec<_>)| !values.is_empty()).collect()
}

/// A claim of this name, or one further in: `realm_access.roles` is the claim `roles` of the claim `realm_access`.
fn at<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        at(claims.get(outer)?.as_object()?, inner)
    })
}

/// A value, or the values in a list, as text. What is neither text, number nor truth is no value here.
fn texts(value: &Value) -> Vec<Box<str>> {
    let text = |value: &Value| match value {
        Value::String(s) => Some(s.as_str().into()),
        Value::Number(n) => Some(n.to_string().into()),
        Value::Bool(b) => Some(b.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(all) => all.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

/// `scope` (RFC 8693 §4.2) or `scp` (Okta, Entra), as one string or as an array.
fn scopes(claims: &Claims) -> Result<Vec<Box<str>>, Why> {
    let (scope, scp) = (json::strings(claims, "scope").map_err(wrong)?, json::strings(claims, "scp").map_err(wrong)?);
    Ok(scope.into_iter().chain(scp).flat_map(str::split_ascii_whitespace).map(Box::from).collect())
}

fn wrong(e: String) -> Why {
    Why::new(format!("in the caller's token, {e}"))
}
