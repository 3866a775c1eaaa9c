//! `actor` and the token types of a route: who acts for the caller, and what kinds of token are sent and asked for. It refuses
//! headers that mean something else already, and kinds of token that no backend may be given.

use super::complaint::{Code, Complaint, quoted};
use super::reading::Value;
use super::tree::Kind;
use crate::token::{ACCESS_TOKEN, Actor};
use http::header::{self, HeaderName};
use url::Url;

const EXAMPLE: &str = "write `{ header: X-Actor-Token }`, or `{ gateway: true }`";
/// Headers that are somebody else's: what frames a request, says where it goes, or holds other credentials.
const TAKEN: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    header::VIA,
];
/// Kinds of token that are not for a backend: to get new ones with, to log in with, or no bearer tokens at all.
const NEVER: [&str; 4] = ["refresh_token", "id_token", "saml1", "saml2"];

pub fn actor(value: &Value) -> Option<Actor> {
    let Kind::Map(_) = value.node.kind else { return value.wrong_type("who acts", EXAMPLE) };
    let mut section = value.section(&[])?;
    let (both, neither) = (section.has("header") && section.has("gateway"), !section.has("header") && !section.has("gateway"));
    let header = section.take("header", header_name).map(|at| Actor::Header(at.value));
    let gateway = section.take("gateway", gateway).map(|_| Actor::Gateway);
    if neither {
        let it = Complaint::error(Code::Missing, section.place, format!("{}: neither `header` nor `gateway` is given", section.name));
        section.reading.complain(it.cure(EXAMPLE));
    }
    section.finish();
    if both {
        return value.refuse(Code::Repeated, "both `header` and `gateway` are given", "take one of them out: one acts");
    }
    header.or(gateway)
}

fn header_name(value: &Value) -> Option<HeaderName> {
    let text = value.text()?;
    match text.parse::<HeaderName>() {
        Ok(name) if TAKEN.contains(&name) => value.refuse(
            Code::Impossible,
            format_args!("{} is not for this", quoted(&text)),
            "choose a name of its own, as in `X-Actor-Token`",
        ),
        Ok(name) => Some(name),
        Err(_) => value.refuse(Code::Impossible, format_args!("{} is no header name", quoted(&text)), "write it as in `X-Actor-Token`"),
    }
}

fn gateway(value: &Value) -> Option<()> {
    match value.boolean()? {
        true => Some(()),
        false => value.refuse(Code::Choice, "`false` is nobody", "take `actor` out where nobody acts"),
    }
}

/// `access_token`, or a URN (RFC 8693 §3) as it is.
pub fn token_type(value: &Value) -> Option<String> {
    let text = value.text()?;
    if text == "access_token" {
        return Some(ACCESS_TOKEN.to_owned());
    }
    let uri = !text.chars().any(char::is_whitespace) && Url::parse(&text).is_ok();
    if uri {
        return Some(text);
    }
    value.refuse(
        Code::Choice,
        format_args!("{} is no type of token", quoted(&text)),
        "write `access_token`, or the whole URN, as in `urn:ietf:params:oauth:token-type:jwt`",
    )
}

/// A type that may be asked for.
pub fn requested_type(value: &Value) -> Option<String> {
    let urn = token_type(value)?;
    let kind = urn.strip_prefix("urn:ietf:params:oauth:token-type:").unwrap_or_default();
    if NEVER.contains(&kind) {
        return value.refuse(Code::Choice, format_args!("{} is nothing to send to a backend", quoted(kind)), "ask for an access_token");
    }
    Some(urn)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused_route, with_route};
    use super::*;
    use crate::token::TargetSettings;

    fn target(route: &str) -> TargetSettings {
        with_route(route).routes.remove(0).token.target().unwrap().clone()
    }

    #[test]
    fn who_acts() {
        assert_eq!(target("").actor, Actor::Nobody);
        assert_eq!(target("actor: { header: X-Actor-Token }").actor, Actor::Header(HeaderName::from_static("x-actor-token")));
        assert_eq!(target("actor: { gateway: true }").actor, Actor::Gateway);
        for (written, code) in [
            ("actor: X-Actor-Token", Code::WrongType),
            ("actor: {}", Code::Missing),
            ("actor: { header: a, gateway: true }", Code::Repeated),
            ("actor: { gateway: false }", Code::Choice),
            ("actor: { header: \"a b\" }", Code::Impossible),
            ("actor: { header: Authorization }", Code::Impossible),
            ("actor: { header: Host }", Code::Impossible),
            ("actor: { claim: x }", Code::Missing),
        ] {
            assert_eq!(refused_route(written)[0], code, "{written}");
        }
    }

    #[test]
    fn types_of_tokens() {
        let found = target("");
        assert_eq!((&*found.subject_token_type, &*found.requested_token_type), (ACCESS_TOKEN, ACCESS_TOKEN));
        let jwt = "urn:ietf:params:oauth:token-type:jwt";
        let found = target(&format!("subject_token_type: {jwt}\nrequested_token_type: access_token"));
        assert_eq!((&*found.subject_token_type, &*found.requested_token_type), (jwt, ACCESS_TOKEN));
        assert_eq!(target(&format!("requested_token_type: {jwt}")).requested_token_type, jwt);
        assert_eq!(target("subject_token_type: \"https://acme.example/legacy\"").subject_token_type, "https://acme.example/legacy");
        assert_eq!(refused_route("subject_token_type: jwt"), [Code::Choice]);
        for never in NEVER {
            assert_eq!(
                refused_route(&format!("requested_token_type: urn:ietf:params:oauth:token-type:{never}")),
                [Code::Choice],
                "{never}"
            );
        }
    }
}
