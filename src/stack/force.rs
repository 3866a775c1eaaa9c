//! The header by which a trusted caller asks for a newer token than the one that is held. It is taken out of every request, in
//! every spelling, whoever sent it and whatever the route says; what it asks for is done elsewhere.

use super::forwarded::Origin;
use super::headers;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// Which header it is, and from whom it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForceHeader {
    name: HeaderName,
    trusted_from: Vec<IpNet>,
}

/// What a route makes of a token that is not new enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForceRoute {
    /// The header counts here.
    pub allow_header: bool,
    pub on_upstream_401: OnUpstream401,
}

impl Default for ForceRoute {
    fn default() -> Self {
        Self { allow_header: true, on_upstream_401: OnUpstream401::InvalidToken }
    }
}

/// Which 401 of an upstream says that the token was no good any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUpstream401 {
    Off,
    /// One whose challenge has `error="invalid_token"` (RFC 6750 §3.1).
    InvalidToken,
    Any,
}

impl ForceHeader {
    /// # Errors
    /// When the name means something else already.
    pub fn new(name: HeaderName, trusted_from: Vec<IpNet>) -> Result<Self, &'static str> {
        if headers::means_something(&name) {
            return Err("this header means something else");
        }
        Ok(Self { name, trusted_from })
    }

    /// Takes the header out. Whether a caller from `origin` asked for a newer token with it. One who may be anybody does not count.
    pub(super) fn name(&self) -> &HeaderName {
        &self.name
    }

    pub(super) fn take(&self, headers: &mut HeaderMap, origin: Origin) -> bool {
        let asked = self.asked(headers);
        let spelt: Vec<HeaderName> = headers.keys().filter(|name| headers::spells(name.as_str(), self.name.as_str())).cloned().collect();
        for name in spelt {
            headers.remove(name);
        }
        asked && origin.sure && self.trusted_from.iter().any(|net| net.contains(&origin.address))
    }

    /// Said once, and plainly.
    fn asked(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(&self.name).iter();
        let yes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"true");
        values.next().is_some_and(yes) && values.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: HeaderName = HeaderName::from_static("x-token-force-update");

    fn take(fields: &[(&str, &str)], from: &str) -> (bool, Vec<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let force = ForceHeader::new(NAME, vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]).unwrap();
        let asked = force.take(&mut map, Origin { address: from.parse().unwrap(), sure: true });
        (asked, map.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn it_counts_from_whom_it_may_and_goes_in_every_spelling() {
        let one = [("X-Token-Force-Update", "True")];
        assert_eq!(take(&one, "10.1.2.3"), (true, vec![]));
        assert_eq!(take(&one, "::1"), (true, vec![]));
        assert_eq!(take(&one, "11.1.2.3"), (false, vec![]));
        assert_eq!(take(&[("x-token-force-update", "1")], "10.1.2.3"), (false, vec![]));
        assert_eq!(take(&[("x-token-force-update", "true"), ("x-token-force-update", "true")], "10.1.2.3"), (false, vec![]));
        let odd = [("x_token_force_update", "true"), ("X-Token.Force_Update", "true"), ("x-token-force-update_", "true"), ("x-other", "1")];
        assert_eq!(take(&odd, "10.1.2.3"), (false, vec!["x-other".to_owned()]));
    }

    #[test]
    fn no_other_meaning_is_taken_away() {
        for name in ["authorization", "host", "x-forwarded-for", "connection", "te", "content-length", "cookie", "x_forwarded_for"] {
            assert!(ForceHeader::new(HeaderName::from_static(name), vec![]).is_err(), "{name}");
        }
    }
}
