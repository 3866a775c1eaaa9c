//! What a route asks its issuer for: the keys that only a route can have that gets tokens. It refuses an exchange that asks for
//! nothing, and these keys where they mean nothing.

use super::complaint::{Code, Complaint, quoted};
use super::delegation::{actor, requested_type, token_type};
use super::duration::positive;
use super::params::params;
use super::place::{At, Place};
use super::reading::Value;
use super::section::Section;
use super::url::resource;
use super::verification::plain;
use crate::token::{ACCESS_TOKEN, Actor, TargetSettings};
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Target {
    pub audience: Option<At<Vec<At<String>>>>,
    pub scopes: Option<At<Vec<At<String>>>>,
    pub resource: Option<At<Vec<At<String>>>>,
    pub expect_audience: Option<At<Vec<At<String>>>>,
    pub allow_login_client: Option<At<bool>>,
    pub max_ttl: Option<At<Duration>>,
    pub subject_token_type: Option<At<String>>,
    pub requested_token_type: Option<At<String>>,
    pub actor: Option<At<Actor>>,
    pub extra_params: Option<At<Vec<(String, String)>>>,
}

/// Keys that mean something only where a caller's token is exchanged.
const OF_EXCHANGES: [&str; 4] = ["allow_login_client", "subject_token_type", "requested_token_type", "actor"];

impl Target {
    /// Every key that is written, and where; each by name, so that none is forgotten.
    pub fn written(&self) -> Vec<(&'static str, Place)> {
        let Self {
            audience,
            scopes,
            resource,
            expect_audience,
            allow_login_client,
            max_ttl,
            subject_token_type,
            requested_token_type,
            actor,
            extra_params,
        } = self;
        let key = |name: &'static str, place: Option<Place>| place.map(|place| (name, place));
        let all = [
            key("audience", audience.as_ref().map(|at| at.key)),
            key("scopes", scopes.as_ref().map(|at| at.key)),
            key("resource", resource.as_ref().map(|at| at.key)),
            key("expect_audience", expect_audience.as_ref().map(|at| at.key)),
            key("allow_login_client", allow_login_client.map(|at| at.key)),
            key("max_ttl", max_ttl.map(|at| at.key)),
            key("subject_token_type", subject_token_type.as_ref().map(|at| at.key)),
            key("requested_token_type", requested_token_type.as_ref().map(|at| at.key)),
            key("actor", actor.as_ref().map(|at| at.key)),
            key("extra_params", extra_params.as_ref().map(|at| at.key)),
        ];
        all.into_iter().flatten().collect()
    }
}

pub fn read(route: &mut Section) -> Target {
    Target {
        audience: route.take("audience", |v| v.one_or_more(|v| v.text())),
        scopes: route.take("scopes", |v| v.list(scope)),
        resource: route.take("resource", |v| v.list(resource)),
        expect_audience: route.take("expect_audience", |v| v.one_or_more(|v| v.text())),
        allow_login_client: route.take("allow_login_client", |v| v.boolean()),
        max_ttl: route.take("max_ttl", positive),
        subject_token_type: route.take("subject_token_type", token_type),
        requested_token_type: route.take("requested_token_type", requested_type),
        actor: route.take("actor", actor),
        extra_params: route.take("extra_params", params),
    }
}

/// RFC 6749 §3.3: printable ASCII without blanks, quotes and backslashes.
pub fn scope(value: &Value) -> Option<String> {
    let text = value.text()?;
    if text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
        return Some(text);
    }
    let cure = if text.contains(' ') { "write each scope on its own: `[orders.read, orders.write]`" } else { "see RFC 6749 §3.3" };
    value.refuse(Code::Impossible, format_args!("{} is no scope", quoted(&text)), cure)
}

/// An exchange must be for something, and what was issued should be comparable with it.
pub fn check_exchange(route: &Section, target: &Target) {
    let asks = ["audience", "scopes", "resource"].iter().any(|key| route.means(key));
    if !asks {
        let message = format!("{}: it exchanges tokens, and asks for no audience, scopes or resource", route.name);
        let it = Complaint::error(Code::NoTarget, route.place, message);
        route.reading.complain(it.cure("write `audience: name-of-the-backend`, or `token: strip` if the backend wants no token"));
    } else {
        check_expected(route, target);
    }
}

