//! Sockets: accept, hand over to workers, drive HTTP/1 and HTTP/2, drain. It knows nothing of routes or tokens: each
//! connection gets a service made by whoever started the workers.

mod accept;
mod bind;
mod blocks;
mod connection;
mod drive;
mod ends;
mod greet;
mod guard;
mod linger;
mod pace;
mod plain;
mod proxy;
mod refusal;
mod renew;
mod replies;
mod service;
mod shop;
mod stamped;
mod stream;
mod switch;
#[cfg(test)]
mod tests;
mod trusted;
mod worker;

pub use bind::{Bound, Error, Place};
pub use connection::Connection;
pub use greet::{Tls, Unwelcome};
pub use pace::{Upload, is_grpc};
pub use plain::serve_plain;
pub use shop::Hooks;
pub use switch::{CallersEnd, Ended, Switch, Tunnel};
pub use trusted::TrustedProxies;
pub use worker::{Listening, WorkerContext, Workers};

use crate::tls::server;
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One listener, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration; a metric label.
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub manner: Manner,
}

impl Settings {
    /// Clear text, and nobody is trusted.
    pub fn plain(name: &str, address: SocketAddr) -> Self {
        Self { name: name.into(), address, manner: Manner::default() }
    }
}

/// How a listener receives those who connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// `None`: clear text.
    pub tls: Option<server::Settings>,
    /// A connection begins with the header of the PROXY protocol, which those in `trusted` send and nobody else.
    pub proxy_protocol: bool,
    /// Whose word about where a request came from counts.
    pub trusted: TrustedProxies,
}

/// What holds for every caller's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Over all listeners.
    pub max_connections: usize,
    /// The request line and the headers may together be this large before hyper itself gives up; the stack answers earlier.
    pub head_bytes: usize,
    /// As many fields may a head have before hyper itself gives up; the stack answers earlier.
    pub head_fields: usize,
    /// From accept, or from a head's first byte, until the head is complete.
    pub header_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// Bytes a second: request bodies that come, and answers that are taken, more slowly are broken off.
    pub min_body_rate: u64,
    /// Requests at once on one connection of HTTP/2.
    pub h2_streams: u32,
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub local: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// `None`: clear text.
    pub tls: Option<Arc<Tls>>,
    /// The listener's: whose word about where a request came from counts.
    pub trusted: TrustedProxies,
    /// The way to end the connection from outside ([`Connection::cut`]).
    pub connection: Arc<Connection>,
}

/// What answers requests: anything that makes a tower service for each connection. The services should be ready at all times
/// (shed, don't queue); one that is not is cloned for the request that has to wait.
pub trait Handler: Clone + Send + 'static {
    type Service: tower::Service<Request<Incoming>, Response = Response<Self::Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static;
    type Body: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    fn connection(&self, peer: Peer) -> Self::Service;
}
