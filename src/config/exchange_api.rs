//! `exchange_api`: the listeners on which programs may ask for tokens themselves, and for which audiences; off unless it is
//! written. An audience that is not named here cannot be had.

use super::callers::{Require, require, required};
use super::check::check_told_apart;
use super::complaint::{Code, Complaint, quoted};
use super::nearest;
use super::place::At;
use super::reading::{Name, Reading, Value};
use super::section::{BY_TOKEN, Section, complain_of_twins};
use super::target::scope;
use super::tree::Kind;
use super::url::resource;
use super::verification::plain;
use super::{issuers, listeners::Listener};
use crate::api::{self, AudienceSettings};
use std::sync::Arc;
use std::time::Duration;

const LONGEST_NAME: usize = 255;

#[derive(Debug)]
pub struct ExchangeApi {
    pub listeners: Option<At<Vec<At<String>>>>,
    pub audiences: Option<Vec<Audience>>,
}

#[derive(Debug)]
pub struct Audience {
    pub name: At<String>,
    pub issuer: Option<At<String>>,
    /// The key is there, whatever stands in it.
    pub issuer_written: bool,
    pub scopes: Option<At<Vec<At<String>>>>,
    pub resource: Option<At<Vec<At<String>>>>,
    pub require: Option<At<Require>>,
}

/// `None`: it is off.
pub fn read(root: &mut Section) -> Option<ExchangeApi> {
    let mut section = root.take("exchange_api", |value| value.section(&[]))?.value;
    let listeners = section.require("listeners", "write where it is to be reached, as in `listeners: [main]`", |v| v.list(|v| v.text()));
    let audiences = section.require("audiences", "write what may be asked for, as in `audiences: { orders-api: {} }`", audiences);
    section.finish();
    Some(ExchangeApi { listeners, audiences: audiences.map(|at| at.value) })
}

/// Names as the issuer has them, which may be longer and odder than ours.
fn audiences(value: &Value) -> Option<Vec<Audience>> {
    let Kind::Map(entries) = &value.node.kind else {
        return value.wrong_type("a map of audiences", "write `audience-name: {}`, with scopes below it if any are needed");
    };
    if entries.is_empty() {
        return value.refuse(Code::Empty, "there is no audience in it", "add one");
    }
    complain_of_twins(entries, value);
    let mut out: Vec<Audience> = Vec::new();
    for entry in entries {
        let name = At { value: entry.key.clone(), place: entry.place, key: entry.place };
        if name.value.trim().is_empty() || name.value.len() > LONGEST_NAME || name.value.chars().any(char::is_control) {
            let message = format!("audience {}: such a name is not allowed", quoted(&name.value));
            let cure = "write the client id of the backend, or what else its tokens have in `aud`";
            value.reading.complain(Complaint::error(Code::Name, entry.place, message).cure(cure));
        }
        let one = Value { node: &entry.value, key: entry.place, name: Name::of("audience", &entry.key), reading: value.reading };
        if let Some(section) = one.section(&[]) {
            out.push(audience(section, name));
        }
    }
    Some(out)
}

fn audience(mut section: Section, name: At<String>) -> Audience {
    let s = &mut section;
    let issuer_written = s.has("issuer");
    let issuer = s.take("issuer", |v| v.text());
    let scopes = s.take("scopes", |v| v.list(scope));
    let resource = s.take("resource", |v| v.list(resource));
    let require = s.take("require", require);
    section.finish();
    Audience { name, issuer, issuer_written, scopes, resource, require }
}

impl ExchangeApi {
    pub fn uses_listener(&self, name: &str) -> bool {
        self.listeners.iter().flat_map(|at| &at.value).any(|l| l.value == name)
    }

    /// `only`: there is no other issuer.
    pub fn uses_issuer(&self, name: &str, only: bool) -> bool {
        self.audiences.iter().flatten().any(|a| a.issuer.as_ref().map_or(only, |at| at.value == name || at.value == BY_TOKEN))
    }

    /// What it says of listeners and issuers.
    pub fn check(&self, listeners: Option<&[Listener]>, issuers: Option<&[issuers::Written]>, reading: &Reading) {
        check_listeners("`exchange_api`", self.listeners.as_ref(), listeners, reading);
        let Some(issuers) = issuers else { return };
        let have: Vec<&str> = issuers.iter().map(|i| i.name.value.as_str()).collect();
        for audience in self.audiences.iter().flatten() {
            let subject = format!("audience {}", quoted(&audience.name.value));
            let of_audience: &[issuers::Written] = match &audience.issuer {
                Some(at) if at.value == BY_TOKEN => {
                    check_told_apart(issuers, reading);
                    issuers
                }
                Some(at) => match issuers.iter().find(|i| i.name.value == at.value) {
                    Some(issuer) => std::slice::from_ref(issuer),
                    None => {
                        dangling(&subject, "issuer", at, &have, reading);
                        continue;
                    }
                },
                None if audience.issuer_written => continue,
                None if issuers.len() < 2 => issuers,
                None => {
                    let message = format!("{subject}: which issuer? There are {}", have.join(", "));
                    let cure = "write `issuer: name`, or `issuer: by_token` for the one whose url is the token's iss";
                    reading.complain(Complaint::error(Code::WhichIssuer, audience.name.place, message).cure(cure));
                    continue;
                }
            };
            if of_audience.iter().any(|i| i.client_id.as_ref().is_some_and(|own| own.value == audience.name.value)) {
                let it = Complaint::error(Code::OwnAudience, audience.name.place, format!("{subject} is this gateway's own client_id"));
                reading.complain(it.cure("name the backend's client: the exchanged token must be good there and nowhere else"));
            }
        }
    }
}

