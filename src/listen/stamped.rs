//! A caller's socket that leaves stamps on its connection: when bytes came and went, and whether it opened with HTTP/2's preface.
//! It changes no byte and waits for nothing.

use super::connection::{Connection, Farewell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) struct Stamped {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// How much of the preface has been seen; `None` when the question is settled.
    preface: Option<usize>,
    /// The caller sends no more.
    ended: bool,
}

impl Stamped {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, preface: Some(0), ended: false }
    }

    fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.ended = true;
            return;
        }
        self.connection.read();
        let Some(seen) = self.preface else { return };
        let due = &PREFACE[seen..];
        let n = bytes.len().min(due.len());
        self.preface = if bytes[..n] != due[..n] {
            None
        } else if n == due.len() {
            self.connection.speaks_http2();
            None
        } else {
            Some(seen + n)
        };
    }
}

impl AsyncRead for Stamped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.connection.wrote();
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.connection.wrote();
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        if self.connection.parts(Farewell::Reset) {
            let _ = self.stream.set_zero_linger();
        } else if self.connection.parts(Farewell::Linger)
            && !self.ended
            && let Ok(left) = socket2::SockRef::from(&self.stream).try_clone()
        {
            self.connection.leave(left);
        }
    }
}
