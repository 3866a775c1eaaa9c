//! A new connection to an upstream: name, TCP, TLS, HTTP/1.1. The addresses of a name are tried in turn, each with its share of
//! the time that is left. It keeps nothing: pools do.

use super::error::in_full;
use super::heard::Heard;
use super::outgoing::Outgoing;
use super::{Error, Settings, Upstream};
use bytes::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// What TLS to an upstream needs, made once.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let unusable = |why: String| Error::Unusable { upstream: settings.name.clone(), why };
        let name = ServerName::try_from(settings.endpoint.host.clone())
            .map_err(|e| unusable(format!("`{}` can be no TLS server name: {e}", settings.endpoint.host)))?;
        let config = crate::tls::client(None, &[b"http/1.1"]).map_err(|e| unusable(e.to_string()))?;
        Ok(Self { connector: TlsConnector::from(config), name })
    }
}

/// The sending half, and what ends the task that drives the connection.
pub(super) type Opened<B> = (SendRequest<Outgoing<B>>, AbortHandle);

/// Opens a connection within `limit`.
pub(super) async fn open<B>(upstream: &Upstream, limit: Duration) -> Result<Opened<B>, Error>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let until = Instant::now() + limit;
    let unreachable = |why: String| Error::Unreachable { upstream: upstream.settings.name.clone(), why };
    let dial = async {
        let tcp = Heard::new(tcp(upstream, until).await?);
        match &upstream.tls {
            None => drive(tcp).await,
            Some(tls) => drive(tls.connector.connect(tls.name.clone(), tcp).await?).await,
        }
    };
    let endpoint = &upstream.settings.endpoint;
    match timeout_at(until, dial).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(e)) => Err(unreachable(format!("{endpoint}: {}", in_full(&e)))),
        Err(_) => Err(unreachable(format!("{endpoint}: no connection within {limit:?}"))),
    }
}

async fn tcp(upstream: &Upstream, until: Instant) -> io::Result<TcpStream> {
    let Settings { endpoint, .. } = &upstream.settings;
    let found: Vec<SocketAddr> = lookup_host((endpoint.host.as_str(), endpoint.port)).await?.collect();
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
