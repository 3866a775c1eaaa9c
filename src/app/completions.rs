//! `completions`: the script by which a shell completes our command line, made of that very command line.

use super::Cli;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

#[derive(Args)]
#[command(after_help = "For example: source <(cambist completions bash)")]
pub(super) struct Options {
    /// Whose.
    shell: Shell,
}

pub(super) fn completions(options: &Options) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "cambist", &mut script);
    super::print(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}
