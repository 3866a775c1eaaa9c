//! Which addresses are never dialled for a caller who named them: where clouds hand out credentials, and what is no host of its own.
//! An address that holds another (IPv4 in IPv6) is as bad as that one. It judges addresses alone: names are looked up before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why nobody may have this address dialled; `None`: there is nothing against it.
pub(super) fn why_not(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => reveals(v4).or_else(|| no_host(v4)),
        IpAddr::V6(v6) => of_v6(v6),
    }
}

/// Link-local addresses, at which clouds serve metadata and credentials, and such services elsewhere.
fn reveals(v4: Ipv4Addr) -> Option<&'static str> {
    match v4.octets() {
        // Alibaba's, Oracle's older one, and Azure's WireServer.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Some("a cloud's metadata service"),
        [169, 254, ..] => Some("link-local"),
        _ => None,
    }
}

fn no_host(v4: Ipv4Addr) -> Option<&'static str> {
    match v4.octets() {
        // All of it: systems take 0.0.0.0 for this machine.
        [0, ..] => Some("unspecified"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn of_v6(v6: Ipv6Addr) -> Option<&'static str> {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        // Amazon's, IMDS and what it serves to containers beside it, and Google's.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => Some("a cloud's metadata service"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        _ => held(v6).into_iter().flatten().find_map(reveals),
    }
}

/// The IPv4 addresses that a translator, a tunnel or an old system may find in it.
fn held(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let o = v6.octets();
    let last = Ipv4Addr::new(o[12], o[13], o[14], o[15]);
    match v6.segments() {
        // NAT64 (RFC 6052 §2.1); `::a.b.c.d`; SIIT.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => [Some(last), None, None, None],
        // NAT64 of a network's own (RFC 8215): the prefix may have any of four lengths.
        [0x64, 0xff9b, 1, ..] => [
            Some(last),
            Some(Ipv4Addr::new(o[6], o[7], o[9], o[10])),
            Some(Ipv4Addr::new(o[7], o[9], o[10], o[11])),
            Some(Ipv4Addr::new(o[9], o[10], o[11], o[12])),
        ],
        // 6to4.
        [0x2002, ..] => [Some(Ipv4Addr::new(o[2], o[3], o[4], o[5])), None, None, None],
        // Teredo: the client's, with every bit turned.
        [0x2001, 0, ..] => [Some(Ipv4Addr::new(!o[12], !o[13], !o[14], !o[15])), None, None, None],
        _ => [None; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(address: &str) -> Option<&'static str> {
        why_not(address.parse().unwrap())
    }

    #[test]
    fn metadata_and_link_local_under_every_spelling() {
        for bad in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.1",
            "169.254.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "::ffff:169.254.169.254",
            "::ffff:100.100.100.200",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::6464:64c8",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:fffe:a9:fea9:fe00:0",
            "2002:a9fe:a9fe::1",
            "2001:0:4136:e378:8000:63bf:5601:5601",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
        ] {
            assert!(matches!(said(bad), Some("link-local" | "a cloud's metadata service")), "{bad}: {:?}", said(bad));
        }
    }

    #[test]
    fn what_is_no_host() {
        for bad in ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1"] {
            assert!(said(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn all_others_are_hosts() {
        for good in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "8.8.8.8",
            "169.253.1.1",
            "fd00:1::254",
            "2606:4700::1111",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(said(good), None, "{good}");
        }
    }
}
