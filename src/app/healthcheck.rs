//! `healthcheck`: asks the gateway on this machine whether it is ready, for containers that hold neither curl nor a shell.

use super::{NamedFile, Output, asking};
use crate::config;
use anyhow::{anyhow, bail};
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

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
    /// How to tell it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn healthcheck(options: &Options) -> ExitCode {
    let answer = probe(options);
    if options.output == Output::Json {
        let said = answer.as_ref().map_or_else(|error| format!("{error:#}"), Clone::clone);
        super::print(&serde_json::json!({ "ok": answer.is_ok(), "said": said }).to_string());
        return if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match answer {
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
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = asking::exchange(at, &request).map_err(|error| asking::told(at, error))?;
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
