//! Gives a request its one reading: one host, one path, one `Authorization`; nothing hop-by-hop and no hearsay is left.
//! What could mean two things gets a 400; nothing is repaired.

use super::body::Body;
use super::forwarded::Said;
use super::headers;
use super::outbound;
use super::request::{Bearer, Caller, Caught, Scrubbed};
use super::upgrade;
use crate::fault::{Fault, bad_request};
use crate::route::path;
use crate::token::SubjectToken;
use futures_util::future::{Either, Ready, ready};
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Response, Version};
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct Scrub<S> {
    inner: S,
}

impl<S> Scrub<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> tower::Service<Caught> for Scrub<S>
where
    S: tower::Service<Scrubbed, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Either<Ready<Result<Response<Body>, Fault>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, caught: Caught) -> Self::Future {
        match scrub(caught) {
            Ok(scrubbed) => Either::Right(self.inner.call(scrubbed)),
            Err(fault) => Either::Left(ready(Err(fault))),
        }
    }
}

fn scrub(mut caught: Caught) -> Result<Scrubbed, Fault> {
    let head = &mut caught.head;
    outbound::refuse_tunnel(head, &caught.from, &caught.journal)?;
    // A tunnel's inside cannot be given a token; an answer to TRACE would show the caller the token that the upstream got.
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Fault::MethodNotAllowed { allow: String::new() });
    }
    one_method(head)?;
    one_framing(head)?;
    no_outer_blanks(head)?;
    http_only(head)?;
    let authority = one_authority(head)?;
    let host = normal_host(&authority)?;
    let aim = outbound::aim(head, &caught.from, &host, &authority)?;
    let authority = as_looked_up(authority, &host, default_port(&caught.from));
    let boldest = path::read(head.uri.path()).map_err(bad_request)?.into_boldest();
    let bearer = one_bearer(&mut head.headers)?;
    headers::refuse_loop(&head.headers)?;
    let upgrade = upgrade::asked(head);
    let trailers = headers::strip_hop_by_hop(&mut head.headers);
    caught.said = Said::read(&head.headers, &caught.from, caught.origin);
    headers::strip_hearsay(&mut head.headers);
    let force = caught.from.in_force.force.as_ref().is_some_and(|header| header.take(&mut head.headers, caught.origin));
    headers::join_cookies(&mut head.headers);
    // The body is asked for, and so `100 Continue` sent, only once the request was let through.
    head.headers.remove(header::EXPECT);
    // Towards HTTP/1.1 no trailers are sent, so none are announced.
    head.headers.remove(header::TRAILER);
    if trailers && head.version == Version::HTTP_2 {
        // gRPC. Towards HTTP/1.1 it goes nevertheless: there it would speak of our own connection.
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let trailers = trailers || head.version == Version::HTTP_2;
    Ok(Scrubbed { host, authority, aim, boldest, bearer, trailers, upgrade, force, caught })
}

/// `post` is not POST here, and is to backends that fold (Django, Werkzeug): a route by method would be passed by, `trace` be
/// answered with the token, and the answer to `head` be waited for.
fn one_method(head: &Parts) -> Result<(), Fault> {
    if head.method.as_str().bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(bad_request("a method that is not in upper case"));
    }
    Ok(())
}

/// hyper has framed the body already; what it let through in doubt is refused here. Over HTTP/1 the guard was before.
fn one_framing(head: &Parts) -> Result<(), Fault> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let (length, more) = (lengths.next(), lengths.next());
    if more.is_some() {
        return Err(bad_request("more than one Content-Length"));
    }
    // To some a number that begins with 0 is octal.
    if length.is_some_and(|length| length.len() > 1 && length.as_bytes()[0] == b'0') {
        return Err(bad_request("a Content-Length that is not one plain number"));
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if head.version != Version::HTTP_11 {
        return Err(bad_request("Transfer-Encoding in a message that is not HTTP/1.1"));
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(bad_request("a Transfer-Encoding other than `chunked` alone"));
    }
    if head.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(bad_request("both Content-Length and Transfer-Encoding"));
    }
    Ok(())
}

/// Towards HTTP/1.1 a blank around a value is none of it: what was looked at here would be another value there (RFC 9113 §8.2.1).
fn no_outer_blanks(head: &Parts) -> Result<(), Fault> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let outer = |value: &HeaderValue| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last());
    // hyper takes them off what comes over HTTP/1.
    if head.version == Version::HTTP_2 && head.headers.values().any(outer) {
        return Err(bad_request("a field's value with a blank before or behind it"));
    }
    Ok(())
}

