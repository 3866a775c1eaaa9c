//! Drives one connection: hyper's settings, and the loop that heeds what the tick asks for. It makes no decision about requests.

use super::connection::Connection;
use super::ends::{Asked, Farewell};
use super::greet::{Greeted, greet};
use super::linger::linger;
use super::proxy::Ends;
use super::service::Counted;
use super::shop::{Desk, Gate, Seat};
use super::stamped::Stamped;
use super::switch::{Ended, Tunnel};
use super::{Handler, Limits, Peer};
use crate::clock::Ticker;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// hyper panics on a smaller buffer.
const LEAST_BUFFER: usize = 8192;

/// What one stream of HTTP/2 may have under way towards us or in our buffers, and what all of a connection may.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long a caller may go on sending what nobody reads after its last answer.
const LINGER: Duration = Duration::from_secs(2);

/// hyper's settings, made once per worker.
pub(super) struct Protocol(Builder<TokioExecutor>);

/// What is spoken on a connection: under TLS the two sides have agreed on it, in clear text the caller's first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Either,
    Http1,
    Http2,
}

impl Protocol {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        // No timer is given: hyper's header timeout would run on idle keep-alive too, and costs a timer per request.
        builder
            .http1()
            .max_buf_size(limits.head_bytes.max(LEAST_BUFFER))
            .max_headers(limits.head_fields)
            .half_close(false)
            .keep_alive(true)
            .pipeline_flush(false);
        builder
            .http2()
            .max_concurrent_streams(limits.h2_streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .adaptive_window(false)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            // Rapid reset, and resets that we are made to send.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256);
        Self(builder)
    }
}

/// A connection that was accepted and is not driven yet.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) address: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) gate: Arc<Gate>,
    pub(super) seat: Seat,
}

/// Drives `accepted` on the current runtime until it is gone.
pub(super) fn start<H: Handler>(accepted: Accepted, handler: &H, desk: &Arc<Desk>, ticker: &Ticker) {
    let Accepted { stream, address, local, gate, seat } = accepted;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(e) => return tracing::warn!(error = %e, "an accepted connection could not be watched, and was closed"),
    };
    let connection = Connection::new(Arc::clone(desk), Arc::clone(&gate));
    let watched: Weak<Connection> = Arc::downgrade(&connection);
    ticker.watch(watched);
    let handler = handler.clone();
    // All of the handler's code runs in the connection's own task: a panic there takes nobody else along.
    tokio::spawn(async move {
        let _seat = seat;
        let Some(greeted) = greet(stream, Ends { address, local }, &gate, &connection).await else { return };
        let Greeted { stream, spoken, ends: Ends { address, local }, tls } = greeted;
        let peer = Peer {
            address,
            local,
            listener: Arc::clone(&gate.name),
            trusted: gate.greeting.trusted.clone(),
            tls,
            connection: Arc::clone(&connection),
        };
        drop(gate);
        let service = handler.connection(peer);
        drive::<H>(Stamped::new(stream, spoken, Arc::clone(&connection)), service, connection).await;
    });
}

async fn drive<H: Handler>(stream: Stamped, service: H::Service, connection: Arc<Connection>) {
    speak::<H>(stream, service, &connection).await;
    if let Some(tunnel) = connection.tunnel() {
        carry(tunnel, &connection).await;
    }
    if let Some(left) = connection.left()
        && let Ok(left) = TcpStream::from_std(left.into())
    {
        linger(left, LINGER).await;
    }
}

/// Speaks HTTP until hyper is done, or the tick has it cut.
async fn speak<H: Handler>(stream: Stamped, service: H::Service, connection: &Arc<Connection>) {
    let protocol = connection.desk().protocol();
    let io = TokioIo::new(stream);
    // It goes by the first bytes, and would whatever its builder was told: that they are those agreed on is the socket's matter.
    let mut http = pin!(protocol.0.serve_connection_with_upgrades(io, Counted::new(service, Arc::clone(connection))));
    let (mut driven, mut told, mut idle) = (false, false, false);
    let end = poll_fn(|cx| {
        if !driven || connection.asked() != Asked::Nothing {
            // This future is a task of its own, so its waker stays the same; but being woken uses up what was registered.
            connection.driven_by(cx.waker());
            driven = true;
        }
        match connection.asked() {
            Asked::Nothing => {}
            Asked::Cut => return Poll::Ready(None),
            Asked::Close if told => {}
            Asked::Close => {
                // First what has come in meanwhile: hyper closes an idle connection without looking.
                if let Poll::Ready(end) = http.as_mut().poll(cx) {
                    return Poll::Ready(Some(end));
                }
                if connection.may_close() {
                    told = true;
                    idle = !connection.busy();
                    http.as_mut().graceful_shutdown();
                }
            }
        }
        let end = http.as_mut().poll(cx).map(Some);
        if end.is_pending() && connection.may_refuse() {
            connection.part(Farewell::Refuse);
            return Poll::Ready(None);
        }
        end
    })
    .await;
    match end {
        None if connection.parts(Farewell::Refuse) => {}
        // Its socket is the tunnel's now.
        Some(Ok(())) if connection.has_switched() => {}
        Some(Ok(())) if connection.uploads() && !idle => connection.part(Farewell::Linger),
        Some(Ok(())) => {}
        None if connection.busy() => connection.part(Farewell::Reset),
        None => {}
        Some(Err(error)) => failed(connection, error.as_ref()),
    }
}

/// Carries what an upgrade led to, until it ends or the tick has the connection cut. A drain does not wait for it: nobody knows
/// when it would end.
async fn carry(mut tunnel: Box<dyn Tunnel>, connection: &Connection) {
    let mut told = false;
    let end = poll_fn(|cx| {
        connection.driven_by(cx.waker());
        match connection.asked() {
            Asked::Nothing => {}
            Asked::Cut => return Poll::Ready(Ended::Broken),
            Asked::Close if told => {}
            Asked::Close => {
                told = true;
                tunnel.end();
            }
        }
        tunnel.poll(cx)
    })
    .await;
    if end == Ended::Broken {
        connection.part(Farewell::Reset);
    }
}

fn failed(connection: &Connection, error: &(dyn std::error::Error + Send + Sync + 'static)) {
    let Some(error) = error.downcast_ref::<hyper::Error>() else { return };
    if error.is_parse() {
        (connection.desk().shop.hooks.malformed)();
        connection.part(Farewell::Linger);
    } else if error.is_user() || error.is_body_write_aborted() {
        connection.part(Farewell::Reset);
    }
}
