//! TLS to an upstream: whose certificates are believed, what we show, which HTTP is offered. Files that change are read again when a
//! connection is opened; one that cannot be used is told once, and what was good stays in use. It opens no connection.

use super::settings::Protocol;
use super::{Error, Settings};
use crate::tls::{self, Identity};
use crate::token::Digest;
use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// How often the files are looked at, where connections are opened all the time.
const EVERY: Duration = Duration::from_secs(2);
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// An upstream's `tls`, as the configuration describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `None`: the machine's own authorities.
    pub ca_file: Option<PathBuf>,
    pub identity: Option<Identity>,
    /// Whom the certificate must name; `None`: the endpoint's host.
    pub server_name: Option<String>,
}

impl TlsSettings {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let identity = self.identity.iter().flat_map(|i| [i.cert_file.as_path(), i.key_file.as_path()]);
        self.ca_file.iter().map(PathBuf::as_path).chain(identity)
    }
}

/// What is offered in a connection's handshake.
struct Offers {
    /// As `protocol` says.
    all: Arc<ClientConfig>,
    /// HTTP/1.1 alone: for an upgrade, which HTTP/2 has not.
    http1: Arc<ClientConfig>,
}

impl Offers {
    fn read(settings: &TlsSettings, protocol: Protocol) -> Result<Self, tls::Error> {
        let offered: &[&[u8]] = match protocol {
            Protocol::Auto => &[HTTP2, HTTP1],
            Protocol::Http1 => &[HTTP1],
            Protocol::Http2 => &[HTTP2],
        };
        let all = tls::client_as(settings.ca_file.as_deref(), settings.identity.as_ref(), offered)?;
        let mut http1 = (*all).clone();
        http1.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Self { all, http1: Arc::new(http1) })
    }
}

pub(super) struct Tls {
    upstream: Arc<str>,
    settings: TlsSettings,
    protocol: Protocol,
    offers: ArcSwap<Offers>,
    seen: Mutex<Seen>,
}

/// What was in the files, good or not, and when they were looked at.
struct Seen {
    content: Vec<Option<Digest>>,
    at: Instant,
}

impl Tls {
    pub fn new(settings: &Settings) -> Result<Arc<Self>, Error> {
        let content = content(&settings.tls);
        let offers = Offers::read(&settings.tls, settings.protocol);
        let offers = offers.map_err(|e| Error::Unusable { upstream: settings.name.clone(), why: e.to_string() })?;
        Ok(Arc::new(Self {
            upstream: settings.name.clone(),
            settings: settings.tls.clone(),
            protocol: settings.protocol,
            offers: ArcSwap::from_pointee(offers),
            seen: Mutex::new(Seen { content, at: Instant::now() }),
        }))
    }

    /// # Errors
    /// When the handshake fails.
    pub async fn connect<T>(self: &Arc<Self>, name: &ServerName<'static>, io: T, http1: bool) -> std::io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        self.look().await;
        let offers = self.offers.load_full();
        let config = if http1 { &offers.http1 } else { &offers.all };
        TlsConnector::from(config.clone()).connect(name.clone(), io).await
    }

    /// Looks at the files, if that was not done just now, on a thread that may wait for a disk.
    async fn look(self: &Arc<Self>) {
        if self.settings.files().next().is_none() {
            return;
        }
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.at.elapsed() < EVERY {
                return;
            }
            seen.at = Instant::now();
        }
        let this = self.clone();
        // It fails only with the runtime.
        let _ = tokio::task::spawn_blocking(move || this.reread()).await;
    }

    fn reread(&self) {
        let now = content(&self.settings);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.content == now {
            return;
        }
        seen.content = now;
        let upstream = &*self.upstream;
        match Offers::read(&self.settings, self.protocol) {
            Ok(offers) => {
                self.offers.store(Arc::new(offers));
                tracing::info!(upstream, "the upstream's ca_file or client_certificate has changed, and is used as it is now");
            }
            Err(e) => {
                let cure = "put a good file in its place; it is looked at when connections are opened";
                tracing::warn!(upstream, cause = %e, cure, "the upstream's ca_file or client_certificate has changed and cannot be used: what was there before stays in use");
            }
        }
    }
}

/// A ConfigMap's file is a link to a folder that is swapped: the content counts, not the date.
fn content(settings: &TlsSettings) -> Vec<Option<Digest>> {
    settings.files().map(|file| std::fs::read(file).ok().map(|bytes| Digest::of(&Zeroizing::new(bytes)))).collect()
}
