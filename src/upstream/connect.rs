//! A new connection to an upstream: name, TCP, TLS, HTTP/1.1. The addresses of a name are tried in turn, each with its share of
//! the time that is left. It keeps nothing: pools do.

use super::error::in_full;
use super::heard::Heard;
use super::outgoing::Outgoing;
use super::{Endpoint, Error, Settings};
use bytes::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// What TLS to an upstream needs, made once.
pub(super) struct Tls {
    connector: TlsConnector,
}

impl Tls {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let unusable = |why: String| Error::Unusable { upstream: settings.name.clone(), why };
        let config = crate::tls::client(None, &[b"http/1.1"]).map_err(|e| unusable(e.to_string()))?;
        Ok(Self { connector: TlsConnector::from(config) })
    }
}

/// Where a connection goes, and whom TLS must find there.
#[derive(Clone)]
pub(super) struct Peer {
    pub endpoint: Endpoint,
    server_name: Option<ServerName<'static>>,
}

impl Peer {
    pub(super) fn new(upstream: &Arc<str>, endpoint: &Endpoint) -> Result<Self, Error> {
        let unusable =
            |e| Error::Unusable { upstream: upstream.clone(), why: format!("`{}` can be no TLS server name: {e}", endpoint.host) };
        let server_name = if endpoint.tls { Some(ServerName::try_from(endpoint.host.clone()).map_err(unusable)?) } else { None };
        Ok(Self { endpoint: endpoint.clone(), server_name })
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((self.endpoint.host.as_str(), self.endpoint.port)).await?.collect())
    }
}

/// The sending half, and what ends the task that drives the connection.
pub(super) type Opened<B> = (SendRequest<Outgoing<B>>, AbortHandle);

/// Opens a connection within `limit`, or says why there is none.
pub(super) async fn open<B>(peer: &Peer, tls: Option<&Tls>, limit: Duration) -> Result<Opened<B>, String>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let until = Instant::now() + limit;
    let dial = async {
        let tcp = Heard::new(tcp(peer, until).await?);
        match (tls, &peer.server_name) {
            (Some(tls), Some(name)) => drive(tls.connector.connect(name.clone(), tcp).await?).await,
            _ => drive(tcp).await,
        }
    };
    match timeout_at(until, dial).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(e)) => Err(format!("{}: {}", peer.endpoint, in_full(&e))),
        Err(_) => Err(format!("{}: no connection within {limit:?}", peer.endpoint)),
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
    Ok((sender, task.abort_handle()))
}
