//! What a route changes of a request's target on its way: a prefix cut off, another `Host`. What is left of the path is read once
//! more as every path is; nothing is repaired.

use super::request::Scrubbed;
use super::route::Route;
use crate::fault::{Fault, bad_request};
use crate::route::path;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

/// What a route rewrites, as the configuration describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Cut off the path: what the route matches, letter by letter.
    pub strip_prefix: Option<Box<str>>,
    pub host: HostRewrite,
}

/// Which `Host` the upstream sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostRewrite {
    /// The caller's.
    #[default]
    Preserve,
    /// The authority of the upstream's own URL.
    Upstream,
    Name(HeaderValue),
}

/// Cuts the route's prefix off; the query stays as it is.
pub(super) fn strip(route: &Route, scrubbed: &mut Scrubbed) -> Result<(), Fault> {
    let Some(prefix) = &route.strip_prefix else { return Ok(()) };
    let uri = &scrubbed.caught.head.uri;
    let rest = rest(prefix, uri.path(), route.as_written)?;
    let target = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{rest}?{query}")),
        None => PathAndQuery::try_from(rest),
    };
    let target = target.map_err(|_| bad_request("without the route's prefix the path is none"))?;
    scrubbed.caught.head.uri = Uri::from(target);
    Ok(())
}

/// What is left of a path once a route's prefix is cut off.
///
/// # Errors
/// When that could be read as another path.
pub fn rest<'a>(prefix: &str, written: &'a str, as_written: bool) -> Result<&'a str, Fault> {
    // The route was found by the path as written: it begins with the prefix.
    let rest = written.strip_prefix(prefix).ok_or_else(|| bad_request("a path that does not begin with the route's prefix"))?;
    let rest = if rest.is_empty() { "/" } else { rest };
    path::read_rest(rest, as_written).map_err(bad_request)?;
    Ok(rest)
}
