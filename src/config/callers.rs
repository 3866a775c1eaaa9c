//! `callers` and `require` of a route: who may call, and what their tokens must have besides being good. It refuses what would
//! let anybody have a token that is somebody's.

use super::complaint::{Code, Complaint};
use super::place::At;
use super::reading::Value;
use super::routes::Mode;
use super::section::{Section, complain_of_twins};
use super::target::scope;
use super::tree::Kind;
use super::verification::plain;
use crate::stack;
use crate::verify;

const WHO: &[(&str, stack::Callers)] = &[("verified", stack::Callers::Verified), ("anonymous", stack::Callers::Anonymous)];

/// Names of claims, and the values that do.
type Claims = Vec<(String, Vec<String>)>;

#[derive(Debug, Default)]
pub struct Callers {
    pub who: Option<At<stack::Callers>>,
    pub require: Option<At<Require>>,
}

#[derive(Debug, Default)]
pub struct Require {
    scopes: Option<At<Vec<At<String>>>>,
    claims: Option<At<Claims>>,
}

impl Callers {
    pub fn anonymous(&self) -> bool {
        self.who.is_some_and(|at| at.value == stack::Callers::Anonymous)
    }
}

pub fn read(route: &mut Section) -> Callers {
    Callers { who: route.take("callers", |v| v.choice(WHO, &[])), require: route.take("require", require) }
}

pub fn require(value: &Value) -> Option<Require> {
    let mut section = value.section(&[])?;
    let read = Require { scopes: section.take("scopes", |v| v.list(scope)), claims: section.take("claims", claims) };
    let nothing = !section.has("scopes") && !section.has("claims");
    if section.finish() && nothing {
        return value.refuse(Code::Empty, "nothing is required here", "write `scopes: [a]` or `claims: { name: [value] }`, or take it out");
    }
    Some(read)
}

fn claims(value: &Value) -> Option<Claims> {
    let Kind::Map(entries) = &value.node.kind else {
        return value.wrong_type("a map of claims and the values that do", "write `{ tenant: [acme] }`");
    };
    complain_of_twins(entries, value);
    if entries.is_empty() {
        return value.refuse(Code::Empty, "there is no claim in it", "write `{ tenant: [acme] }`, or leave it out");
    }
    let read = entries.iter().filter_map(|entry| {
        let item = Value { node: &entry.value, key: entry.place, name: value.name.field(&entry.key), reading: value.reading };
        if entry.key.is_empty() {
            return item.refuse(Code::Empty, "a claim without a name", "write the claim's name before the colon");
        }
        Some((entry.key.clone(), plain(item.one_or_more(|v| v.text())?)))
    });
    Some(read.collect())
}

/// What `callers` and `require` say of each other, and of what becomes of the token.
pub fn check(route: &Section, callers: &Callers, mode: Option<Mode>) {
    let Some(who) = callers.who.filter(|_| callers.anonymous()) else { return };
    if mode == Some(Mode::Exchange) {
        let message = format!("{}: `callers: anonymous` on a route that exchanges the caller's token: there may be none", route.name);
        let it = Complaint::error(Code::Anonymous, who.place, message);
        route.reading.complain(it.cure("take it out, or write `token: strip` or `token: client_credentials`"));
    }
    if let Some(require) = &callers.require {
        let message = format!("{}: `require` has no meaning with `callers: anonymous`: no token is looked at", route.name);
        let it = Complaint::error(Code::Anonymous, require.key, message);
        route.reading.complain(it.cure("take one of the two out"));
    }
}

pub fn settings(callers: Callers) -> (stack::Callers, verify::Require) {
    let Callers { who, require } = callers;
    (who.map_or(stack::Callers::Verified, |at| at.value), required(require))
}

pub fn required(require: Option<At<Require>>) -> verify::Require {
    let Require { scopes, claims } = require.map(|at| at.value).unwrap_or_default();
    verify::Require { scopes: scopes.map_or_else(Vec::new, |at| plain(at.value)), claims: claims.map_or_else(Vec::new, |at| at.value) }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused_route, whole, with_route};
    use super::*;
    use crate::stack::IssuerChoice;

    #[test]
    fn verified_and_nothing_more_unless_it_is_written() {
        let route = with_route("").routes.remove(0);
        assert_eq!((route.callers, route.require), (stack::Callers::Verified, verify::Require::default()));
        let route = with_route("callers: verified\nrequire: { scopes: [a, b], claims: { tenant: [acme, x], level: 2 } }").routes.remove(0);
        let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(route.require.scopes, ["a", "b"]);
        assert_eq!(route.require.claims, [("tenant".to_owned(), own(&["acme", "x"])), ("level".to_owned(), own(&["2"]))]);
    }

    #[test]
    fn anybody_may_have_what_is_nobodys() {
        let text = |mode: &str| {
            include_str!("../../config/minimal.yaml").replace("audience: orders-api", &format!("token: {mode}\n    callers: anonymous"))
        };
        for (mode, issuer) in [
            ("strip", IssuerChoice::Unneeded),
            ("passthrough", IssuerChoice::Unneeded),
            ("client_credentials\n    audience: orders-api", IssuerChoice::Named("main".into())),
        ] {
            let route = whole(&text(mode)).routes.remove(0);
            assert_eq!((route.callers, route.issuer), (stack::Callers::Anonymous, issuer), "{mode}");
        }
        assert_eq!(refused_route("callers: anonymous"), [Code::Anonymous]);
        assert_eq!(refused_route("callers: anonymous\nrequire: { scopes: [a] }"), [Code::Anonymous, Code::Anonymous]);
        assert_eq!(refused_route("callers: everybody"), [Code::Choice]);
    }

    #[test]
    fn what_cannot_be_required() {
        for (written, code) in [
            ("require: {}", Code::Empty),
            ("require: [a]", Code::WrongType),
            ("require: { scopes: [] }", Code::Empty),
            ("require: { scopes: [a b] }", Code::Impossible),
            ("require: { claims: {} }", Code::Empty),
            ("require: { claims: { a: [] } }", Code::Empty),
            ("require: { claims: { a: { b: c } } }", Code::WrongType),
            ("require: { claim: { a: b } }", Code::UnknownField),
        ] {
            assert_eq!(refused_route(written), [code], "{written}");
        }
    }
}
