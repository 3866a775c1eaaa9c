//! Where log lines go: appended to memory at once, written by a thread of its own some milliseconds later, many at a time. Memory has a
//! bound; what finds no room, or what the output does not take, is lost and counted. It never makes anybody wait who writes a line.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written, and bytes of them; as much again may be on its way out.
const MOST_LINES: usize = 16 * 1024;
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// After each look, so that lines under load come in handfuls: a system call and a change of threads for each would cost more than
/// the line itself.
const BREATH: Duration = Duration::from_millis(10);
/// Between two looks where nothing is written.
const IDLE: Duration = Duration::from_secs(1);
/// How long the end waits for an output that takes nothing.
const LAST: Duration = Duration::from_secs(1);
/// Memory that is kept from one look to the next.
const KEPT: usize = 256 * 1024;

/// May be cloned: all clones are one.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to do for the thread.
    work: Condvar,
    /// The thread has written all there was, and ended.
    over: Condvar,
    closing: AtomicBool,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    lines: usize,
    /// The thread waits to be called.
    idle: bool,
    over: bool,
}

/// Lines that come up by themselves while time goes by; `true`: this is the end, and there will be no other time.
type Others = dyn Fn(bool) -> Vec<String> + Send;

impl Sink {
    /// Starts the thread that writes to `out`.
    pub fn start(&self, out: impl Write + Send + 'static, others: Box<Others>) -> io::Result<()> {
        let shared = self.0.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_on(Out { to: out, torn: false }, &*others))?;
        Ok(())
    }

    /// A whole line with its end.
    pub fn push(&self, line: &[u8]) {
        self.0.push(line);
    }

    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until what is here is out, but not for long.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        let mut waiting = self.0.waiting();
        self.0.work.notify_one();
        let until = Instant::now() + LAST;
        while !waiting.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self.0.over.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.lines >= MOST_LINES || waiting.bytes.len() + line.len() > MOST_BYTES || waiting.over {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.lines += 1;
        if waiting.idle {
            waiting.idle = false;
            self.work.notify_one();
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn write_on(&self, mut out: Out<impl Write>, others: &Others) {
        let mut batch = Vec::new();
        loop {
            let closing = self.is_closing();
            for line in others(closing) {
                self.push(line.as_bytes());
            }
            self.wait();
            batch = self.take(std::mem::take(&mut batch));
            let lost = out.write(&batch, &|| self.rest());
            self.lost.fetch_add(lost, Ordering::Relaxed);
            batch.clear();
            if batch.capacity() > KEPT {
                batch = Vec::new();
            }
            if closing {
                break;
            }
            self.rest();
        }
        self.waiting().over = true;
        self.over.notify_all();
    }

    /// A moment, or until the end has come. Returns whether it has not.
    fn rest(&self) -> bool {
        let waiting = self.waiting();
        if !self.is_closing() {
            // Lines that come meanwhile do not end it.
            drop(self.work.wait_timeout(waiting, BREATH));
        }
        !self.is_closing()
    }

    /// Until there is a line, or a while has passed.
    fn wait(&self) {
        let mut waiting = self.waiting();
        if waiting.lines == 0 && !self.is_closing() {
            waiting.idle = true;
            waiting = self.work.wait_timeout(waiting, IDLE).unwrap_or_else(PoisonError::into_inner).0;
            waiting.idle = false;
        }
    }

    /// All that waits; `room` is for what comes next.
    fn take(&self, room: Vec<u8>) -> Vec<u8> {
        let mut waiting = self.waiting();
        waiting.lines = 0;
        std::mem::replace(&mut waiting.bytes, room)
    }
}

struct Out<W> {
    to: W,
    /// The last thing that came out was a part of a line.
    torn: bool,
}

impl<W: Write> Out<W> {
    /// Returns how many lines did not come out whole. `later` waits a moment, where it makes sense to try again.
    fn write(&mut self, mut bytes: &[u8], later: &dyn Fn() -> bool) -> u64 {
        if self.torn && !bytes.is_empty() {
            match self.to.write(b"\n") {
                Ok(1) => self.torn = false,
                _ => return lines(bytes),
            }
        }
        while !bytes.is_empty() {
            match self.to.write(bytes) {
                Ok(0) => break,
                Ok(n) => {
                    self.torn = bytes[n - 1] != b'\n';
                    bytes = &bytes[n..];
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Whoever gave us this pipe made it so; for us it is one that is full.
                Err(e) if e.kind() == ErrorKind::WouldBlock && later() => {}
                Err(_) => break,
            }
        }
        let lost = lines(bytes);
        if bytes.is_empty() && self.to.flush().is_err() {
            return lost.max(1);
        }
        lost
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// For one line.
pub(super) struct Push<'a>(&'a Sink);

impl Write for Push<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Push<'a>;

    fn make_writer(&'a self) -> Push<'a> {
        Push(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Answers as it is told, then takes everything.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Script>>);

    type Script = (VecDeque<io::Result<usize>>, Vec<u8>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut told = self.0.lock().unwrap();
            let n = told.0.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            told.1.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn wrote(answers: Vec<io::Result<usize>>, batches: &[&str]) -> (u64, String) {
        let told = Told::default();
        told.0.lock().unwrap().0 = answers.into();
        let mut out = Out { to: told.clone(), torn: false };
        let lost = batches.iter().map(|batch| out.write(batch.as_bytes(), &|| true)).sum();
        let text = String::from_utf8(told.0.lock().unwrap().1.clone()).unwrap();
        (lost, text)
    }

    fn full() -> io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    #[test]
    fn what_does_not_come_out_whole_is_counted_and_the_next_line_is_a_line() {
        assert_eq!(wrote(vec![], &["a\nb\n"]), (0, "a\nb\n".to_owned()));
        assert_eq!(wrote(vec![full()], &["a\nb\n", "c\n"]), (2, "c\n".to_owned()));
        assert_eq!(wrote(vec![Ok(2), full()], &["a\nbb\n", "c\n"]), (1, "a\nc\n".to_owned()));
        assert_eq!(wrote(vec![Ok(3), full()], &["a\nbb\n", "c\n"]), (1, "a\nb\nc\n".to_owned()));
        assert_eq!(wrote(vec![Ok(3), full(), full()], &["a\nbb\n", "c\n", "d\n"]), (2, "a\nb\nd\n".to_owned()));
        let busy = || Err(ErrorKind::WouldBlock.into());
        assert_eq!(wrote(vec![busy(), Ok(1), busy(), Err(ErrorKind::Interrupted.into())], &["a\nb\n"]), (0, "a\nb\n".to_owned()));
    }

    /// Takes nothing until it is let go.
    struct Stuck(Sender<()>, Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_output_costs_lines_and_a_moment_at_the_end() {
        let (sink, (began, begins), (go, goes)) = (Sink::default(), channel(), channel());
        sink.start(Stuck(began, goes), Box::new(|_| Vec::new())).unwrap();
        sink.push(b"first\n");
        begins.recv().unwrap();
        (0..MOST_LINES + 7).for_each(|_| sink.push(b"line\n"));
        assert_eq!(sink.lost(), 7);
        let huge = vec![b'x'; MOST_BYTES + 1];
        sink.push(&huge);
        assert_eq!(sink.lost(), 8);
        sink.close();
        assert!(!sink.0.waiting().over, "it gave up");
        drop(go);
    }

    #[test]
    fn the_end_writes_what_is_there_and_what_others_have() {
        let (sink, told) = (Sink::default(), Told::default());
        sink.start(told.clone(), Box::new(|end| if end { vec!["last\n".to_owned()] } else { Vec::new() })).unwrap();
        (0..1000).for_each(|n| sink.push(format!("{n}\n").as_bytes()));
        sink.close();
        let text = String::from_utf8(told.0.lock().unwrap().1.clone()).unwrap();
        assert!(text.starts_with("0\n1\n") && text.ends_with("999\nlast\n") && sink.lost() == 0, "{text}");
        sink.push(b"late\n");
        assert_eq!(sink.lost(), 1);
    }
}
