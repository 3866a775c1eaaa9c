//! The inputs of the stack's services, one below the other: each holds what the layers above have made sure of.

use super::body::RequestBody;
use super::forwarded::{Origin, Said, quoted_node};
use super::in_force::InForce;
use super::journal::Journal;
use super::outbound::{Aim, Outbound};
use super::route::Route;
use super::upgrade::Upgrade;
use crate::token::{Asker, SubjectToken, Target};
use crate::{listen, upstream};
use http::HeaderValue;
use http::request::Parts;
use std::net::IpAddr;
use std::sync::Arc;

/// A request as it came.
pub struct Caught {
    pub head: Parts,
    pub body: RequestBody,
    pub from: Arc<Caller>,
    /// Who sent it, past the proxies that are trusted.
    pub origin: Origin,
    /// What those proxies said, once it stands in no header any more.
    pub said: Option<Arc<Said>>,
    pub journal: Arc<Journal>,
}

/// A request with one reading: no hop-by-hop or spoofable field is left, and no `Authorization` either.
pub struct Scrubbed {
    pub caught: Caught,
    /// Lower case, without port and trailing dot; empty where the request has none.
    pub host: String,
    /// The `Host` that goes upstream: the caller's.
    pub authority: HeaderValue,
    pub aim: Aim,
    /// The path's boldest reading, where it differs from what is written.
    pub boldest: Option<String>,
    pub bearer: Bearer,
    /// The caller understands trailers.
    pub trailers: bool,
    /// The caller asks to go on in another protocol.
    pub upgrade: Option<Upgrade>,
    /// The caller asks for a newer token than is held, and may.
    pub force: bool,
}

/// What the caller's one `Authorization` held.
pub enum Bearer {
    None,
    Token(SubjectToken),
    /// Another scheme's credentials.
    Other(HeaderValue),
    /// A bearer that is none: said only to those who have a route.
    Broken(&'static str),
}

impl Bearer {
    /// What stands in a header for callers' tokens: the token behind its scheme, or alone.
    pub(super) fn read(value: &HeaderValue) -> Self {
        let read = match SubjectToken::from_authorization(value) {
            Ok(None) => SubjectToken::from_value(value).map(Some),
            with_scheme => with_scheme,
        };
        match read {
            Ok(token) => token.map_or(Self::None, Self::Token),
            Err(why) => Self::Broken(why),
        }
    }
}

/// A request that belongs to a route.
pub struct Routed {
    pub scrubbed: Scrubbed,
    pub route: Arc<Route>,
    /// Of the route's actor header; it stands in no header any more.
    pub actor: Option<SubjectToken>,
    /// A CORS preflight that the route lets through: it brings no token and gets none.
    pub preflight: bool,
}

/// A request whose caller is known, or may be anybody.
pub struct Verified {
    pub routed: Routed,
    pub caller: Known,
}

/// Who asks.
pub enum Known {
    /// A caller, and who acts for them: both verified.
    Caller(Asker),
    /// The route takes anybody. The token that came along has not been looked at.
    Anybody(Bearer),
    /// A browser that asks whether it may ask.
    Preflight,
}

impl Known {
    /// Whose tokens the caller brings, in the configuration's words.
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::Caller(asker) => asker.caller().map(|caller| &*caller.subject.issuer),
            Self::Anybody(_) | Self::Preflight => None,
        }
    }
}

/// A request that carries what the upstream is to see in `Authorization`, and may go.
pub struct Authorized {
    pub caught: Caught,
    pub route: Arc<Route>,
    pub authority: HeaderValue,
    pub trailers: bool,
    /// What the route lets it become.
    pub upgrade: Option<Upgrade>,
    /// `None` where no token was exchanged.
    pub exchanged: Option<Exchanged>,
}

/// What is needed to get a newer token than the one that a request carries.
pub struct Exchanged {
    pub asker: Asker,
    pub target: Arc<Target>,
    /// Of the token that the request carries.
    pub generation: u64,
    /// It was at hand, and may have become bad meanwhile.
    pub cached: bool,
}

/// The connection that a request came on, with what is made of it once for all its requests under one configuration.
pub struct Caller {
    pub peer: listen::Peer,
    /// The configuration that its requests are under.
    pub in_force: Arc<InForce>,
    /// Whose it is there, by name.
    pub listener: Arc<str>,
    /// That listener, where it is an outbound proxy.
    pub outbound: Option<Arc<Outbound>>,
    /// What accepted it is no more as it was: it ends with the answers that are owed.
    pub parting: bool,
    pub ip: IpAddr,
    /// The peer is a proxy whose word counts.
    pub is_proxy: bool,
    /// `X-Forwarded-For`.
    pub address: HeaderValue,
    /// The node of `Forwarded: for=` (RFC 7239 §6: an IPv6 address is bracketed and quoted).
    pub forwarded_node: String,
    pub cut: Arc<dyn upstream::Cut>,
}

impl Caller {
    pub fn new(peer: listen::Peer, in_force: Arc<InForce>) -> Arc<Self> {
        Arc::new(Self::made(peer, in_force))
    }

    fn made(peer: listen::Peer, in_force: Arc<InForce>) -> Self {
        let listener = in_force.listener(&peer.listener);
        let outbound = in_force.outbound.iter().find(|o| *o.listener == *listener).cloned();
        let parting = !Arc::ptr_eq(&listener, &peer.listener);
        let ip = peer.address.ip().to_canonical();
        let node = quoted_node(ip);
        let address = HeaderValue::try_from(ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let cut = Arc::new(CutCaller(peer.connection.clone()));
        Self { is_proxy: peer.trusted.contains(ip), peer, in_force, listener, outbound, parting, ip, address, forwarded_node: node, cut }
    }

    /// The same connection under another configuration. Where that knows its listener no more, it ends under the old one.
    pub fn under(&self, in_force: &Arc<InForce>) -> Arc<Self> {
        let gone = !in_force.has(&in_force.listener(&self.peer.listener));
        let under = if gone { &self.in_force } else { in_force };
        let mut caller = Self::made(self.peer.clone(), under.clone());
        caller.parting |= gone;
        Arc::new(caller)
    }
}

/// Lets an upstream's watch drop a caller who stopped reading.
struct CutCaller(Arc<listen::Connection>);

impl upstream::Cut for CutCaller {
    fn cut(&self) {
        self.0.cut();
    }
}
