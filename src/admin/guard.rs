//! Who may ask what of the admin listener: anybody who names it rightly may look; whoever wants more has to show the admin token,
//! and a page of another site may do neither. It knows no path.

use super::answer::{Answer, text};
use super::token::{Shown, Token};
use super::{Settings, looks_only};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use std::net::{IpAddr, SocketAddr};

pub(super) struct Guard {
    address: SocketAddr,
    hosts: Vec<String>,
    token: Option<Token>,
}

impl Guard {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { address, hosts, token } = settings;
        Self { address, hosts, token: token.map(Token::new) }
    }

    /// # Errors
    /// The answer to who may not.
    pub(super) async fn judge<B>(&self, request: &Request<B>) -> Result<(), Answer> {
        let Some(host) = self.named(request) else {
            let names = "this listener answers to its own address and to the names in admin.hosts alone";
            return Err(text(StatusCode::MISDIRECTED_REQUEST, format!("{names} (by default localhost)\n")));
        };
        if !own_page(request.headers(), host) {
            return Err(text(StatusCode::FORBIDDEN, "pages of other sites may not ask here: Origin is not this listener's own\n"));
        }
        if looks_only(request.method()) {
            return Ok(());
        }
        let Some(token) = &self.token else {
            let how = "admin: { token: { file: /run/secrets/admin } }";
            let text_of = format!(
                "nothing can be done here, because there is no admin token. Write `{how}` into the configuration, \
                 start the gateway anew, and send that token as `Authorization: Bearer …`.\n"
            );
            return Err(text(StatusCode::FORBIDDEN, text_of));
        };
        match token.shown(request.headers()).await {
            Shown::Right => Ok(()),
            Shown::Nothing => Err(unauthorized("this needs the admin token: send it as `Authorization: Bearer …`, once\n")),
            Shown::Wrong => {
                tracing::warn!("somebody has shown another token than admin.token to the admin listener");
                Err(unauthorized("this is not the admin token\n"))
            }
            Shown::Unreadable => Err(text(StatusCode::SERVICE_UNAVAILABLE, "admin.token cannot be read; the log says why\n")),
        }
    }

    /// What the request calls us, if it is a name of ours: a page of another site must not get here by giving its own name our
    /// address.
    fn named<'a, B>(&self, request: &'a Request<B>) -> Option<&'a str> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (field, more) = (hosts.next().map(|h| h.to_str().unwrap_or_default()), hosts.next());
        let line = request.uri().authority().map(http::uri::Authority::as_str);
        let ours = |host: Option<&str>| host.is_none_or(|host| self.is_ours(host));
        if more.is_some() || !ours(field) || !ours(line) { None } else { line.or(field) }
    }

    fn is_ours(&self, host: &str) -> bool {
        let port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        let name = host.rsplit_once(':').filter(|(_, p)| port(p)).map_or(host, |(name, _)| name);
        match name.trim_matches(['[', ']']).parse::<IpAddr>() {
            // No name stands behind an address: whoever is at any of ours means us.
            Ok(ip) => ip == self.address.ip() || ip.is_loopback() || self.address.ip().is_unspecified(),
            Err(_) => self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name)),
        }
    }
}

/// A browser says which page a request comes from. Whatever is no browser says nothing.
fn own_page(headers: &HeaderMap, host: &str) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let own = |origin: &HeaderValue| {
        let text = origin.to_str().unwrap_or_default();
        let page = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        page.is_some_and(|page| page.eq_ignore_ascii_case(host))
    };
    origins.next().is_none_or(own) && origins.next().is_none()
}

fn unauthorized(body: &'static str) -> Answer {
    let mut refused = text(StatusCode::UNAUTHORIZED, body);
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cambist admin\""));
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(address: &str, host: &str) -> bool {
        let settings = Settings { address: address.parse().unwrap(), hosts: vec!["cambist.internal".to_owned()], token: None };
        Guard::new(settings).is_ours(host)
    }

    #[test]
    fn written_hosts_stand_in_for_localhost_and_addresses_go_on() {
        for host in ["cambist.internal", "CAMBIST.internal:9901", "127.0.0.1", "[::1]:1"] {
            assert!(ours("127.0.0.1:9901", host), "{host}");
        }
        for host in ["localhost", "10.0.0.1", "x.cambist.internal", "", ":1"] {
            assert!(!ours("127.0.0.1:9901", host), "{host}");
        }
        assert!(ours("0.0.0.0:9901", "10.0.0.1:9901") && !ours("0.0.0.0:9901", "evil.example:9901"));
    }

    #[test]
    fn another_page_is_any_that_is_not_at_the_very_same_place() {
        let from = |origin: &str| own_page(&HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap())]), "localhost:9901");
        assert!(from("http://localhost:9901") && from("https://LOCALHOST:9901") && own_page(&HeaderMap::new(), "x"));
        for other in ["http://localhost:3000", "http://localhost", "null", "", "http://evil.example", "ftp://localhost:9901"] {
            assert!(!from(other), "{other}");
        }
    }
}
