//! `logout`: where issuers say that a session is over (OIDC back-channel logout); off unless it is written.

use super::complaint::Code;
use super::exchange_api::check_listeners;
use super::listeners::Listener;
use super::place::At;
use super::reading::{Reading, Value};
use super::section::Section;
use super::verification::plain;
use crate::api;

const PATH: &str = "/backchannel-logout";

#[derive(Debug)]
pub struct Logout {
    pub path: Option<At<String>>,
    pub listeners: Option<At<Vec<At<String>>>>,
    pub clients: Option<At<Vec<At<String>>>>,
}

/// `None`: it is off.
pub fn read(root: &mut Section) -> Option<Logout> {
    let mut section = root.take("logout", |value| value.section(&[]))?.value;
    let path = section.take("path", path);
    let listeners = section.require("listeners", "write where issuers can reach it, as in `listeners: [main]`", |v| v.list(|v| v.text()));
    let clients = section.take("clients", |v| v.list(|v| v.text()));
    section.finish();
    Some(Logout { path, listeners, clients })
}

/// A plain path, which has one reading only; and none of those that something else is behind.
fn path(value: &Value) -> Option<String> {
    let text = value.text()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
    let dots = text.split('/').skip(1).any(|s| s.is_empty() || s.ends_with('.'));
    if !text.starts_with('/') || !text.bytes().all(plain) || dots {
        let cure = "write it as in `/backchannel-logout`: letters, digits, `-`, `_` and `.` between single slashes";
        return value.refuse(Code::Impossible, "this is no plain path", cure);
    }
    if [api::EXCHANGE_PATH, api::OPENAPI_PATH].iter().any(|taken| text.eq_ignore_ascii_case(taken)) {
        return value.refuse(Code::Name, "the exchange API is behind this path", "choose another path");
    }
    Some(text)
}

impl Logout {
    pub fn check(&self, listeners: Option<&[Listener]>, reading: &Reading) {
        check_listeners("`logout`", self.listeners.as_ref(), listeners, reading);
    }

    pub fn uses_listener(&self, name: &str) -> bool {
        self.listeners.iter().flat_map(|at| &at.value).any(|l| l.value == name)
    }
}

pub fn settings(written: Option<Logout>) -> Option<api::LogoutSettings> {
    let Logout { path, listeners, clients } = written?;
    let list = |at: Option<At<Vec<At<String>>>>| at.map_or_else(Vec::new, |at| plain(at.value));
    Some(api::LogoutSettings {
        path: path.map_or_else(|| PATH.to_owned(), |at| at.value),
        listeners: list(listeners).into_iter().map(Into::into).collect(),
        clients: list(clients),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused};

    #[test]
    fn off_unless_written_and_on_a_plain_path() {
        assert_eq!(config("").logout, None);
        let found = config("logout: { listeners: [main] }\n").logout.unwrap();
        assert_eq!((&*found.path, &*found.listeners[0], found.clients.len()), ("/backchannel-logout", "main", 0));
        let found = config("logout: { listeners: [main], path: /a/b-c, clients: [shop-web] }\n").logout.unwrap();
        assert_eq!((&*found.path, &*found.clients[0]), ("/a/b-c", "shop-web"));
        let of = |fields: &str| refused(&format!("logout: {{ {fields} }}\n"));
        assert_eq!(of(""), [Code::Missing]);
        assert_eq!(of("listeners: [min]"), [Code::Dangling]);
        for bad in ["a", "/", "/a/", "//a", "/a/../b", "/a%2f", "/a;b", "/a?b"] {
            assert_eq!(of(&format!("listeners: [main], path: \"{bad}\"")), [Code::Impossible], "{bad}");
        }
        assert_eq!(of("listeners: [main], path: /V1/exchange"), [Code::Name]);
    }
}
