//! Sockets: accept, hand over to workers, drive HTTP/1 and HTTP/2, drain. It knows nothing of routes or tokens: each
//! connection gets a service made by whoever started the workers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One listener, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration; a metric label.
    pub name: Arc<str>,
    pub address: SocketAddr,
}

/// What holds for every caller's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Over all listeners.
    pub max_connections: usize,
    /// The request line and the headers may together be this large before hyper itself gives up; the stack answers earlier.
    pub head_bytes: usize,
    /// From accept, or from a head's first byte, until the head is complete.
    pub header_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
}
