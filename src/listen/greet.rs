//! What comes before HTTP on a connection, as the listener is set: the handshake of TLS. It takes as long as the tick lets it,
//! and ends in a stream that HTTP can be spoken on, or in a closed connection; it answers no request.

use super::connection::{Asked, Connection};
use super::drive::Spoken;
use super::shop::Gate;
use super::stream::Stream;
use crate::tls::names::{ClientCertificate, Names};
use crate::tls::server::InForce;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

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
    pub(super) address: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) tls: Option<Arc<Tls>>,
}

/// Why a connection was closed before HTTP; a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwelcome {
    /// The handshake of TLS failed.
    Handshake,
}

impl Unwelcome {
    pub const ALL: [Self; 1] = [Self::Handshake];

    pub fn label(self) -> &'static str {
        match self {
            Self::Handshake => "tls_handshake",
        }
    }
}

/// `None`: the connection is to be closed.
pub(super) async fn greet(
    stream: TcpStream,
    (address, local): (SocketAddr, SocketAddr),
    gate: &Gate,
    connection: &Connection,
) -> Option<Greeted> {
    let Some(server) = &gate.tls else {
        return Some(Greeted { stream: Stream::Plain(stream), spoken: Spoken::Either, address, local, tls: None });
    };
    // In a box: connections without all this do not carry it along.
    let preliminaries = Box::pin(async {
        stream.readable().await?;
        connection.greets();
        let in_force = server.in_force();
        let shaken = shake(stream, &in_force).await;
        connection.greeted();
        shaken
    });
    match unless_cut(connection, preliminaries).await? {
        Ok((stream, spoken, tls)) => Some(Greeted { stream, spoken, address, local, tls: Some(tls) }),
        Err(error) => {
            gate.turns_away(Unwelcome::Handshake, &error);
            (connection.desk().shop.hooks.unwelcome)(&gate.name, Unwelcome::Handshake);
            None
        }
    }
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
