//! Every row of the fault table through the real stack, from a source of tokens that fails as the caller's `sub` says. So rows are
//! driven that nothing can bring about yet, and the one that only a bug brings about.

use crate::canary::Aviary;
use crate::kit::{World, until};
use arc_swap::ArcSwap;
use bytes::Bytes;
use cambist::clock::Clock;
use cambist::config::{self, Config};
use cambist::demo::fetch::Connection;
use cambist::exchange::Exchanger;
use cambist::fault::{Fault, Why, samples};
use cambist::issuer::Issuer;
use cambist::listen::{Bound, Hooks, WorkerContext, Workers};
use cambist::metrics::{Metrics, UNMATCHED};
use cambist::revocation::Revocations;
use cambist::route::Table;
use cambist::stack::{
    ForceRoute, HostRewrite, InForce, Injection, ReplayRoom, Route, Routes, Shared, SharedAnswers, Stack, Targets, TokenMode, Towards,
};
use cambist::token::{Answer, Ask, Asker, Target, TokenSource};
use cambist::upstream::{Pools, Upstream};
use cambist::verify::{Require, Verifier, Verifiers};
use futures_util::future::{Either, ready};
use http::{HeaderMap, HeaderValue, Method};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(Clone)]
struct Samples;

impl TokenSource for Samples {
    fn token(&self, asker: &Asker, _: &Arc<Target>, _: Ask) -> Answer {
        let code = &*asker.caller().unwrap().subject.sub;
        assert_ne!(code, "internal", "on purpose");
        let why = Why::new("a sample").cure("none is needed").words("said: nothing");
        let fault = samples(why).into_iter().find(|f| f.code() == code).unwrap();
        Either::Left(ready(Err(fault)))
    }
}

/// Returns the codes that callers were told, over HTTP as such and to gRPC as a status.
pub async fn drive(aviary: &Aviary) -> BTreeSet<String> {
    let world = World::new().await;
    let text = world.yaml("\n  all: { match: { path: / }, upstream: OPEN, audience: orders-api }", "");
    let config = config::read(&text, "samples.yaml").unwrap_or_else(|report| panic!("{report}")).config;
    let (shared, issuer) = shared(&config, &world.clock);
    until("the keys are there", || issuer.loaded()).await;
    let (at, _workers) = serve(&config, shared.clone());
    let mut codes = BTreeSet::new();
    for fault in samples(Why::default()) {
        let row = fault.row();
        let token = world.iam.caller_token(row.code).unwrap();
        let elsewhere = world.iam.caller_token(&format!("{}-elsewhere", row.code)).unwrap();
        aviary.plant_jwt("the token of a caller who meets a sample", &token);
        aviary.plant_jwt("a token in the query of a caller who meets a sample", &elsewhere);
        for (kind, wanted) in [("application/json", row.status.as_u16()), ("application/grpc", 200)] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).unwrap());
            headers.insert("content-type", HeaderValue::from_static(kind));
            // Another token than the caller's own: a copy of that would be refused before the sample is met.
            let path = format!("/{}?access_token={elsewhere}", row.code);
            let answer = Connection::open(at).await.unwrap().send(Method::POST, &path, headers, Bytes::new()).await.unwrap();
            let code = aviary.answered(&format!("the sample of {}", row.code), &answer);
            assert_eq!(answer.status, wanted, "{}", row.code);
            if kind == "application/json" {
                codes.insert(code);
            } else {
                assert_eq!(answer.headers["grpc-status"], row.grpc.to_string());
            }
        }
    }
    aviary.saw("the failures of the samples", serde_json::to_string(&shared.failures.latest()).unwrap());
    aviary.saw("the metrics of the samples", String::from_utf8(shared.metrics.encode()).unwrap());
    codes
}

/// What `Gateway::start` makes, with other tokens.
fn shared(config: &Config, clock: &Clock) -> (Arc<Shared<Samples>>, Arc<Issuer>) {
    let metrics = Metrics::new();
    let config::Issuer { issuer, verify, exchange } = &config.issuers[0];
    let handles = metrics.issuer(&issuer.name);
    let control = tokio::runtime::Handle::current();
    let issuer = Issuer::new(issuer.clone(), clock.clone(), handles.clone(), control).unwrap();
    issuer.start();
    let verifier = Verifier::new(verify.clone(), issuer.clone(), clock.clone(), 1000);
    let settings = &config.routes[0];
    let TokenMode::Exchange(t) = &settings.token else { panic!("it exchanges") };
    let target = Exchanger::new(exchange.clone(), issuer.clone(), handles).target(t.clone());
    let route = Route {
        name: settings.name.clone(),
        path: "/".into(),
        upstream: Towards::Upstream(Upstream::new(config.upstreams[0].clone(), metrics.upstream("sample")).unwrap()),
        timeouts: settings.timeouts,
        retries: settings.retries.clone(),
        verifiers: Some(Verifiers::One(verifier)),
        require: Require::default(),
        token: Injection::Exchange(Targets::new(vec![Arc::new(target)])),
        max_body: None,
        websocket: false,
        force: ForceRoute::default(),
        headers: settings.headers.clone(),
        shared: SharedAnswers::new(&Injection::Nothing, &settings.headers, true),
        strip_prefix: None,
        host: HostRewrite::Preserve,
        as_written: false,
        preflight: false,
        rate: None,
        matched: Vec::new(),
        metrics: metrics.route(&settings.name),
    };
    let table = Table::build(vec![(settings.rule.clone(), Arc::new(route))]).unwrap();
    let in_force = InForce {
        routes: Routes::new(vec![("main".into(), table)]),
        outbound: Vec::new(),
        doors: Vec::new(),
        limits: config.requests,
        force: None,
        failed: None,
        replays: ReplayRoom::new(0, 0),
        traces: None,
        followed: Vec::new(),
        held: Box::new(()),
    };
    let shared = Shared {
        in_force: Arc::new(ArcSwap::from_pointee(in_force)),
        admission: Arc::default(),
        revoked: Revocations::new(Clock::real()),
        tokens: Samples,
        unmatched: metrics.route(UNMATCHED),
        metrics,
        failures: Arc::default(),
    };
    (Arc::new(shared), issuer)
}

fn serve(config: &Config, shared: Arc<Shared<Samples>>) -> (SocketAddr, Workers) {
    let make = move |worker: &WorkerContext| Stack::new(shared.clone(), Pools::new(worker.ticker.clone()));
    let workers = Workers::start(1, config.connections, &Clock::real(), Hooks::default(), make).unwrap();
    let bound = Bound::bind(config.listeners[0].clone()).unwrap();
    let at = bound.local_addr().unwrap();
    workers.accept(bound, &tokio::runtime::Handle::current()).unwrap();
    (at, workers)
}

/// The names are checked here, so that a renamed row fails loudly.
#[test]
fn every_code_has_a_sample() {
    let codes: Vec<_> = samples(Why::default()).iter().map(Fault::code).collect();
    assert_eq!(codes, Fault::CODES);
}
