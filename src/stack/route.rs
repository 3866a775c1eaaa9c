//! A route: as the configuration describes it, and as the stack runs it.

use super::force::ForceRoute;
use crate::metrics::RouteMetrics;
use crate::route::{Rule, Table};
use crate::token::Target;
use crate::{upstream, verify};
use std::sync::Arc;
use std::time::Duration;

/// One route, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Its name in the configuration; a metric label.
    pub name: Arc<str>,
    pub rule: Rule,
    /// Names of listeners; empty: all.
    pub listeners: Vec<Arc<str>>,
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Over the upstream's, where the route says so; resolved.
    pub timeouts: upstream::Timeouts,
    /// Whose tokens callers must bring.
    pub issuer: Arc<str>,
    pub token: TokenMode,
    /// Bytes; `None`: any.
    pub max_body: Option<u64>,
    pub force: ForceRoute,
}

/// What becomes of the caller's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenMode {
    /// Exchanged; the caller's own never goes upstream.
    Exchange(TargetSettings),
    /// Verified and taken out.
    Strip,
    /// Verified and left in.
    Passthrough,
}

/// What an exchanging route asks its issuer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSettings {
    pub audiences: Vec<String>,
    pub scopes: Vec<String>,
    pub resources: Vec<String>,
    /// What the issued token's `aud` must contain; the audiences unless the configuration says otherwise.
    pub expect_audiences: Vec<String>,
    pub max_ttl: Duration,
    pub allow_login_client: bool,
}

/// What holds for every request before it has a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_in_flight: usize,
    pub header_bytes: usize,
    pub header_count: usize,
    pub uri_bytes: usize,
    /// The largest body that is kept for a second time, and of all of them together.
    pub replay_body: usize,
    pub replay_total: usize,
}

/// One route, ready to run.
pub struct Route {
    pub name: Arc<str>,
    pub upstream: Arc<upstream::Upstream>,
    pub timeouts: upstream::Timeouts,
    pub verifier: Arc<verify::Verifier>,
    pub token: Injection,
    pub max_body: Option<u64>,
    pub force: ForceRoute,
    pub metrics: Arc<RouteMetrics>,
}

/// What goes upstream in `Authorization`.
pub enum Injection {
    /// A token for this target.
    Exchange(Arc<Target>),
    Nothing,
    /// The caller's own.
    Callers,
}

/// A table for each listener, since a route may be for some listeners only.
#[derive(Default)]
pub struct Routes {
    pub by_listener: Vec<(Arc<str>, Table<Arc<Route>>)>,
}

impl Routes {
    pub fn for_listener(&self, name: &str) -> Option<&Table<Arc<Route>>> {
        self.by_listener.iter().find(|(n, _)| &**n == name).map(|(_, t)| t)
    }
}
