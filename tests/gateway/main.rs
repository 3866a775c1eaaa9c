//! The gateway over real sockets, in this process. One file a behaviour; a new test goes into the file whose first line names
//! what it is about.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod exchange;
mod flood;
mod kit;
mod life;
mod scrape;
mod seen;
