//! Which header fields the gateway owns, and what is taken out of requests, answers and trailers.

use crate::fault::{Fault, bad_request};
use crate::route::path;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Version};
use std::sync::LazyLock;

/// Hop-by-hop fields (RFC 9110 §7.6.1) besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    // A part of the upgrade to h2c, which is never granted.
    HeaderName::from_static("http2-settings"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What says who the caller is or how it came here: from a caller it is hearsay.
const HEARSAY: [&str; 11] = [
    "forwarded",
    "client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-forwarded",
    "x-rewrite-url",
    "x-remote-user",
    "remote-user",
    // CGI makes HTTP_PROXY of it, which libraries obey (CVE-2016-5385).
    "proxy",
];

/// Whole families of hearsay: of a list of names, the one that matters is forgotten.
const HEARSAY_FAMILIES: [&str; 3] = ["x-forwarded-", "x-auth-request-", "x-original-"];

/// Other fields that the gateway sets or strips; their aliases are dropped as well.
const OWNED: [&str; 5] = ["authorization", "proxy-authorization", "host", "via", "dpop"];

/// Fields that the gateway reads, and passes on: only their aliases are dropped.
const READ: [&str; 11] = [
    "access-control-request-method",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "grpc-timeout",
    "origin",
    "sec-websocket-key",
    "traceparent",
    "tracestate",
    "trailer",
];

/// Takes out everything that ends at this hop, and everything `Connection` names. Returns whether the caller sent
/// `TE: trailers`.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) -> bool {
    let trailers = headers.get_all(header::TE).iter().any(|v| lists(v, "trailers"));
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|v| v.as_bytes().split(|b| *b == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    trailers
}

/// Takes out what callers may not say of themselves, under any spelling that some backend reads as the same name.
pub(super) fn strip_hearsay(headers: &mut HeaderMap) {
    let doubtful: Vec<HeaderName> = headers.keys().filter(|name| is_hearsay(name.as_str()) || is_alias(name.as_str())).cloned().collect();
    for name in doubtful {
        headers.remove(name);
    }
}

fn is_hearsay(name: &str) -> bool {
    // All of them begin with one of these letters: most names are passed at a glance.
    matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'd' | b'c' | b't' | b'r' | b'p')) && (hearsay(name) || name == "dpop")
}

