//! The end of a connection on which the caller may still be sending: closing at once would have the kernel reset it, and the
//! answer would be lost before it was read. So what comes is thrown away for a while. It writes nothing.

use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Reads `stream` into nothing until its other end is closed, for `at_most` that long. Its writing side must be shut down.
pub(super) async fn linger(mut stream: TcpStream, at_most: Duration) {
    let mut unread = [0; 4096];
    let read = async { while matches!(stream.read(&mut unread).await, Ok(n) if n > 0) {} };
    let _ = tokio::time::timeout(at_most, read).await;
}
