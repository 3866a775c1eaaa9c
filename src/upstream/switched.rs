//! A connection to a backend that speaks another protocol since its 101: bytes both ways, under the same deadlines. It is never given
//! back to a pool, and understands no byte of what passes.

use super::Error;
use super::connection::Lease;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A 101 has come; the connection is still hyper's.
pub struct Switching {
    upgrade: OnUpgrade,
    lease: Box<dyn Lease>,
}

impl Switching {
    pub(super) fn new(upgrade: OnUpgrade, lease: Box<dyn Lease>) -> Self {
        Self { upgrade, lease }
    }

    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn switched(self) -> io::Result<UpstreamsEnd> {
        let Self { upgrade, lease } = self;
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        Ok(UpstreamsEnd { io: TokioIo::new(upgraded), lease })
    }
}

/// The upstream's end of a tunnel. Dropping it closes the connection.
pub struct UpstreamsEnd {
    io: TokioIo<Upgraded>,
    lease: Box<dyn Lease>,
}

impl UpstreamsEnd {
    /// A byte moved, either way: `idle` begins anew.
    pub fn moved(&self) {
        self.lease.watch().moved();
    }

    /// Whether nothing has moved for too long, or all of it took too long. `None` has whoever asks woken when it does.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Option<Error> {
        self.lease.watch().poll_expired(cx, &self.lease.member().upstream)
    }
}

impl AsyncRead for UpstreamsEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for UpstreamsEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
