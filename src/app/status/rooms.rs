//! What the status says of issuers, upstreams, listeners and the cache: how each is now, and what was counted in the history's time.

use super::history::{History, routes};
use super::routes::{by_name, difference, hit_ratio, spread};
use crate::api;
use crate::app::lasting::Lasting;
use crate::app::world::World;
use crate::issuer::{LastError, Seen, Standing};
use crate::metrics::{LOOKUPS, RouteReading, Spread};
use crate::stack::InForce;
use crate::telemetry::{self, Settings};
use serde_json::{Value, json};

/// Null: this process's log is somebody else's.
pub(super) fn log(world: &World) -> Value {
    let Some(now) = telemetry::in_force() else { return Value::Null };
    let Settings { level, access, format } = now;
    json!({
        "level": level.name(),
        "access": access,
        "format": format.name(),
        "as_configured": (level, access) == (world.config.log.level, world.config.log.access),
        "lines_dropped": telemetry::dropped(),
        "lines_held_back": telemetry::held_back(),
    })
}

/// What programs may ask for themselves; null: nothing.
pub(super) fn exchange_api(world: &World) -> Value {
    let names = |api: &api::Settings| api.audiences.iter().map(|audience| audience.name.clone()).collect::<Vec<_>>();
    world.config.exchange_api.as_ref().map_or(Value::Null, |api| json!({ "audiences": names(api) }))
}

pub(super) fn issuers(world: &World, history: &History, unix: u64) -> Value {
    let mut told: Vec<Value> = Vec::new();
    for (name, made) in &world.issuers {
        let settings = made.issuer.settings();
        let Seen { reading, circuit, left, last_error } = made.issuer.seen();
        let before = history.issuers.get(name).and_then(|ring| ring.oldest());
        let exchanges = reading.exchanges.since(before.map_or(&Spread::default(), |b| &b.exchanges));
        let loaded = made.issuer.loaded();
        // The gauge is at 0 before the first call, too.
        let asked = reading.up || loaded || last_error.is_some() || reading.exchanges.total() > 0;
        told.push(json!({
            "name": name,
            "url": settings.url,
            "client_id": settings.client_id,
            "keys_loaded": loaded,
            "keys_age_seconds": reading.keys_came.map(|at| unix.saturating_sub(at)),
            "up": asked.then_some(reading.up),
            "circuit": match circuit {
                Standing::Closed => "closed",
                Standing::Open => "open",
                Standing::Probing => "probing",
                Standing::Paused => "paused",
            },
            "left_in_peace_seconds": left.map(|left| left.as_secs_f64()),
            "in_flight": reading.in_flight,
            "max_in_flight": settings.protection.max_in_flight,
            "last_error": last_error.map(|LastError { at, cause, cure }| json!({ "at": at, "goes_on": at.is_none(), "cause": cause, "cure": cure })),
            "exchanges": spread(&exchanges),
        }));
    }
    by_names(told)
}

pub(super) fn upstreams(world: &World, history: &History, at: u64) -> Value {
    let mut told: Vec<Value> = Vec::new();
    for (name, upstream) in &world.upstreams {
        let now = upstream.reading();
        let ring = history.upstreams.get(name);
        let nothing = Default::default();
        let before = ring.and_then(|ring| ring.oldest()).unwrap_or(&nothing);
        let answers = now.answers.since(&before.answers);
        let endpoints = upstream.seen(at);
        let good = endpoints.iter().filter(|e| e.healthy && e.ejected.is_none()).count();
        let each = endpoints.iter().map(|e| {
            let ejected = e.ejected.map(|left| left.as_secs_f64());
            json!({ "endpoint": e.name, "healthy": e.healthy, "ejected_for_seconds": ejected, "in_use": e.in_use })
        });
        told.push(json!({
            "name": name,
            "checked": upstream.settings().health.is_some(),
            "endpoints": each.collect::<Vec<_>>(),
            "endpoints_good": good,
            "why_none": upstream.why_none(),
            "max_connections": upstream.settings().max_connections,
            "answers": answers.total(),
            "answers_per_second": ring.map(|ring| ring.rate(at, &now, |r| r.answers.total())),
            "answers_p50_seconds": answers.quantile(0.5),
            "answers_p99_seconds": answers.quantile(0.99),
            "failed": now.failed.saturating_sub(before.failed),
        }));
    }
    by_names(told)
}

pub(super) fn listeners(lasting: &Lasting, world: &World, in_force: &InForce) -> Value {
    let metrics = &lasting.rooms.metrics;
    let addresses = lasting.addresses();
    let each = addresses.iter().map(|(name, address)| {
        let here = in_force.routes.for_listener(name).into_iter().flat_map(|table| table.routes());
        let tls = world.config.listeners.iter().any(|l| l.name == *name && l.manner.tls.is_some());
        json!({
            "name": name,
            "address": address.to_string(),
            "tls": tls,
            "certificate_expires_at": tls.then(|| metrics.certificate_expires(name)).flatten(),
            "requests_in_flight": metrics.in_flight(name),
            "routes": here.map(|route| &*route.name).collect::<Vec<_>>(),
        })
    });
    each.collect::<Vec<_>>().into()
}

pub(super) fn cache(lasting: &Lasting, in_force: &InForce, history: &History) -> Value {
    let tokens = &lasting.shared.tokens;
    let mut sum = [0; LOOKUPS.len()];
    // By step: at once, after waiting for the issuer, refused.
    let mut steps: Vec<[u64; LOOKUPS.len()]> = Vec::new();
    let none = RouteReading::default();
    for (name, route) in routes(in_force) {
        let Some(ring) = history.routes.get(name) else { continue };
        let now = route.metrics.read();
        add(&mut sum, &difference(&now, ring.oldest().unwrap_or(&none)));
        let came: Vec<_> = ring.steps(&now, difference).collect();
        steps.resize(steps.len().max(came.len()), [0; LOOKUPS.len()]);
        let shorter = steps.len() - came.len();
        steps[shorter..].iter_mut().zip(&came).for_each(|(step, came)| add(step, came));
    }
    json!({
        "entries": tokens.len(),
        "max_entries": tokens.max_entries(),
        "bytes": tokens.bytes(),
        "max_bytes": tokens.max_bytes(),
        "hit_ratio": hit_ratio(&sum),
        "lookups": by_name(&sum),
        "lookups_names": LOOKUPS,
        "lookups_steps": steps,
    })
}

fn add(sum: &mut [u64; LOOKUPS.len()], more: &[u64; LOOKUPS.len()]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// In the order of their names, so that nothing jumps about.
fn by_names(mut told: Vec<Value>) -> Value {
    told.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    told.into()
}
