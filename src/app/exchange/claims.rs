//! The claims of a token as they may be shown: names always, values only of those that say nothing about a person. It believes
//! nothing that it reads, and no text of a token reaches the terminal with a control character in it.

pub(super) use crate::app::clean;
use crate::issuer::jws::Jws;
use serde_json::{Map, Value};
use std::time::Duration;

/// Whose values say what a token is good for, and not whose it is.
const SAFE: [&str; 11] = ["iss", "aud", "azp", "client_id", "scope", "scp", "typ", "exp", "iat", "nbf", "auth_time"];
const TIMES: [&str; 4] = ["exp", "iat", "nbf", "auth_time"];
pub(super) const HIDDEN: &str = "[hidden]";
/// The most of a value that is shown in a line.
const LONGEST: usize = 60;

/// `None`: it is no JWT.
pub(super) fn of(token: &str) -> Option<Map<String, Value>> {
    Jws::read(token).ok().map(|jws| jws.claims)
}

/// Known ones first, in their order, then the others by name.
pub(super) fn names<'a>(one: Option<&'a Map<String, Value>>, other: Option<&'a Map<String, Value>>) -> Vec<&'a str> {
    let mut all: Vec<&str> = one.into_iter().chain(other).flat_map(|claims| claims.keys().map(String::as_str)).collect();
    let rank = |name: &str| SAFE.iter().position(|safe| *safe == name).unwrap_or(SAFE.len());
    all.sort_by_key(|name| (rank(name), *name));
    all.dedup();
    all
}

/// As data: hidden values are said to be hidden.
pub(super) fn redacted(claims: &Map<String, Value>, all: bool) -> Map<String, Value> {
    let seen = |name: &str, value: &Value| if all || SAFE.contains(&name) { value.clone() } else { HIDDEN.into() };
    claims.iter().map(|(name, value)| (clean(name), seen(name, value))).collect()
}

/// As a cell of a table.
pub(super) fn cell(name: &str, claims: Option<&Map<String, Value>>, now: u64, all: bool) -> String {
    let Some(value) = claims.and_then(|c| c.get(name)) else { return "-".to_owned() };
    if !all && !SAFE.contains(&name) {
        return HIDDEN.to_owned();
    }
    match value.as_u64().filter(|_| TIMES.contains(&name)) {
        Some(at) => relative(at, now),
        None => short(&text(value)),
    }
}

fn text(value: &Value) -> String {
    let one = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    clean(&match value {
        Value::Array(all) => all.iter().map(one).collect::<Vec<_>>().join(", "),
        other => one(other),
    })
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST { text.to_owned() } else { text.chars().take(LONGEST - 1).chain(['…']).collect() }
}

fn relative(at: u64, now: u64) -> String {
    if at >= now { format!("in {}", span(at - now)) } else { format!("{} ago", span(now - at)) }
}

pub(super) fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_that_say_who_it_is_are_hidden_and_nothing_moves_the_cursor() {
        let claims =
            json!({ "sub": "alice", "aud": ["a", "b"], "exp": 160, "iss": "x\u{1b}[2J\u{202e}y", "email": "a@b", "act": { "sub": "x" } });
        let claims = claims.as_object();
        let at = |name| cell(name, claims, 100, false);
        assert_eq!([at("sub"), at("email"), at("act"), at("none")], [HIDDEN, HIDDEN, HIDDEN, "-"]);
        assert_eq!([at("aud"), at("exp")], ["a, b", "in 1m"]);
        assert_eq!(at("iss"), "x\u{fffd}[2J\u{fffd}y");
        assert_eq!(cell("sub", claims, 100, true), "alice");
        assert_eq!(cell("exp", claims, 220, true), "1m ago");
        assert_eq!(names(claims, None), ["iss", "aud", "exp", "act", "email", "sub"]);
        assert_eq!(redacted(claims.unwrap(), false)["email"], HIDDEN);
        assert!(short(&"x".repeat(100)).chars().count() == LONGEST);
    }
}
