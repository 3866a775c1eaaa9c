//! What the sections say of each other: names that lead nowhere, addresses used twice, audiences that are our own client, things
//! that nobody uses. It gathers all complaints and changes nothing.

use super::address::collide;
use super::admin::Admin;
use super::complaint::{Code, Complaint, quoted};
use super::force_update::ForceUpdate;
use super::issuers;
use super::listeners::Listener;
use super::metrics::Metrics;
use super::nearest;
use super::place::{At, Place};
use super::profiles;
use super::reading::Reading;
use super::routes::{Mode, Route, To};
use super::section::BY_TOKEN;
use super::ties;
use super::token_headers;
use super::upstreams::Upstream;
use super::written::Written;
use crate::upstream::Protocol;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

pub fn check(written: &Written, reading: &Reading) {
    // Every section by name: a new one does not compile until somebody has thought about what it says of the others.
    let Written {
        listeners,
        metrics,
        admin,
        issuers,
        upstreams,
        routes,
        exchange_api,
        logout,
        cache: _,
        force_update,
        limits: _,
        shutdown: _,
        workers: _,
        log: _,
        tracing: _,
    } = written;
    let (issuers, routes) = (issuers.as_deref(), routes.as_deref().unwrap_or_default());
    addresses(listeners.as_deref(), metrics, admin.as_ref(), reading);
    let names: BTreeSet<&str> = upstreams.iter().map(|u| u.name.value.as_str()).collect();
    for route in routes {
        check_upstream(route, &names, reading);
        check_websocket(route, upstreams, reading);
        check_listeners(route, listeners.as_deref(), reading);
        check_header(route, force_update, reading);
        token_headers::check_shared(route, force_update, reading);
        if let Some(issuers) = issuers {
            check_issuer(route, issuers, reading);
        }
    }
    if let Some(api) = exchange_api {
        api.check(listeners.as_deref(), issuers, reading);
    }
    if let Some(logout) = logout {
        logout.check(listeners.as_deref(), reading);
    }
    ties::check(routes, reading);
    // What a mistake elsewhere may have left unused is not worth a word yet.
    if !reading.has_errors() {
        unused(written, reading);
    }
}

fn addresses(listeners: Option<&[Listener]>, metrics: &Metrics, admin: Option<&Admin>, reading: &Reading) {
    let by_default = |address: (Ipv4Addr, u16)| (SocketAddr::from(address), None);
    let written = |at: At<SocketAddr>| (at.value, Some(at.place));
    let mut sockets: Vec<(String, (SocketAddr, Option<Place>))> = Vec::new();
    match listeners {
        None => sockets.push(("listener `main`".to_owned(), by_default((Ipv4Addr::UNSPECIFIED, 8080)))),
        Some(list) => {
            sockets.extend(list.iter().filter_map(|l| Some((format!("listener `{}`", l.name.value), written(l.address?)))));
        }
    }
    sockets.push(("`metrics`".to_owned(), metrics.address.map_or(by_default((Ipv4Addr::UNSPECIFIED, 9464)), written)));
    if let Some(admin) = admin {
        let standing = (SocketAddr::from((Ipv4Addr::LOCALHOST, 9901)), Some(admin.place));
        sockets.push(("`admin`".to_owned(), admin.address.map_or(standing, written)));
    }
    for (i, (name, (address, place))) in sockets.iter().enumerate() {
        let Some((other, (theirs, at))) = sockets[..i].iter().find(|(_, (theirs, _))| collide(*address, *theirs)) else { continue };
        // Whichever of the two is written in the file is pointed at.
        let Some(point) = place.or(*at) else { continue };
        let message = format!("{name} ({address}) and {other} ({theirs}) would listen on the same address");
        reading.complain(Complaint::error(Code::AddressTaken, point, message).cure("give one of them another port"));
    }
}

