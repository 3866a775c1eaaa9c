//! Log lines that nobody takes are lost, and counted. It halts this process's log for a while: nobody else here reads it.

use crate::stage;
use cambist::telemetry::{self, Settings};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, channel};

/// Takes nothing until the other end is gone, and then everything.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_nobody_takes_are_counted() {
    let (taken, stuck) = channel();
    let log = telemetry::start_to(Settings::default(), Stuck(stuck));
    let running = stage::gateway().await;
    let before = running.metric("cambist_log_lines_dropped_total").await;
    // More than the queue holds.
    for n in 0..20_000 {
        tracing::info!(target: "cambist::test", n, "a line");
    }
    let lost = running.metric("cambist_log_lines_dropped_total").await;
    assert!(before == 0.0 && lost > 1000.0, "{before} {lost}");
    drop(taken);
    drop(log);
}
