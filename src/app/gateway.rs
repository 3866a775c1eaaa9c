//! A whole gateway out of a checked configuration: rooms are made, sockets bound, workers started; and its end. It is the
//! same for `run`, the demo and the tests.

use super::status::Status;
use super::turned_away::{self, TurnedAway};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::exchange::{Exchange, Exchanger};
use crate::issuer::Issuer;
use crate::listen::{Bound, Workers};
use crate::metrics::{self, Metrics};
use crate::revocation::Revocations;
use crate::stack::{
    Admission, Callers, Injection, IssuerChoice, ReplayRoom, Route, RouteSettings, Routes, Shared, Stack, Targets, TokenMode,
};
use crate::token::{Target, TargetSettings};
use crate::upstream::{Pools, Upstream};
use crate::verify::{Verifier, Verifiers};
use crate::{admin, listen, stack};
use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

/// The token source of the whole program. A shared tier would be one more wrapper here.
pub type Tokens = Cache<Arc<Exchange>>;

/// A running gateway. Dropped, it stops at once.
pub struct Gateway {
    control: Option<Runtime>,
    workers: Workers,
    shared: Arc<Shared<Tokens>>,
    state: Arc<State>,
    listeners: Vec<(Arc<str>, SocketAddr)>,
    metrics_address: SocketAddr,
    admin_address: Option<SocketAddr>,
    /// Closed to end the metrics and admin listeners.
    _alive: watch::Sender<()>,
}

/// Where the program stands between start and end.
pub(super) struct State {
    pub issuers: Vec<Arc<Issuer>>,
    /// Of all issuers, one each.
    pub verifiers: Vec<Arc<Verifier>>,
    /// Without which no caller could be let in.
    needed: Vec<Arc<Verifier>>,
    ready: AtomicBool,
    ending: AtomicBool,
}

impl State {
    fn new(issuers: HashMap<Arc<str>, MadeIssuer>, needed: Vec<Arc<Verifier>>) -> Self {
        let (issuers, verifiers) = issuers.into_values().map(|made| (made.issuer, made.verifier)).unzip();
        Self { issuers, verifiers, needed, ready: AtomicBool::new(false), ending: AtomicBool::new(false) }
    }

    /// Latches: an issuer that fails later does not take the gateway out of service.
    pub fn ready(&self) -> bool {
        if !self.ready.load(Ordering::Relaxed) && (self.needed.is_empty() || self.needed.iter().any(|v| v.ready())) {
            self.ready.store(true, Ordering::Relaxed);
        }
        self.ready.load(Ordering::Relaxed) && !self.ending.load(Ordering::Relaxed)
    }
}

impl Gateway {
    /// # Errors
    /// When a socket cannot be bound, a file cannot be used, or routes tie. Nothing has been served then.
    pub fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        // Sockets first: a taken port is the likeliest thing to fail.
        let bound = config.listeners.iter().cloned().map(Bound::bind).collect::<Result<Vec<_>, _>>()?;
        let metrics_socket = bind_plain("metrics", config.metrics)?;
        let admin_socket = config.admin.clone().map(|a| Ok::<_, anyhow::Error>((bind_plain("admin", a.address)?, a))).transpose()?;
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build();
        let control = control.context("cannot start the control threads")?;

        let metrics = Metrics::new();
        metrics.on_scrape(|m| m.set_log_lines_dropped(crate::telemetry::dropped()));
        let issuers = make_issuers(&config, &clock, &metrics, control.handle())?;
        let exchange = Exchange::new(clock.clone());
        exchange.set(issuers.iter().map(|(name, made)| (name.clone(), made.exchanger.clone())).collect());
        let routes = make_routes(&config, &issuers, &metrics)?;
        let needed = needed(&routes);
        let tokens = Cache::new(config.cache, Arc::new(exchange), clock.clone(), control.handle().clone(), metrics.clone());
        let revoked = Revocations::new(clock.clone());
        let doors = super::doors::make(&config, &issuers, &tokens, &revoked, &clock, &metrics)?;
        let shared = Arc::new(Shared {
            routes: ArcSwap::from_pointee(routes),
            admission: Admission::new(config.requests),
            doors,
            revoked,
            tokens,
            unmatched: metrics.route(metrics::UNMATCHED),
            metrics: metrics.clone(),
            failures: Arc::default(),
            force: config.force.clone().map(Arc::new),
            replays: ReplayRoom::new(config.requests.replay_body, config.requests.replay_total),
            access_log: config.log.access,
        });

