//! `listeners`: where callers come in. It binds nothing.

use super::address::{address, network};
use super::complaint::Code;
use super::listener_tls;
use super::place::At;
use super::reading::Value;
use super::section::{Section, named};
use crate::listen::{self, Manner, TrustedProxies};
use crate::stack::{OutboundSettings, Unmatched};
use crate::tls::server;
use ipnet::IpNet;
use std::net::{Ipv4Addr, SocketAddr};

const MODES: &[(&str, Mode)] = &[("reverse", Mode::Reverse), ("outbound", Mode::Outbound)];
const UNMATCHED: &[(&str, Unmatched)] =
    &[("refuse", Unmatched::Refuse), ("strip", Unmatched::Strip), ("passthrough", Unmatched::Passthrough)];

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Callers who address the gateway.
    #[default]
    Reverse,
    /// Workloads whose proxy the gateway is.
    Outbound,
}

#[derive(Debug)]
pub struct Listener {
    pub name: At<String>,
    pub address: Option<At<SocketAddr>>,
    pub tls: Option<server::Settings>,
    pub proxy_protocol: bool,
    pub trusted_proxies: Option<At<Vec<At<IpNet>>>>,
    pub mode: Mode,
    pub unmatched: Unmatched,
}

impl Listener {
    /// Whether it serves somebody though no route is for it.
    pub fn needs_no_route(&self) -> bool {
        self.unmatched != Unmatched::Refuse
    }
}

/// `None`: none are written, and the one by default stands.
pub fn read(root: &mut Section) -> Option<Vec<Listener>> {
    let value = root.value("listeners")?;
    named(&value, "listener", |value, name| {
        let Some(section) = value.section(&[]) else {
            let (mode, unmatched) = Default::default();
            return Some(Listener { name, address: None, tls: None, proxy_protocol: false, trusted_proxies: None, mode, unmatched });
        };
        Some(one(section, name))
    })
    .or(Some(Vec::new()))
}

fn one(mut section: Section, name: At<String>) -> Listener {
    let address = section.require("address", "write an IP address and a port, as in `0.0.0.0:8080`", address);
    let tls = section.take("tls", listener_tls::read);
    let trusted_proxies = section.take("trusted_proxies", |v| v.list(network));
    let alone = !section.has("trusted_proxies");
    let proxy_protocol = section.take("proxy_protocol", |v| proxy_protocol(v, alone));
    // Written, and unreadable: there is nothing to say of what it would not go with.
    let unreadable = section.has("mode");
    let mode = section.take("mode", |v| v.choice(MODES, &[])).map(|at| at.value);
    let judged = if mode.is_none() && unreadable { None } else { Some(mode.unwrap_or_default()) };
    let unmatched = section.take("unmatched", |v| self::unmatched(v, judged, address.as_ref()));
    section.finish();
    Listener {
        name,
        address,
        tls: tls.map(|at| at.value),
        proxy_protocol: proxy_protocol.is_some_and(|at| at.value),
        trusted_proxies,
        mode: mode.unwrap_or_default(),
        unmatched: unmatched.map_or(Unmatched::Refuse, |at| at.value),
    }
}

fn unmatched(value: &Value, mode: Option<Mode>, address: Option<&At<SocketAddr>>) -> Option<Unmatched> {
    let written = value.choice(UNMATCHED, &[])?;
    if mode == Some(Mode::Reverse) {
        return value.refuse(
            Code::Unmatched,
            "it has no effect without `mode: outbound`",
            "write `mode: outbound` if workloads are to use this listener as their HTTP_PROXY, or take `unmatched` out",
        );
    }
    let open = address.filter(|at| !at.value.ip().to_canonical().is_loopback());
    match open {
        Some(at) if written != Unmatched::Refuse => value.refuse(
            Code::Unmatched,
            format_args!("anybody who reaches {} could have the gateway ask whomever they name", at.value),
            "listen on a loopback address, as in `127.0.0.1:8888`, or write `unmatched: refuse`",
        ),
        _ => Some(written),
    }
}

/// `alone`: nobody is trusted to send the header.
fn proxy_protocol(value: &Value, alone: bool) -> Option<bool> {
    match value.boolean()? {
        true if alone => value.refuse(
            Code::ProxyProtocol,
            "the header is read from `trusted_proxies` only, and there are none: nobody could connect",
            "list the addresses of the load balancers in `trusted_proxies`, as in `[10.0.0.0/8]`",
        ),
        written => Some(written),
    }
}

