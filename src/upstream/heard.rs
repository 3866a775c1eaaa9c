//! A backend's socket that is heard even when it can no longer be spoken to: a backend may answer and close before it has read the
//! whole request, and then its answer counts, not the broken pipe. It invents no answer, and such a socket has no clean end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Heard {
    stream: TcpStream,
    /// The backend takes nothing any more.
    deaf: bool,
}

impl Heard {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, deaf: false }
    }
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        // The write that failed has taken the socket's error with it: what looks like an end is the reset.
        if self.deaf && buf.filled().len() == before && buf.remaining() > 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = if self.deaf { Ok(buf.len()) } else { ready!(Pin::new(&mut self.stream).poll_write(cx, buf)) };
        Poll::Ready(self.or_deaf(written, buf.len()))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|b| b.len()).sum();
        let written = if self.deaf { Ok(all) } else { ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)) };
        Poll::Ready(self.or_deaf(written, all))
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

impl Heard {
    fn or_deaf(&mut self, written: io::Result<usize>, all: usize) -> io::Result<usize> {
        match written {
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                self.deaf = true;
                Ok(all)
            }
            other => other,
        }
    }
}
