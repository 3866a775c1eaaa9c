//! What would become of a request on each listener, as JSON: the same from a file and from a running gateway. It reads the
//! configuration and asks nobody; the caller's token is no part of it.

use super::asked::Asked;
use super::lost;
use super::outbound;
use super::sends;
use crate::admin::Question;
use crate::api;
use crate::config::Config;
use crate::fault::{Fault, Why, bad_request, no_route};
use crate::route::path::Reading;
use crate::route::{Found, Table, Verdict};
use crate::stack::RouteSettings;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

type Of<'a> = Table<&'a RouteSettings>;

/// # Errors
/// What is wrong with the question.
pub fn explained(config: &Config, question: &Question) -> Result<Value, String> {
    let asked = Asked::read(question)?;
    let names = || config.listeners.iter().map(|l| &*l.name);
    if let Some(name) = question.listener.as_deref().filter(|name| !names().any(|n| n == *name)) {
        return Err(format!("there is no listener {name:?} (have: {})", names().collect::<Vec<_>>().join(", ")));
    }
    let wanted = |name: &&Arc<str>| question.listener.as_deref().is_none_or(|only| only == &***name);
    let listeners: Vec<&Arc<str>> = config.listeners.iter().map(|l| &l.name).filter(wanted).collect();
    let (host, reading) = (asked.host(), asked.reading());
    let request = json!({
        "method": asked.method.as_str(),
        "host": host.as_ref().ok(),
        "path": asked.path(),
        "boldest_reading": reading.as_ref().ok().filter(|r| r.differs()).map(Reading::boldest),
        "preflight_for": asked.preflight().map(|m| m.to_string()),
    });
    let answers = listeners.into_iter().map(|listener| {
        let proxy = outbound::of(config, listener);
        if let Some(fault) = proxy.and_then(|_| outbound::refused(&asked)) {
            return Ok(refused(listener, &fault, Vec::new()));
        }
        // Of a proxy's request, the URL alone says whom it is for.
        let host = if proxy.is_some() { &asked.named_host() } else { &host };
        match (host, &reading) {
            (Ok(host), Ok(reading)) => answer(config, listener, &asked, (host, reading), question.knows_values),
            (Err(fault), _) | (_, Err(fault)) => Ok(refused(listener, fault, Vec::new())),
        }
    });
    Ok(json!({ "request": request, "answers": answers.collect::<Result<Vec<_>, String>>()? }))
}

fn answer(
    config: &Config,
    listener: &Arc<str>,
    asked: &Asked,
    (host, reading): (&str, &Reading),
    knows_values: bool,
) -> Result<Value, String> {
    let proxy = outbound::of(config, listener);
    let own = if proxy.is_some() { Ok(None) } else { own_path(config, listener, reading) };
    match own {
        Ok(None) => {}
        Ok(Some(own)) => {
            return Ok(
                json!({ "listener": **listener, "outcome": "own_path", "own_path": own, "why": "the gateway answers this path itself" }),
            );
        }
        Err(fault) => return Ok(refused(listener, &fault, Vec::new())),
    }
    let is_here = |route: &&RouteSettings| route.listeners.is_empty() || route.listeners.contains(listener);
    let (here, elsewhere): (Vec<_>, Vec<_>) = config.routes.iter().partition(is_here);
    let table: Of = Table::build(here.into_iter().map(|route| (route.rule.clone(), route)).collect())
        .map_err(|_| "two routes take the same requests, and neither is more specific".to_owned())?;
    let preflight = asked
        .preflight()
        .filter(|method| matches!(table.find(host, reading, method, &asked.headers), Found::Route(route) if route.preflight));
    let method = preflight.as_ref().unwrap_or(&asked.method);
    let (found, verdicts) = table.explain(host, reading, method, &asked.headers);
    let winner = verdicts.iter().find(|(_, v)| matches!(v, Verdict::Won | Verdict::Ambiguous)).map(|(r, _)| **r);
    let said = lost::Said { winner, host, method, knows_values };
    let mut routes: Vec<Value> = verdicts.iter().map(|(route, verdict)| lost::told(route, verdict, &said)).collect();
    routes.extend(elsewhere.into_iter().map(lost::elsewhere));
    routes.sort_by_key(|told| told["verdict"] != "won");
    let fault = match found {
        Found::Route(route) => return Ok(sent(config, listener, route, (reading, preflight.is_some()), routes)),
        Found::MethodNotAllowed(methods) => {
            Fault::MethodNotAllowed { allow: methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ") }
        }
        Found::Nothing => match proxy.filter(|_| !table.names(host)) {
            Some(unmatched) => match outbound::let_through(unmatched, listener, asked, &routes) {
                Some(through) => return Ok(through),
                None => no_route(Why::new("no route names this host, and the listener says `unmatched: refuse`")),
            },
            None => no_route(Why::new("no route takes this request")),
        },
        Found::Ambiguous => bad_request("two readings of the path lead to different routes"),
    };
    Ok(refused(listener, &fault, routes))
}

/// The gateway's own paths come before all routes.
fn own_path(config: &Config, listener: &Arc<str>, reading: &Reading) -> Result<Option<&'static str>, Fault> {
    let api = config.exchange_api.iter().filter(|api| api.listeners.contains(listener));
    let api = api.flat_map(|_| [(api::EXCHANGE_PATH, "exchange_api"), (api::OPENAPI_PATH, "exchange_api")]);
    let logout = config.logout.iter().filter(|logout| logout.listeners.contains(listener));
    let mut own = api.chain(logout.map(|logout| (&*logout.path, "logout")));
    if let Some((_, name)) = own.clone().find(|(path, _)| *path == reading.written) {
        return Ok(Some(name));
    }
    if reading.differs() && own.any(|(path, _)| path.eq_ignore_ascii_case(reading.boldest())) {
        return Err(bad_request("two readings of the path, one of which is a path of the gateway's own"));
    }
    Ok(None)
}

fn sent(config: &Config, listener: &Arc<str>, route: &RouteSettings, (reading, preflight): (&Reading, bool), routes: Vec<Value>) -> Value {
    let path = match route.rewrite.strip_prefix.as_deref().map(|p| crate::stack::rest(p, reading.written, route.rule.as_written)) {
        None => reading.written,
        Some(Ok(rest)) => rest,
        Some(Err(fault)) => return refused(listener, &fault, routes),
    };
    json!({
        "listener": **listener,
        "outcome": "route",
        "route": *route.name,
        "preflight": preflight,
        "routes": routes,
        "callers": if preflight { Value::Null } else { sends::callers(config, route) },
        "token": if preflight { Value::Null } else { sends::token(config, route) },
        "upstream": sends::upstream(config, route, path),
    })
}

fn refused(listener: &Arc<str>, fault: &Fault, routes: Vec<Value>) -> Value {
    let why = match fault {
        Fault::MethodNotAllowed { allow } if allow.is_empty() => "CONNECT and TRACE are never served".to_owned(),
        Fault::MethodNotAllowed { allow } => format!("something is at this path, but for other methods: {allow}"),
        _ => fault.why().map_or_else(|| fault.row().title.to_owned(), |why| why.cause.to_string()),
    };
    json!({
        "listener": **listener,
        "outcome": "refused",
        "refused": { "code": fault.code(), "status": fault.row().status.as_u16(), "why": why },
        "routes": routes,
    })
}
