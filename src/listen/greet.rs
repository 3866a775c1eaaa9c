//! What comes before HTTP on a connection, as the listener is set: the header of the PROXY protocol, and the handshake of TLS. It takes as long as the tick lets it,
//! and ends in a stream that HTTP can be spoken on, or in a closed connection; it answers no request.

use super::TrustedProxies;
use super::connection::Connection;
use super::drive::Spoken;
use super::ends::Asked;
use super::proxy::{self, Ends};
use super::shop::Gate;
use super::stream::Stream;
use crate::tls::names::{ClientCertificate, Names};
use crate::tls::server::{InForce, Server};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// How those who connect to one listener are received.
#[derive(Default)]
pub(super) struct Greeting {
    /// `None`: clear text.
    pub(super) tls: Option<Server>,
    pub(super) proxy_protocol: bool,
    /// Whose word about where a request came from counts.
    pub(super) trusted: TrustedProxies,
}

/// What TLS knows of a connection.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name that was asked for.
    pub server_name: Option<String>,
    /// Whom the caller's certificate names, where one was shown; it has been judged to be good.
    pub client: Option<ClientCertificate>,
    names: Arc<Names>,
}

impl Tls {
    /// Whether requests for `host` would be shown another certificate than this connection was.
    pub fn misdirects(&self, host: &str) -> bool {
        !self.names.same(self.server_name.as_deref(), host)
    }
}

/// A connection on which the first byte of HTTP may come.
pub(super) struct Greeted {
    pub(super) stream: Stream,
    pub(super) spoken: Spoken,
    pub(super) ends: Ends,
    pub(super) tls: Option<Arc<Tls>>,
}

/// Why a connection was closed before HTTP; a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwelcome {
    /// The handshake of TLS failed.
    Handshake,
    /// It came past the load balancers, who alone may send the header of the PROXY protocol.
    Untrusted,
    /// That header is none.
    ProxyHeader,
}

impl Unwelcome {
    pub const ALL: [Self; 3] = [Self::Handshake, Self::Untrusted, Self::ProxyHeader];

    pub fn label(self) -> &'static str {
        match self {
            Self::Handshake => "tls_handshake",
            Self::Untrusted => "proxy_untrusted",
            Self::ProxyHeader => "proxy_header",
        }
    }
}

/// `None`: the connection is to be closed.
pub(super) async fn greet(stream: TcpStream, ends: Ends, gate: &Gate, connection: &Connection) -> Option<Greeted> {
    let Greeting { tls, proxy_protocol, .. } = &gate.greeting;
    if tls.is_none() && !proxy_protocol {
        return Some(Greeted { stream: Stream::Plain(stream), spoken: Spoken::Either, ends, tls: None });
    }
    // In a box: connections without all this do not carry it along.
    match unless_cut(connection, Box::pin(received(stream, ends, &gate.greeting, connection))).await? {
        Ok(greeted) => Some(greeted),
        Err((why, error)) => {
            gate.turns_away(why, &error);
            (connection.desk().shop.hooks.unwelcome)(&gate.name, why);
            None
        }
    }
}

async fn received(
    mut stream: TcpStream,
    mut ends: Ends,
    greeting: &Greeting,
    connection: &Connection,
) -> Result<Greeted, (Unwelcome, io::Error)> {
    if greeting.proxy_protocol && !greeting.trusted.contains(ends.address.ip()) {
        return Err((Unwelcome::Untrusted, io::Error::other(format!("{} is none of trusted_proxies", ends.address.ip()))));
    }
    let handshake = |e| (Unwelcome::Handshake, e);
    stream.readable().await.map_err(handshake)?;
    connection.greets();
    if greeting.proxy_protocol {
        ends = proxy::header(&mut stream).await.map_err(|e| (Unwelcome::ProxyHeader, e))?.unwrap_or(ends);
    }
    let greeted = match &greeting.tls {
        None => Greeted { stream: Stream::Plain(stream), spoken: Spoken::Either, ends, tls: None },
        Some(server) => {
            let (stream, spoken, tls) = shake(stream, &server.in_force()).await.map_err(handshake)?;
            Greeted { stream, spoken, ends, tls: Some(tls) }
        }
    };
    connection.greeted();
    Ok(greeted)
}

async fn shake(stream: TcpStream, in_force: &InForce) -> io::Result<(Stream, Spoken, Arc<Tls>)> {
    let stream = TlsAcceptor::from(Arc::clone(&in_force.config)).accept(stream).await?;
    let (_, session) = stream.get_ref();
    let spoken = if session.alpn_protocol() == Some(b"h2") { Spoken::Http2 } else { Spoken::Http1 };
    let tls = Tls {
        server_name: session.server_name().map(str::to_owned),
        client: session.peer_certificates().and_then(|chain| chain.first()).map(|der| ClientCertificate::read(der)),
        names: Arc::clone(&in_force.names),
    };
    Ok((Stream::Tls(Box::new(stream)), spoken, Arc::new(tls)))
}

/// `None`: the tick had the connection cut first.
async fn unless_cut<F: Future>(connection: &Connection, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        connection.driven_by(cx.waker());
        if connection.asked() == Asked::Cut {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}
