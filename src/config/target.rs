//! What an exchanging route asks its issuer for: the keys of a route that only such a route can have. It refuses a route that
//! asks for nothing, and these keys on a route that does not exchange.

use super::complaint::{Code, Complaint, quoted};
use super::duration::positive;
use super::force_update::{self, OnRoute};
use super::place::{At, Place};
use super::reading::Value;
use super::section::Section;
use super::url::resource;
use super::verification::plain;
use crate::stack::TargetSettings;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Target {
    pub audience: Option<At<Vec<At<String>>>>,
    pub scopes: Option<At<Vec<At<String>>>>,
    pub resource: Option<At<Vec<At<String>>>>,
    pub expect_audience: Option<At<Vec<At<String>>>>,
    pub allow_login_client: Option<At<bool>>,
    pub max_ttl: Option<At<Duration>>,
    pub force_update: Option<At<OnRoute>>,
}

pub fn read(route: &mut Section) -> Target {
    Target {
        audience: route.take("audience", |v| v.one_or_more(|v| v.text())),
        scopes: route.take("scopes", |v| v.list(scope)),
        resource: route.take("resource", |v| v.list(resource)),
        expect_audience: route.take("expect_audience", |v| v.one_or_more(|v| v.text())),
        allow_login_client: route.take("allow_login_client", |v| v.boolean()),
        max_ttl: route.take("max_ttl", positive),
        force_update: force_update::on_route(route),
    }
}

/// RFC 6749 §3.3: printable ASCII without blanks, quotes and backslashes.
fn scope(value: &Value) -> Option<String> {
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
    } else if !route.means("audience") && !route.means("expect_audience") {
        let message = format!("{}: nothing says what the issued token's `aud` must contain, so it is not checked", route.name);
        let place = [&target.scopes, &target.resource].into_iter().flatten().next().map_or(route.place, |at| at.key);
        route.reading.complain(Complaint::warning(Code::UncheckedAudience, place, message).cure("write `expect_audience`, or `audience`"));
    }
}

/// On a route that does not exchange, none of this may be written.
pub fn check_absent(route: &Section, target: &Target, mode: &str) {
    let Target { audience, scopes, resource, expect_audience, allow_login_client, max_ttl, force_update } = target;
    let lists = [("audience", audience), ("scopes", scopes), ("resource", resource), ("expect_audience", expect_audience)];
    let lists = lists.into_iter().filter_map(|(key, at)| at.as_ref().map(|at| (key, at.key)));
    let force_update = ("force_update", force_update.as_ref().map(|at| at.key));
    let others = [("allow_login_client", allow_login_client.map(|at| at.key)), ("max_ttl", max_ttl.map(|at| at.key)), force_update];
    let others = others.into_iter().filter_map(|(key, at)| at.map(|at| (key, at)));
    let written: Vec<(&str, Place)> = lists.chain(others).collect();
    for (key, place) in written {
        let message = format!("{}: `{key}` has no meaning with `token: {mode}`: nothing is exchanged", route.name);
        let it = Complaint::error(Code::ExchangeOnly, place, message);
        route.reading.complain(it.cure(format!("take `{key}` out, or write `token: exchange`")));
    }
}

pub fn settings(target: Target, cache_max_ttl: Duration) -> TargetSettings {
    let Target { audience, scopes, resource, expect_audience, allow_login_client, max_ttl, force_update: _ } = target;
    let list = |at: Option<At<Vec<At<String>>>>| at.map_or_else(Vec::new, |at| plain(at.value));
    let audiences = list(audience);
    TargetSettings {
        expect_audiences: expect_audience.map_or_else(|| audiences.clone(), |at| plain(at.value)),
        audiences,
        scopes: list(scopes),
        resources: list(resource),
        max_ttl: max_ttl.map_or(cache_max_ttl, |at| at.value),
        allow_login_client: allow_login_client.is_some_and(|at| at.value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused_route, with_route};
    use super::*;
    use crate::stack::TokenMode;

    fn target(route: &str) -> TargetSettings {
        match with_route(route).routes.remove(0).token {
            TokenMode::Exchange(target) => target,
            other => panic!("{other:?}"),
        }
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
}
