//! `extra_params`: parameters that are added to what is asked of an issuer, as they are. It refuses those that the gateway sets
//! itself: what they say is said by the keys of issuers and routes, where it is checked.

use super::complaint::{Code, quoted};
use super::reading::Value;
use super::section::complain_of_twins;
use super::tree::Kind;

/// What the grants, and our authentication, are made of.
const RESERVED: [&str; 15] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "requested_token_use",
    "assertion",
    "audience",
    "resource",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

pub fn params(value: &Value) -> Option<Vec<(String, String)>> {
    let Kind::Map(entries) = &value.node.kind else {
        return value.wrong_type("a map of parameters and their values", "write `{ tenant: acme }`");
    };
    complain_of_twins(entries, value);
    let read = entries.iter().filter_map(|entry| {
        let item = Value { node: &entry.value, key: entry.place, name: value.name.field(&entry.key), reading: value.reading };
        param(&entry.key, &item)
    });
    Some(read.collect())
}

fn param(name: &str, value: &Value) -> Option<(String, String)> {
    if RESERVED.contains(&name) {
        let what = format_args!("{} is a parameter that the gateway sets itself", quoted(name));
        return value.refuse(Code::Reserved, what, "take it out: audience, scopes, resource and the token types are keys of the route");
    }
    // RFC 6749 appendix A: what a parameter's name is made of.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        return value.refuse(Code::Impossible, format_args!("{} is no name of a parameter", quoted(name)), "see RFC 6749 appendix A");
    }
    value.text().map(|text| (name.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{refused_issuer, refused_route, with_issuer, with_route};

    #[test]
    fn they_are_taken_as_they_are_written() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let route = with_route("extra_params: { tenant: acme, level: 2, flag: true }").routes.remove(0);
        let found = route.token.target().unwrap().extra_params.clone();
        assert_eq!(found, [pair("tenant", "acme"), pair("level", "2"), pair("flag", "true")]);
        assert_eq!(with_issuer("extra_params: { a.b-c_d: x }").issuers.remove(0).exchange.extra_params, [pair("a.b-c_d", "x")]);
        assert_eq!(with_route("").routes.remove(0).token.target().unwrap().extra_params, []);
    }

    #[test]
    fn what_the_gateway_says_itself_is_not_said_twice() {
        for name in super::RESERVED {
            assert_eq!(refused_route(&format!("extra_params: {{ {name}: x }}")), [Code::Reserved], "{name}");
            assert_eq!(refused_issuer(&format!("extra_params: {{ {name}: x }}")), [Code::Reserved], "{name}");
        }
        assert_eq!(refused_route("extra_params: [a]"), [Code::WrongType]);
        assert_eq!(refused_route("extra_params: { a: [b] }"), [Code::WrongType]);
        assert_eq!(refused_route("extra_params: { \"a b\": c }"), [Code::Impossible]);
        assert_eq!(refused_route("extra_params: { a: \"\" }"), [Code::Empty]);
    }
}
