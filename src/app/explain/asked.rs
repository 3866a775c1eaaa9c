//! A question about a request, read as the gateway would read that request. What the gateway would refuse before it looks for a
//! route is a refusal here too; only what is no question at all is an error.

use crate::admin::Question;
use crate::fault::{Fault, bad_request};
use crate::route::path::{self, Reading};
use crate::stack::{normal_host, preflight_for};
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};

/// A question that makes sense.
pub(super) struct Asked {
    pub method: Method,
    pub headers: HeaderMap,
    authority: Option<String>,
    /// Of an absolute URL: whether it is https.
    https: Option<bool>,
    /// With its query, as written.
    target: String,
}

impl Asked {
    /// # Errors
    /// What is wrong with the question.
    pub fn read(question: &Question) -> Result<Self, String> {
        let method = Method::from_bytes(question.method.as_bytes()).map_err(|_| "that is no method".to_owned())?;
        let mut headers = HeaderMap::new();
        for header in &question.headers {
            let (name, value) = header.split_once(':').ok_or("a header is written as in `x-tenant: acme`")?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "a header's name holds a character that none has")?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| "a header's value holds a character that none has")?;
            headers.append(name, value);
        }
        let (authority, target) = split(&question.url)?;
        let https = authority.map(|_| question.url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:")));
        Ok(Self { method, headers, https, authority: authority.map(str::to_owned), target: target.to_owned() })
    }

    /// Of an absolute URL: whether it is https.
    pub fn scheme(&self) -> Option<bool> {
        self.https
    }

    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// As [`crate::stack`] has it: without port, lower case.
    ///
    /// # Errors
    /// What the caller would get.
    pub fn host(&self) -> Result<String, Fault> {
        let mut hosts = self.headers.get_all(HOST).iter();
        // As curl does: what is written as a header stands in for what is in the URL.
        match (hosts.next(), hosts.next(), &self.authority) {
            (Some(_), Some(_), _) => Err(bad_request("more than one Host")),
            (Some(host), None, _) => normal_host(host),
            (None, ..) => self.named_host(),
        }
    }

    /// The host of the URL, whatever headers say.
    ///
    /// # Errors
    /// What the caller would get.
    pub fn named_host(&self) -> Result<String, Fault> {
        let Some(authority) = &self.authority else { return Ok(String::new()) };
        normal_host(&HeaderValue::from_str(authority).map_err(|_| bad_request("a Host with characters that no host has"))?)
    }

    /// # Errors
    /// What the caller would get.
    pub fn reading(&self) -> Result<Reading<'_>, Fault> {
        if self.method == Method::CONNECT || self.method == Method::TRACE {
            return Err(Fault::MethodNotAllowed { allow: String::new() });
        }
        let reading = path::read(self.path()).map_err(bad_request)?;
        // What does not fit into a request's first line is answered before anything looks at it.
        self.target.parse::<Uri>().map_err(|_| bad_request("a character that stands in no request's target"))?;
        Ok(reading)
    }

    /// The method that a CORS preflight asks for.
    pub fn preflight(&self) -> Option<Method> {
        let (mut head, ()) = Request::new(()).into_parts();
        (head.method, head.headers) = (self.method.clone(), self.headers.clone());
        preflight_for(&head)
    }
}

/// Not by a parser of URLs: those take out dot segments, and the gateway would refuse them.
fn split(url: &str) -> Result<(Option<&str>, &str), String> {
    if url.starts_with('/') {
        return Ok((None, url));
    }
    let (scheme, rest) = url.split_once("://").ok_or("the URL is to begin with `http://`, `https://` or `/`")?;
    if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err("the URL is neither http nor https".to_owned());
    }
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    if authority.is_empty() {
        return Err("the URL has no host".to_owned());
    }
    match target {
        "" => Ok((Some(authority), "/")),
        _ if target.starts_with('/') => Ok((Some(authority), target)),
        _ => Err("the URL has no path: write a `/` behind its host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, url: &str, headers: &[&str]) -> Result<Asked, String> {
        let headers = headers.iter().map(|h| (*h).to_owned()).collect();
        Asked::read(&Question { method: method.to_owned(), url: url.to_owned(), headers, ..Question::default() })
    }

    #[test]
    fn a_url_is_taken_apart_as_it_is_written() {
        for (url, headers, host, path) in [
            ("https://API.example.com:8443/a/b?c=/d", &[][..], "api.example.com", "/a/b"),
            ("/a?b#c", &["Host: h."], "h", "/a"),
            ("http://h", &["host: other"], "other", "/"),
            ("/", &[], "", "/"),
        ] {
            let it = asked("GET", url, headers).unwrap();
            assert_eq!((it.host().unwrap().as_str(), it.path()), (host, path), "{url}");
        }
        for (url, headers) in
            [("a/b", &[][..]), ("ftp://a/", &[]), ("https:///a", &[]), ("https://a?b", &[]), ("/", &["x"]), ("/", &["a b: c"])]
        {
            assert!(asked("GET", url, headers).is_err(), "{url}");
        }
        assert!(asked("G T", "/", &[]).is_err());
    }

    #[test]
    fn what_the_gateway_would_refuse_is_refused() {
        for path in ["/a/../b", "/a/%2e%2e/b", "/a\\b", "/a#b", "/%zz", "/a b"] {
            assert!(asked("GET", path, &[]).unwrap().reading().is_err(), "{path}");
        }
        assert!(asked("TRACE", "/", &[]).unwrap().reading().is_err());
        assert!(asked("GET", "/", &["Host: a", "Host: a"]).unwrap().host().is_err());
        assert!(asked("GET", "https://a@b/", &[]).unwrap().host().is_err());
        assert_eq!(asked("GET", "/A//b", &[]).unwrap().reading().unwrap().boldest(), "/a/b");
    }
}