/// A name that is none of those there are.
fn dangling(route: &Route, what: &str, name: &At<String>, have: &[&str], reading: &Reading) {
    let hint = nearest::hint(&name.value, have.iter().copied());
    let list = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let message = format!("route `{}`: {what} {} is not defined (have: {list}){hint}", route.name.value, quoted(&name.value));
    let or = if what == "upstream" { "write a URL, as in `http://orders:8080`" } else { "use one that is there" };
    reading.complain(Complaint::error(Code::Dangling, name.place, message).cure(format!("define it under `{what}s`, or {or}")));
}

fn check_upstream(route: &Route, have: &BTreeSet<&str>, reading: &Reading) {
    let Some(At { value: To::Name(name), place, key }) = &route.upstream else { return };
    if !have.contains(name.as_str()) {
        let have: Vec<&str> = have.iter().copied().collect();
        dangling(route, "upstream", &At { value: name.clone(), place: *place, key: *key }, &have, reading);
    }
}

/// An upgrade is HTTP/1.1's.
fn check_websocket(route: &Route, upstreams: &[Upstream], reading: &Reading) {
    let (Some(At { value: To::Name(name), .. }), Some(at)) = (&route.upstream, route.websocket.filter(|at| at.value)) else { return };
    let upstream = upstreams.iter().find(|u| u.name.value == *name);
    if upstream.and_then(|u| u.protocol).is_some_and(|protocol| protocol.value == Protocol::Http2) {
        let message = format!("route `{}`: `websocket: true`, and the upstream `{name}` is spoken to in HTTP/2 only", route.name.value);
        let it = Complaint::error(Code::Websocket, at.key, message);
        reading.complain(it.cure("write `protocol: auto` or `http1` for the upstream, or take `websocket` out"));
    }
}

fn check_listeners(route: &Route, listeners: Option<&[Listener]>, reading: &Reading) {
    let have: Vec<&str> = listeners.map_or_else(|| vec!["main"], |list| list.iter().map(|l| l.name.value.as_str()).collect());
    for name in route.listeners.iter().flat_map(|at| &at.value) {
        if !have.contains(&name.value.as_str()) {
            dangling(route, "listener", name, &have, reading);
        }
    }
}

/// A header is allowed that there is none of.
fn check_header(route: &Route, force_update: &ForceUpdate, reading: &Reading) {
    let allowed = route.force_update.as_ref().and_then(|at| at.value.allow_header).filter(|at| at.value);
    if let Some(at) = allowed.filter(|_| !force_update.header_written) {
        let message = format!("route `{}`: `force_update.allow_header` allows a header, and nothing says which", route.name.value);
        let it = Complaint::error(Code::Missing, at.key, message);
        reading.complain(it.cure("write `force_update: { header: …, trusted_from: […] }` beside `routes`, or take it out"));
    }
}

fn check_issuer(route: &Route, issuers: &[issuers::Written], reading: &Reading) {
    let have: Vec<&str> = issuers.iter().map(|i| i.name.value.as_str()).collect();
    let of_route: &[issuers::Written] = match &route.issuer {
        Some(at) if at.value == BY_TOKEN => {
            check_by_token(route, at, issuers, reading);
            issuers
        }
        Some(at) => match issuers.iter().find(|i| i.name.value == at.value) {
            Some(issuer) => std::slice::from_ref(issuer),
            None => return dangling(route, "issuer", at, &have, reading),
        },
        None if route.issuer_written || !route.needs_issuer() => return,
        None => match issuers {
            [] | [_] => issuers,
            _ => {
                let message = format!("route `{}`: which issuer? There are {}", route.name.value, have.join(", "));
                let cure = "write `issuer: name`, or `issuer: by_token` for the one whose url is the token's iss";
                reading.complain(Complaint::error(Code::WhichIssuer, route.name.place, message).cure(cure));
                return;
            }
        },
    };
    for issuer in of_route {
        check_audience(route, issuer, reading);
        profiles::check(route, issuer, reading);
    }
}