        let at = |(b, s): (&Bound, &listen::Settings)| {
            // Its gauge exists before the first caller comes.
            metrics.listener(&s.name);
            Ok((s.name.clone(), b.local_addr()?))
        };
        let listeners = bound.iter().zip(&config.listeners).map(at).collect::<anyhow::Result<Vec<_>>>()?;
        let workers = start_workers(&config, &clock, &shared, control.handle())?;
        for socket in bound {
            let _listening = workers.accept(socket, control.handle())?;
        }
        issuers.values().for_each(|made| made.issuer.start());
        start_upstreams(&shared.routes.load_full(), &clock, control.handle());
        let state = Arc::new(State::new(issuers, needed));
        let (alive, gone) = watch::channel(());
        let status = Arc::new(Status::new(shared.clone(), state.clone(), &listeners, clock));
        let metrics_address = serve(&control, metrics_socket, gone.clone(), |_| admin::probes(status.clone()))?;
        let admin_address =
            admin_socket.map(|(s, a)| serve(&control, s, gone, |at| admin::operators(status.clone(), a, at))).transpose()?;
        let gateway = Self { control: Some(control), workers, shared, state, listeners, metrics_address, admin_address, _alive: alive };
        gateway.announce();
        Ok(gateway)
    }

    fn announce(&self) {
        for (name, address) in &self.listeners {
            tracing::info!(listener = &**name, %address, "listening");
        }
        let admin = self.admin_address.map_or_else(|| "off".to_owned(), |a| a.to_string());
        tracing::info!(metrics = %self.metrics_address, admin, version = env!("CARGO_PKG_VERSION"), "started");
    }

    /// Where a listener really listens: its port may have been 0.
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|(n, _)| &**n == name).map(|(_, a)| *a)
    }

    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    pub fn ready(&self) -> bool {
        self.state.ready()
    }

    pub fn failures(&self) -> Vec<stack::Failure> {
        self.shared.failures.latest()
    }

    /// The runtime for what outlives a request.
    pub fn control(&self) -> Handle {
        // Taken out in `drop` alone.
        self.control.as_ref().map_or_else(Handle::current, |c| c.handle().clone())
    }

    /// Fails readiness, goes on serving for `delay`, then drains. Returns how many connections had to be cut after `grace`.
    pub async fn end(&self, delay: Duration, grace: Duration) -> usize {
        self.state.ending.store(true, Ordering::Relaxed);
        self.shared.admission.end();
        tokio::time::sleep(delay).await;
        let admission = self.shared.admission.clone();
        let last = tokio::spawn(async move {
            tokio::time::sleep(grace.mul_f64(0.95)).await;
            admission.close();
        });
        let cut = self.workers.drain(grace).await;
        last.abort();
        cut
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            // Not waited for: this may run on another runtime's thread.
            control.shutdown_background();
        }
    }
}

pub(super) struct MadeIssuer {
    pub issuer: Arc<Issuer>,
    pub verifier: Arc<Verifier>,
    pub exchanger: Arc<Exchanger>,
}

pub(super) fn make_issuers(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    control: &Handle,
) -> anyhow::Result<HashMap<Arc<str>, MadeIssuer>> {
    let mut made = HashMap::new();
    for config::Issuer { issuer, verify, exchange } in &config.issuers {
        let handles = metrics.issuer(&issuer.name);
        let at = Issuer::new(issuer.clone(), clock.clone(), handles.clone(), control.clone());
        let at = at.with_context(|| format!("issuer `{}`", issuer.name))?;
        let verifier = Verifier::new(verify.clone(), at.clone(), clock.clone(), config.cache.max_entries);
        let exchanger = Arc::new(Exchanger::new(exchange.clone(), at.clone(), handles));
        made.insert(issuer.name.clone(), MadeIssuer { issuer: at, verifier, exchanger });
    }
    Ok(made)
}

pub(super) fn make_routes(config: &Config, issuers: &HashMap<Arc<str>, MadeIssuer>, metrics: &Arc<Metrics>) -> anyhow::Result<Routes> {
    let mut upstreams = HashMap::new();
    for settings in &config.upstreams {
        let upstream = Upstream::new(settings.clone(), metrics.upstream(&settings.name));
        upstreams.insert(settings.name.clone(), upstream.with_context(|| format!("upstream `{}`", settings.name))?);
    }
    let mut routes = Vec::new();
    for settings in &config.routes {
        let context = || format!("route `{}`", settings.name);
        let upstream = upstreams
            .get(&settings.upstream)
            .ok_or_else(|| anyhow!("upstream `{}` is missing", settings.upstream))
            .with_context(context)?;
        let from = chosen(&settings.issuer, issuers).with_context(context)?;
        routes.push((settings, Arc::new(make_route(settings, upstream, &from, metrics))));
    }
    let mut by_listener = Vec::new();
    for listener in &config.listeners {
        let here = routes.iter().filter(|(s, _)| s.listeners.is_empty() || s.listeners.contains(&listener.name));
        let here: Vec<_> = here.map(|(s, r)| (s.rule.clone(), r.clone())).collect();
        let names: Vec<_> = here.iter().map(|(_, r)| r.name.clone()).collect();
        match crate::route::Table::build(here) {
            Ok(table) => by_listener.push((listener.name.clone(), table)),
            Err(ties) => {
                let tie = &ties[0];
                bail!("routes `{}` and `{}` both take {}, and neither is more specific", names[tie.first], names[tie.second], tie.both);
            }
        }
    }
    Ok(Routes::new(by_listener))
}

