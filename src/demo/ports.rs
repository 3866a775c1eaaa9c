//! The demo's ports: six on loopback, next to one another unless told otherwise. It says which of them are taken, by what they
//! are for and how to move them; it never looks for free ones by itself, since the lines it prints must stay true.

use super::serve::Server;
use anyhow::{Result, bail};
use std::net::SocketAddr;

/// Where everything listens, always on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub gateway: u16,
    pub iam: u16,
    pub metrics: u16,
    pub admin: u16,
    pub orders: u16,
    pub payroll: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self::from_base(Self::BASE)
    }
}

impl Ports {
    pub const BASE: u16 = 4800;
    /// The largest base that leaves room for the others.
    pub const MAX_BASE: u16 = u16::MAX - 12;

    /// The gateway at `base`, the rest right after it, the backends from `base + 11` on.
    pub fn from_base(base: u16) -> Self {
        let at = |n: u16| base.saturating_add(n);
        Self { gateway: base, iam: at(1), metrics: at(2), admin: at(3), orders: at(11), payroll: at(12) }
    }

    /// # Errors
    /// When a port is taken or used twice, with all that are.
    pub(super) async fn check(&self) -> Result<()> {
        let mut held = Vec::new();
        let mut wrong = Vec::new();
        for (port, what) in self.all() {
            match Server::bind(address(port)) {
                Ok(listener) => held.push(listener),
                Err(e) => wrong.push(format!("port {port}, for {what}, cannot be had: {e}")),
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        bail!(
            "{}
Is another demo running? Give another --port: the demo's ports lie there and up to 12 above.",
            wrong.join("\n")
        )
    }

    fn all(&self) -> [(u16, &'static str); 6] {
        [
            (self.gateway, "the gateway"),
            (self.iam, "the development IAM"),
            (self.metrics, "the gateway's metrics"),
            (self.admin, "the gateway's status"),
            (self.orders, "the orders backend"),
            (self.payroll, "the payroll backend"),
        ]
    }
}

pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_use_and_its_flag() {
        let holder = Server::bind(address(0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        let error = Ports { iam: taken, ..Ports::from_base(0) }.check().await.unwrap_err().to_string();
        assert!(error.contains(&format!("port {taken}, for the development IAM, cannot be had")), "{error}");
        assert!(error.contains("another --port"), "{error}");
    }

    #[test]
    fn the_default_is_what_the_readme_shows() {
        let all = Ports { gateway: 4800, iam: 4801, metrics: 4802, admin: 4803, orders: 4811, payroll: 4812 };
        assert_eq!(Ports::default(), all);
        assert_eq!(Ports::from_base(Ports::MAX_BASE).payroll, u16::MAX);
    }
}
