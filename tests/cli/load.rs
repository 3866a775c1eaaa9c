//! Callers in numbers, paced, on connections that they keep, in either version of HTTP. They ask nothing twice: whatever is not a whole
//! 200 is a failure and is told.

use crate::certs::Authority;
use crate::program::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

const CALLERS: u64 = 20;
/// How often a gateway is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(50);
/// No answer from loopback takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A number from the environment: the ordinary run is a short one.
pub fn number(name: &str, ordinary: u64) -> u64 {
    std::env::var(name).map_or(ordinary, |n| n.parse().expect("a number"))
}

/// A gateway as its callers see it.
pub struct Door {
    pub at: SocketAddr,
    pub ready: AtomicBool,
}

/// What callers speak.
#[derive(Default)]
pub enum Manner {
    #[default]
    Http1,
    Http2,
    /// HTTP/2 under TLS, with a certificate of this authority for `api.test`.
    Sealed(Box<Authority>),
}

/// A connection that is kept.
enum Kept {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Kept {
    async fn open(manner: &Manner, at: SocketAddr) -> Result<Self, String> {
        let told = |e: &dyn std::error::Error| format!("no connection: {e}");
        let tcp = async || {
            let stream = TcpStream::connect(at).await.map_err(|e| told(&e))?;
            stream.set_nodelay(true).map_err(|e| told(&e))?;
            Ok::<_, String>(stream)
        };
        match manner {
            Manner::Http1 => {
                let (sender, connection) = http1::handshake(TokioIo::new(tcp().await?)).await.map_err(|e| told(&e))?;
                tokio::spawn(connection);
                Ok(Self::Http1(sender))
            }
            Manner::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(tcp().await?)).await.map_err(|e| told(&e))?;
                tokio::spawn(connection);
                Ok(Self::Http2(sender))
            }
            Manner::Sealed(ca) => {
                let sealed = ca.caller().speaking(&["h2"]).shake(tcp().await?, "api.test").await.map_err(|e| told(&e))?;
                Ok(Self::Http2(sealed.http2().await))
            }
        }
    }

    /// `None`: it takes no more requests, and has not taken this one.
    async fn get(&mut self, at: SocketAddr, path: &str, token: &str) -> Result<Option<StatusCode>, String> {
        let (uri, version) = match self {
            Self::Http1(_) => (path.to_owned(), http::Version::HTTP_11),
            Self::Http2(_) => (format!("https://{at}{path}"), http::Version::HTTP_2),
        };
        let request = Request::get(uri).version(version).header("authorization", format!("Bearer {token}"));
        let request = match self {
            Self::Http1(_) => request.header("host", at.to_string()),
            Self::Http2(_) => request,
        };
        let request = request.body(Full::default()).map_err(|e| e.to_string())?;
        let ready = match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        };
        if ready.is_err() {
            return Ok(None);
        }
        let sent = match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        let answer = match sent {
            Ok(answer) => answer,
            Err(mut error) => {
                let unsent = error.take_message().is_some();
                return if unsent { Ok(None) } else { Err(format!("{:?}", error.into_error())) };
            }
        };
        let status = answer.status();
        answer.into_body().collect().await.map_err(|e| format!("{status}, and then {e:?}"))?;
        Ok(Some(status))
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }
}

/// All callers together, and the doors they may go to.
#[derive(Default)]
pub struct Load {
    manner: Manner,
    doors: Mutex<Vec<Arc<Door>>>,
    over: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    pub fn speaking(manner: Manner) -> Arc<Self> {
        Arc::new(Self { manner, ..Self::default() })
    }

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
    let mut kept: Vec<(SocketAddr, Kept)> = Vec::new();
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
        kept.retain(|(at, connection)| ready.contains(at) && connection.is_open());
        let (at, path, token) = (ready[n % ready.len()], paths[n % paths.len()], &tokens[n % tokens.len()]);
        match tokio::time::timeout(PATIENCE, one(&load.manner, &mut kept, at, path, token)).await {
            Ok(Ok(StatusCode::OK)) => {
                load.answered.fetch_add(1, Ordering::SeqCst);
            }
            Ok(Ok(status)) => load.failed(format!("{path}: {status}")),
            Ok(Err(error)) => load.failed(format!("{path}: {error}")),
            Err(_) => load.failed(format!("{path}: no answer in {PATIENCE:?}")),
        }
    }
}

/// One request, on a connection that is kept or a new one.
async fn one(manner: &Manner, kept: &mut Vec<(SocketAddr, Kept)>, at: SocketAddr, path: &str, token: &str) -> Result<StatusCode, String> {
    for _ in 0..3 {
        let mut connection = match kept.iter().position(|(other, _)| *other == at) {
            Some(i) => kept.swap_remove(i).1,
            None => Kept::open(manner, at).await?,
        };
        if let Some(status) = connection.get(at, path, token).await? {
            kept.push((at, connection));
            return Ok(status);
        }
    }
    Err("three connections in a row took no request".to_owned())
}
