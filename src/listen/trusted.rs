//! Which peers are proxies of the operator's own. It knows addresses alone; what a proxy says, and how much of it is believed, is
//! for those who read it.

use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// Networks whose word about a caller counts. None unless they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// An IPv4 address counts as itself in IPv6's clothes, too.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_written_is_trusted_and_nobody_else() {
        let of = |networks: &[&str]| TrustedProxies::new(networks.iter().map(|n| n.parse().unwrap()));
        let (none, some) = (of(&[]), of(&["10.0.0.0/8", "fd00::/8"]));
        let has = |of: &TrustedProxies, address: &str| of.contains(address.parse().unwrap());
        assert!(none.is_empty() && !has(&none, "127.0.0.1") && !some.is_empty());
        assert!(has(&some, "10.255.0.1") && has(&some, "::ffff:10.0.0.1") && has(&some, "fd12::1"));
        assert!(!has(&some, "11.0.0.1") && !has(&some, "::1") && !has(&some, "::10.0.0.1"));
    }
}
