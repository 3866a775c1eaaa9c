//! What lasts through all configurations of one process: workers, sockets, the cache, the metrics; and how one configuration
//! takes the place of another. A new one is made whole beside the old, then swapped in; what cannot be made changes nothing.

use super::changes::{Changes, keep_what_runs};
use super::gateway::Tokens;
use super::listeners::Listeners;
use super::outbound::own;
use super::reload::Source;
use super::standing::Standing;
use super::turned_away::TurnedAway;
use super::world::{Rooms, World};
use crate::config::Config;
use crate::listen::Workers;
use crate::stack::Shared;
use crate::telemetry;
use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, watch};

pub(super) struct Lasting {
    pub rooms: Rooms,
    pub shared: Arc<Shared<Tokens>>,
    pub world: ArcSwap<World>,
    pub standing: Standing,
    /// The file that is kept in step with, if any.
    pub source: OnceLock<Arc<Source>>,
    workers: Workers,
    turned_away: Arc<TurnedAway>,
    /// Held while a configuration takes the place of another, and from the drain on for good.
    listeners: Mutex<Listeners>,
    addresses: ArcSwap<Vec<(Arc<str>, SocketAddr)>>,
    /// Of the listeners for operators.
    operators: Vec<SocketAddr>,
    ready: AtomicBool,
    ending: watch::Sender<bool>,
}

impl Lasting {
    pub fn new(
        rooms: Rooms,
        shared: Arc<Shared<Tokens>>,
        world: World,
        workers: Workers,
        listeners: Listeners,
        operators: Vec<SocketAddr>,
        turned_away: Arc<TurnedAway>,
    ) -> Self {
        let addresses = ArcSwap::from_pointee(listeners.addresses());
        rooms.own.store(own(&addresses.load(), &operators));
        let standing = Standing::new(&rooms.metrics, rooms.clock.unix());
        Self {
            rooms,
            shared,
            world: ArcSwap::from_pointee(world),
            standing,
            source: OnceLock::new(),
            workers,
            turned_away,
            listeners: Mutex::new(listeners),
            addresses,
            operators,
            ready: AtomicBool::new(false),
            ending: watch::Sender::new(false),
        }
    }

    /// Latches: an issuer that fails later, or a configuration with another, does not take the gateway out of service.
    pub fn ready(&self) -> bool {
        if !self.ready.load(Ordering::Relaxed) && self.world.load().ready() {
            self.ready.store(true, Ordering::Relaxed);
        }
        self.ready.load(Ordering::Relaxed) && !*self.ending.borrow()
    }

    pub fn addresses(&self) -> Arc<Vec<(Arc<str>, SocketAddr)>> {
        self.addresses.load_full()
    }

    /// Puts another configuration in force. Requests that are under way stay under the one that they came in under.
    ///
    /// # Errors
    /// When it cannot be: nothing has changed then.
    pub async fn apply(&self, mut config: Config) -> anyhow::Result<Changes> {
        let mut listeners = self.listeners.lock().await;
        let old = self.world.load_full();
        let changes = Changes::between(&old.config, &config);
        // What needs a restart goes on being compared with what runs.
        keep_what_runs(&mut config, &old.config);
        if changes.is_empty() {
            return Ok(changes);
        }
        let plan = listeners.plan(&mut config.listeners)?;
        let (rooms, before, followed) = (self.rooms.clone(), old.clone(), plan.followed.clone());
        let made = tokio::task::spawn_blocking(move || World::make(config, &rooms, Some(&before), followed));
        let (world, in_force) = made.await.context("this is a bug: making the configuration was broken off")??;
        let mut ending = self.ending.subscribe();
        tokio::select! {
            biased;
            _ = ending.wait_for(|ending| *ending) => bail!("the gateway is shutting down: its configuration stays as it is"),
            () = world.warm_up(&old, &self.rooms) => {}
        }
        // From here on nothing fails.
        let world = Arc::new(world);
        let Rooms { exchange, tokens, control, metrics, revoked, .. } = &self.rooms;
        exchange.add(world.exchangers());
        revoked.know(world.names());
        tokens.set(world.config.cache);
        self.workers.set_limits(world.config.connections);
        self.turned_away.at(world.config.connections.max_connections);
        for listener in &world.config.listeners {
            // Its gauge exists before the first caller comes.
            metrics.listener(&listener.name);
        }
        if world.config.log != old.config.log {
            // What an operator has set meanwhile ends here.
            telemetry::change(Some(world.config.log.level), Some(world.config.log.access));
        }
        self.shared.in_force.store(Arc::new(in_force));
        self.world.store(world.clone());
        let gone = listeners.carry_out(plan, &self.workers, control);
        self.addresses.store(Arc::new(listeners.addresses()));
        self.rooms.own.store(own(&self.addresses(), &self.operators));
        gone.close(&self.workers).await;
        world.retire(&old, &self.rooms);
        Ok(changes)
    }

    /// Fails readiness, goes on serving for `delay`, then drains. Returns how many connections had to be cut after `grace`.
    pub async fn end(&self, delay: Duration, grace: Duration) -> usize {
        self.ending.send_replace(true);
        self.shared.admission.end();
        tokio::time::sleep(delay).await;
        // Whatever configuration was about to come in has come, or never will.
        let mut listeners = self.listeners.lock().await;
        listeners.let_go();
        let admission = self.shared.admission.clone();
        let last = tokio::spawn(async move {
            tokio::time::sleep(grace.mul_f64(0.95)).await;
            admission.close();
        });
        let cut = self.workers.drain(grace).await;
        last.abort();
        let world = self.world.load_full();
        // The collector may be slow or gone: this waits for seconds at the most.
        let _ = tokio::task::spawn_blocking(move || world.end_traces()).await;
        cut
    }
}
