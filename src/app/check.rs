//! `check`: every mistake in a configuration file at once, without the network.

use super::NamedFile;
use crate::config;
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: NamedFile,
    /// Warnings fail the check too.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn check(options: &Options) -> ExitCode {
    let file = options.config.path();
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
