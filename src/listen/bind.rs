//! A socket that listens, and a clear word when it can't. It accepts nothing: workers do, so that a taken port is known before
//! anything starts.

use super::greet::Greeting;
use super::{Manner, Settings};
use crate::tls::{self, server::Server};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listener {name}: cannot listen on {address}: {why}{cure}")]
    Address { name: Arc<str>, address: SocketAddr, why: io::Error, cure: &'static str },
    #[error("listener {name}: {why}")]
    Tls { name: Arc<str>, why: tls::Error },
}

/// A socket that is kept open for whoever is to listen on it next.
pub struct Place(TcpListener);

/// A listener whose port is taken and whose queue already fills.
pub struct Bound {
    pub(super) name: Arc<str>,
    pub(super) greeting: Greeting,
    pub(super) listener: TcpListener,
}

impl Bound {
    /// # Errors
    /// When the address is taken, not this machine's, or not allowed; or a file of its TLS cannot be used.
    pub fn bind(settings: Settings) -> Result<Self, Error> {
        let address = settings.address;
        Self::made(settings, || open(address))
    }

    /// The same socket under other settings: one port, one queue of callers, and whoever accepts from either empties it.
    ///
    /// # Errors
    /// When a file of its TLS cannot be used, or the system gives no further handle to the socket.
    pub fn on(place: &Place, settings: Settings) -> Result<Self, Error> {
        Self::made(settings, || place.0.try_clone())
    }

    fn made(settings: Settings, listener: impl FnOnce() -> io::Result<TcpListener>) -> Result<Self, Error> {
        let Settings { name, address, manner: Manner { tls, proxy_protocol, trusted } } = settings;
        let tls = match tls.map(Server::new).transpose() {
            Ok(tls) => tls,
            Err(why) => return Err(Error::Tls { name, why }),
        };
        match listener() {
            Ok(listener) => Ok(Self { name, greeting: Greeting { tls, proxy_protocol, trusted }, listener }),
            Err(why) => Err(Error::Address { cure: cure(&why, address), name, address, why }),
        }
    }

    /// A handle to the socket, for [`Bound::on`].
    ///
    /// # Errors
    /// When the system gives none.
    pub fn place(&self) -> io::Result<Place> {
        self.listener.try_clone().map(Place)
    }

    /// # Errors
    /// When the system refuses to say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// For [`super::serve_plain`].
impl From<Bound> for TcpListener {
    fn from(bound: Bound) -> Self {
        bound.listener
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restarted gateway take its port while connections of the old one are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // [::] means both families on every system, whatever its default; any other address is one of IPv6 alone.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn cure(why: &io::Error, address: SocketAddr) -> &'static str {
    match why.kind() {
        io::ErrorKind::AddrInUse => "; another program has this port: stop it, or choose another port",
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher port, or grant it"
        }
        io::ErrorKind::PermissionDenied => "; this system does not allow it",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address: use 0.0.0.0, [::] or one of its own",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_cure() {
        let at = |address| Bound::bind(Settings::plain("public", address)).map(drop).map_err(|e| e.to_string());
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let said = at(taken.local_addr().unwrap()).unwrap_err();
        assert!(said.contains("public") && said.contains("127.0.0.1:") && said.contains("choose another port"), "{said}");
        let said = at("203.0.113.7:0".parse().unwrap()).unwrap_err();
        assert!(said.contains("no such address"), "{said}");
    }
}