/// Whoever goes by the token's `iss` needs a token, and issuers that it tells apart.
fn check_by_token(route: &Route, at: &At<String>, issuers: &[issuers::Written], reading: &Reading) {
    if route.callers.anonymous() {
        let message = format!("route `{}`: `issuer: by_token`, and callers need no token", route.name.value);
        reading.complain(Complaint::error(Code::Anonymous, at.place, message).cure("name the issuer, or take `callers: anonymous` out"));
    }
    check_told_apart(issuers, reading);
}

/// The token's `iss` has to lead to one issuer alone.
pub fn check_told_apart(issuers: &[issuers::Written], reading: &Reading) {
    for (i, issuer) in issuers.iter().enumerate() {
        let Some(url) = &issuer.url else { continue };
        let same = |other: &&issuers::Written| other.url.as_ref().is_some_and(|at| at.value.0 == url.value.0);
        let Some(first) = issuers[..i].iter().find(same) else { continue };
        let (name, other) = (&issuer.name.value, &first.name.value);
        // The same words for every such route: it is said once.
        let message = format!("issuer `{name}`: `url` is that of `{other}`, and there are routes that go by the token's iss");
        reading.complain(
            Complaint::error(Code::SameIssuer, url.place, message).cure("take one of the two out, or name the issuer in the route"),
        );
    }
}

/// The seed rule: a token for ourselves would be the caller's all over again.
fn check_audience(route: &Route, issuer: &issuers::Written, reading: &Reading) {
    let Some(own) = &issuer.client_id else { return };
    if !matches!(route.mode(), Mode::Exchange | Mode::ClientCredentials) {
        return;
    }
    for audience in route.target.audience.iter().flat_map(|at| &at.value).filter(|a| a.value == own.value) {
        let message = format!("route `{}`: audience is this gateway's own client_id", route.name.value);
        let it = Complaint::error(Code::OwnAudience, audience.place, message);
        reading.complain(it.cure("name the backend's client: the exchanged token must be good there and nowhere else"));
    }
}

fn unused(written: &Written, reading: &Reading) {
    let routes = written.routes.as_deref().unwrap_or_default();
    let named = |route: &'_ Route| match &route.upstream {
        Some(At { value: To::Name(name), .. }) => Some(name.clone()),
        _ => None,
    };
    let used: BTreeSet<String> = routes.iter().filter_map(named).collect();
    for upstream in &written.upstreams {
        let name = &upstream.name;
        if !used.contains(&name.value) {
            let message = format!("no route uses the upstream `{}`", name.value);
            reading.complain(Complaint::warning(Code::UnusedUpstream, name.place, message).cure("take it out, or route to it"));
        }
    }
    let issuers = written.issuers.as_deref().unwrap_or_default();
    for issuer in issuers {
        let name = &issuer.name;
        let named = |r: &Route| r.issuer.as_ref().map_or(issuers.len() == 1, |at| at.value == name.value || at.value == BY_TOKEN);
        let used = |r: &Route| r.needs_issuer() && named(r);
        let by_api = written.exchange_api.as_ref().is_some_and(|api| api.uses_issuer(&name.value, issuers.len() == 1));
        if !by_api && !routes.iter().any(used) {
            let message = format!("no route uses the issuer `{}`", name.value);
            reading.complain(Complaint::warning(Code::UnusedIssuer, name.place, message).cure("take it out, or name it in a route"));
        }
    }
    for listener in written.listeners.iter().flatten() {
        let name = &listener.name;
        let used = |r: &Route| r.listeners.as_ref().is_none_or(|at| at.value.iter().any(|l| l.value == name.value));
        let by_api = written.exchange_api.as_ref().is_some_and(|api| api.uses_listener(&name.value))
            || written.logout.as_ref().is_some_and(|logout| logout.uses_listener(&name.value));
        if !by_api && !listener.needs_no_route() && !routes.iter().any(used) {
            let message = format!("no route answers on the listener `{}`", name.value);
            reading.complain(Complaint::warning(Code::UnusedListener, name.place, message).cure("take it out, or name it in a route"));
        }
    }
}