/// Begins what upstreams have done for them beside requests; those that run already are left alone.
fn start_upstreams(routes: &Routes, clock: &Clock, control: &Handle) {
    for route in routes.by_listener.iter().flat_map(|(_, table)| table.routes()) {
        route.upstream.start(clock, control);
    }
}

/// The issuers of a route.
fn chosen<'a>(choice: &IssuerChoice, issuers: &'a HashMap<Arc<str>, MadeIssuer>) -> anyhow::Result<Vec<&'a MadeIssuer>> {
    match choice {
        IssuerChoice::Named(name) => Ok(vec![issuers.get(name).ok_or_else(|| anyhow!("issuer `{name}` is missing"))?]),
        IssuerChoice::ByToken => Ok(issuers.values().collect()),
        IssuerChoice::Unneeded => Ok(Vec::new()),
    }
}

/// The verifiers that any route has, each once.
fn needed(routes: &Routes) -> Vec<Arc<Verifier>> {
    let mut all: Vec<Arc<Verifier>> = Vec::new();
    let of_routes = routes.by_listener.iter().flat_map(|(_, table)| table.routes()).filter_map(|r| r.verifiers.as_ref());
    for verifier in of_routes.flat_map(Verifiers::all) {
        if !all.iter().any(|v| Arc::ptr_eq(v, verifier)) {
            all.push(verifier.clone());
        }
    }
    all
}

fn make_route(settings: &RouteSettings, upstream: &Arc<Upstream>, from: &[&MadeIssuer], metrics: &Arc<Metrics>) -> Route {
    let at_each = |make: fn(&Exchanger, TargetSettings) -> Target, wanted: &TargetSettings| {
        Targets::new(from.iter().map(|made| Arc::new(make(&made.exchanger, wanted.clone()))).collect())
    };
    let token = match &settings.token {
        TokenMode::Strip => Injection::Nothing,
        TokenMode::Passthrough => Injection::Callers,
        TokenMode::Exchange(wanted) => Injection::Exchange(at_each(Exchanger::target, wanted)),
        TokenMode::ClientCredentials(wanted) => Injection::Own(at_each(Exchanger::own_target, wanted)),
    };
    let verifiers = match (settings.callers, &settings.issuer, from) {
        (Callers::Anonymous, ..) => None,
        (Callers::Verified, IssuerChoice::Named(_), [one]) => Some(Verifiers::One(one.verifier.clone())),
        (Callers::Verified, ..) => Some(Verifiers::ByToken(from.iter().map(|made| made.verifier.clone()).collect())),
    };
    Route {
        name: settings.name.clone(),
        upstream: upstream.clone(),
        timeouts: settings.timeouts,
        retries: settings.retries.clone(),
        verifiers,
        require: settings.require.clone(),
        token,
        max_body: settings.max_body,
        websocket: settings.websocket,
        force: settings.force,
        headers: settings.headers.clone(),
        strip_prefix: settings.rewrite.strip_prefix.clone(),
        host: settings.rewrite.host.clone(),
        as_written: settings.rule.as_written,
        preflight: settings.preflight,
        matched: settings.rule.headers.iter().map(|(name, _)| name.clone()).collect(),
        metrics: metrics.route(&settings.name),
    }
}

fn start_workers(config: &Config, clock: &Clock, shared: &Arc<Shared<Tokens>>, control: &Handle) -> anyhow::Result<Workers> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = config.workers.unwrap_or(cores).max(1);
    let (for_stack, for_overload, for_malformed) = (shared.clone(), shared.clone(), shared.clone());
    let (for_unwelcome, for_certificates) = (shared.metrics.clone(), shared.metrics.clone());
    let (overloaded, told) = (turned_away::fault(), TurnedAway::new(config.connections.max_connections, control.clone()));
    let hooks = listen::Hooks {
        turned_away: Arc::new(move |listener| {
            for_overload.unmatched.rejected(&overloaded);
            told.note(listener);
        }),
        malformed: Arc::new(move || for_malformed.metrics.malformed()),
        unwelcome: Arc::new(move |listener, why| for_unwelcome.unwelcome(listener, why.label())),
        certificates: Arc::new(move |listener, expires| for_certificates.certificate_expiry(listener, expires)),
    };
    let make = move |worker: &listen::WorkerContext| Stack::new(for_stack.clone(), Pools::new(worker.ticker.clone()));
    Ok(Workers::start(count, config.connections, clock, hooks, make)?)
}

fn bind_plain(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("{what}: cannot listen on {address}; is the port taken? change {what}.address"))
}

/// Serves operators on the control runtime. Returns the address it is at.
fn serve<S: admin::Service>(
    control: &Runtime,
    socket: TcpListener,
    mut gone: watch::Receiver<()>,
    make: impl FnOnce(SocketAddr) -> S,
) -> anyhow::Result<SocketAddr> {
    let at = socket.local_addr()?;
    let serving = listen::serve_plain(socket, make(at), async move {
        // Ends when the sender is dropped.
        while gone.changed().await.is_ok() {}
    });
    control.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(address = %at, %error, "this listener for operators does not serve");
        }
    });
    Ok(at)
}
