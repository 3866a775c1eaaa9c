//! The configuration: one file per section of the YAML. It turns what the operator wrote into the rooms' own `Settings`, and
//! gathers all complaints at once. Config knows every room; no room knows config. Nobody else sees the YAML crate.

use crate::{cache, exchange, issuer, listen, stack, telemetry, upstream, verify};
use std::net::SocketAddr;
use std::time::Duration;

/// A whole configuration, checked: what the program runs on.
#[derive(Clone, Debug)]
pub struct Config {
    pub listeners: Vec<listen::Settings>,
    pub connections: listen::Limits,
    pub requests: stack::Limits,
    pub metrics: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub issuers: Vec<Issuer>,
    pub upstreams: Vec<upstream::Settings>,
    pub routes: Vec<stack::RouteSettings>,
    pub cache: cache::Settings,
    pub shutdown: Shutdown,
    /// Worker threads; `None`: one per core.
    pub workers: Option<usize>,
    pub log: telemetry::Settings,
}

/// An issuer's settings, for the three rooms that share it.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub issuer: issuer::Settings,
    pub verify: verify::Settings,
    pub exchange: exchange::Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// From failing readiness to draining.
    pub delay: Duration,
    /// From draining to the end.
    pub grace: Duration,
}
