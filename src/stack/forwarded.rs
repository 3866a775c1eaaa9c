//! Where a request came from: the peer, or whoever a trusted proxy says came to it (`X-Forwarded-For`, `Forwarded`). The chain is
//! read from its near end, hop by hop, for as long as each hop is a proxy that is trusted. It believes nobody else, and decides
//! nothing by what it reads.

use super::request::Caller;
use super::scrub::normal_host;
use crate::listen::TrustedProxies;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// No real chain is that long: what stands further away is not looked at.
const MOST_HOPS: usize = 32;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request's caller, as far as it can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Of the caller, or of the last hop before it that is known.
    pub address: IpAddr,
    /// It is the caller's own. It is not where a proxy hides it, writes what cannot be read, or says two things.
    pub sure: bool,
}

impl Origin {
    pub(super) fn of(headers: &HeaderMap, from: &Caller) -> Self {
        let peer = from.ip;
        if !from.is_proxy {
            return Self { address: peer, sure: true };
        }
        let trusted = &from.peer.trusted;
        let listed = headers.contains_key(X_FORWARDED_FOR).then(|| walk(peer, trusted, hops(headers, &X_FORWARDED_FOR, false)));
        let forwarded = headers.contains_key(header::FORWARDED).then(|| walk(peer, trusted, hops(headers, &header::FORWARDED, true)));
        match (listed, forwarded) {
            (None, None) => Self { address: peer, sure: true },
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) if one == other => one,
            // One of the two is the caller's invention, and nobody can say which.
            (Some(_), Some(_)) => Self { address: peer, sure: false },
        }
    }
}

/// From the peer away, until somebody comes who is no trusted proxy: that is the caller.
fn walk(peer: IpAddr, trusted: &TrustedProxies, hops: impl Iterator<Item = Option<IpAddr>>) -> Origin {
    let mut address = peer;
    for (i, hop) in hops.enumerate() {
        let Some(next) = hop.filter(|_| i < MOST_HOPS) else { return Origin { address, sure: false } };
        address = next;
        if !trusted.contains(address) {
            break;
        }
    }
    Origin { address, sure: true }
}

/// The nodes of a chain, the nearest first. `None`: one that is no address.
fn hops<'a>(headers: &'a HeaderMap, name: &HeaderName, elements: bool) -> impl Iterator<Item = Option<IpAddr>> + 'a {
    let read = if elements { of_element } else { node };
    headers.get_all(name).iter().rev().flat_map(FromTheRight::new).map(move |piece| read(piece?))
}

/// The pieces of one line between commas, the last first. What was appended by somebody trusted is read before what somebody
/// else wrote in front of it, so that no quote left open there can swallow it.
struct FromTheRight<'a> {
    rest: Option<&'a str>,
    /// It is no text: one piece that cannot be read.
    broken: bool,
}

impl<'a> FromTheRight<'a> {
    fn new(value: &'a HeaderValue) -> Self {
        let rest = value.to_str().ok();
        Self { rest, broken: rest.is_none() }
    }
}

/// Named by its number: those who count braces take a lone one for a text that begins.
const QUOTE: u8 = 0x22;

impl<'a> Iterator for FromTheRight<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Option<&'a str>> {
        if std::mem::take(&mut self.broken) {
            return Some(None);
        }
        let rest = self.rest?;
        let (mut quoted, mut comma) = (false, None);
        for (i, b) in rest.bytes().enumerate().rev() {
            match b {
                QUOTE => quoted = !quoted,
                b',' if !quoted => {
                    comma = Some(i);
                    break;
                }
                _ => {}
            }
        }
        self.rest = comma.map(|i| &rest[..i]);
        // With an open quote, nobody can say where the piece begins.
        if quoted { Some(None) } else { Some(Some(rest[comma.map_or(0, |i| i + 1)..].trim())) }
    }
}

/// The element of `Forwarded` that tells of the caller: what the proxy wrote that it came to, of those who are trusted.
fn nearest<'a>(headers: &'a HeaderMap, trusted: &TrustedProxies) -> Option<&'a str> {
    let pieces = headers.get_all(header::FORWARDED).iter().rev().flat_map(FromTheRight::new);
    let mut found = None;
    for piece in pieces.take(MOST_HOPS) {
        let Some((element, address)) = piece.and_then(|element| Some((element, of_element(element)?))) else { break };
        found = Some(element);
        if !trusted.contains(address) {
            break;
        }
    }
    found
}

