//! `rewrite` of a route: what is cut off its paths, and which `Host` the upstream sees. It refuses to cut off anything but what the
//! route matches.

use super::complaint::{Code, Complaint, quoted};
use super::matching::Match;
use super::place::At;
use super::reading::Value;
use super::section::Section;
use crate::route::{HostPattern, PathPattern};
use crate::stack::{self, HostRewrite};
use http::HeaderValue;
use http::uri::Authority;

#[derive(Debug, Default)]
pub struct Rewrite {
    strip_prefix: Option<At<String>>,
    host: Option<At<HostRewrite>>,
}

pub fn read(route: &mut Section) -> Rewrite {
    let Some(at) = route.take("rewrite", |value| value.section(&[])) else { return Rewrite::default() };
    let mut section = at.value;
    let read = Rewrite { strip_prefix: section.take("strip_prefix", prefix), host: section.take("host", host) };
    section.finish();
    read
}

fn prefix(value: &Value) -> Option<String> {
    let text = value.text()?;
    match PathPattern::prefix(&text) {
        Ok(pattern) if pattern.text() == "/" => {
            value.refuse(Code::Range, "`/` is nothing that could be cut off", "take it out, or give the route a `match.path`")
        }
        Ok(pattern) => Some(pattern.text().to_owned()),
        Err(why) => value.refuse(Code::Impossible, why, "write it as in `/orders`"),
    }
}

fn host(value: &Value) -> Option<HostRewrite> {
    let text = value.text()?;
    match text.as_str() {
        "preserve" => return Some(HostRewrite::Preserve),
        "upstream" => return Some(HostRewrite::Upstream),
        _ => {}
    }
    let name = text
        .parse::<Authority>()
        .ok()
        .filter(|it| !text.contains('@') && matches!(HostPattern::parse(it.host()), Ok(HostPattern::Exact(_))));
    match name.and_then(|_| HeaderValue::from_str(&text).ok()) {
        Some(name) => Some(HostRewrite::Name(name)),
        None => value.refuse(
            Code::Impossible,
            format_args!("{} is no host", quoted(&text)),
            "write `preserve`, `upstream`, or a name as in `orders.internal` or `orders.internal:8443`",
        ),
    }
}

/// Only what every request of the route begins with can be cut off.
pub fn check(route: &Section, rewrite: &Rewrite, matches: &Match) {
    let Some(prefix) = rewrite.strip_prefix.as_ref().filter(|_| !matches.broken) else { return };
    let path = matches.path.as_ref().map_or("/", |at| at.value.text());
    if path != prefix.value {
        let message = format!("{}: `strip_prefix` is {}, and the route's path is {}", route.name, quoted(&prefix.value), quoted(path));
        let it = Complaint::error(Code::StripPrefix, prefix.place, message);
        route.reading.complain(it.cure("write the same path in both: what the route matches is cut off, letter by letter"));
    }
}

pub fn settings(written: Rewrite) -> stack::Rewrite {
    let Rewrite { strip_prefix, host } = written;
    stack::Rewrite { strip_prefix: strip_prefix.map(|at| at.value.into()), host: host.map_or(HostRewrite::Preserve, |at| at.value) }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{codes, refused_route, with_route};
    use super::*;

    #[test]
    fn nothing_is_rewritten_unless_it_is_written() {
        assert_eq!(with_route("").routes[0].rewrite, stack::Rewrite::default());
        let found = |written: &str| with_route(&format!("rewrite: {{ {written} }}")).routes.remove(0).rewrite;
        assert_eq!(found("strip_prefix: /orders").strip_prefix.as_deref(), Some("/orders"));
        assert_eq!(found("strip_prefix: /orders/").strip_prefix.as_deref(), Some("/orders"));
        assert_eq!(found("host: preserve").host, HostRewrite::Preserve);
        assert_eq!(found("host: upstream").host, HostRewrite::Upstream);
        assert_eq!(found("host: \"orders.internal:8443\"").host, HostRewrite::Name(HeaderValue::from_static("orders.internal:8443")));
    }

    #[test]
    fn what_cannot_be_rewritten() {
        for (written, code) in [
            ("strip_prefix: /order", Code::StripPrefix),
            ("strip_prefix: /orders/1", Code::StripPrefix),
            ("strip_prefix: /Orders", Code::StripPrefix),
            ("strip_prefix: /", Code::Range),
            ("strip_prefix: orders", Code::Impossible),
            ("strip_prefix: /a/../orders", Code::Impossible),
            ("host: \"a b\"", Code::Impossible),
            ("host: \"http://a\"", Code::Impossible),
            ("host: \"u@a\"", Code::Impossible),
            ("host: \"*.a\"", Code::Impossible),
            ("prefix: /orders", Code::UnknownField),
        ] {
            assert_eq!(refused_route(&format!("rewrite: {{ {written} }}")), [code], "{written}");
        }
    }

    #[test]
    fn a_route_for_everything_has_nothing_to_cut_off() {
        let text = include_str!("../../config/minimal.yaml").replace("match: { path: /orders }", "rewrite: { strip_prefix: /orders }");
        assert_eq!(codes(&text), [Code::StripPrefix]);
    }
}
