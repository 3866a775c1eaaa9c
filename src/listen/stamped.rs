//! A caller's socket that leaves stamps on its connection: when bytes came and went, and whether it opened with HTTP/2's preface.
//! At the end it stays until a caller who is still sending has had its answer; it changes no byte.

use super::connection::Connection;
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
    /// Our side of it is closed.
    shut: bool,
}

impl Stamped {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, preface: Some(0), shut: false }
    }

    fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
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

    /// Closed with bytes unread, or still to come, a socket is reset, and the answer may be lost on its way (RFC 9112 §9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if !me.shut {
            ready!(Pin::new(&mut me.stream).poll_shutdown(cx))?;
            me.shut = true;
            me.connection.linger();
        }
        let mut waits = me.connection.may_be_sent_more();
        let mut scrap = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut scrap);
            match Pin::new(&mut me.stream).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => waits = true,
                Poll::Pending if waits => return Poll::Pending,
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        if self.connection.is_reset() {
            let _ = self.stream.set_zero_linger();
        }
    }
}
