//! `check`: every mistake in a configuration file at once, without the network.

use super::DEFAULT_CONFIG;
use crate::config;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration file [default: $CAMBIST_CONFIG, then /etc/cambist/cambist.yaml].
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, for those who are used to it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Warnings fail the check too.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn check(options: &Options) -> ExitCode {
    // Not clap's to read: it would have the variable contradict a file that is named.
    let variable = || std::env::var_os("CAMBIST_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
    let named = options.file.clone().or_else(|| options.config.clone());
    let file = named.or_else(variable).unwrap_or_else(|| DEFAULT_CONFIG.into());
    match config::load(&file) {
        Ok(loaded) => {
            show(&loaded.report());
            let config = &loaded.config;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let counts =
                [count(config.routes.len(), "route"), count(config.issuers.len(), "issuer"), count(loaded.warnings.len(), "warning")];
            super::print(&format!("{}: ok ({})", file.display(), counts.join(", ")));
            if options.deny_warnings && !loaded.warnings.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(report) => {
            show(&report);
            ExitCode::FAILURE
        }
    }
}

/// A report goes to stderr, in colours where somebody looks at them.
pub(super) fn show(report: &config::Report) {
    anstream::eprint!("{}", report.render(true));
}
