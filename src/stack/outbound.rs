//! A listener that is an HTTP proxy for workloads: whom a request on it is for, and what becomes of it where no route names that.
//! It refuses tunnels and what is not asked for by an absolute `http://` URL; whom the gateway dials is the `upstream` room's matter.

use super::journal::Journal;
use super::request::Caller;
use super::route::Route;
use crate::fault::{Fault, Why, no_route};
use http::request::Parts;
use http::{HeaderValue, Method, uri::Scheme};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A listener in `mode: outbound`, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundSettings {
    pub listener: Arc<str>,
    pub unmatched: Unmatched,
}

/// What becomes of requests to an authority that no route names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    #[default]
    Refuse,
    /// They go there without the caller's token.
    Strip,
    /// They go there as they came.
    Passthrough,
}

/// Such a listener, as it runs.
pub struct Outbound {
    pub listener: Arc<str>,
    /// The way of what no route names; `None`: it is refused.
    pub unmatched: Option<Arc<Route>>,
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The gateway or a route: this is a reverse proxy.
    Either,
    /// The gateway itself, on an outbound listener.
    Gateway,
    /// Somebody else, on an outbound listener.
    Authority,
}

/// # Errors
/// A tunnel's inside cannot be given a token.
pub(super) fn refuse_tunnel(head: &Parts, from: &Caller, journal: &Journal) -> Result<(), Fault> {
    if head.method != Method::CONNECT || from.outbound.is_none() {
        return Ok(());
    }
    // Without what may stand before an `@`.
    let target = head.uri.authority().map_or("-", |a| a.as_str().rsplit('@').next().unwrap_or_default());
    let target = told(target);
    journal.bound_for(&target);
    Err(Fault::NoTunnel(Why::new(format!("a tunnel (CONNECT) to {target} was asked for")).into()))
}

/// `host` and `authority` are the request's one host, as `scrub` has read it.
pub(super) fn aim(head: &Parts, from: &Caller, host: &str, authority: &HeaderValue) -> Result<Aim, Fault> {
    if from.outbound.is_none() {
        return Ok(Aim::Either);
    }
    if head.uri.scheme() == Some(&Scheme::HTTPS) {
        // Whoever writes https relies on TLS all the way: a route's upstream may be without.
        let why = Why::new("an https:// URL was asked for in clear text");
        let cure = "the caller has to ask for the http:// URL; whether the backend is spoken to in TLS is said by its route's upstream";
        return Err(Fault::BadRequest(why.cure(cure).into()));
    }
    let named = head.uri.authority().is_some();
    Ok(if named && !is_at(host, port(authority), from.peer.local) { Aim::Authority } else { Aim::Gateway })
}

/// Whether that is the listener itself.
fn is_at(host: &str, port: u16, listener: SocketAddr) -> bool {
    let at = listener.ip().to_canonical();
    let same = match bare(host).parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical() == at,
        Err(_) => host == "localhost" && at.is_loopback(),
    };
    same && port == listener.port()
}

/// What `scrub` has made sure of: a port, or none.
pub(super) fn port(authority: &HeaderValue) -> u16 {
    let text = authority.to_str().unwrap_or_default();
    let behind = text.rsplit_once(']').map_or(text, |(_, behind)| behind);
    behind.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
}

/// An address without the brackets that it has in a URL.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

/// What an outbound listener has no way for.
pub(super) fn refused(aim: Aim, from: &Caller, authority: &HeaderValue, names_it: bool) -> Fault {
    let (listener, asked) = (&from.listener, told(authority.to_str().unwrap_or("-")));
    let (cause, cure) = match aim {
        Aim::Either => return no_route(Why::new("no route takes this host and path")),
        Aim::Gateway => (
            format!("the outbound listener `{listener}` was asked for something of its own, and is a proxy only"),
            "the caller has to use it as a proxy (HTTP_PROXY), so that it asks for absolute URLs; to serve callers directly, add a listener in `mode: reverse`",
        ),
        Aim::Authority if names_it => (
            format!(
                "{asked} was asked for on the outbound listener `{listener}`: routes name that host, and none of them takes the request"
            ),
            "add a route for this path, method or header, or correct the caller; `unmatched` is for hosts that no route names",
        ),
        Aim::Authority => (
            format!("{asked} was asked for on the outbound listener `{listener}`, and no route names that host"),
            "add a route with this host in match.hosts; on a loopback address the listener's `unmatched` may let others through",
        ),
    };
    no_route(Why::new(cause).cure(cure))
}

/// In lower case a token that somebody wrote for a host is none any more.
pub(super) fn told(authority: &str) -> String {
    authority.chars().take(260).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_where_they_stand() {
        for (text, wanted) in [("a", 80), ("a:8080", 8080), ("[::1]", 80), ("[::1]:81", 81), ("1.2.3.4:1", 1), ("a:", 80)] {
            assert_eq!(port(&HeaderValue::from_static(text)), wanted, "{text}");
        }
    }

    #[test]
    fn the_listener_itself_is_known_by_its_address() {
        let v4: SocketAddr = "127.0.0.1:8888".parse().unwrap();
        let v6: SocketAddr = "[::1]:8888".parse().unwrap();
        assert!(is_at("127.0.0.1", 8888, v4) && is_at("localhost", 8888, v4) && is_at("[::ffff:127.0.0.1]", 8888, v4));
        assert!(is_at("[::1]", 8888, v6) && !is_at("127.0.0.1", 80, v4) && !is_at("127.0.0.2", 8888, v4) && !is_at("a", 8888, v4));
    }
}
