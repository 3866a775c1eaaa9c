//! `check`: every mistake in a configuration file at once, without the network; and with `--online`, whether the issuers in it can
//! really be used. It starts no gateway and asks no backend.

use super::online::{self, Step};
use super::{NamedFile, Output};
use crate::config;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 there is a mistake or a step fails (with --deny-warnings: or a warning), 2 wrong usage."
)]
pub(super) struct Options {
    #[command(flatten)]
    config: NamedFile,
    /// Warnings fail the check too.
    #[arg(long)]
    deny_warnings: bool,
    /// Ask the issuers too: discovery, clock, keys, whether they take our client, and with a token an exchange for each audience.
    #[arg(long)]
    online: bool,
    /// Where a caller's token is, for an exchange of each route's kind; `-` is stdin.
    #[arg(long, value_name = "FILE", requires = "online")]
    token_file: Option<PathBuf>,
    /// Where the token is of who acts for the caller, for routes with `actor: { header }`; `-` is stdin.
    #[arg(long, value_name = "FILE", requires = "token_file")]
    actor_token_file: Option<PathBuf>,
    /// How to tell it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Options {
    fn tokens(&self) -> online::Files<'_> {
        online::Files { caller: self.token_file.as_deref(), actor: self.actor_token_file.as_deref() }
    }
}

pub(super) fn check(options: &Options) -> ExitCode {
    let file = options.config.path();
    let (report, config) = match config::load(&file) {
        Ok(loaded) => (loaded.report(), Some(loaded.config)),
        Err(report) => (report, None),
    };
    if options.output == Output::Text {
        show(&report);
        if let Some(config) = &config {
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let counts = [count(config.routes.len(), "route"), count(config.issuers.len(), "issuer"), count(report.warnings(), "warning")];
            super::print(&format!("{}: ok ({})", file.display(), counts.join(", ")));
        }
    }
    let mut good = config.is_some() && !(options.deny_warnings && report.warnings() > 0);
    let steps = match config.filter(|_| options.online).map(|config| online::look(config, options.tokens())) {
        None => None,
        Some(Ok(steps)) => Some(steps),
        Some(Err(error)) => return super::say(&error),
    };
    good &= steps.iter().flatten().all(Step::is_good);
    match options.output {
        Output::Text => steps.iter().for_each(|steps| super::print(&online::text(steps))),
        Output::Json => super::print(&format!("{:#}", told(&report, good, steps.as_deref()))),
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(report: &config::Report, good: bool, steps: Option<&[Step]>) -> Value {
    let complaint = |c: &config::Complaint| {
        json!({
            "code": c.code.as_str(),
            "severity": if c.is_error() { "error" } else { "warning" },
            "line": c.place.map(|p| p.line),
            "column": c.place.map(|p| p.column),
            "message": c.message,
            "cure": c.cure,
            "docs": format!("docs/errors.md#{}", c.code.as_str().to_lowercase()),
        })
    };
    let complaints: Vec<Value> = report.complaints.iter().map(complaint).collect();
    json!({ "file": report.file, "ok": good, "complaints": complaints, "online": steps.map(|s| s.iter().map(Step::json).collect::<Vec<_>>()) })
}

/// A report goes to stderr, in colours where somebody looks at them.
pub(super) fn show(report: &config::Report) {
    anstream::eprint!("{}", report.render(true));
}
