//! URLs: of issuers and their endpoints, of upstreams, of a collector. Only http and https, and nothing in them that is no part of an address;
//! a user and password in one are refused without being shown.

use super::complaint::{Code, quoted};
use super::reading::Value;
use crate::upstream::Endpoint;
use url::{Host, Url};

const ISSUER: &str = "write it as in `https://iam.example.com/path`";
const COLLECTOR: &str = "write it as in `http://otel:4318`";
const UPSTREAM: &str = "write it as in `http://orders:8080`";

/// An issuer: kept as it is written, since `iss` must equal it.
pub fn issuer(value: &Value) -> Option<(String, Url)> {
    let url = http(value)?;
    if url.query().is_some() {
        return value.refuse(Code::Url, "an issuer's URL has no query", "write it as `iss` of its tokens has it");
    }
    Some((value.text()?, url))
}

/// Some endpoint of an issuer.
pub fn http(value: &Value) -> Option<Url> {
    parsed(value, ISSUER)
}

/// Where spans go.
pub fn collector(value: &Value) -> Option<Url> {
    let url = parsed(value, COLLECTOR)?;
    if url.query().is_some() {
        return value.refuse(
            Code::Url,
            "a collector's URL has no query",
            "a key goes into the environment, as a header: OTEL_EXPORTER_OTLP_HEADERS",
        );
    }
    if url.path().trim_end_matches('/').ends_with("/v1/traces") {
        return value.refuse(Code::Url, "`/v1/traces` is added to what stands here", "leave it out, as in `http://otel:4318`");
    }
    Some(url)
}

fn parsed(value: &Value, example: &str) -> Option<Url> {
    let text = value.text()?;
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return value.refuse(Code::Url, "this is no URL: there is a blank or a backslash in it", example);
    }
    let Ok(url) = Url::parse(&text) else {
        return value.refuse(Code::Url, "this is no URL", example);
    };
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return value.refuse(Code::Url, "there is a user or password in the URL", "take out what stands before the `@`");
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return value.refuse(Code::Url, "only http:// and https:// URLs are known here", example);
    }
    if url.port() == Some(0) {
        return value.refuse(Code::Url, "nothing listens on port 0", "write the port that it listens on");
    }
    if url.fragment().is_some() {
        return value.refuse(Code::Url, "there is a fragment (`#…`) in the URL", "take it out");
    }
    Some(url)
}

/// Where an upstream listens: a URL that names a host and nothing below it.
pub fn endpoint(value: &Value) -> Option<Endpoint> {
    let url = parsed(value, UPSTREAM)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        let bare = format!("{}://{}", url.scheme(), url.authority());
        return value.refuse(
            Code::Url,
            "an upstream's URL has no path and no query",
            format_args!("write `{bare}`: the caller's path is sent on as it came"),
        );
    }
    let host = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    Some(Endpoint { tls: url.scheme() == "https", host, port: url.port_or_known_default()? })
}

/// What RFC 8707 calls a resource: an absolute URI without a fragment. Kept as it is written.
pub fn resource(value: &Value) -> Option<String> {
    let text = value.text()?;
    match Url::parse(&text) {
        Ok(url) if url.fragment().is_some() => value.refuse(Code::Url, "a resource has no fragment (`#…`)", "take it out (RFC 8707 §2)"),
        Ok(_) if !text.chars().any(|c| c.is_whitespace() || c.is_control()) => Some(text),
        _ => value.refuse(
            Code::Url,
            format_args!("{} is no absolute URI", quoted(&text)),
            "write it as in `https://orders.example.com/` (RFC 8707 §2)",
        ),
    }
}

/// Whether a URL stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{refused_issuer, whole};

    fn endpoint(url: &str) -> String {
        let config = whole(&include_str!("../../config/minimal.yaml").replace("http://orders:8080", url));
        let e = &config.upstreams[0].endpoints.written()[0];
        format!("{} {} {} {}", config.routes[0].upstream, e.tls, e.host, e.port)
    }

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        assert_eq!(endpoint("http://orders"), "orders:80 false orders 80");
        assert_eq!(endpoint("https://Orders.example.com/"), "orders.example.com:443 true orders.example.com 443");
        assert_eq!(endpoint("\"http://[::1]:8080\""), "[::1]:8080 false ::1 8080");
    }

    #[test]
    fn http_needs_to_be_allowed_but_on_loopback() {
        for (extra, codes) in [
            ("jwks_uri: http://127.0.0.1/x", vec![]),
            ("jwks_uri: http://localhost:1/x", vec![]),
            ("jwks_uri: \"http://[::1]/x\"", vec![]),
            ("jwks_uri: http://127.0.0.1.example.com/x", vec![Code::PlainHttp]),
            ("jwks_uri: http://10.0.0.1/x", vec![Code::PlainHttp]),
            ("jwks_uri: http://10.0.0.1/x\nallow_http: true", vec![]),
        ] {
            assert_eq!(refused_issuer(extra), codes, "{extra}");
        }
    }
}