fn hearsay(name: &str) -> bool {
    HEARSAY.contains(&name) || HEARSAY_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// `X_Forwarded_For` and `authorization.` are other names here, and the same name to some backends: CGI and WSGI write `_` for
/// `-`, PHP for `.` too, lighttpd for every byte that is no letter or digit.
fn is_bent(name: &str) -> bool {
    name.bytes().any(|b| b != b'-' && !b.is_ascii_alphanumeric())
}

/// The name that such a backend would read.
fn unbent(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    plain.trim_matches('-').to_owned()
}

fn is_alias(name: &str) -> bool {
    if !is_bent(name) {
        return false;
    }
    let plain = &*unbent(name);
    hearsay(plain) || OWNED.contains(&plain) || READ.contains(&plain) || HOP_BY_HOP.iter().any(|h| h.as_str() == plain)
}

/// Takes out what some backend would read as one of `names`, and is another name here.
pub(super) fn strip_aliases(headers: &mut HeaderMap, names: &[HeaderName]) {
    if names.is_empty() {
        return;
    }
    let alias = |found: &HeaderName| !names.contains(found) && names.iter().any(|name| spells(found.as_str(), name.as_str()));
    let aliases: Vec<HeaderName> = headers.keys().filter(|found| alias(found)).cloned().collect();
    for name in aliases {
        headers.remove(name);
    }
}

/// Takes a token for the gateway out, under every spelling, and returns what stood under the right one.
///
/// # Errors
/// When it stands there more than once.
pub(super) fn take(headers: &mut HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, Fault> {
    let mut values = headers.get_all(name).iter();
    let (value, more) = (values.next().cloned(), values.next());
    if more.is_some() {
        return Err(bad_request("a header that holds a token for the gateway, more than once"));
    }
    let spellings: Vec<HeaderName> = headers.keys().filter(|found| spells(found.as_str(), name.as_str())).cloned().collect();
    for spelling in spellings {
        headers.remove(spelling);
    }
    Ok(value)
}

/// Whether a field of this name frames, routes or identifies a message, so that nothing else can be made of it.
pub(super) fn means_something(name: &HeaderName) -> bool {
    let name = name.as_str();
    let ours = hearsay(name) || OWNED.contains(&name) || is_alias(name) || HOP_BY_HOP.iter().any(|h| h.as_str() == name);
    ours || name.starts_with("content-") || ["cookie", "connection", "accept", "expect", "range", "upgrade"].contains(&name)
}

/// Whether a route may say that tokens are found, or put, in a field of this name.
pub fn may_hold_tokens(name: &HeaderName) -> bool {
    !means_something(name) && !READ.contains(&name.as_str())
}

/// Whether some backend reads one name as the other.
pub(super) fn spells(found: &str, name: &str) -> bool {
    found == name || (is_bent(found) || is_bent(name)) && unbent(found) == unbent(name)
}

/// A response's trailers without those that the gateway sets or strips, or that frame or route a message (RFC 9110 §6.5.1).
pub(super) fn passing_trailers(mut trailers: HeaderMap) -> HeaderMap {
    let not_for_trailers =
        |name: &str| OWNED.contains(&name) || hearsay(name) || is_alias(name) || name.starts_with("content-") || name == "set-cookie";
    let bad: Vec<HeaderName> = trailers.keys().filter(|n| not_for_trailers(n.as_str()) || HOP_BY_HOP.contains(n)).cloned().collect();
    for name in bad {
        trailers.remove(name);
    }
    trailers
}

/// A request's trailers without those that mean something elsewhere, or hold this token.
pub(super) fn passing_request_trailers(trailers: HeaderMap, forbidden: &[HeaderName], token: Option<&str>) -> HeaderMap {
    let mut passing = passing_trailers(trailers);
    let held = |v: &HeaderValue| token.is_some_and(|token| v.to_str().is_ok_and(|v| v.contains(token)));
    let bad = |(name, value): &(&HeaderName, &HeaderValue)| {
        means_something(name) || forbidden.iter().any(|f| spells(name.as_str(), f.as_str())) || held(value)
    };
    let bad: Vec<HeaderName> = passing.iter().filter(bad).map(|(name, _)| name.clone()).collect();
    for name in bad {
        passing.remove(name);
    }
    passing
}

/// A browser has fewer cookies for one host, most of the time.
const MANY_CRUMBS: usize = 32;

/// HTTP/2 may send a cookie in crumbs; HTTP/1.1 knows one field (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    let many = crumbs.len() > MANY_CRUMBS;
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
        if many {
            // The room that they took would stay taken for as long as the request lasts.
            let crumbled = std::mem::take(headers);
            headers.extend(crumbled);
        }
    }
}

/// The name under which this process stands in `Via`: its own, so that a chain of gateways is no loop.
static PSEUDONYM: LazyLock<String> = LazyLock::new(|| format!("cambist-{:08x}", rand::random::<u32>()));

/// A request that has been here before would go round for ever.
pub(super) fn refuse_loop(headers: &HeaderMap) -> Result<(), Fault> {
    let been_here = |v: &HeaderValue| v.to_str().is_ok_and(|v| v.split([',', ' ']).any(|word| word == PSEUDONYM.as_str()));
    if headers.get_all(header::VIA).iter().any(been_here) {
        return Err(bad_request("the request has passed this gateway before: an upstream points back at it"));
    }
    Ok(())
}

/// Appends this hop (RFC 9110 §7.6.3).
pub(super) fn append_via(headers: &mut HeaderMap, received: Version) {
    static HOPS: LazyLock<[HeaderValue; 3]> = LazyLock::new(|| {
        ["1.0", "1.1", "2"]
            .map(|v| HeaderValue::try_from(format!("{v} {}", *PSEUDONYM)).unwrap_or_else(|_| HeaderValue::from_static("1.1 cambist")))
    });
    let hop = match received {
        Version::HTTP_2 => 2,
        Version::HTTP_10 => 0,
        _ => 1,
    };
    headers.append(header::VIA, HOPS[hop].clone());
}

