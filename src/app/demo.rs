//! `demo`: starts the gateway as `run` does, from a configuration that the demo writes, and shows it at work.

use super::Output;
use super::gateway::Gateway;
use crate::clock::Clock;
use crate::demo::{self, Ports, Running};
use crate::fault::Why;
use crate::{config, telemetry};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::{stderr, stdout};
use std::process::ExitCode;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// End after the tour: exit code 0 if everything came out as it must, else 1.
    #[arg(long)]
    once: bool,
    /// The first of the ports used: the gateway's. The others follow it.
    #[arg(long, value_name = "PORT", default_value_t = Ports::default().gateway, value_parser = base)]
    port: u16,
    /// Show the gateway's log too, on stdout.
    #[arg(long)]
    log: bool,
    /// How to tell it: as JSON, each thing that is told is a line.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Subcommand)]
enum Verb {
    /// Print a fresh caller token for a running demo.
    Token {
        /// The gateway's port, where it is not the default.
        #[arg(long, value_name = "PORT", default_value_t = Ports::default().gateway, value_parser = base)]
        port: u16,
        /// How to tell it.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// The first port, with room for the others above it.
fn base(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(base @ 1..=Ports::MAX_BASE) => Ok(base),
        _ => Err(format!(
            "a port from 1 to {} is wanted: the demo's other ports lie up to {} above it",
            Ports::MAX_BASE,
            u16::MAX - Ports::MAX_BASE
        )),
    }
}

pub(super) fn demo(options: &Options) -> ExitCode {
    let outcome =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Into::into).and_then(|runtime| {
            runtime.block_on(async {
                match options.verb {
                    Some(Verb::Token { port, output }) => {
                        let token = demo::token(Ports::from_base(port).iam).await?;
                        super::print(&if output == Output::Json { json!({ "token": token }).to_string() } else { token });
                        Ok(ExitCode::SUCCESS)
                    }
                    None => tour(options).await,
                }
            })
        });
    outcome.unwrap_or_else(|error| super::say(&error))
}

async fn tour(options: &Options) -> anyhow::Result<ExitCode> {
    let json = options.output == Output::Json;
    let format = if json { telemetry::Format::Json } else { telemetry::Format::Text };
    let _log = options.log.then(|| telemetry::start(telemetry::Settings { format, ..Default::default() }));
    let wanted = demo::Options { once: options.once, json, ports: Ports::from_base(options.port) };
    let stop = async {
        // Without handlers for them, signals end the process anyway.
        if let Ok((mut term, mut int)) = super::run::signals() {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        }
    };
    demo::run(wanted, start, &mut stdout().lock(), &mut stderr().lock(), stop).await
}

/// The same way that `run` goes: text, check, gateway.
async fn start(text: String) -> anyhow::Result<Box<dyn Running>> {
    let loaded = config::read(&text, "demo.yaml").map_err(|report| anyhow!("the demo's configuration:\n{}", report.render(false)))?;
    Ok(Box::new(Shown(Gateway::start(loaded.config, Clock::real())?)))
}

struct Shown(Gateway);

impl Running for Shown {
    fn last_failure(&self) -> Option<Why> {
        let failure = self.0.failures().into_iter().next()?;
        let mut why = Why::new(failure.cause);
        why.cure = Some(failure.cure.into());
        why.issuer_words = failure.issuer_words;
        Some(why)
    }
}
