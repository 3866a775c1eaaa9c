//! Accepts connections and hands each over; turns away those over `max_connections` without waiting for them. It reads no
//! request and never ends for an error.

use super::bind::Bound;
use super::drive::Accepted;
use super::linger::linger;
use super::shop::{Gate, Seat, Shop};
use crate::fault::{Fault, Why};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// How long accepting rests when the system is out of something.
const PAUSE: Duration = Duration::from_millis(100);
/// How often such trouble is logged.
const LOGGED_EVERY: Duration = Duration::from_secs(10);
/// How long one who was turned away may take to read why.
const LINGER: Duration = Duration::from_millis(500);
/// How many of them at once.
const LINGERING: usize = 256;
/// What of an answer may wait in a socket unsent, in bytes.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 * 1024;

pub(super) struct Acceptor<F> {
    pub(super) gate: Arc<Gate>,
    pub(super) listener: TcpListener,
    pub(super) shop: Arc<Shop>,
    pub(super) hand_over: F,
}

/// Where an accepted connection goes.
pub(super) trait HandOver: Send {
    /// The counter of the desk that the next connection goes to, and which that is.
    fn next(&self) -> (usize, Arc<AtomicUsize>);
    fn hand(&self, to: usize, accepted: Accepted);
}

impl<F: HandOver> Acceptor<F> {
    /// Must be called on the runtime that is to accept.
    pub(super) fn new(bound: Bound, shop: Arc<Shop>, hand_over: F) -> io::Result<Self> {
        Ok(Self { gate: Gate::new(bound.name, bound.greeting), listener: TcpListener::from_std(bound.listener)?, shop, hand_over })
    }

    /// Accepts until the gate's `stop` turns true. What the kernel has accepted by then is still taken.
    pub(super) async fn run(self) {
        let mut stop = self.gate.stop.subscribe();
        let mut logged: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
                Ok((stream, address)) => self.take(stream, address),
                // The caller went away before we came.
                Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(e) => {
                    if logged.is_none_or(|at| at.elapsed() >= LOGGED_EVERY) {
                        logged = Some(Instant::now());
                        tracing::error!(listener = %self.gate.name, error = %e, "cannot accept connections; raise the limit of open files if it says so");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.take_the_rest();
    }

    fn take_the_rest(self) {
        let Self { gate, listener, shop, hand_over } = self;
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, address)) = listener.accept() {
            // Accepted sockets do not inherit it.
            if stream.set_nonblocking(true).is_ok() {
                take(&gate, &shop, &hand_over, stream, address);
            }
        }
    }

    fn take(&self, stream: std::net::TcpStream, address: SocketAddr) {
        take(&self.gate, &self.shop, &self.hand_over, stream, address);
    }
}

fn take(gate: &Arc<Gate>, shop: &Arc<Shop>, to: &impl HandOver, stream: std::net::TcpStream, address: SocketAddr) {
    let (desk, count) = to.next();
    let Some(seat) = Seat::take(shop, &count) else {
        (shop.hooks.turned_away)(&gate.name);
        // What a caller under TLS could not read is not said.
        return if gate.greeting.tls.is_none() {
            turn_away(stream)
        };
    };
    let Ok(local) = stream.local_addr() else { return };
    small_steps(&stream);
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (address, local) = (plain(address), plain(local));
    to.hand(desk, Accepted { stream, address, local, gate: Arc::clone(gate), seat });
}

/// What a caller who reads slowly has taken is only seen when the socket has room again, a third of megabytes at a time: in small
/// steps of what is not sent yet, they are told from those who take nothing.
fn small_steps(stream: &std::net::TcpStream) {
    #[cfg(target_os = "linux")]
    // Without it, all works but that.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// An IPv4 caller of a listener on `[::]` is an IPv4 caller.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

static TURNED_AWAY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let row = Fault::Overloaded(Why::default().into()).row();
    let (status, title, detail, code) = (row.status.as_u16(), row.title, row.detail, row.code);
    let body = format!(r#"{{"type":"urn:cambist:fault:{code}","title":"{title}","status":{status},"detail":"{detail}","code":"{code}"}}"#);
    format!(
        "HTTP/1.1 {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{body}",
        row.status,
        body.len()
    )
    .into_bytes()
});

/// The answer fits the empty send buffer of a new socket. Closing at once would reset it under a caller who is still sending,
/// so a few may linger, and none for long.
fn turn_away(stream: std::net::TcpStream) {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let written = socket2::SockRef::from(&stream).send(&TURNED_AWAY);
    if written.is_err() || NOW.fetch_add(1, Ordering::Relaxed) >= LINGERING {
        NOW.fetch_sub(usize::from(written.is_ok()), Ordering::Relaxed);
        return;
    }
    tokio::spawn(async move {
        let _ = socket2::SockRef::from(&stream).shutdown(Shutdown::Write);
        linger(stream, LINGER).await;
        NOW.fetch_sub(1, Ordering::Relaxed);
    });
}
