//! The demo's own small HTTP server: loopback only, HTTP/1.1 and HTTP/2 in clear text, one task a connection. It can be stopped
//! and started again on its port, and refuses to be what serves the gateway's callers: no limits, no TLS, no drain.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// The answer ends here, on purpose.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("broken off, as it was told to")]
pub struct Broken;

/// What answers the requests of a [`Server`].
pub trait Service: Send + Sync + 'static {
    fn call(self: Arc<Self>, request: Request<Incoming>, conn: Conn) -> BoxFuture<'static, Result<Response<Body>, Broken>>;
}

/// The connection that a request came on.
#[derive(Clone)]
pub struct Conn(Arc<TcpStream>);

impl Conn {
    /// Has the connection end with a reset instead of a close, once it is dropped.
    pub fn reset_on_close(&self) {
        let _ = self.0.set_zero_linger();
    }
}

/// A body that is sent in one piece.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A server on one loopback address.
pub struct Server {
    address: SocketAddr,
    service: Arc<dyn Service>,
    connections: Arc<AtomicU64>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Binds `address` (port 0: any free one).
    ///
    /// # Errors
    /// When the address is not on loopback, or cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not a loopback address")));
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that a server can come back to its port while old connections are still in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    }

    /// Serves what comes in on `listener`, until stopped or dropped.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(listener: TcpListener, service: Arc<dyn Service>) -> io::Result<Self> {
        let server = Self { address: listener.local_addr()?, service, connections: Arc::default(), running: Mutex::default() };
        server.run(listener);
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Closes the port and every connection; when this returns, callers are refused.
    pub async fn down(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, accepting }) = running {
            let _ = stop.send(());
            let _ = accepting.await;
        }
    }

    /// Serves again on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub fn up(&self) -> io::Result<()> {
        if self.running.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.run(Self::bind(self.address)?);
        }
        Ok(())
    }

    fn run(&self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let accepting = tokio::spawn(accept(listener, self.service.clone(), self.connections.clone(), stopped));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { stop, accepting });
    }
}

/// Ends when told to, or when the [`Server`] that holds the other end of `stopped` is dropped.
async fn accept(listener: TcpListener, service: Arc<dyn Service>, count: Arc<AtomicU64>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Ok((stream, _)) = listener.accept() => {
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(drive(stream, service.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn drive(stream: TcpStream, service: Arc<dyn Service>) {
    let _ = stream.set_nodelay(true);
    // A second handle of the socket, since hyper keeps the first to itself.
    let Ok((stream, second)) = doubled(stream) else { return };
    let conn = Conn(Arc::new(second));
    let answer = service_fn(move |request| service.clone().call(request, conn.clone()));
    // How a connection ends is the peer's business or the script's; there is nobody to tell.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(stream), answer).await;
}

fn doubled(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let second = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(second)?))
}
