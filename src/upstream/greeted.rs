//! A new HTTP/2 connection until the backend has said its SETTINGS: only then is known that it speaks HTTP/2 at all, and how many
//! streams it takes. It changes no byte and counts none.

use super::outgoing::Outgoing;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Of one answer, unread by a slow caller; a connection takes as much for each of all its streams, so that none holds up another.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const HEAD_BYTES: u32 = 64 * 1024;
/// A silent backend is asked whether it is still there. gRPC servers take anything more often than every five minutes for an attack.
const PING_EVERY: Duration = Duration::from_secs(330);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// What no peer would ask for: as long as it stands, the peer's SETTINGS have not come.
const UNKNOWN: usize = 0x00c0_ffee;

/// The sending half, and how many streams the peer takes at once by its latest word.
pub(super) struct Talking<B> {
    pub sender: SendRequest<Outgoing<B>>,
    pub streams: Arc<AtomicUsize>,
}

/// Speaks HTTP/2 on `io`, and comes back when the peer has, too.
pub(super) async fn open<B, T>(io: T) -> io::Result<Talking<B>>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let heard = Arc::new(Heard::default());
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .initial_max_send_streams(UNKNOWN)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .max_header_list_size(HEAD_BYTES)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    let io = TokioIo::new(Greeted { io, heard: heard.clone() });
    let (sender, mut connection) = builder.handshake(io).await.map_err(io::Error::other)?;
    let streams = Arc::new(AtomicUsize::new(UNKNOWN));
    let told = streams.clone();
    let (greeting, greeted) = oneshot::channel();
    let mut known = Some(greeting);
    tokio::spawn(async move {
        poll_fn(|cx| {
            if known.is_some() {
                heard.by.register(cx.waker());
            }
            let end = Pin::new(&mut connection).poll(cx);
            let streams = connection.current_max_send_streams();
            told.store(streams, Ordering::Relaxed);
            if let Poll::Ready(end) = end {
                // What came of it is told to whoever still waits for the greeting; later, through requests and bodies.
                let _ = known.take().map(|known| known.send(end));
                return Poll::Ready(());
            }
            if streams != UNKNOWN {
                let _ = known.take().map(|known| known.send(Ok(())));
            } else if heard.not_understood() {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    });
    greeted.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    if sender.is_closed() {
        return Err(io::Error::other("it closed the connection instead of speaking HTTP/2"));
    }
    Ok(Talking { sender, streams })
}

/// Bytes came in. hyper reads in a task of its own, and may have yet to understand them when this is told.
#[derive(Default)]
struct Heard {
    by: AtomicWaker,
    looks_left: AtomicUsize,
}

/// How often it is worth looking whether hyper has understood what came.
const LOOKS: usize = 64;

impl Heard {
    fn something(&self) {
        self.looks_left.store(LOOKS, Ordering::Relaxed);
        self.by.wake();
    }

    fn not_understood(&self) -> bool {
        self.looks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Tells when bytes have come.
struct Greeted<T> {
    io: T,
    heard: Arc<Heard>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        self.heard.something();
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Greeted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
