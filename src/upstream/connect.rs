//! A new connection to an upstream: name, TCP, TLS, HTTP/1.1 or 2. The addresses of a name are tried in turn, each with its share of
//! the time that is left. It keeps nothing: pools do.

use super::error::in_full;
use super::greeted::{self, Talking};
use super::heard::Heard;
use super::outgoing::Outgoing;
use super::secure::Tls;
use super::{Endpoint, Error, Protocol, Settings};
use bytes::Bytes;
use http::HeaderValue;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// Where a connection goes, and whom TLS must find there.
#[derive(Clone)]
pub(super) struct Peer {
    pub endpoint: Endpoint,
    /// One of the name's addresses; `None`: whatever it has when a connection is made.
    pub address: Option<SocketAddr>,
    /// All it may be at; empty: its name is looked up.
    among: Arc<[SocketAddr]>,
    /// The endpoint's own `Host`.
    pub host: HeaderValue,
    server_name: Option<ServerName<'static>>,
    protocol: Protocol,
}

impl Peer {
    pub(super) fn new(settings: &Settings, endpoint: &Endpoint) -> Result<Self, Error> {
        let unusable = |why: String| Error::Unusable { upstream: settings.name.clone(), why };
        let name = settings.tls.server_name.as_ref().unwrap_or(&endpoint.host);
        let no_name = |e| unusable(format!("`{name}` can be no TLS server name: {e}"));
        let server_name = if endpoint.tls { Some(ServerName::try_from(name.clone()).map_err(no_name)?) } else { None };
        let no_host = |e| unusable(format!("`{}` can be no Host: {e}", endpoint.host));
        let host = HeaderValue::try_from(endpoint.authority()).map_err(no_host)?;
        Ok(Self { endpoint: endpoint.clone(), address: None, among: Arc::default(), host, server_name, protocol: settings.protocol })
    }

    /// Whether a connection to it may turn out to be one for many.
    pub(super) fn may_share(&self) -> bool {
        match self.protocol {
            Protocol::Auto => self.endpoint.tls,
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        }
    }

    /// The same, at this address of its name.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self { address: Some(address), ..self.clone() }
    }

    /// The same, at these addresses, tried in turn; where there are none, at whatever its name has.
    pub(super) fn among(self, addresses: &[SocketAddr]) -> Self {
        Self { among: addresses.into(), ..self }
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = self.address {
            return Ok(vec![address]);
        }
        if !self.among.is_empty() {
            return Ok(self.among.to_vec());
        }
        Ok(lookup_host((self.endpoint.host.as_str(), self.endpoint.port)).await?.collect())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{} at {address}", self.endpoint),
            None => self.endpoint.fmt(f),
        }
    }
}

/// A connection's sending half.
pub(super) enum Opened<B> {
    /// With what ends the task that drives the connection.
    Http1(http1::SendRequest<Outgoing<B>>, AbortHandle),
    Http2(Talking<B>),
}

/// Opens a connection within `limit`, or says why there is none. `http1`: in HTTP/1.1, whatever else may be spoken.
pub(super) async fn open<B>(peer: &Peer, tls: Option<&Arc<Tls>>, limit: Duration, http1: bool) -> Result<Opened<B>, String>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let until = Instant::now() + limit;
    let known = !http1 && peer.protocol == Protocol::Http2;
    let dial = async {
        let tcp = Heard::new(tcp(peer, until).await?);
        match (tls, &peer.server_name) {
            (Some(tls), Some(name)) => {
                let io = tls.connect(name, tcp, http1).await?;
                let agreed = io.get_ref().1.alpn_protocol() == Some(b"h2");
                if agreed || known { Ok(Opened::Http2(greeted::open(io).await?)) } else { drive(io).await }
            }
            _ if known => Ok(Opened::Http2(greeted::open(tcp).await?)),
            _ => drive(tcp).await,
        }
    };
    match timeout_at(until, dial).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(e)) => Err(format!("{peer}: {}", in_full(&e))),
        Err(_) => Err(format!("{peer}: no connection within {limit:?}")),
    }
}

async fn tcp(peer: &Peer, until: Instant) -> io::Result<TcpStream> {
    let found = peer.addresses().await?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in found.iter().enumerate() {
        // An address that swallows packets must leave time for the others.
        let share = until.saturating_duration_since(Instant::now()) / u32::try_from(found.len() - tried).unwrap_or(u32::MAX);
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(e)) => last = io::Error::new(e.kind(), format!("{address}: {e}")),
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} did not answer")),
        }
    }
    Err(last)
}

async fn drive<B, T>(io: T) -> io::Result<Opened<B>>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
    let task = tokio::spawn(async move {
        // Its errors come back through the request or the body that they broke.
        let _ = connection.with_upgrades().await;
    });
    Ok(Opened::Http1(sender, task.abort_handle()))
}
