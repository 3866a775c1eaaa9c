//! The workers: one thread, one runtime, one ticker each. Each connection goes to the worker with the fewest and stays there.
//! They end when the last handle to them goes; [`Workers::drain`] lets what is under way finish first.

use super::accept::{Acceptor, HandOver};
use super::bind::Bound;
use super::drive::{self, Accepted};
use super::renew::renew;
use super::shop::{Desk, Gate, Hooks, Shop};
use super::{Handler, Limits};
use crate::clock::{Clock, Ticker};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How often a drain looks whether all are gone.
const LOOK: Duration = Duration::from_millis(20);

/// What a worker gives to whoever makes its handler; the handler is made, and runs, on the worker's own thread.
#[derive(Clone)]
pub struct WorkerContext {
    pub index: usize,
    pub ticker: Arc<Ticker>,
}

/// The running workers.
pub struct Workers {
    shop: Arc<Shop>,
    desks: Arc<[Place]>,
    clock: Clock,
    accepting: Mutex<Vec<(Arc<Gate>, JoinHandle<()>)>>,
}

/// A listener that the workers accept from; to be closed with [`Workers::close`]. Dropped, it goes on listening.
pub struct Listening(Arc<Gate>);

impl Listening {
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }
}

/// A worker as seen from the acceptor.
struct Place {
    connections: Arc<AtomicUsize>,
    to: mpsc::UnboundedSender<Message>,
}

enum Message {
    Serve(Accepted),
    /// New limits hold.
    Limits(Limits),
    /// The shop or a gate is draining, or the shop closing: no need to wait for the next tick.
    Look,
}

impl Workers {
    /// Starts `count` workers (at least one); `make` is called once on each.
    ///
    /// # Errors
    /// When the system gives no thread or no reactor.
    pub fn start<H, M>(count: usize, limits: Limits, clock: &Clock, hooks: Hooks, make: M) -> io::Result<Self>
    where
        H: Handler,
        M: Fn(&WorkerContext) -> H + Send + Clone + 'static,
    {
        let shop = Shop::new(&limits, hooks);
        let desks: io::Result<Vec<Place>> = (0..count.max(1)).map(|i| one(i, &shop, limits, clock.clone(), make.clone())).collect();
        Ok(Self { shop, desks: desks?.into(), clock: clock.clone(), accepting: Mutex::default() })
    }

