//! Tells a CORS preflight from other requests: a browser asks in advance, without any credentials, whether a script may ask. What
//! is done with one is its route's matter; nothing is answered here.

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Method};

/// The method that is asked for (Fetch, "CORS-preflight request"): it chooses the route, as the request that follows will.
/// `None`: this is no preflight.
pub fn asked_for(head: &Parts) -> Option<Method> {
    if head.method != Method::OPTIONS {
        return None;
    }
    only(head, &ORIGIN)?;
    let method = Method::from_bytes(only(head, &ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()?;
    // No script may ask for these, and no route takes them.
    (method != Method::CONNECT && method != Method::TRACE).then_some(method)
}

fn only<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = head.headers.get_all(name).iter();
    values.next().filter(|value| !value.is_empty() && values.next().is_none())
}