/// The one authority of a request: that of its target where it has one, else its one `Host`.
fn one_authority(head: &Parts) -> Result<HeaderValue, Fault> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(bad_request("more than one Host"));
    }
    match (head.uri.authority(), host) {
        (None, None) if head.version == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        // RFC 9112 §3.2: HTTP/1.1 asks for it beside an absolute target, too.
        (_, None) if head.version == Version::HTTP_11 => Err(bad_request("no Host")),
        (None, None) => Err(bad_request("no authority")),
        (_, Some(host)) if host.is_empty() => Err(bad_request("an empty Host")),
        (Some(target), Some(host))
            if head.version == Version::HTTP_2 && !host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes()) =>
        {
            Err(bad_request("Host and :authority differ"))
        }
        (None, Some(host)) => Ok(host.clone()),
        // RFC 9112 §3.2.2: the absolute form's authority replaces what Host says; that must be a host all the same.
        (Some(target), host) => {
            host.map_or(Ok(String::new()), normal_host)?;
            HeaderValue::from_str(target.as_str()).map_err(|_| bad_request("an authority that fits no Host"))
        }
    }
}

/// An absolute target of another scheme is another resource than the one that would be asked for.
fn http_only(head: &Parts) -> Result<(), Fault> {
    match head.uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(bad_request("a target that is neither http nor https")),
    }
}

/// Lower case, without port and trailing dot.
///
/// # Errors
/// When it is no host.
pub fn normal_host(authority: &HeaderValue) -> Result<String, Fault> {
    let text = authority.to_str().map_err(|_| bad_request("a Host with characters that no host has"))?;
    if text.is_empty() {
        return Ok(String::new());
    }
    let (host, port) = split_port(text).ok_or_else(|| bad_request("a Host that is no host and port"))?;
    let port_ok = port.is_none_or(|p| p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok());
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bracketed.and_then(|address| address.parse::<std::net::Ipv6Addr>().ok());
    let named = || {
        !host.is_empty()
            && host.len() <= 254
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            && !host.contains("..")
            && !host.starts_with('.')
    };
    if !port_ok || !(address.is_some() || named()) || text.parse::<Authority>().is_err() {
        return Err(bad_request("a Host that is no host and port"));
    }
    // Of the many spellings of an IPv6 address, the one of RFC 5952.
    Ok(address.map_or_else(|| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(), |address| format!("[{address}]")))
}

/// The port that need not be named.
fn default_port(from: &Caller) -> &'static str {
    if from.peer.tls.is_some() { "443" } else { "80" }
}

/// The `Host` that goes upstream: the name as it was looked up, with the caller's port where it is not the scheme's own. A backend
/// that does not fold it would have another name.
fn as_looked_up(authority: HeaderValue, host: &str, default_port: &str) -> HeaderValue {
    if authority.as_bytes() == host.as_bytes() {
        return authority;
    }
    let port = authority.to_str().ok().and_then(split_port).and_then(|(_, port)| port).filter(|port| *port != default_port);
    let named = port.map_or_else(|| HeaderValue::from_str(host), |port| HeaderValue::try_from(format!("{host}:{port}")));
    named.unwrap_or(authority)
}

fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')? + 1;
        let rest = &text[end..];
        return if rest.is_empty() { Some((text, None)) } else { rest.strip_prefix(':').map(|p| (&text[..end], Some(p))) };
    }
    Some(text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

/// Takes the caller's token out: from here on it is in no header.
fn one_bearer(headers: &mut HeaderMap) -> Result<Bearer, Fault> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Bearer::None) };
    if values.next().is_some() {
        return Err(bad_request("more than one Authorization"));
    }
    let bearer = match SubjectToken::from_authorization(value) {
        Ok(Some(token)) => Bearer::Token(token),
        Ok(None) => {
            let mut value = value.clone();
            value.set_sensitive(true);
            Bearer::Other(value)
        }
        Err(why) => Bearer::Broken(why),
    };
    headers.remove(header::AUTHORIZATION);
    Ok(bearer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(v: &str) -> Result<String, Fault> {
        normal_host(&HeaderValue::from_str(v).unwrap())
    }

    #[test]
    fn hosts_are_read_one_way() {
        assert_eq!(host("API.Example.com:8080").unwrap(), "api.example.com");
        assert_eq!(host("api.example.com.").unwrap(), "api.example.com");
        assert_eq!(host("[::1]:80").unwrap(), "[::1]");
        assert_eq!(host("127.0.0.1").unwrap(), "127.0.0.1");
        for bad in ["a b", "a:b", "a:99999", "user@a", "a/b", "a:80:80", "[::1", "[::1]x", "a..b", ".a", ":80", "a,b", "a?b", "a#b", "[x]"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