fn check_expected(route: &Section, target: &Target) {
    if !route.means("audience") && !route.means("expect_audience") {
        let message = format!("{}: nothing says what the issued token's `aud` must contain, so it is not checked", route.name);
        let place = [&target.scopes, &target.resource].into_iter().flatten().next().map_or(route.place, |at| at.key);
        route.reading.complain(Complaint::warning(Code::UncheckedAudience, place, message).cure("write `expect_audience`, or `audience`"));
    }
}

/// The gateway's own token may be asked for with nothing said; what is about a caller's has no meaning then.
pub fn check_own(route: &Section, target: &Target) {
    check_expected(route, target);
    for (key, place) in target.written().into_iter().filter(|(key, _)| OF_EXCHANGES.contains(key)) {
        meaningless(route, key, place, "client_credentials", "no caller's token is sent");
    }
}

/// On a route that gets no token, none of this may be written.
pub fn check_absent(route: &Section, target: &Target, mode: &str) {
    for (key, place) in target.written() {
        meaningless(route, key, place, mode, "nothing is exchanged");
    }
}

pub fn meaningless(route: &Section, key: &str, place: Place, mode: &str, why: &str) {
    let message = format!("{}: `{key}` has no meaning with `token: {mode}`: {why}", route.name);
    let it = Complaint::error(Code::ExchangeOnly, place, message);
    route.reading.complain(it.cure(format!("take `{key}` out, or write `token: exchange`")));
}

pub fn settings(target: Target, cache_max_ttl: Duration) -> TargetSettings {
    let Target {
        audience,
        scopes,
        resource,
        expect_audience,
        allow_login_client,
        max_ttl,
        subject_token_type,
        requested_token_type,
        actor,
        extra_params,
    } = target;
    let kind = |at: Option<At<String>>| at.map_or_else(|| ACCESS_TOKEN.to_owned(), |at| at.value);
    let list = |at: Option<At<Vec<At<String>>>>| at.map_or_else(Vec::new, |at| plain(at.value));
    let audiences = list(audience);
    TargetSettings {
        expect_audiences: expect_audience.map_or_else(|| audiences.clone(), |at| plain(at.value)),
        audiences,
        scopes: list(scopes),
        resources: list(resource),
        max_ttl: max_ttl.map_or(cache_max_ttl, |at| at.value),
        allow_login_client: allow_login_client.is_some_and(|at| at.value),
        subject_token_type: kind(subject_token_type),
        requested_token_type: kind(requested_token_type),
        actor: actor.map_or(Actor::Nobody, |at| at.value),
        extra_params: extra_params.map_or_else(Vec::new, |at| at.value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused_route, with_route};
    use super::*;

    fn target(route: &str) -> TargetSettings {
        with_route(route).routes.remove(0).token.target().unwrap().clone()
    }

    #[test]
    fn what_is_expected_is_what_is_asked_for_unless_it_is_written() {
        let found = target("");
        assert_eq!((&*found.audiences, &*found.expect_audiences), (&["orders-api".to_owned()][..], &["orders-api".to_owned()][..]));
        assert_eq!((found.max_ttl, found.allow_login_client), (Duration::from_secs(300), false));
        assert_eq!(target("expect_audience: [a, b]").expect_audiences, ["a", "b"]);
    }

    #[test]
    fn everything_that_can_be_said() {
        let found =
            target("scopes: [a, b:c/d]\nresource: [\"https://orders.example.com/\", \"urn:x\"]\nmax_ttl: 1m\nallow_login_client: true");
        assert_eq!((&*found.scopes.join(" "), &*found.resources.join(" ")), ("a b:c/d", "https://orders.example.com/ urn:x"));
        assert_eq!((found.max_ttl, found.allow_login_client), (Duration::from_secs(60), true));
        assert_eq!(refused_route("scopes: [a b]"), [Code::Impossible]);
        assert_eq!(refused_route("resource: [orders]"), [Code::Url]);
    }

    #[test]
    fn the_gateways_own_token_is_nobodys() {
        assert_eq!(target("token: client_credentials\nscopes: [a]\nextra_params: { a: b }").scopes, ["a"]);
        let about_callers = "token: client_credentials\nallow_login_client: true\nactor: { gateway: true }\n\
                             subject_token_type: access_token\nrequested_token_type: access_token";
        assert_eq!(refused_route(about_callers), [Code::ExchangeOnly; 4]);
        assert_eq!(refused_route("token: strip\nextra_params: { a: b }"), [Code::ExchangeOnly; 2]);
    }
}
