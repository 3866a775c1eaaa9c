//! The real program, as its users start it: verbs, exit codes, what it prints, and its end by a signal. Everything stays on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod demo;
mod end;
mod exchange;
mod explain;
mod health;
#[allow(dead_code, reason = "the kit is the gateway tests'; these need its world")]
#[path = "../gateway/kit.rs"]
mod kit;
mod load;
mod log;
mod program;
mod refusals;
mod reload;
mod said;
mod start;
mod usage;
#[path = "../gateway/wire.rs"]
#[allow(dead_code, reason = "the kit speaks it; this binary hardly does")]
mod wire;
