//! `completions`: the script by which a shell completes our command line, made of that very command line.

use super::{Cli, Output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

#[derive(Args)]
#[command(after_help = "For example: source <(cambist completions bash)")]
pub(super) struct Options {
    /// Whose.
    shell: Shell,
    /// How to tell it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn completions(options: &Options) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "cambist", &mut script);
    let script = String::from_utf8_lossy(&script);
    match options.output {
        Output::Text => super::print(script.trim_end()),
        Output::Json => super::print(&serde_json::json!({ "shell": options.shell.to_string(), "script": script }).to_string()),
    }
    ExitCode::SUCCESS
}
