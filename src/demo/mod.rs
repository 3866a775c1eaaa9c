//! The demo: a development IAM, echo backends and a tour through the gateway between them, all on loopback. The tests use the
//! same IAM and backends. Reachable from `demo` and from tests only; `run` knows nothing of it.

pub mod backend;
pub mod fetch;
mod gzip;
pub mod iam;
pub mod misbehave;
mod ports;
mod screen;
pub mod serve;
mod token;
mod tour;
mod wiring;

use crate::clock::Clock;
use anyhow::{Context, Result};
use std::future::{Future, ready};
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;

pub use ports::Ports;
pub use token::token;
pub use tour::Running;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// End after the tour, and say by the exit code how it went.
    pub once: bool,
    /// The tour is told as one line of JSON.
    pub json: bool,
    pub ports: Ports,
}

/// The whole demo. `start_gateway` is given the text of a configuration file, and answers once the gateway listens. The tour goes
/// to `out` (data), everything else to `err` (prose); `stop` ends a demo that stays up.
///
/// # Errors
/// When a port is taken, or the gateway does not start or answer. What came out otherwise than it must is no error but a
/// failing exit code.
pub async fn run<S, G>(
    options: Options,
    start_gateway: S,
    out: &mut dyn Write,
    err: &mut dyn Write,
    stop: impl Future<Output = ()>,
) -> Result<ExitCode>
where
    S: FnOnce(String) -> G,
    G: Future<Output = Result<Box<dyn Running>>>,
{
    let ports = options.ports;
    ports.check().await?;
    let iam = iam::Iam::start(wiring::realm(&ports)).await.context("the development IAM does not start")?;
    let trust = backend::Trust::iam(&iam, Clock::real());
    let orders = backend::Backend::start(ports::address(ports.orders), "orders-api", trust.clone())?;
    let payroll = backend::Backend::start(ports::address(ports.payroll), "payroll-api", trust)?;
    let gateway = start_gateway(wiring::gateway(&ports)).await.context("the gateway does not start")?;

    let scene = tour::Scene { ports, iam, orders, payroll };
    let report = scene.tour(gateway.as_ref()).await?;
    if options.json {
        writeln!(out, "{}", screen::json(&scene, &report))?;
    } else {
        screen::show(out, &scene, &report)?;
    }
    for complaint in &report.complaints {
        writeln!(err, "not as it must be: {complaint}")?;
    }
    let code = if report.complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !options.once {
        // Before it says how to end it: whoever reads that and is quick must be heard.
        let mut stop = pin!(stop);
        let stopped = tokio::select! { biased; () = &mut stop => true, () = ready(()) => false };
        match options.json {
            false => writeln!(out, "try     {}", screen::curl(&ports))?,
            true => writeln!(out, "{}", serde_json::json!({ "try": screen::curl(&ports) }))?,
        }
        out.flush()?;
        writeln!(err, "\nThe demo stays up until Ctrl-C.")?;
        if !stopped {
            stop.await;
        }
    }
    out.flush()?;
    Ok(code)
}

#[cfg(test)]
mod tests;