/// A query without the callers' tokens that may be in it (RFC 6750 §2.3), whichever they are; the rest stays as it is. `None`: there
/// are none.
pub(super) fn without_tokens(query: &str) -> Option<String> {
    let names_one = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        name == "access_token" || (name.contains('%') && path::unescaped(name.as_bytes()).is_none_or(|name| *name == *b"access_token"))
    };
    let pairs = || query.split('&');
    pairs().any(|pair| names_one(&pair)).then(|| pairs().filter(|pair| !names_one(pair)).collect::<Vec<_>>().join("&"))
}

/// Whether a comma-separated field value lists `token`.
pub(super) fn lists(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|v| v.split(',').any(|t| t.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut out = HeaderMap::new();
        for (name, value) in fields {
            out.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        out
    }

    #[test]
    fn what_connection_names_goes_too() {
        let mut h = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-more"),
            ("x-secret", "1"),
            ("x-more", "1"),
            ("te", "trailers"),
            ("x-stays", "1"),
        ]);
        // hyper takes any byte from 0x80 on in a value.
        h.append("connection", HeaderValue::from_bytes(b"x-beside, \xff").unwrap());
        h.insert("x-beside", HeaderValue::from_static("1"));
        assert!(strip_hop_by_hop(&mut h));
        assert_eq!(h.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-stays"]);
    }

    #[test]
    fn hearsay_goes_under_every_spelling() {
        let mut h = map(&[
            ("x-forwarded-for", "1"),
            ("X_Forwarded_For", "1"),
            ("x.forwarded-for", "1"),
            ("authorization_", "1"),
            ("AUTHORIZATION.", "1"),
            ("x_original_url", "1"),
            ("Forwarded", "for=1"),
            ("dpop", "x"),
            ("transfer_encoding", "chunked"),
            ("content_length", "3"),
            ("x~forwarded~for", "1"),
            ("x-forwarded-anything", "1"),
            ("remote_user", "root"),
            ("proxy", "http://evil.example.com"),
            ("my_header", "1"),
            ("x-tenant", "a"),
        ]);
        strip_hearsay(&mut h);
        let mut left: Vec<_> = h.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["my_header", "x-tenant"]);
    }

    #[test]
    fn a_token_for_the_gateway_goes_under_every_spelling_and_counts_under_one() {
        let name = HeaderName::from_static("x-actor-token");
        let mut h = map(&[("X-Actor-Token", "a"), ("x_actor_token", "b"), ("X-Actor.Token_", "c"), ("x-actor-tokens", "d")]);
        assert_eq!(take(&mut h, &name).unwrap().unwrap(), "a");
        assert_eq!(h.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-actor-tokens"]);
        let mut h = map(&[("x_actor_token", "b")]);
        assert!(take(&mut h, &name).unwrap().is_none() && h.is_empty());
        assert!(take(&mut map(&[("x-actor-token", "a"), ("x-actor-token", "a")]), &name).is_err());
    }

    #[test]
    fn tokens_in_a_query_go_and_nothing_else() {
        for (query, left) in [
            ("access_token=x", Some("")),
            ("a=1&access_token=x&b=%20", Some("a=1&b=%20")),
            ("%61ccess%5ftoken=x&a", Some("a")),
            ("access_token&access_token=&a", Some("a")),
            ("a=access_token&my_access_token=1&access_token2=2&%=&&", None),
            ("", None),
        ] {
            assert_eq!(without_tokens(query).as_deref(), left, "{query}");
        }
    }

    #[test]
    fn crumbs_are_joined() {
        let mut h = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut h);
        assert_eq!(h.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_requests_trailers_carry_no_token_and_nothing_that_the_gateway_reads() {
        let actor = HeaderName::from_static("x-actor-token");
        let given = map(&[
            ("x-sum", "1"),
            ("x_actor_token", "t"),
            ("x-note", "is c4nary it"),
            ("cookie", "a=b"),
            ("authorization", "x"),
            ("te", "x"),
        ]);
        let h = passing_request_trailers(given, &[actor], Some("c4nary"));
        assert_eq!(h.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }

    #[test]
    fn trailers_carry_no_identity() {
        let h = passing_trailers(map(&[
            ("grpc-status", "0"),
            ("authorization", "x"),
            ("x_forwarded_for", "1"),
            ("content-length", "1"),
            ("set-cookie", "a=b"),
        ]));
        assert_eq!(h.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
    }
}
