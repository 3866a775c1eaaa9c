//! THE tower stack, readable in one place; the inputs of its services, and a route's layers, one file per layer.
//! It knows a `TokenSource`, never a cache or an exchange, and it opens no connection itself.

mod admit;
mod answer;
mod body;
mod deadline;
mod divert;
mod failures;
mod find_route;
mod force;
mod forward;
mod forwarded;
mod headers;
mod hold_off;
mod in_force;
mod journal;
mod limit_rate;
mod measure;
mod outbound;
mod preflight;
mod rates;
mod refuse_revoked;
mod repair;
mod replay;
mod request;
mod rescue;
mod retry;
mod rewrite;
mod route;
mod scrub;
mod shared_answers;
mod swap_token;
mod traced;
mod tunnel;
mod upgrade;
mod verify;

use crate::metrics::{ListenerMetrics, Metrics, RouteMetrics};
use crate::revocation::Revocations;
use crate::token::TokenSource;
use crate::{listen, upstream};
use admit::Admit;
use arc_swap::ArcSwap;
use divert::Divert;
use find_route::FindRoute;
use forward::Forward;
use hold_off::HoldOff;
use limit_rate::LimitRate;
use measure::Measure;
use refuse_revoked::RefuseRevoked;
use repair::Repair;
use rescue::Rescue;
use scrub::Scrub;
use std::sync::Arc;
use swap_token::SwapToken;
use tower::ServiceBuilder;
use tower::layer::layer_fn;
use verify::Verify;

pub use admit::Admission;
pub use body::{Body, RequestBody};
pub use divert::{Answering, Door};
pub use failures::{Failure, Failures};
pub use force::{ForceHeader, ForceRoute, OnUpstream401};
pub use headers::may_hold_tokens;
pub use hold_off::FailedAuthentication;
pub use in_force::InForce;
pub use limit_rate::{CountedBy, RateLimit, RouteRate};
pub use outbound::{Outbound, OutboundSettings, Unmatched};
pub use preflight::asked_for as preflight_for;
pub use rates::{Limiter, Rate};
pub use replay::ReplayRoom;
pub use request::Caught;
pub use retry::Retries;
pub use rewrite::{HostRewrite, Rewrite, rest};
pub use route::{Callers, Injection, IssuerChoice, Limits, Route, RouteSettings, Routes, Targets, TokenHeaders, TokenMode, Towards};
pub use scrub::normal_host;
pub use shared_answers::SharedAnswers;
pub use verify::{asker, of_the_actor};

/// What all workers' stacks share, through all configurations.
pub struct Shared<T> {
    /// The configuration of now; a reload puts another in its place.
    pub in_force: Arc<ArcSwap<InForce>>,
    pub admission: Arc<Admission>,
    /// Who was logged out.
    pub revoked: Arc<Revocations>,
    pub tokens: T,
    pub metrics: Arc<Metrics>,
    /// For requests that match no route.
    pub unmatched: Arc<RouteMetrics>,
    /// The last refusals, for the admin's eyes.
    pub failures: Arc<Failures>,
}

/// One worker's stack; a connection gets its own handle of it.
pub struct Stack<T> {
    shared: Arc<Shared<T>>,
    pools: Arc<upstream::Pools<RequestBody>>,
}

impl<T> Clone for Stack<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), pools: self.pools.clone() }
    }
}

/// What a connection's requests go through.
pub type Service<T> = Measure<Rescue<Admit<Scrub<Divert<FindRoute<Limited<T>>>>>>>;

/// What a request goes through once it has a route.
type Limited<T> = LimitRate<HoldOff<Verify<RefuseRevoked<LimitRate<SwapToken<T, Repair<T, Forward>>>>>>>;

impl<T: TokenSource + Clone> Stack<T> {
    pub fn new(shared: Arc<Shared<T>>, pools: Arc<upstream::Pools<RequestBody>>) -> Self {
        Self { shared, pools }
    }

    /// The stack, outermost first. The types between the layers hold this order: swapping two does not compile.
    fn service(&self, peer: listen::Peer, listener: &Arc<ListenerMetrics>) -> Service<T> {
        let shared = &self.shared;
        let caller = request::Caller::new(peer, shared.in_force.load_full());
        ServiceBuilder::new()
            // Outermost: it sees every answer, rescued ones too, and lets go when the answer's last byte is out. Here a request
            // gets the configuration that it is under; nothing below asks which one is in force.
            .layer(layer_fn(|inner| Measure::new(inner, caller.clone(), listener.clone(), shared)))
            // Below it, every `Fault` becomes the one answer that the table has for it; nothing below makes answers of its own.
            .layer(layer_fn(|inner| Rescue::new(inner, shared.failures.clone())))
            // Before any work is done on a request: what is too much is shed, not queued.
            .layer(layer_fn(|inner| Admit::new(inner, shared.admission.clone())))
            // Before anything looks at host, path or token: from here on they have one reading.
            .layer(layer_fn(Scrub::new))
            // Before routes: what the gateway answers itself is never sent on, whatever a route says.
            .layer(layer_fn(Divert::new))
            // Before verification, since the route says whose tokens it takes.
            .layer(layer_fn(FindRoute::new))
            // Before verification, which costs: a rate by address needs no token.
            .layer(layer_fn(LimitRate::new))
            // Around verification: whose tokens fail too often is not listened to for a while.
            .layer(layer_fn(HoldOff::new))
            // Before the exchange: a token that fails here never reaches the issuer.
            .layer(layer_fn(Verify::new))
            // After verification, which remembers: a logout counts from the next request on, hit or not.
            .layer(layer_fn(|inner| RefuseRevoked::new(inner, shared.revoked.clone())))
            // After verification: a rate by caller is one of callers who are known.
            .layer(layer_fn(LimitRate::new))
            // After verification: whose token it is, and what for, is known only there.
            .layer(layer_fn(|inner| SwapToken::new(inner, shared.tokens.clone())))
            // Innermost layer: the last thing that touches `Authorization` before the request leaves, for the second time, too.
            .layer(layer_fn(|inner| Repair::new(inner, shared.tokens.clone())))
            .service(Forward::new(self.pools.clone()))
    }
}

impl<T: TokenSource + Clone> listen::Handler for Stack<T> {
    type Service = Service<T>;
    type Body = measure::Measured;

    fn connection(&self, peer: listen::Peer) -> Self::Service {
        let listener = self.shared.metrics.listener(&peer.listener);
        self.service(peer, &listener)
    }
}

#[cfg(test)]
mod tests;
