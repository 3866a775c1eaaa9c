//! A caller's socket that leaves stamps on its connection: when bytes came and went, and whether it opened with HTTP/2's preface.
//! It changes no byte and waits for nothing; what the head guard refuses, it keeps to itself.

use super::blocks::Blocks;
use super::connection::Connection;
use super::drive::Spoken;
use super::ends::Farewell;
use super::guard::{Guard, Refused};
use super::refusal;
use super::stream::Stream;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the caller is known to speak.
enum Speech {
    /// It has sent so much of the preface and nothing else.
    Unsettled(usize),
    /// HTTP/2, as agreed; it has sent so much of the preface.
    Agreed(usize),
    Http1(Guard),
    Http2(Blocks),
    /// Something that an upgrade led to.
    Other,
    /// HTTP/1, and a head was refused; the trace id of the refusal.
    Refused(u128),
    /// HTTP/1, and the body that hyper reads is malformed.
    Broken,
}

pub(super) struct Stamped {
    stream: Stream,
    connection: Arc<Connection>,
    speech: Speech,
    /// The caller sends no more.
    ended: bool,
}

impl Stamped {
    pub(super) fn new(stream: Stream, spoken: Spoken, connection: Arc<Connection>) -> Self {
        let speech = match spoken {
            Spoken::Either => Speech::Unsettled(0),
            Spoken::Http1 => Speech::Http1(Guard::default()),
            Spoken::Http2 => Speech::Agreed(0),
        };
        Self { stream, connection, speech, ended: false }
    }

    /// Follows what came in, as far as it is HTTP/1.
    fn heed(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if let Speech::Unsettled(seen) = self.speech {
            let due = &PREFACE[seen..];
            let n = bytes.len().min(due.len());
            if bytes[..n] == due[..n] {
                if n < due.len() {
                    self.speech = Speech::Unsettled(seen + n);
                    return Ok(());
                }
                self.connection.speaks_http2();
                self.speech = Speech::Http2(Blocks::after(n));
            } else {
                let mut guard = Guard::default();
                let began = guard.feed(&PREFACE[..seen]);
                self.speech = Speech::Http1(guard);
                began?;
            }
        }
        match &mut self.speech {
            Speech::Agreed(seen) => {
                let left = PREFACE.len() - *seen;
                if bytes.len() < left {
                    *seen += bytes.len();
                } else {
                    let mut blocks = Blocks::after(left);
                    self.connection.speaks_http2();
                    heard(&self.connection, &mut blocks, bytes);
                    self.speech = Speech::Http2(blocks);
                }
            }
            Speech::Http2(blocks) => heard(&self.connection, blocks, bytes),
            Speech::Http1(_) if self.connection.has_switched() => self.speech = Speech::Other,
            Speech::Http1(guard) => guard.feed(bytes)?,
            _ => {}
        }
        Ok(())
    }

    /// hyper goes by the first bytes, whatever was agreed on: those of HTTP/1 must not reach it where HTTP/2 was.
    fn breaks_its_word(&self, bytes: &[u8]) -> bool {
        let Speech::Agreed(seen) = self.speech else { return false };
        let due = &PREFACE[seen..];
        let n = bytes.len().min(due.len());
        bytes[..n] != due[..n]
    }

    /// What came was no HTTP/1 where HTTP/1 was due.
    pub(super) fn has_refused(&self) -> bool {
        matches!(self.speech, Speech::Refused(_) | Speech::Broken)
    }

    fn wrote(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.connection.took(wrote.is_ready());
        if let Poll::Ready(Ok(n)) = &wrote {
            self.connection.wrote(*n);
        }
        wrote
    }

    fn refuse(&mut self, refused: &Refused) {
        let trace = rand::random::<u128>().max(1);
        let (reason, cause, trace_id) = ("bad_request", refused.cause, format_args!("{trace:032x}"));
        tracing::info!(reason, cause, %trace_id, "request refused before it was read");
        (self.connection.desk().shop.hooks.malformed)();
        if refused.in_body {
            self.speech = Speech::Broken;
        } else {
            self.speech = Speech::Refused(trace);
            self.connection.refused(refused.before);
        }
    }
}

fn heard(connection: &Connection, blocks: &mut Blocks, bytes: &[u8]) {
    let half = blocks.feed(bytes);
    connection.heard(blocks.begun(), half);
}

impl AsyncRead for Stamped {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        loop {
            if matches!(me.speech, Speech::Broken) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the body's framing is malformed")));
            }
            ready!(Pin::new(&mut me.stream).poll_read(cx, buf))?;
            let bytes = &buf.filled()[before..];
            if bytes.is_empty() {
                me.ended = true;
                // hyper would end without a word, where the refusal is still to be said.
                let owes = matches!(me.speech, Speech::Refused(_)) && !me.connection.busy();
                return if owes { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            if me.breaks_its_word(bytes) {
                buf.set_filled(before);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP/2 was agreed on, and something else came")));
            }
            let mut whole = 0;
            // What comes after a refusal is only read to see the end.
            if !matches!(me.speech, Speech::Refused(_)) {
                me.connection.read();
                let Err(refused) = me.heed(bytes) else { return Poll::Ready(Ok(())) };
                me.refuse(&refused);
                whole = refused.whole;
            }
            buf.set_filled(before + whole);
            if whole > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.flushed(false);
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(wrote)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.connection.flushed(false);
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Under TLS, what was written may wait here still.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.connection.flushed(flushed.is_ready());
        self.connection.took(flushed.is_ready());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        if self.connection.parts(Farewell::Reset) {
            let _ = self.stream.tcp().set_zero_linger();
            return;
        }
        let refused = match self.speech {
            Speech::Refused(trace) if self.connection.parts(Farewell::Refuse) => Some(trace),
            _ => None,
        };
        if let Some(trace) = refused {
            // All earlier answers are out, so it fits the send buffer of anyone who reads them.
            let said = self.stream.say_last(&refusal::answer(trace));
            let _ = said.and_then(|()| socket2::SockRef::from(self.stream.tcp()).shutdown(Shutdown::Write));
        }
        if (refused.is_some() || self.connection.parts(Farewell::Linger))
            && !self.ended
            && let Ok(left) = socket2::SockRef::from(self.stream.tcp()).try_clone()
        {
            self.connection.leave(left);
        }
    }
}
