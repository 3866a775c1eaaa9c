//! What operators watch: every metric that is named anywhere is there, and every one that is there is named; rules and dashboard ask for
//! what exists; alerts fire when they should; and a real Prometheus reads all of it from a running gateway.
//!
//! `promtool` and `prometheus` are Debian's package `prometheus`. Without them their tests say that they are skipped; with
//! `CAMBIST_REQUIRE_PROMETHEUS=1` that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the gateway tests'; these need a part of it")]
#[path = "../gateway/certs.rs"]
mod certs;
mod dashboard;
#[allow(dead_code, reason = "the kit is the gateway tests'; these need a part of it")]
#[path = "../gateway/kit.rs"]
mod kit;
mod live;
mod lost;
mod named;
mod rules;
#[allow(dead_code, reason = "the gateway tests'; these need a part of it")]
#[path = "../gateway/scrape.rs"]
mod scrape;
mod stage;
#[allow(dead_code, reason = "the kit speaks it; these hardly do")]
#[path = "../gateway/wire.rs"]
mod wire;