    /// Accepts from `bound` on the runtime `on`, until it is closed or all are drained.
    ///
    /// # Errors
    /// When that runtime's reactor does not take the socket.
    pub fn accept(&self, bound: Bound, on: &Handle) -> io::Result<Listening> {
        let _on = on.enter();
        let acceptor = Acceptor::new(bound, Arc::clone(&self.shop), Fewest(Arc::clone(&self.desks)))?;
        let gate = Arc::clone(&acceptor.gate);
        if let Some(server) = &gate.greeting.tls {
            (self.shop.hooks.certificates)(&gate.name, server.in_force().expires);
            on.spawn(renew(Arc::downgrade(&gate), Arc::clone(&self.shop), self.clock.clone()));
        }
        let task = on.spawn(acceptor.run());
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::clone(&gate), task));
        Ok(Listening(gate))
    }

    /// Closes one listener: its port is free when this comes back. Its connections end as in a drain, each once it owes nothing
    /// and nothing more has come in on it; they are not waited for, and no request is lost.
    pub async fn close(&self, listening: &Listening) {
        self.leave(listening).await;
        let Listening(gate) = listening;
        gate.draining.store(true, Ordering::SeqCst);
        self.look();
    }

    /// Accepts no more here; what has been accepted is served on. Its port stays taken as long as another handle to the socket is.
    pub async fn leave(&self, listening: &Listening) {
        if let Some((gate, task)) = self.taken_out(listening) {
            stop(&gate, task).await;
        }
    }

    /// From now on these limits hold: for new connections, and for the deadlines of all. Nobody who is in is turned out for
    /// being one too many.
    pub fn set_limits(&self, limits: Limits) {
        self.shop.max_connections.store(limits.max_connections, Ordering::Relaxed);
        for desk in self.desks.iter() {
            // A worker that is gone has no connections.
            let _ = desk.to.send(Message::Limits(limits));
        }
    }

    fn taken_out(&self, Listening(gate): &Listening) -> Option<(Arc<Gate>, JoinHandle<()>)> {
        let mut accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        accepting.iter().position(|(other, _)| Arc::ptr_eq(other, gate)).map(|at| accepting.swap_remove(at))
    }

    fn look(&self) {
        for desk in self.desks.iter() {
            let _ = desk.to.send(Message::Look);
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shop.open()
    }

    /// How many connections each worker has.
    pub fn connections_by_worker(&self) -> Vec<usize> {
        self.desks.iter().map(|d| d.connections.load(Ordering::Relaxed)).collect()
    }

    /// Stops accepting, closes idle connections, and lets answers finish. Comes back when all connections are gone, or when
    /// `grace` has passed and the rest has been cut; says how many those were.
    pub async fn drain(&self, grace: Duration) -> usize {
        let until = Instant::now() + grace;
        let accepting = std::mem::take(&mut *self.accepting.lock().unwrap_or_else(PoisonError::into_inner));
        // All at once, then waited for.
        for (gate, _) in &accepting {
            gate.stop.send_replace(true);
        }
        for (gate, task) in accepting {
            stop(&gate, task).await;
        }
        self.shop.draining.store(true, Ordering::SeqCst);
        self.look();
        drained(&self.shop, until).await
    }
}

/// Ends an acceptor; what the kernel has accepted is on its way to the workers then.
async fn stop(gate: &Gate, task: JoinHandle<()>) {
    gate.stop.send_replace(true);
    let _ = task.await;
}

/// Waits until `until` for the connections to end, then cuts the rest.
pub(super) async fn drained(shop: &Shop, until: Instant) -> usize {
    while shop.open() > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    let cut = shop.open();
    if cut > 0 {
        shop.closing.store(true, Ordering::Relaxed);
        let until = Instant::now() + 5 * Ticker::PERIOD;
        while shop.open() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }
    cut
}

struct Fewest(Arc<[Place]>);

impl HandOver for Fewest {
    fn next(&self) -> (usize, Arc<AtomicUsize>) {
        // One that is gone has the fewest for ever.
        let there = (0..self.0.len()).filter(|i| !self.0[*i].to.is_closed());
        let fewest = there.min_by_key(|i| self.0[*i].connections.load(Ordering::Relaxed)).unwrap_or(0);
        (fewest, Arc::clone(&self.0[fewest].connections))
    }

    fn hand(&self, to: usize, accepted: Accepted) {
        if self.0[to].to.send(Message::Serve(accepted)).is_err() {
            tracing::error!(worker = to, "a worker is gone; its connections are closed");
        }
    }
}

fn one<H, M>(index: usize, shop: &Arc<Shop>, limits: Limits, clock: Clock, make: M) -> io::Result<Place>
where
    H: Handler,
    M: Fn(&WorkerContext) -> H + Send + 'static,
{
    let (to, mut from) = mpsc::unbounded_channel();
    let shop = Arc::clone(shop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        runtime.block_on(async move {
            let ticker = Ticker::new(clock);
            // Watched before any connection, so that it knows the time first.
            let desk = Desk::new(shop, &limits, &ticker);
            tokio::spawn(Arc::clone(&ticker).run());
            let handler = make(&WorkerContext { index, ticker: Arc::clone(&ticker) });
            while let Some(message) = from.recv().await {
                match message {
                    Message::Serve(accepted) => drive::start(accepted, &handler, &desk, &ticker),
                    Message::Limits(limits) => desk.limit(&limits),
                    Message::Look => ticker.tick(),
                }
            }
        });
    })?;
    Ok(Place { connections: Arc::default(), to })
}
