//! Host patterns: a name, or `*.` and a name for every name below it. Nothing is looked up.

use std::fmt;

/// `api.example.com`, or `*.example.com` (every name below it, however deep, but not itself). Lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    Exact(String),
    /// What stands behind `*.`.
    Below(String),
}

impl HostPattern {
    /// # Errors
    /// What is wrong with the pattern, for the one who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let (below, rest) = name.strip_prefix("*.").map_or((false, name), |rest| (true, rest));
        if rest.contains('*') {
            return Err(format!("`{text}`: a star may only stand alone in front, as in `*.example.com`"));
        }
        if rest.contains(':') && !rest.starts_with('[') {
            return Err(format!("`{text}`: a host without its port is wanted here"));
        }
        let ipv6 = rest.starts_with('[') && rest.ends_with(']') && rest[1..rest.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
        let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !ipv6 && (rest.len() > 253 || !rest.split('.').all(label)) {
            return Err(format!("`{text}` is no host name"));
        }
        Ok(if below { Self::Below(rest.to_owned()) } else { Self::Exact(rest.to_owned()) })
    }

    /// `host` is lower case, without a port and without a trailing dot.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(name) => host.strip_suffix(name.as_str()).is_some_and(|front| front.len() > 1 && front.ends_with('.')),
        }
    }

    /// Of two patterns that match one host, the greater is more specific.
    pub(super) fn specificity(&self) -> (bool, usize) {
        match self {
            Self::Exact(name) => (true, name.len()),
            Self::Below(name) => (false, name.len()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_labels() {
        let star = HostPattern::parse("*.Example.com").unwrap();
        assert!(star.matches("a.example.com") && star.matches("a.b.example.com"));
        assert!(!star.matches("example.com") && !star.matches(".example.com") && !star.matches("badexample.com"));
        let one = HostPattern::parse("api.example.com.").unwrap();
        assert!(one.matches("api.example.com") && !one.matches("x.api.example.com"));
        assert!(HostPattern::parse("[::1]").unwrap().matches("[::1]"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["", "*", "a.*.b", "a b", "api:8080", "a..b", "http://x", "[::g]"] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
