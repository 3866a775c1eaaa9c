//! What a running gateway's cache would do for this caller on this route. It looks, and leaves everything as it is; whether the caller's
//! token is any good is verified on every request, and not here.

use crate::app::gateway::Tokens;
use crate::cache::Verdict;
use crate::stack::{Injection, Route};
use crate::token::{Actor, Digest, Grant, Secret, SubjectToken, Target, Whose};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::time::Duration;

/// One verdict for each issuer that the caller may come from. `Null`: this route takes nothing from the cache.
pub fn verdicts(tokens: &Tokens, route: &Route, caller: Option<Digest>, headers: &HeaderMap) -> Value {
    let (Injection::Exchange(targets) | Injection::Own(targets)) = &route.token else { return Value::Null };
    let all = targets.all().map(|target| {
        let actor = match &target.settings.actor {
            Actor::Header(name) => headers.get(name).and_then(|value| SubjectToken::from_value(value).ok()),
            Actor::Nobody | Actor::Gateway => None,
        };
        let exchanged = target.grant != Grant::ClientCredentials;
        let unknown = |why: &str| json!({ "issuer": *target.issuer, "verdict": "unknown", "why": why });
        match (&target.settings.actor, caller, actor) {
            (_, None, _) if exchanged => unknown("it depends on the caller's token"),
            (Actor::Header(_), _, None) if exchanged => unknown("it depends on the actor's token, too"),
            (_, caller, actor) => verdict(tokens, target, caller, actor.map(|a| a.digest())),
        }
    });
    all.collect()
}

fn verdict(tokens: &Tokens, target: &Target, caller: Option<Digest>, actor: Option<Digest>) -> Value {
    let verdict = tokens.verdict(Whose::key(target, caller, actor), target);
    let word = verdict.word();
    let Verdict { held, in_flight, refused } = verdict;
    let seconds = |d: Duration| d.as_secs();
    json!({
        "issuer": *target.issuer,
        "verdict": word,
        "left_seconds": held.map(|h| seconds(h.left)),
        "renews_in_seconds": held.and_then(|h| h.renews_in).map(seconds),
        "in_flight": in_flight,
        // Where a token is held, a refusal that is remembered is nobody's answer.
        "refused": refused.filter(|_| held.is_none()).map(|(fault, left)| json!({
            "code": fault.code(),
            "issuer_words": fault.why().and_then(|why| why.issuer_words.as_deref()),
            "cure": fault.cure(),
            "for_seconds": seconds(left),
        })),
    })
}

/// Of a token as it was sent, or with the scheme in front as some keep it.
///
/// # Errors
/// When it is none.
pub fn digest(token: &Secret) -> Result<Digest, String> {
    let none = |_| "that is no bearer token".to_owned();
    let token = token.expose().trim();
    let bare = token.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or(token, |(_, rest)| rest.trim());
    let mut value = HeaderValue::from_str(bare).map_err(|_| "that is no bearer token".to_owned())?;
    value.set_sensitive(true);
    SubjectToken::from_value(&value).map(|token| token.digest()).map_err(none)
}
