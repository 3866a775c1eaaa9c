//! Addresses to listen on (an IP address and a port) and networks of callers. Nothing is resolved and nothing is bound.

use super::complaint::{Code, quoted};
use super::reading::Value;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

pub fn address(value: &Value) -> Option<SocketAddr> {
    let Some(text) = value.scalar() else { return value.wrong_type("an address", "write an IP address and a port, as in `0.0.0.0:8080`") };
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    value.refuse(Code::Address, format_args!("{} is no address", quoted(text)), cure(text))
}

fn cure(text: &str) -> String {
    let port = |p: &str| p.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        None if port(text) => format!("write the IP address too: `0.0.0.0:{text}`"),
        None if text.parse::<IpAddr>().is_ok() => format!("write the port too: `{text}:8080`"),
        Some(("" | "*", p)) if port(p) => format!("write the IP address too: `0.0.0.0:{p}`, or `[::]:{p}` for IPv6"),
        Some(("localhost", p)) if port(p) => format!("names are not looked up here: write `127.0.0.1:{p}`"),
        Some((host, p)) if host.parse::<std::net::Ipv6Addr>().is_ok() && port(p) => {
            format!("put IPv6 addresses in brackets: `[{host}]:{p}`")
        }
        Some((_, p)) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && !port(p) => "a port is 65535 at the most".to_owned(),
        _ => "write an IP address and a port, as in `0.0.0.0:8080`".to_owned(),
    }
}

/// A network, or one address. What stands in it behind its prefix means nothing.
pub fn network(value: &Value) -> Option<IpNet> {
    let text = value.text()?;
    match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
        Ok(net) => Some(net.trunc()),
        Err(_) => value.refuse(Code::Address, format_args!("{} is no network", quoted(&text)), "write it as in `10.0.0.0/8` or `10.1.2.3`"),
    }
}

/// Whether two sockets would want the same address. Port 0 is a free one, and never the same.
pub fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    // `[::]` takes IPv4 too, unless the machine was told otherwise.
    let covers = |x: IpAddr, y: IpAddr| x.is_unspecified() && (x.is_ipv6() || y.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_where_binding_would_fail() {
        let collide = |a: &str, b: &str| super::collide(a.parse().unwrap(), b.parse().unwrap());
        assert!(collide("127.0.0.1:80", "127.0.0.1:80") && collide("0.0.0.0:80", "10.0.0.1:80") && collide("[::1]:80", "[::]:80"));
        assert!(collide("[::]:80", "127.0.0.1:80"), "it takes IPv4 too");
        assert!(!collide("127.0.0.1:80", "127.0.0.1:81") && !collide("127.0.0.1:80", "127.0.0.2:80") && !collide("[::1]:80", "0.0.0.0:80"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"), "port 0 is a free one each time");
    }

    #[test]
    fn cures_say_what_was_meant() {
        assert!(cure("8080").contains("0.0.0.0:8080") && cure(":1").contains("0.0.0.0:1") && cure("localhost:1").contains("127.0.0.1:1"));
        assert!(
            cure("::1:8080").contains("[::1]:8080")
                && cure("10.0.0.1").contains("10.0.0.1:8080")
                && cure("1.1.1.1:70000").contains("65535")
        );
    }
}
