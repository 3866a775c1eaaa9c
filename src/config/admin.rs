//! `admin`: where the status page is answered; off unless it is written. It binds nothing, and warns where the page could be
//! reached from outside this machine.

use super::address::address;
use super::complaint::{Code, Complaint};
use super::place::{At, Place};
use super::section::Section;
use std::net::{Ipv4Addr, SocketAddr};

const LATER: &[&str] = &["token", "hosts"];

#[derive(Debug)]
pub struct Admin {
    pub place: Place,
    pub address: Option<At<SocketAddr>>,
}

pub fn read(root: &mut Section) -> Option<Admin> {
    let at = root.take("admin", |value| value.section(LATER))?;
    let mut section = at.value;
    let address = section.take("address", address);
    if let Some(open) = address.filter(|a| !a.value.ip().is_loopback()) {
        let message = "the status page can be reached from outside this machine, and nobody is asked who they are";
        section
            .reading
            .complain(Complaint::warning(Code::OpenAdmin, open.place, message).cure("listen on 127.0.0.1 and use a port-forward"));
    }
    section.finish();
    Some(Admin { place: at.key, address })
}

pub fn settings(admin: Option<Admin>) -> Option<SocketAddr> {
    let Admin { place: _, address } = admin?;
    Some(address.map_or((Ipv4Addr::LOCALHOST, 9901).into(), |at| at.value))
}

#[cfg(test)]
mod tests {
    use super::super::sample::config;

    #[test]
    fn off_unless_written() {
        let found = |top: &str| config(top).admin.map(|a| a.to_string());
        assert_eq!(found(""), None);
        assert_eq!(found("admin: {}\n").as_deref(), Some("127.0.0.1:9901"));
        assert_eq!(found("admin: { address: \"[::1]:1\" }\n").as_deref(), Some("[::1]:1"));
    }
}
