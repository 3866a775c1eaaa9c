//! `healthcheck`: asks the gateway on this machine whether it is ready, for containers that hold neither curl nor a shell.

use super::ConfigFile;
use crate::config;
use anyhow::{Context, bail};
use clap::Args;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The metrics listener's address, instead of the one in the configuration.
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,
    /// Ask only whether the process lives.
    #[arg(long)]
    live: bool,
}

/// For the whole conversation: a probe that hangs is a failed probe.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn healthcheck(options: &Options) -> ExitCode {
    match probe(options) {
        Ok(answer) => {
            super::print(&answer);
            ExitCode::SUCCESS
        }
        Err(error) => super::say(&error),
    }
}

fn probe(options: &Options) -> anyhow::Result<String> {
    let address = match options.address {
        Some(address) => address,
        None => {
            config::load(&options.config.config)
                .map_err(|report| anyhow::anyhow!("the configuration cannot be used:\n{}", report.render(false)))?
                .config
                .metrics
        }
    };
    let (at, path) = (reachable(address), if options.live { "/livez" } else { "/readyz" });
    let mut socket = TcpStream::connect_timeout(&at, PATIENCE).with_context(|| format!("nothing answers at {at}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    socket.take(64 * 1024).read_to_string(&mut answer).with_context(|| format!("no answer from {at} in {PATIENCE:?}"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(body);
    }
    bail!("{at}{path} says: {}", if body.is_empty() { answer.lines().next().unwrap_or("nothing").to_owned() } else { body })
}

/// A listener on all addresses is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
