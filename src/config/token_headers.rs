//! `caller_token_header` and `token_header` of a route: where the caller's token is found, and where the one for the upstream
//! goes. It refuses headers that mean something else, to the gateway or to this configuration.

use super::complaint::{Code, Complaint, quoted};
use super::force_update::ForceUpdate;
use super::place::At;
use super::reading::{Reading, Value};
use super::routes::{Mode, Route};
use super::section::Section;
use super::target::meaningless;
use crate::stack::{self, may_hold_tokens};
use crate::token::Actor;
use http::header::{AUTHORIZATION, HeaderName};

#[derive(Debug, Default)]
pub struct TokenHeaders {
    pub callers: Option<At<HeaderName>>,
    pub upstream: Option<At<HeaderName>>,
}

pub fn read(route: &mut Section) -> TokenHeaders {
    TokenHeaders { callers: route.take("caller_token_header", header), upstream: route.take("token_header", header) }
}

fn header(value: &Value) -> Option<HeaderName> {
    let text = value.text()?;
    let example = "write `authorization`, or a name of its own as in `X-Token`";
    match text.parse::<HeaderName>() {
        Ok(name) if name == AUTHORIZATION || may_hold_tokens(&name) => Some(name),
        Ok(_) => value.refuse(Code::Impossible, format_args!("{} means something else", quoted(&text)), example),
        Err(_) => value.refuse(Code::Impossible, format_args!("{} is no header name", quoted(&text)), example),
    }
}

/// Where no token goes upstream, nothing says where it goes.
pub fn check(route: &Section, headers: &TokenHeaders, mode: Option<Mode>) {
    if let Some(at) = headers.upstream.as_ref().filter(|_| mode == Some(Mode::Strip)) {
        meaningless(route, "token_header", at.key, "strip", "no token goes upstream");
    }
}

/// One header cannot hold two things.
pub fn check_shared(route: &Route, force_update: &ForceUpdate, reading: &Reading) {
    let actor = route.target.actor.as_ref().and_then(|at| match &at.value {
        Actor::Header(name) => Some(name),
        Actor::Nobody | Actor::Gateway => None,
    });
    let force = force_update.header.as_ref().map(|at| &at.value);
    let written = [("caller_token_header", &route.headers.callers), ("token_header", &route.headers.upstream)];
    for (key, at) in written.into_iter().filter_map(|(key, at)| Some((key, at.as_ref()?))) {
        let matched = route.matches.headers.iter().flat_map(|at| &at.value).any(|(name, _)| *name == at.value);
        let other = match Some(&at.value) {
            name if name == actor && key == "caller_token_header" => "the actor's token (`actor.header`)",
            name if name == force => "`force_update.header`",
            _ if matched => "what chooses the route (`match.headers`)",
            _ => continue,
        };
        let message = format!("route `{}`: `{key}` is also the header of {other}", route.name.value);
        reading.complain(Complaint::error(Code::HeaderTaken, at.place, message).cure("give one of them another header"));
    }
}

pub fn settings(written: TokenHeaders) -> stack::TokenHeaders {
    let TokenHeaders { callers, upstream } = written;
    let base = stack::TokenHeaders::default();
    stack::TokenHeaders { callers: callers.map_or(base.callers, |at| at.value), upstream: upstream.map_or(base.upstream, |at| at.value) }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{codes, refused_route, with_route};
    use super::*;

    #[test]
    fn authorization_unless_it_is_written() {
        assert_eq!(with_route("").routes[0].headers, stack::TokenHeaders::default());
        let found = with_route("caller_token_header: X-Token\ntoken_header: X-Backend-Token").routes.remove(0).headers;
        assert_eq!((found.callers.as_str(), found.upstream.as_str()), ("x-token", "x-backend-token"));
        assert_eq!(with_route("token_header: Authorization").routes[0].headers, stack::TokenHeaders::default());
    }

    #[test]
    fn what_means_something_else_is_refused() {
        for name in ["host", "X-Forwarded-For", "cookie", "content-type", "x_forwarded_for", "traceparent", "te", "two words", "origin"] {
            assert_eq!(refused_route(&format!("token_header: {name}")), [Code::Impossible], "{name}");
            assert_eq!(refused_route(&format!("caller_token_header: {name}")), [Code::Impossible], "{name}");
        }
        assert_eq!(refused_route("caller_token_header: X-A\nactor: { header: x-a }"), [Code::HeaderTaken]);
        let text = include_str!("../../config/minimal.yaml").replace("audience: orders-api", "token: strip\n    token_header: X-A");
        assert_eq!(codes(&text), [Code::ExchangeOnly]);
        let text = include_str!("../../config/minimal.yaml").replace("{ path: /orders }", "{ headers: { x-a: b } }");
        assert_eq!(codes(&text.replace("audience:", "token_header: x-a\n    audience:")), [Code::HeaderTaken]);
        let force = "force_update: { header: X-A, trusted_from: [10.0.0.0/8] }\n";
        let text = include_str!("../../config/minimal.yaml").replace("audience:", "caller_token_header: X-A\n    audience:");
        assert_eq!(codes(&format!("{text}{force}")), [Code::HeaderTaken]);
    }
}
