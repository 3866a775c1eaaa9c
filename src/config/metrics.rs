//! `metrics`: where /metrics, /livez and /readyz are answered. It binds nothing.

use super::address::address;
use super::place::At;
use super::section::Section;
use std::net::{Ipv4Addr, SocketAddr};

#[derive(Debug)]
pub struct Metrics {
    pub address: Option<At<SocketAddr>>,
}

pub fn read(root: &mut Section) -> Metrics {
    let section = root.take("metrics", |value| value.section(&[]));
    let address = section.and_then(|at| {
        let mut section = at.value;
        let address = section.take("address", address);
        section.finish();
        address
    });
    Metrics { address }
}

pub fn settings(Metrics { address }: Metrics) -> SocketAddr {
    address.map_or((Ipv4Addr::UNSPECIFIED, 9464).into(), |at| at.value)
}

#[cfg(test)]
mod tests {
    use super::super::sample::config;

    #[test]
    fn the_address_and_its_default() {
        assert_eq!(config("").metrics.to_string(), "0.0.0.0:9464");
        assert_eq!(config("metrics: {}\n").metrics.to_string(), "0.0.0.0:9464");
        assert_eq!(config("metrics: { address: 127.0.0.1:1 }\n").metrics.to_string(), "127.0.0.1:1");
    }
}
