//! A caller's connection that speaks another protocol since an answer of 101: what it carries from then on, and the caller's end of
//! it. It reads no byte of that protocol, and takes none that came before the caller could know of the 101.

use super::stamped::Stamped;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::{Parts, downcast};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Both sides have said all they had.
    Whole,
    /// It broke off: for the caller, too, that is no clean end.
    Broken,
}

/// What a connection carries after its 101. The connection's own driver polls it: whoever cuts the connection drops it.
pub trait Tunnel: Send {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended>;

    /// The gateway ends: what has been read is still passed on, and nothing more is read.
    fn end(&mut self);
}

/// Goes with an answer of 101, among its extensions, to whoever drives the connection.
#[derive(Clone)]
pub struct Switch(Arc<Mutex<Option<Box<dyn Tunnel>>>>);

impl Switch {
    pub fn new(tunnel: Box<dyn Tunnel>) -> Self {
        Self(Arc::new(Mutex::new(Some(tunnel))))
    }

    pub(super) fn take(&self) -> Option<Box<dyn Tunnel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The caller's end of a connection that was switched.
pub struct CallersEnd(Stamped);

impl CallersEnd {
    /// Waits until the 101 is out.
    ///
    /// # Errors
    /// When it cannot be sent, or the caller spoke before it: nobody knows in which protocol (an attacker would have it be both).
    pub async fn of(upgrade: OnUpgrade) -> io::Result<Self> {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        let foreign = |_| io::Error::other("a connection that is none of this listener's");
        let Parts { io, read_buf, .. } = downcast::<TokioIo<Stamped>>(upgraded).map_err(foreign)?;
        let stamped = io.into_inner();
        if !read_buf.is_empty() || stamped.has_refused() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the caller sent bytes before its upgrade was accepted"));
        }
        Ok(Self(stamped))
    }
}

impl AsyncRead for CallersEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for CallersEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
