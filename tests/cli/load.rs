//! Callers in numbers, paced, on connections that they keep. They ask nothing twice: whatever is not a whole 200 is a failure and
//! is told.

use crate::program::get;
use cambist::demo::fetch::Connection;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

const CALLERS: u64 = 20;
/// How often a gateway is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(50);

/// A number from the environment: the ordinary run is a short one.
pub fn number(name: &str, ordinary: u64) -> u64 {
    std::env::var(name).map_or(ordinary, |n| n.parse().expect("a number"))
}

/// A gateway as its callers see it.
pub struct Door {
    pub at: SocketAddr,
    pub ready: AtomicBool,
}

/// All callers together, and the doors they may go to.
#[derive(Default)]
pub struct Load {
    doors: Mutex<Vec<Arc<Door>>>,
    over: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Adds a door whose readiness is watched at `probe`, and is known when this comes back.
    pub async fn door(self: &Arc<Self>, at: SocketAddr, probe: SocketAddr) -> Arc<Door> {
        let door = Arc::new(Door { at, ready: AtomicBool::new(false) });
        let is_ready = async move || get(probe, "/readyz").await.is_some_and(|a| a.status == 200);
        door.ready.store(is_ready().await, Ordering::SeqCst);
        let watched = Arc::downgrade(&door);
        tokio::spawn(async move {
            while let Some(door) = watched.upgrade() {
                door.ready.store(is_ready().await, Ordering::SeqCst);
                drop(door);
                tokio::time::sleep(LOOK).await;
            }
        });
        self.doors.lock().unwrap().push(door.clone());
        door
    }

    pub fn shut(&self, door: &Arc<Door>) {
        self.doors.lock().unwrap().retain(|d| !Arc::ptr_eq(d, door));
    }

    /// Begins, with `rate` requests a second at the most.
    pub fn begin(self: &Arc<Self>, rate: u64, paths: &'static [&'static str], tokens: &[String]) -> Vec<JoinHandle<()>> {
        let every = Duration::from_secs_f64(CALLERS as f64 / rate as f64);
        (0..CALLERS).map(|i| tokio::spawn(caller(self.clone(), i, every, paths, tokens.to_vec()))).collect()
    }

    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends it, and says what became of all requests.
    pub async fn end(&self, callers: Vec<JoinHandle<()>>, began: Instant, what: &str) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.await.unwrap();
        }
        let (answered, failures) = (self.answered(), self.failures.lock().unwrap().clone());
        let rate = answered as f64 / began.elapsed().as_secs_f64();
        println!("{what}: {answered} requests answered, {rate:.0}/s, {} failed", failures.len());
        assert!(failures.is_empty(), "{} of {answered}: {:?}", failures.len(), &failures[..failures.len().min(10)]);
        answered
    }

    fn failed(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }
}

async fn caller(load: Arc<Load>, index: u64, every: Duration, paths: &'static [&'static str], tokens: Vec<String>) {
    let mut pace = interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept: Vec<(SocketAddr, Connection)> = Vec::new();
    for n in index.. {
        pace.tick().await;
        if load.over.load(Ordering::SeqCst) {
            return;
        }
        let ready: Vec<SocketAddr> = {
            let doors = load.doors.lock().unwrap();
            doors.iter().filter(|d| d.ready.load(Ordering::SeqCst)).map(|d| d.at).collect()
        };
        let n = usize::try_from(n).unwrap();
        if ready.is_empty() {
            load.failed("nobody is ready".to_owned());
            continue;
        }
        kept.retain(|(at, _)| ready.contains(at));
        let (at, path, token) = (ready[n % ready.len()], paths[n % paths.len()], &tokens[n % tokens.len()]);
        let mut connection = match kept.iter().position(|(other, _)| *other == at) {
            Some(i) => kept.swap_remove(i).1,
            None => match Connection::open(at).await {
                Ok(connection) => connection,
                Err(error) => {
                    load.failed(format!("{path}: {error:#}"));
                    continue;
                }
            },
        };
        match connection.get(path, Some(token)).await {
            Ok(answer) if answer.status == 200 => {
                load.answered.fetch_add(1, Ordering::SeqCst);
                if answer.headers.get("connection").is_none_or(|v| v != "close") {
                    kept.push((at, connection));
                }
            }
            Ok(answer) => load.failed(format!("{path}: {} {:?}", answer.status, answer.body)),
            Err(error) => load.failed(format!("{path}: {error:#}")),
        }
    }
}