/// The `for` of an element of `Forwarded` (RFC 7239 §4), if it is an address.
fn of_element(element: &str) -> Option<IpAddr> {
    node(pair(element, "for")?)
}

/// The value of one of an element's pairs. None of those that we read has a semicolon in it: a quoted one elsewhere makes pairs that
/// are none, and the element unreadable.
fn pair<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    let mut found = None;
    for pair in element.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case(wanted) && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))
}

/// An address, as some write it with a port, and IPv6 in brackets.
fn node(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::from);
    let address = text.parse::<IpAddr>().ok().or_else(bare).or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()))?;
    Some(address.to_canonical())
}

/// What a trusted proxy said, to be passed on with ours behind it.
#[derive(Debug, Default)]
pub struct Said {
    chain: Option<HeaderValue>,
    forwarded: Option<HeaderValue>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
    /// The caller's, where it is not the peer's.
    address: Option<IpAddr>,
}

impl Said {
    /// To be asked before `scrub` takes the fields out. `None`: nobody said anything that counts.
    pub(super) fn read(headers: &HeaderMap, from: &Caller, origin: Origin) -> Option<Arc<Self>> {
        if !from.is_proxy {
            return None;
        }
        let chains = (joined(headers, &X_FORWARDED_FOR), joined(headers, &header::FORWARDED));
        let contradict = chains.0.is_some() && chains.1.is_some() && !origin.sure;
        let (chain, forwarded) = if contradict { (None, None) } else { chains };
        let element = forwarded.as_ref().and_then(|_| nearest(headers, &from.peer.trusted));
        let told = |name| HeaderValue::from_str(pair(element?, name)?).ok();
        let proto = only(headers, &X_FORWARDED_PROTO).cloned().or_else(|| told("proto")).filter(is_scheme);
        let host = only(headers, &X_FORWARDED_HOST).cloned().or_else(|| told("host"));
        let host = host.filter(|v| normal_host(v).is_ok_and(|host| !host.is_empty()));
        let address = Some(origin.address).filter(|address| *address != from.ip);
        Some(Arc::new(Self { chain, forwarded, proto, host, address }))
    }

    /// Puts what was said before what the gateway says, which stands in `fields`.
    pub(super) fn precede(&self, fields: &mut HeaderMap) {
        let Self { chain, forwarded, proto, host, address } = self;
        // Whoever reads the one chain must not find less in it than whoever reads the other.
        let chain = chain.clone().or_else(|| HeaderValue::try_from((*address)?.to_string()).ok());
        let forwarded = forwarded.clone().or_else(|| element((*address)?, proto.as_ref(), host.as_ref()));
        precede(fields, X_FORWARDED_FOR, chain);
        precede(fields, header::FORWARDED, forwarded);
        for (name, value) in [(X_FORWARDED_PROTO, proto), (X_FORWARDED_HOST, host)] {
            if let Some(value) = value {
                fields.insert(name, value.clone());
            }
        }
    }
}

fn precede(fields: &mut HeaderMap, name: HeaderName, before: Option<HeaderValue>) {
    let Some(before) = before else { return };
    let value = match fields.get(&name) {
        Some(ours) => HeaderValue::from_bytes(&[before.as_bytes(), b", ", ours.as_bytes()].concat()),
        None => Ok(before),
    };
    if let Ok(value) = value {
        fields.insert(name, value);
    }
}

fn element(address: IpAddr, proto: Option<&HeaderValue>, host: Option<&HeaderValue>) -> Option<HeaderValue> {
    let mut text = format!("for={}", quoted_node(address));
    if let Some(host) = host.and_then(|v| v.to_str().ok()) {
        let _ = write!(text, ";host=\"{host}\"");
    }
    if let Some(proto) = proto.and_then(|v| v.to_str().ok()) {
        let _ = write!(text, ";proto={proto}");
    }
    HeaderValue::try_from(text).ok()
}

