//! `listeners`: where callers come in. It binds nothing.

use super::address::address;
use super::listener_tls;
use super::place::At;
use super::section::{Section, named};
use crate::listen;
use crate::tls::server;
use std::net::{Ipv4Addr, SocketAddr};

const LATER: &[&str] = &["proxy_protocol", "trusted_proxies", "mode", "unmatched"];

#[derive(Debug)]
pub struct Listener {
    pub name: At<String>,
    pub address: Option<At<SocketAddr>>,
    pub tls: Option<server::Settings>,
}

/// `None`: none are written, and the one by default stands.
pub fn read(root: &mut Section) -> Option<Vec<Listener>> {
    let value = root.value("listeners")?;
    named(&value, "listener", |value, name| {
        let Some(mut section) = value.section(LATER) else { return Some(Listener { name, address: None, tls: None }) };
        let address = section.require("address", "write an IP address and a port, as in `0.0.0.0:8080`", address);
        let tls = section.take("tls", listener_tls::read);
        section.finish();
        Some(Listener { name, address, tls: tls.map(|at| at.value) })
    })
    .or(Some(Vec::new()))
}

pub fn settings(written: Option<Vec<Listener>>) -> Option<Vec<listen::Settings>> {
    let Some(written) = written else {
        return Some(vec![listen::Settings { name: "main".into(), address: (Ipv4Addr::UNSPECIFIED, 8080).into(), tls: None }]);
    };
    let one = |Listener { name, address, tls }: Listener| Some(listen::Settings { name: name.value.into(), address: address?.value, tls });
    written.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::config;

    #[test]
    fn one_by_default_else_those_that_are_written() {
        let found = |top: &str| config(top).listeners.iter().map(|l| format!("{} {}", l.name, l.address)).collect::<Vec<_>>();
        assert_eq!(found(""), ["main 0.0.0.0:8080"]);
        assert_eq!(found("listeners:\n  a: { address: 127.0.0.1:0 }\n  b: { address: \"[::1]:0\" }\n"), ["a 127.0.0.1:0", "b [::1]:0"]);
    }
}
