//! Asking for another protocol (RFC 9110 §7.8): which requests do, and for what. It switches nothing: a route must allow it, and
//! the upstream agree. HTTP itself and TLS are never asked for this way: that would be a second reading of the same connection.

use super::headers;
use crate::fault::{Fault, bad_request};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};
use hyper::upgrade::OnUpgrade;

/// One protocol, asked for by an HTTP/1.1 caller.
#[derive(Clone)]
pub struct Upgrade {
    pub protocol: HeaderValue,
    pub on: OnUpgrade,
    framed: bool,
}

/// What a request asks for; to be read before what ends at this hop is taken out. `None`: nothing that could be granted, so it is
/// an ordinary request.
pub(super) fn asked(head: &mut Parts) -> Option<Upgrade> {
    // hyper leaves it where there is an `Upgrade`.
    let on = head.extensions.remove::<OnUpgrade>()?;
    let fields = &head.headers;
    if head.version != Version::HTTP_11 || !fields.get_all(CONNECTION).iter().any(|v| headers::lists(v, "upgrade")) {
        return None;
    }
    let mut asked = fields.get_all(UPGRADE).iter();
    let (protocol, more) = (asked.next()?, asked.next());
    let granted = more.is_none() && protocol.to_str().is_ok_and(is_one_protocol);
    let framed = fields.contains_key(CONTENT_LENGTH) || fields.contains_key(TRANSFER_ENCODING);
    granted.then(|| Upgrade { protocol: protocol.clone(), on, framed })
}

impl Upgrade {
    /// Where a body ends and the other protocol begins must not be a matter of opinion.
    pub(super) fn without_body(self) -> Result<Self, Fault> {
        if self.framed { Err(bad_request("Upgrade together with Content-Length or Transfer-Encoding")) } else { Ok(self) }
    }

    /// Puts the fields back, made anew, towards upstream or caller.
    pub(super) fn say(protocol: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// `name` or `name/version`, and neither HTTP nor TLS.
fn is_one_protocol(text: &str) -> bool {
    let token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let (name, version) = text.split_once('/').map_or((text, None), |(name, version)| (name, Some(version)));
    let ours = ["http", "h2", "h2c", "h3", "tls"].iter().any(|n| name.eq_ignore_ascii_case(n));
    token(name) && version.is_none_or(token) && !ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_protocol_that_is_not_http_itself() {
        for yes in ["websocket", "WebSocket", "tcp", "spdy/3.1", "irc/6.9"] {
            assert!(is_one_protocol(yes), "{yes}");
        }
        for no in ["", "h2c", "H2C", "HTTP/2.0", "http/1.1", "TLS/1.2", "h2", "websocket, h2c", "websocket,", "a/b/c", "a b", "/1"] {
            assert!(!is_one_protocol(no), "{no}");
        }
    }
}
