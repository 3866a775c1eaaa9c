//! What caches between here and the callers are told of an answer that was made for one caller: by which other header callers differ
//! (`Vary`), and, to the operator, that a backend lets such caches hand it to all (RFC 9111 §3.5). It changes no `Cache-Control`.

use super::route::{Injection, Route, TokenHeaders};
use crate::token::Actor;
use http::header::{AUTHORIZATION, CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(600);
const CURE: &str = "a cache in front of the gateway may give one caller's answer to another: have the backend say `private` or \
                    `no-store`; what is truly for everybody belongs on a route with `token: strip`";

/// What a route has to say, made when the configuration loads.
#[derive(Debug)]
pub struct SharedAnswers {
    /// Headers besides `Authorization` that say who calls.
    identity: Vec<HeaderName>,
    /// Whether answers are made for one caller.
    personal: bool,
    /// When it was last told that a backend says otherwise, and how often it has since.
    told: Mutex<(Option<Instant>, u64)>,
}

impl SharedAnswers {
    /// `verified`: whether it matters who calls.
    pub fn new(token: &Injection, headers: &TokenHeaders, verified: bool) -> Self {
        let actor = match token {
            Injection::Exchange(targets) => targets.first().and_then(|target| match &target.settings.actor {
                Actor::Header(name) => Some(name),
                Actor::Nobody | Actor::Gateway => None,
            }),
            Injection::Own(_) | Injection::Nothing | Injection::Callers => None,
        };
        let matters = verified || matches!(token, Injection::Callers);
        let names = [Some(&headers.callers), actor].into_iter().flatten().filter(|name| matters && **name != AUTHORIZATION);
        Self { identity: names.cloned().collect(), personal: matches!(token, Injection::Exchange(_)), told: Mutex::default() }
    }

    /// Looks at an upstream's answer, which goes on in its own words but for `Vary`.
    pub(super) fn look(&self, route: &Route, answer: &mut HeaderMap) {
        if self.personal
            && answer.contains_key(CACHE_CONTROL)
            && let Some(words) = shares(answer)
            && let Some(count) = self.due(Instant::now())
        {
            tracing::warn!(
                route = &*route.name,
                count,
                cache_control = words,
                cure = CURE,
                "the backend lets shared caches keep answers that are for one caller"
            );
        }
        if !self.identity.is_empty() {
            vary(answer, &self.identity);
        }
    }

    /// How many answers to tell of now, if it is time.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.1 += 1;
        if told.0.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            return None;
        }
        told.0 = Some(now);
        Some(std::mem::take(&mut told.1))
    }
}

/// The word by which an answer lets shared caches keep it for everybody, if it does.
fn shares(answer: &HeaderMap) -> Option<&'static str> {
    let directives = || list(answer, &CACHE_CONTROL).map(|part| part.split('=').next().unwrap_or_default().trim());
    let says = |word: &str| directives().any(|directive| directive.eq_ignore_ascii_case(word));
    // `private="a-field"` hides that field alone.
    let private = list(answer, &CACHE_CONTROL).any(|part| part.eq_ignore_ascii_case("private"));
    if private || says("no-store") {
        return None;
    }
    ["public", "s-maxage"].into_iter().find(|word| says(word))
}

/// Adds names to `Vary`, each once, all in one field: some caches look at the first alone.
fn vary(answer: &mut HeaderMap, names: &[HeaderName]) {
    let there = |name: &str| list(answer, &VARY).any(|part| part.eq_ignore_ascii_case(name));
    if there("*") {
        return;
    }
    let missing: Vec<&str> = names.iter().map(HeaderName::as_str).filter(|name| !there(name)).collect();
    if missing.is_empty() {
        return;
    }
    let all: Vec<&str> = list(answer, &VARY).chain(missing).collect();
    // What stood there was a header's value, and names are.
    if let Ok(value) = HeaderValue::try_from(all.join(", ")) {
        answer.insert(VARY, value);
    }
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_word_for_all_counts_unless_another_takes_it_back() {
        let shares = |values: &[&str]| shares(&answer(CACHE_CONTROL, values));
        assert_eq!(shares(&["max-age=60, Public"]), Some("public"));
        assert_eq!(shares(&["max-age=60", "s-maxage = 5"]), Some("s-maxage"));
        assert_eq!(shares(&["public, private=\"set-cookie\""]), Some("public"));
        for silent in [&["max-age=60"][..], &["public", "no-store"], &["s-maxage=5, private"], &["x-public, publicly=1"], &[]] {
            assert_eq!(shares(silent), None, "{silent:?}");
        }
    }

    #[test]
    fn it_is_told_once_in_a_while_with_how_often() {
        let (shared, now) = (SharedAnswers::new(&Injection::Nothing, &TokenHeaders::default(), true), Instant::now());
        assert_eq!(shared.due(now), Some(1));
        assert!((0..9).all(|_| shared.due(now).is_none()));
        assert_eq!((shared.due(now + EVERY), shared.due(now + EVERY)), (Some(10), None));
    }

    #[test]
    fn vary_names_each_header_once() {
        let varied = |values: &[&str]| {
            let mut headers = answer(VARY, values);
            vary(&mut headers, &[HeaderName::from_static("x-caller"), HeaderName::from_static("x-actor")]);
            headers.get_all(VARY).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(varied(&[]), ["x-caller, x-actor"]);
        assert_eq!(varied(&["Accept, X-Caller", "Origin"]), ["Accept, X-Caller, Origin, x-actor"]);
        assert_eq!(varied(&["X-Actor", "x-caller"]), ["X-Actor", "x-caller"]);
        assert_eq!(varied(&["Accept, *"]), ["Accept, *"]);
    }
}
