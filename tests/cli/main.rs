//! The real program, as its users start it: verbs, exit codes, what it prints, and its end by a signal. Everything stays on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
#[path = "../gateway/certs.rs"]
#[allow(dead_code, reason = "callers under TLS need a part of it")]
mod certs;
mod check;
#[path = "../gateway/collector.rs"]
#[allow(dead_code, reason = "it can be told to misbehave, which the gateway tests do")]
mod collector;
mod demo;
mod end;
mod exchange;
mod explain;
#[path = "../gateway/frames.rs"]
#[allow(dead_code, reason = "it writes more kinds of frames than these need")]
mod frames;
mod full;
mod health;
mod init;
#[allow(dead_code, reason = "the kit is the gateway tests'; these need its world")]
#[path = "../gateway/kit.rs"]
mod kit;
mod load;
mod log;
mod loudness;
mod online;
mod program;
mod refusals;
mod reload;
mod said;
mod schema;
mod slow;
mod start;
mod traces;
mod usage;
#[path = "../gateway/wire.rs"]
#[allow(dead_code, reason = "the kit speaks it; this binary hardly does")]
mod wire;
