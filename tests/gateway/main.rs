//! The gateway over real sockets, in this process. One file a behaviour; a new test goes into the file whose first line names
//! what it is about.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod admin_guard;
mod admin_tokens;
mod aliases;
mod api_exchange;
mod api_logout;
mod bad_input;
mod cache_flight;
mod cache_force;
mod cache_life;
mod cache_repair;
mod certs;
mod connection_limits;
mod dns;
mod eject;
mod endpoints;
mod exchange;
mod flood;
mod forwarded;
mod guard;
mod headers;
mod health;
mod http2;
mod http2_upstream;
mod issuer_client_auth;
mod issuer_protection;
mod kit;
mod life;
mod limits;
mod paths;
mod preflight;
mod proxy;
mod proxy_protocol;
mod reload;
mod reload_file;
mod retries;
mod rewrite;
mod routing;
mod scrape;
mod seen;
mod streaming;
mod timeouts;
mod tls;
mod token_headers;
mod tokens_actor;
mod tokens_entra;
mod tokens_introspection;
mod tokens_issuers;
mod tokens_misbehaviour;
mod tokens_own;
mod upgrades;
mod websocket;
mod wire;
