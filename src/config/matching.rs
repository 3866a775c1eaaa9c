//! `match` of a route: which requests it takes. What the patterns mean is for `route` to say.

use super::complaint::{Code, quoted};
use super::place::At;
use super::reading::Value;
use super::section::{Section, complain_of_twins};
use super::tree::Kind;
use crate::route::{HostPattern, PathPattern, Rule};
use http::{HeaderName, HeaderValue, Method};

#[derive(Debug, Default)]
pub struct Match {
    pub hosts: Option<At<Vec<At<HostPattern>>>>,
    pub path: Option<At<PathPattern>>,
    pub methods: Option<At<Vec<At<Method>>>>,
    pub headers: Option<At<Vec<(HeaderName, HeaderValue)>>>,
    /// Some of it could not be read, so that it cannot be compared with others.
    pub broken: bool,
}

pub fn read(route: &mut Section) -> Match {
    let written = route.has("match");
    let Some(at) = route.take("match", |value| value.section(&[])) else { return Match { broken: written, ..Match::default() } };
    let mut section = at.value;
    let mut read = Match {
        broken: false,
        hosts: section.take("hosts", |v| v.list(host)),
        path: section.take("path", path),
        methods: section.take("methods", |v| v.list(method)),
        headers: section.take("headers", headers),
    };
    let have = [("hosts", read.hosts.is_some()), ("path", read.path.is_some()), ("methods", read.methods.is_some())];
    read.broken = have.into_iter().chain([("headers", read.headers.is_some())]).any(|(key, good)| section.has(key) && !good);
    read.broken |= !section.finish();
    read
}

fn host(value: &Value) -> Option<HostPattern> {
    let text = value.text()?;
    let cure = match text.as_str() {
        "*" => "leave `hosts` out: then any host is taken",
        _ => "write it as in `api.example.com` or `*.example.com`",
    };
    HostPattern::parse(&text).map_or_else(|why| value.refuse(Code::Impossible, why, cure), Some)
}

fn path(value: &Value) -> Option<PathPattern> {
    let example = "write `/orders` for all below it, or `{ exact: /orders }`";
    if let Kind::Map(_) = value.node.kind {
        let mut section = value.section(&[])?;
        let exact = section.require("exact", example, |v| pattern(v, PathPattern::exact));
        section.finish();
        return exact.map(|at| at.value);
    }
    if value.scalar().is_none() { value.wrong_type("a path", example) } else { pattern(value, PathPattern::prefix) }
}

fn pattern(value: &Value, parse: impl Fn(&str) -> Result<PathPattern, String>) -> Option<PathPattern> {
    let text = value.text()?;
    if text.contains('*') || text.contains('{') {
        return value.refuse(
            Code::Impossible,
            format_args!("{}: there are no wildcards in paths", quoted(&text)),
            "a path takes everything below it already: `/orders` also takes `/orders/1`",
        );
    }
    if text.contains(['?', '#']) {
        return value.refuse(
            Code::Impossible,
            format_args!("{}: query strings are never read for routing", quoted(&text)),
            "end the path before it",
        );
    }
    parse(&text).map_or_else(|why| value.refuse(Code::Impossible, why, "write it as in `/orders`"), Some)
}

fn method(value: &Value) -> Option<Method> {
    let text = value.text()?;
    let known =
        [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS].map(|m| (m.to_string(), m));
    let words: Vec<(&str, &Method)> = known.iter().map(|(word, method)| (word.as_str(), method)).collect();
    let never = match text.as_str() {
        "CONNECT" => Some("a tunnel's inside cannot be given a token, so CONNECT is never routed"),
        "TRACE" => Some("its answer would show the caller the token that the upstream got, so TRACE is never routed"),
        _ => None,
    };
    if let Some(why) = never {
        return value.refuse(Code::Impossible, why, "take it out");
    }
    value.choice(&words, &[]).cloned()
}

fn headers(value: &Value) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let Kind::Map(entries) = &value.node.kind else {
        return value.wrong_type("a map of header names and values", "write `{ x-tenant: acme }`");
    };
    complain_of_twins(entries, value);
    let mut out: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for entry in entries {
        let item = Value { node: &entry.value, key: entry.place, name: value.name.field(&entry.key), reading: value.reading };
        let Some((name, header)) = header(&entry.key, &item) else { continue };
        if out.iter().any(|(n, _)| *n == name) {
            item.refuse::<()>(Code::Repeated, "the same header twice, since case makes no difference", "take one of them out");
        }
        out.push((name, header));
    }
    if out.len() < entries.len() {
        return None;
    }
    // In one order, so that two routes with the same headers are seen to be the same.
    out.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    Some(out)
}

fn header(key: &str, value: &Value) -> Option<(HeaderName, HeaderValue)> {
    let Ok(name) = key.parse::<HeaderName>() else {
        return value.refuse(Code::Impossible, "this is no header name", "write it as in `x-tenant`");
    };
    if name == http::header::AUTHORIZATION || name == http::header::HOST {
        let cure = "take it out: `hosts` matches hosts, and the caller's token is verified, not compared";
        return value.refuse(Code::Impossible, "this header cannot choose a route", cure);
    }
    match HeaderValue::from_str(&value.text()?) {
        Ok(header) => Some((name, header)),
        Err(_) => value.refuse(Code::Impossible, "no header can have this value", "use printable characters"),
    }
}

/// What the routes' table takes. It borrows, so that ties can be looked for before anything is settled.
pub fn rule(matches: &Match, as_written: bool) -> Rule {
    let Match { hosts, path, methods, headers, broken: _ } = matches;
    Rule {
        hosts: plain_or_any(hosts),
        path: path.as_ref().map_or_else(|| PathPattern::Prefix("/".to_owned()), |at| at.value.clone()),
        methods: plain_or_any(methods),
        headers: headers.as_ref().map_or_else(Vec::new, |at| at.value.clone()),
        as_written,
    }
}

fn plain_or_any<T: Clone>(list: &Option<At<Vec<At<T>>>>) -> Vec<T> {
    list.iter().flat_map(|at| &at.value).map(|at| at.value.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{codes, with_route};
    use super::*;

    fn rule(written: &str) -> Rule {
        let text = include_str!("../../config/minimal.yaml").replace("{ path: /orders }", written);
        super::super::sample::whole(&text).routes.remove(0).rule
    }

    #[test]
    fn anything_unless_it_is_written() {
        let any = Rule { hosts: vec![], path: PathPattern::Prefix("/".into()), methods: vec![], headers: vec![], as_written: false };
        assert_eq!(rule("{}"), any);
        assert!(with_route("paths: as_written").routes[0].rule.as_written);
    }

    #[test]
    fn everything_that_can_be_said() {
        let found = rule("{ hosts: [A.example.com, \"*.b\"], path: { exact: /o }, methods: [GET], headers: { x-b: true, X-A: 1 } }");
        assert_eq!(found.hosts, [HostPattern::Exact("a.example.com".into()), HostPattern::Below("b".into())]);
        assert_eq!((found.path, found.methods), (PathPattern::Exact("/o".into()), vec![Method::GET]));
        let headers = found.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect::<Vec<_>>();
        assert_eq!(headers, [("x-a", "1"), ("x-b", "true")]);
    }

    #[test]
    fn a_path_that_is_none_is_no_tie() {
        let text = include_str!("../../config/minimal.yaml").replace("{ path: /orders }", "{ path: 1 }");
        let text = format!("{text}  all: {{ upstream: \"http://all\", token: strip }}\n");
        assert_eq!(codes(&text), [Code::Impossible]);
    }
}
