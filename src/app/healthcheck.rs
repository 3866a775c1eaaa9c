//! `healthcheck`: asks the gateway on this machine whether it is ready, for containers that hold neither curl nor a shell.

use super::NamedFile;
use crate::config;
use anyhow::{anyhow, bail};
use clap::Args;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: NamedFile,
    /// The metrics listener's address, instead of the one in the configuration.
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,
    /// Ask only whether the process lives.
    #[arg(long)]
    live: bool,
}

/// For the whole conversation: a probe that hangs is a failed probe.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any answer of ours.
const LONGEST: usize = 64 * 1024;

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
        // Nothing else of the file: who asks may have none of the secrets.
        None => config::metrics_address(&options.config.path())
            .map_err(|report| anyhow!("the configuration does not say where to ask:\n{}", report.render(false)))?,
    };
    let (at, path) = (reachable(address), if options.live { "/livez" } else { "/readyz" });
    let answer = ask(at, path).map_err(|error| match error.kind() {
        // A read that waits too long has another kind on each system.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => anyhow!("{at} did not answer within {PATIENCE:?}"),
        ErrorKind::ConnectionRefused => anyhow!(error).context(format!("nothing answers at {at}")),
        _ => anyhow!(error).context(format!("no answer from {at}")),
    })?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(body);
    }
    bail!("{at}{path} says: {}", if body.is_empty() { answer.lines().next().unwrap_or("nothing").to_owned() } else { body })
}

fn ask(at: SocketAddr, path: &str) -> io::Result<String> {
    let end = Instant::now() + PATIENCE;
    let left = || Some(end.saturating_duration_since(Instant::now())).filter(|d| !d.is_zero()).ok_or(ErrorKind::TimedOut);
    let mut socket = TcpStream::connect_timeout(&at, left()?)?;
    socket.set_write_timeout(Some(left()?))?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while answer.len() < LONGEST {
        socket.set_read_timeout(Some(left()?))?;
        match socket.read(&mut piece)? {
            0 => break,
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
