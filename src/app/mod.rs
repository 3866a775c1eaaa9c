//! The program: the command line, and what its verbs do. Here the rooms are put together; nothing below knows of it.

mod changes;
mod check;
mod demo;
mod doors;
mod exchange;
pub mod gateway;
mod healthcheck;
mod lasting;
mod listeners;
mod outbound;
mod reload;
mod routes;
mod run;
mod standing;
mod status;
mod turned_away;
mod world;

use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

pub use changes::{Changes, Named};
pub use gateway::Gateway;
pub use reload::Reloaded;

/// Exchanges the caller's token for one that is good at exactly one backend, and sends the request on with it.
#[derive(Parser)]
#[command(name = "cambist", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve: the gateway itself.
    Run(ConfigFile),
    /// Look for every mistake in a configuration file, without the network. Exit code 1 if there is one.
    Check(check::Options),
    /// Make one exchange as a route would, and explain what came of it. Exit code 1 if it is refused.
    Exchange(exchange::Options),
    /// Ask a running gateway on this machine whether it is ready: for containers without a shell. Exit code 1 if it is not.
    Healthcheck(healthcheck::Options),
    /// Show a real exchange on this machine, with nothing to install: a development IAM, two backends and the gateway.
    Demo(demo::Options),
}

/// Where the configuration is.
#[derive(Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "CAMBIST_CONFIG", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Where the configuration is, for verbs that only look at it.
#[derive(Args)]
struct NamedFile {
    /// The configuration file [default: $CAMBIST_CONFIG, then /etc/cambist/cambist.yaml].
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, for those who are used to it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl NamedFile {
    fn path(&self) -> PathBuf {
        // Not clap's to read: it would have the variable contradict a file that is named.
        let variable = || std::env::var_os("CAMBIST_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
        let named = self.file.clone().or_else(|| self.config.clone());
        named.or_else(variable).unwrap_or_else(|| DEFAULT_CONFIG.into())
    }
}

const DEFAULT_CONFIG: &str = "/etc/cambist/cambist.yaml";

/// Reads the command line and does what it says. Exit codes: 0 done, 1 it failed, 2 wrong usage.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(ConfigFile { config }) => run::run(&config),
        Verb::Check(options) => check::check(&options),
        Verb::Exchange(options) => exchange::exchange(&options),
        Verb::Healthcheck(options) => healthcheck::healthcheck(&options),
        Verb::Demo(options) => demo::demo(&options),
    }
}

/// Data, on stdout. Whoever closed the pipe wants no more of it.
fn print(line: &str) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// An error, on stderr, as one sentence with what led to it.
fn say(error: &anyhow::Error) -> ExitCode {
    anstream::eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