/// Complains about listeners that there are not.
pub fn check_listeners(subject: &str, named: Option<&At<Vec<At<String>>>>, listeners: Option<&[Listener]>, reading: &Reading) {
    let have: Vec<&str> = listeners.map_or_else(|| vec!["main"], |list| list.iter().map(|l| l.name.value.as_str()).collect());
    for name in named.iter().flat_map(|at| &at.value).filter(|name| !have.contains(&name.value.as_str())) {
        dangling(subject, "listener", name, &have, reading);
    }
}

fn dangling(subject: &str, what: &str, name: &At<String>, have: &[&str], reading: &Reading) {
    let hint = nearest::hint(&name.value, have.iter().copied());
    let list = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let message = format!("{subject}: {what} {} is not defined (have: {list}){hint}", quoted(&name.value));
    let cure = format!("define it under `{what}s`, or use one that is there");
    reading.complain(Complaint::error(Code::Dangling, name.place, message).cure(cure));
}

/// `only`: the issuer where none is written.
pub fn settings(written: Option<ExchangeApi>, only: Option<&Arc<str>>, max_ttl: Duration) -> Option<api::Settings> {
    let ExchangeApi { listeners, audiences } = written?;
    let list = |at: Option<At<Vec<At<String>>>>| at.map_or_else(Vec::new, |at| plain(at.value));
    let one = |Audience { name, issuer, issuer_written: _, scopes, resource, require }: Audience| {
        let issuer = match issuer {
            Some(at) if at.value == BY_TOKEN => None,
            Some(at) => Some(at.value.into()),
            None => Some(only.cloned()?),
        };
        let (name, require) = (name.value, required(require));
        Some(AudienceSettings { name, issuer, scopes: list(scopes), resources: list(resource), require, max_ttl })
    };
    Some(api::Settings {
        listeners: list(listeners).into_iter().map(Into::into).collect(),
        audiences: audiences?.into_iter().map(one).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused};
    use super::*;

    #[test]
    fn off_unless_written_and_then_for_what_is_named() {
        assert_eq!(config("").exchange_api, None);
        let found = config("exchange_api: { listeners: [main], audiences: { orders-api: {}, \"urn:x/Y\": { scopes: [a] } } }\n");
        let api = found.exchange_api.unwrap();
        assert_eq!((&*api.listeners[0], api.audiences.len()), ("main", 2));
        assert_eq!(
            (&*api.audiences[1].name, api.audiences[1].issuer.as_deref(), &*api.audiences[1].scopes),
            ("urn:x/Y", Some("main"), &["a".to_owned()][..])
        );
        assert_eq!(api.audiences[0].max_ttl, Duration::from_secs(300));
    }

    #[test]
    fn as_a_route_by_the_token_and_with_what_is_required() {
        let more = "issuer: by_token, resource: [\"https://a.example/\"], require: { scopes: [b], claims: { tenant: acme } }";
        let mut found = config(&format!("exchange_api: {{ listeners: [main], audiences: {{ a: {{ {more} }} }} }}\n"));
        let audience = found.exchange_api.unwrap().audiences.remove(0);
        assert_eq!((audience.issuer, &*audience.resources[0], &*audience.require.scopes[0]), (None, "https://a.example/", "b"));
        assert_eq!(audience.require.claims, [("tenant".to_owned(), vec!["acme".to_owned()])]);
        assert_eq!(found.issuers.remove(0).verify.keep, ["tenant"], "so that there is something to look at");
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let of = |fields: &str| refused(&format!("exchange_api: {{ {fields} }}\n"));
        assert_eq!(of(""), [Code::Missing, Code::Missing]);
        assert_eq!(of("listeners: [min], audiences: { a: { issuer: x } }"), [Code::Dangling, Code::Dangling]);
        assert_eq!(of("listeners: [main], audiences: { gateway: {} }"), [Code::OwnAudience]);
        assert_eq!(of("listeners: [main], audiences: {}"), [Code::Empty]);
        assert_eq!(of("listeners: [main], audiences: { a: { audience: b } }"), [Code::UnknownField]);
    }
}
