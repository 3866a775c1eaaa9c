//! `run`: starts the gateway from its file, keeps it in step with that (SIGHUP: at once), and ends it on SIGTERM or SIGINT
//! without losing a request. It never starts half:
//! whatever is wrong is said before a single socket serves.

use super::gateway::Gateway;
use crate::clock::Clock;
use crate::{config, telemetry};
use anyhow::Context;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn run(file: &Path) -> ExitCode {
    let text = match config::text(file) {
        Ok(text) => text,
        Err(report) => return refused(&report),
    };
    let loaded = match config::read(&text, &file.display().to_string()) {
        Ok(loaded) => loaded,
        Err(report) => return refused(&report),
    };
    let log = telemetry::start(loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!(file = %file.display(), code = warning.code.as_str(), cure = warning.cure.as_deref().unwrap_or("-"), "{}", warning.message);
    }
    let outcome = serve(loaded.config, file, &text);
    if let Err(error) = &outcome {
        tracing::error!("{error:#}");
    }
    // Writes out what the log still holds.
    drop(log);
    match outcome {
        Ok(code) => code,
        Err(error) => super::say(&error),
    }
}

fn refused(report: &config::Report) -> ExitCode {
    super::check::show(report);
    ExitCode::FAILURE
}

fn serve(config: config::Config, file: &Path, text: &str) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::start(config, Clock::real())?;
    gateway.control().block_on(async {
        let (mut term, mut int) = signals()?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
        gateway.follow(file, text);
        let on_hangup = async {
            while hangup.recv().await.is_some() {
                // What came of it is in the log.
                gateway.reload().await;
            }
        };
        tokio::pin!(on_hangup);
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {}, () = &mut on_hangup => {} }
        let shutdown = gateway.shutdown();
        tracing::info!(delay = ?shutdown.delay, grace = ?shutdown.grace, "shutting down: not ready any more");
        let end = gateway.end(shutdown.delay, shutdown.grace);
        tokio::select! {
            cut = end => {
                if cut > 0 {
                    tracing::warn!(connections = cut, "the grace period is over: these connections were cut (shutdown.grace)");
                }
                tracing::info!("ended");
                Ok(ExitCode::SUCCESS)
            }
            // Asked twice: whoever asks is in a hurry.
            _ = term.recv() => Ok(ExitCode::FAILURE),
            _ = int.recv() => Ok(ExitCode::FAILURE),
        }
    })
}

pub(super) fn signals() -> anyhow::Result<(Signal, Signal)> {
    let on = |kind| signal(kind).context("cannot wait for signals");
    Ok((on(SignalKind::terminate())?, on(SignalKind::interrupt())?))
}
