//! A whole gateway out of a checked configuration: rooms are made, sockets bound, workers started; and its end. It is the
//! same for `run`, the demo and the tests.

use super::changes::Changes;
use super::lasting::Lasting;
use super::listeners::Listeners;
use super::reload::{self, Reloaded, Source};
use super::status::{self, Status};
use super::turned_away::{self, TurnedAway};
use super::world::{Rooms, World};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::exchange::Exchange;
use crate::listen::Workers;
use crate::metrics::{self, Metrics};
use crate::revocation::Revocations;
use crate::stack::{Admission, Failures, InForce, Shared, Stack};
use crate::upstream::{Own, Pools};
use crate::{admin, listen, stack, telemetry};
use anyhow::Context;
use arc_swap::ArcSwap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

/// The token source of the whole program. A shared tier would be one more wrapper here.
pub type Tokens = Cache<Arc<Exchange>>;

/// A running gateway. Dropped, it stops at once.
pub struct Gateway {
    control: Option<Runtime>,
    lasting: Arc<Lasting>,
    metrics_address: SocketAddr,
    admin_address: Option<SocketAddr>,
    /// Closed to end the metrics and admin listeners.
    _alive: watch::Sender<()>,
}

impl Gateway {
    /// # Errors
    /// When a socket cannot be bound, a file cannot be used, or routes tie. Nothing has been served then.
    pub fn start(mut config: Config, clock: Clock) -> anyhow::Result<Self> {
        // Sockets first: a taken port is the likeliest thing to fail.
        let mut listeners = Listeners::default();
        let plan = listeners.plan(&mut config.listeners)?;
        let metrics_socket = bind_plain("metrics", config.metrics)?;
        let admin_socket = config.admin.clone().map(|a| Ok::<_, anyhow::Error>((bind_plain("admin", a.address)?, a))).transpose()?;
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build();
        let control = control.context("cannot start the control threads")?;

        let rooms = make_rooms(&config, clock.clone(), control.handle());
        let (world, in_force) = World::make(config, &rooms, None, Vec::new())?;
        rooms.exchange.add(world.exchangers());
        rooms.revoked.know(world.names());
        let shared = share(&rooms, in_force);
        for listener in &world.config.listeners {
            // Its gauge exists before the first caller comes.
            rooms.metrics.listener(&listener.name);
        }
        let turned_away = TurnedAway::new(world.config.connections.max_connections, control.handle().clone());
        let workers = start_workers(&world.config, &clock, &shared, turned_away.clone())?;
        // Nothing was open before: nothing is to be closed.
        let _ = listeners.carry_out(plan, &workers, control.handle());
        world.start(&rooms);
        let operators = std::iter::once(&metrics_socket).chain(admin_socket.iter().map(|(socket, _)| socket));
        let operators = operators.map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        let lasting = Arc::new(Lasting::new(rooms, shared, world, workers, listeners, operators, turned_away));
        let (alive, gone) = watch::channel(());
        let status = Arc::new(Status::new(lasting.clone()));
        control.spawn(status::watch(Arc::downgrade(&status)));
        let metrics_address = serve(&control, metrics_socket, gone.clone(), |_| admin::probes(status.clone()))?;
        let admin_address =
            admin_socket.map(|(s, a)| serve(&control, s, gone, |at| admin::operators(status.clone(), a, at))).transpose()?;
        let gateway = Self { control: Some(control), lasting, metrics_address, admin_address, _alive: alive };
        gateway.announce();
        Ok(gateway)
    }

    fn announce(&self) {
        for (name, address) in &*self.lasting.addresses() {
            tracing::info!(listener = &**name, %address, "listening");
        }
        let admin = self.admin_address.map_or_else(|| "off".to_owned(), |a| a.to_string());
        tracing::info!(metrics = %self.metrics_address, admin, version = env!("CARGO_PKG_VERSION"), "started");
    }

    /// Keeps in step with a file from now on; `text` is what it held when this gateway's configuration was read from it. A second
    /// call changes nothing.
    pub fn follow(&self, file: &Path, text: &str) {
        let source = Arc::new(Source::new(file, text));
        if self.lasting.source.set(source.clone()).is_ok() {
            self.lasting.standing.read_from(file.display().to_string());
            self.control().spawn(reload::watch(source, Arc::downgrade(&self.lasting)));
        }
    }

    /// Reads the file again now. `None`: there is none.
    pub async fn reload(&self) -> Option<Reloaded> {
        reload::now(&self.lasting).await
    }

    /// Puts another configuration in force, wherever it is from.
    ///
    /// # Errors
    /// When it cannot be: nothing has changed then.
    pub async fn apply(&self, config: Config) -> anyhow::Result<Changes> {
        let lasting = self.lasting.clone();
        let applied = self.control().spawn(async move { lasting.apply(config).await });
        applied.await.context("the gateway is gone")?
    }

    /// Where a listener really listens: its port may have been 0.
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.lasting.addresses().iter().find(|(n, _)| &**n == name).map(|(_, a)| *a)
    }

    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    pub fn ready(&self) -> bool {
        self.lasting.ready()
    }

    pub fn failures(&self) -> Vec<stack::Failure> {
        self.lasting.shared.failures.latest()
    }

    /// How the configuration in force wants the gateway to end.
    pub fn shutdown(&self) -> config::Shutdown {
        self.lasting.world.load().config.shutdown
    }

    /// The runtime for what outlives a request.
    pub fn control(&self) -> Handle {
        // Taken out in `drop` alone.
        self.control.as_ref().map_or_else(Handle::current, |c| c.handle().clone())
    }

    /// Fails readiness, goes on serving for `delay`, then drains. Returns how many connections had to be cut after `grace`.
    pub async fn end(&self, delay: Duration, grace: Duration) -> usize {
        self.lasting.end(delay, grace).await
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

fn make_rooms(config: &Config, clock: Clock, control: &Handle) -> Rooms {
    let metrics = Metrics::new();
    metrics.on_scrape(|m| m.set_log_lines(telemetry::dropped(), telemetry::held_back()));
    let exchange = Arc::new(Exchange::new(clock.clone()));
    let tokens = Cache::new(config.cache, exchange.clone(), clock.clone(), control.clone(), metrics.clone());
    let own = Own::default();
    Rooms { own, revoked: Revocations::new(clock.clone()), clock, control: control.clone(), metrics, exchange, tokens }
}

fn share(rooms: &Rooms, in_force: InForce) -> Arc<Shared<Tokens>> {
    Arc::new(Shared {
        in_force: Arc::new(ArcSwap::from_pointee(in_force)),
        admission: Arc::new(Admission::default()),
        revoked: rooms.revoked.clone(),
        tokens: rooms.tokens.clone(),
        unmatched: rooms.metrics.route(metrics::UNMATCHED),
        metrics: rooms.metrics.clone(),
        failures: Arc::new(Failures::new(rooms.clock.clone())),
    })
}

fn start_workers(config: &Config, clock: &Clock, shared: &Arc<Shared<Tokens>>, told: Arc<TurnedAway>) -> anyhow::Result<Workers> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = config.workers.unwrap_or(cores).max(1);
    let (for_stack, for_overload, for_malformed) = (shared.clone(), shared.clone(), shared.clone());
    let overloaded = turned_away::fault();
    let (for_unwelcome, for_certificates) = (shared.metrics.clone(), shared.metrics.clone());
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