/// RFC 7239 §6: an IPv6 address is bracketed and quoted.
pub(super) fn quoted_node(address: IpAddr) -> String {
    if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() }
}

/// All lines of a field as one; `None` where there is none, or one that is no text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let rest: Vec<&HeaderValue> = lines.collect();
    if rest.is_empty() {
        return first.to_str().is_ok_and(|text| !text.trim().is_empty()).then(|| first.clone());
    }
    let texts: Option<Vec<&str>> = std::iter::once(first).chain(rest).map(|v| v.to_str().ok()).collect();
    HeaderValue::try_from(texts?.join(", ")).ok()
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_scheme(value: &HeaderValue) -> bool {
    [&b"http"[..], b"https", b"ws", b"wss"].iter().any(|scheme| value.as_bytes().eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "fd00::/8"].map(|n| n.parse().unwrap()))
    }

    fn read(name: HeaderName, lines: &[&str]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_str(line).unwrap());
        }
        let origin = walk("10.0.0.1".parse().unwrap(), &trusted(), hops(&headers, &name, name == header::FORWARDED));
        (origin.address.to_string(), origin.sure)
    }

    #[test]
    fn the_caller_is_the_first_from_the_right_who_is_not_trusted() {
        for (lines, address, sure) in [
            (&["203.0.113.7"][..], "203.0.113.7", true),
            (&["6.6.6.6, 203.0.113.7, 10.9.9.9"], "203.0.113.7", true),
            (&["6.6.6.6", "203.0.113.7, 10.9.9.9", "10.8.8.8"], "203.0.113.7", true),
            (&["203.0.113.7:4711, [fd00::1]:80 , fd00::2,[fd00::3]"], "203.0.113.7", true),
            (&["::ffff:203.0.113.7"], "203.0.113.7", true),
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3", true),
            (&["6.6.6.6, what, 10.2.2.2"], "10.2.2.2", false),
            (&["6.6.6.6, unknown"], "10.0.0.1", false),
            (&["6.6.6.6, "], "10.0.0.1", false),
            (&["6.6.6.6, \"203.0.113.7\""], "10.0.0.1", false),
            (&["203.0.113.7/8"], "10.0.0.1", false),
        ] {
            assert_eq!(read(X_FORWARDED_FOR, lines), (address.to_owned(), sure), "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_the_same_way() {
        for (lines, address, sure) in [
            (&["for=203.0.113.7"][..], "203.0.113.7", true),
            (&["For=\"203.0.113.7:80\";proto=https;by=x , for=\"[fd00::1]:9\";host=\"a:1\""], "203.0.113.7", true),
            (&["for=6.6.6.6", "for=203.0.113.7,for=10.1.1.1"], "203.0.113.7", true),
            (&["for=\"6.6.6.6, for=203.0.113.7"], "203.0.113.7", true),
            (&["for=6.6.6.6, for=\"[2001:db8::1]\""], "2001:db8::1", true),
            (&["for=6.6.6.6, for=unknown"], "10.0.0.1", false),
            (&["for=6.6.6.6, for=_hidden;proto=http"], "10.0.0.1", false),
            (&["for=6.6.6.6, proto=https"], "10.0.0.1", false),
            (&["for=6.6.6.6;for=203.0.113.7"], "10.0.0.1", false),
            (&["for=6.6.6.6, for=\"10.1.1.1"], "10.0.0.1", false),
            (&["for=6.6.6.6, for=10.1.1.1\""], "10.0.0.1", false),
        ] {
            assert_eq!(read(header::FORWARDED, lines), (address.to_owned(), sure), "{lines:?}");
        }
    }

    #[test]
    fn only_so_many_hops_are_read() {
        let chain = |n: usize| vec!["10.1.1.1"; n].join(", ");
        assert_eq!(read(X_FORWARDED_FOR, &[&format!("6.6.6.6, {}", chain(MOST_HOPS - 1))]), ("6.6.6.6".to_owned(), true));
        assert_eq!(read(X_FORWARDED_FOR, &[&format!("6.6.6.6, {}", chain(MOST_HOPS))]), ("10.1.1.1".to_owned(), false));
    }
}
