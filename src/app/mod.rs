//! The program: the command line, and what its verbs do. Here the rooms are put together; nothing below knows of it.

mod asking;
mod changes;
mod check;
mod completions;
mod demo;
mod doors;
mod exchange;
mod explain;
pub mod gateway;
mod healthcheck;
mod init;
mod lasting;
mod listeners;
mod online;
mod outbound;
mod reload;
mod routes;
mod run;
mod schema;
mod standing;
mod status;
mod turned_away;
mod world;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

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
    /// Write a first configuration for an issuer, made of what its discovery document says.
    Init(init::Options),
    /// Look for every mistake in a configuration file; with --online, at its issuers too. Exit code 1 if there is one.
    Check(check::Options),
    /// Make one exchange as a route would, and explain what came of it. Exit code 1 if it is refused.
    Exchange(exchange::Options),
    /// Say which route a request would take and why no other, and what the issuer would be asked for.
    Explain(explain::Options),
    /// Write the JSON Schema of the configuration, for editors that complete and check it.
    Schema(schema::Options),
    /// Write a script that completes this command line in a shell.
    Completions(completions::Options),
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

/// How a verb tells what it has to tell.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Output {
    Text,
    Json,
}

const DEFAULT_CONFIG: &str = "/etc/cambist/cambist.yaml";

/// Reads the command line and does what it says. Exit codes: 0 done, 1 it failed, 2 wrong usage.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(ConfigFile { config }) => run::run(&config),
        Verb::Check(options) => check::check(&options),
        Verb::Exchange(options) => exchange::exchange(&options),
        Verb::Explain(options) => explain::explain(&options),
        Verb::Schema(options) => schema::schema(&options),
        Verb::Completions(options) => completions::completions(&options),
        Verb::Init(options) => init::init(&options),
        Verb::Healthcheck(options) => healthcheck::healthcheck(&options),
        Verb::Demo(options) => demo::demo(&options),
    }
}

/// Data, on stdout. Whoever closed the pipe wants no more of it.
fn print(line: &str) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// What others wrote, with nothing in it that moves a cursor or turns text around.
fn clean(text: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

/// A longer token than any that is taken is not worth reading.
const LONGEST_TOKEN: u64 = 64 * 1024;

/// A token comes from a file, or from stdin (`-`): never from the command line, which everybody on the machine can read.
fn token_in(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = if file == Path::new("-") {
        std::io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(LONGEST_TOKEN).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read a token from {}", file.display()))?;
    anyhow::ensure!(!text.trim().is_empty(), "there is no token in {}", file.display());
    Ok(text)
}

/// An error, on stderr, as one sentence with what led to it.
fn say(error: &anyhow::Error) -> ExitCode {
    anstream::eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