/// Those that are outbound proxies.
pub fn outbound(written: Option<&[Listener]>) -> Vec<OutboundSettings> {
    let outbound = written.into_iter().flatten().filter(|l| l.mode == Mode::Outbound);
    outbound.map(|l| OutboundSettings { listener: l.name.value.as_str().into(), unmatched: l.unmatched }).collect()
}

pub fn settings(written: Option<Vec<Listener>>) -> Option<Vec<listen::Settings>> {
    let Some(written) = written else {
        let address = (Ipv4Addr::UNSPECIFIED, 8080).into();
        return Some(vec![listen::Settings { name: "main".into(), address, manner: Manner::default() }]);
    };
    let one = |Listener { name, address, tls, proxy_protocol, trusted_proxies, mode: _, unmatched: _ }: Listener| {
        let trusted = trusted_proxies.into_iter().flat_map(|at| at.value).map(|at| at.value);
        let manner = Manner { tls, proxy_protocol, trusted: TrustedProxies::new(trusted) };
        Some(listen::Settings { name: name.value.into(), address: address?.value, manner })
    };
    written.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::complaint::Code;
    use super::super::sample::{config, refused};
    use super::Unmatched;

    #[test]
    fn one_by_default_else_those_that_are_written() {
        let found = |top: &str| config(top).listeners.iter().map(|l| format!("{} {}", l.name, l.address)).collect::<Vec<_>>();
        assert_eq!(found(""), ["main 0.0.0.0:8080"]);
        assert_eq!(found("listeners:\n  a: { address: 127.0.0.1:0 }\n  b: { address: \"[::1]:0\" }\n"), ["a 127.0.0.1:0", "b [::1]:0"]);
    }

    #[test]
    fn nobody_is_believed_unless_it_is_written() {
        let trusted =
            |more: &str| config(&format!("listeners: {{ a: {{ address: 127.0.0.1:0{more} }} }}\n")).listeners.remove(0).manner.trusted;
        assert!(trusted("").is_empty());
        let some = trusted(", trusted_proxies: [10.1.2.3/8, \"::1\"]");
        let has = |address: &str| some.contains(address.parse().unwrap());
        assert!(has("10.9.9.9") && has("::1") && !has("::2") && !has("127.0.0.1"));
        let refusal = |list: &str| refused(&format!("listeners: {{ a: {{ address: 127.0.0.1:0, trusted_proxies: {list} }} }}\n"));
        assert_eq!(refusal("[10.0.0.0/33, ten, 10.0.0.1:80]"), [Code::Address, Code::Address, Code::Address]);
        assert_eq!(refusal("[]"), [Code::Empty]);
    }

    #[test]
    fn the_proxy_protocol_is_read_from_somebody_or_not_at_all() {
        let keys = |keys: &str| format!("listeners: {{ a: {{ address: 127.0.0.1:0, {keys} }} }}\n");
        let read = |written: &str| config(&keys(written)).listeners.remove(0).manner.proxy_protocol;
        assert!(read("proxy_protocol: true, trusted_proxies: [10.0.0.0/8]") && !read("proxy_protocol: false"));
        assert_eq!(refused(&keys("proxy_protocol: true")), [Code::ProxyProtocol]);
    }

    #[test]
    fn a_proxy_for_workloads_lets_more_through_on_loopback_only() {
        let keys = |at: &str, keys: &str| format!("listeners: {{ a: {{ address: \"{at}\", {keys} }} }}\n");
        let read = |at: &str, more: &str| config(&keys(at, more)).outbound.pop().map(|o| o.unmatched);
        let (here, all) = ("127.0.0.1:0", "0.0.0.0:0");
        assert_eq!(read(here, "mode: reverse"), None);
        assert_eq!([here, all].map(|at| read(at, "mode: outbound")), [Some(Unmatched::Refuse); 2]);
        assert_eq!(read("[::1]:0", "mode: outbound, unmatched: strip"), Some(Unmatched::Strip));
        assert_eq!(read("127.9.9.9:0", "mode: outbound, unmatched: passthrough"), Some(Unmatched::Passthrough));
        assert_eq!(read(all, "mode: outbound, unmatched: refuse"), Some(Unmatched::Refuse));
        for open in [all, "[::]:0", "10.0.0.1:0"] {
            assert_eq!(refused(&keys(open, "mode: outbound, unmatched: strip")), [Code::Unmatched], "{open}");
        }
        assert_eq!(refused(&keys(here, "unmatched: refuse")), [Code::Unmatched]);
        assert_eq!(refused(&keys(here, "mode: sideways, unmatched: strip")), [Code::Choice]);
    }
}
