//! Bytes both ways between a caller and an upstream that agreed on another protocol: it holds all that the request held, until
//! both sides are done or one breaks off. It reads no frame and forges none: at the end it closes, whatever the protocol would say.

use super::measure::Guard;
use crate::listen::{CallersEnd, Ended};
use crate::{listen, upstream};
use futures_util::future::{BoxFuture, FutureExt, try_join};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

type Both = (CallersEnd, upstream::UpstreamsEnd);

/// Two ends that are about to be joined: the caller's is hyper's until the 101 is out.
pub(super) struct Joining(BoxFuture<'static, io::Result<Both>>);

impl Joining {
    pub(super) fn new(caller: hyper::upgrade::OnUpgrade, upstream: upstream::Switching) -> Self {
        Self(try_join(CallersEnd::of(caller), upstream.switched()).boxed())
    }

    /// `guard` counts what passes, and lets go of what the request held when the tunnel is dropped.
    pub(super) fn with(self, guard: Guard) -> Tunnel {
        Tunnel { ends: Ends::Joining(self.0), guard, up: Pipe::default(), down: Pipe::default(), ending: false }
    }
}

pub(super) struct Tunnel {
    ends: Ends,
    up: Pipe,
    down: Pipe,
    /// Nothing more is read.
    ending: bool,
    guard: Guard,
}

enum Ends {
    Joining(BoxFuture<'static, io::Result<Both>>),
    Joined(Box<Both>),
}

impl listen::Tunnel for Tunnel {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Ends::Joining(joining) = &mut self.ends {
            match ready!(joining.as_mut().poll(cx)) {
                Ok(both) => self.ends = Ends::Joined(Box::new(both)),
                Err(error) => return self.broke(&error),
            }
        }
        let Ends::Joined(both) = &mut self.ends else { return Poll::Ready(Ended::Broken) };
        let (caller, upstream) = &mut **both;
        let before = self.up.moved + self.down.moved;
        let up = self.up.poll(cx, caller, upstream, self.ending);
        let down = self.down.poll(cx, upstream, caller, self.ending);
        self.guard.passed(self.up.moved, self.down.moved);
        if self.up.moved + self.down.moved > before {
            upstream.moved();
        }
        match (up, down) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => self.broke(&error),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                self.guard.ended_whole();
                Poll::Ready(Ended::Whole)
            }
            _ => match upstream.poll_expired(cx) {
                Some(error) => self.broke(&io::Error::other(error)),
                None => Poll::Pending,
            },
        }
    }

    fn end(&mut self) {
        self.ending = true;
    }
}

impl Tunnel {
    fn broke(&self, error: &io::Error) -> Poll<Ended> {
        tracing::info!(cause = %error, trace_id = %self.guard.trace(), "an upgraded connection broke off");
        Poll::Ready(Ended::Broken)
    }
}

const BUFFER: usize = 16 * 1024;

/// One way. What cannot be written is not read: a slow reader slows down the other side.
#[derive(Default)]
struct Pipe {
    /// Made with the first byte: most tunnels are silent most of the time, but all of them say something.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    moved: u64,
    unflushed: bool,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// No more will be read.
    Ended,
    Done,
}

impl Pipe {
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W, ending: bool) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if self.from == self.to && self.state == State::Open {
                match if ending { Poll::Ready(Ok(0)) } else { self.fill(cx, reader) } {
                    Poll::Ready(Ok(0)) => self.state = State::Ended,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        if self.unflushed {
                            ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                }
            }
            while self.from < self.to {
                let written = ready!(Pin::new(&mut *writer).poll_write(cx, &self.buffer[self.from..self.to]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.from += written;
                self.moved += written as u64;
                self.unflushed = true;
            }
            match self.state {
                State::Open => {}
                State::Ended => {
                    ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn fill<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        let mut space = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut space))?;
        (self.from, self.to) = (0, space.filled().len());
        Poll::Ready(Ok(self.to))
    }
}
