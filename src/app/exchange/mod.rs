//! `exchange`: one exchange from the terminal, through the very rooms that the gateway uses, and an explanation of what came of
//! it. The token comes from a file or stdin and never from the command line; none is shown to who does not ask for it.

mod claims;
mod report;
mod way;

use super::routes::{make_routes, make_upstreams};
use super::world::{Issuers, make_issuers};
use super::{ConfigFile, Output, token_in};
use crate::clock::Clock;
use crate::config;
use crate::exchange::Exchange;
use crate::fault::{Fault, bad_request};
use crate::issuer::Issuer;
use crate::metrics::Metrics;
use crate::stack::{asker, of_the_actor};
use crate::token::{Ask, Asker, Caller, Grant, Granted, SubjectToken, Target, TokenSource};
use crate::verify::Verifiers;
use anyhow::Context;
use clap::Args;
use http::HeaderValue;
use report::Report;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use way::{Misuse, Way};
use zeroize::Zeroizing;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The route whose exchange is to be made.
    #[arg(long, value_name = "NAME", required_unless_present = "audience")]
    route: Option<String>,
    /// Ask for this audience instead of the route's; without a route, one of the exchange API's audiences.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Where the caller's token is; `-` is stdin, and is read unless the route's token is the gateway's own [default: -].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where the token is of who acts for the caller, on routes with `actor: { header }`; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    actor_token_file: Option<PathBuf>,
    /// Show the values of all claims, who the caller is among them.
    #[arg(long)]
    show_claims: bool,
    /// Write the exchanged token to stdout, and the explanation to stderr.
    #[arg(long)]
    print_token: bool,
    /// How to tell it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

const USAGE: u8 = 2;

/// Exit codes: 0 exchanged, 1 refused or failed, 2 wrong usage.
pub(super) fn exchange(options: &Options) -> ExitCode {
    let loaded = match config::load(&options.config.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            super::check::show(&report);
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(anyhow::Error::from);
    let outcome = runtime.and_then(|runtime| runtime.block_on(made(options, loaded.config)));
    match outcome {
        Ok(Ok(report)) => tell(options, &report),
        Ok(Err(Misuse(words))) => {
            anstream::eprintln!("error: {words}");
            ExitCode::from(USAGE)
        }
        Err(error) => super::say(&error),
    }
}

impl Options {
    fn token_file(&self) -> &Path {
        self.token_file.as_deref().unwrap_or(Path::new("-"))
    }
}

/// The tokens that are given, as they were read.
struct Given {
    caller: Option<Zeroizing<String>>,
    actor: Option<Zeroizing<String>>,
}

impl Given {
    fn read(options: &Options, way: &Way) -> anyhow::Result<Self> {
        // Of routes with a token of the gateway's own it need not be given: no caller has a part in that one.
        let wanted = !way.own || options.token_file.is_some();
        let caller = wanted.then(|| token_in(options.token_file())).transpose()?;
        let actor = options.actor_token_file.as_deref().map(token_in).transpose().context("the actor's token")?;
        Ok(Self { caller, actor })
    }
}

async fn made(options: &Options, config: config::Config) -> anyhow::Result<Result<Report, Misuse>> {
    let (clock, metrics) = (Clock::real(), Metrics::new());
    let issuers = make_issuers(&config, &clock, &metrics, &Handle::current(), None)?;
    let upstreams = make_upstreams(&config, &metrics, None)?;
    let routes = make_routes(&config, &issuers, &upstreams, &HashMap::new(), &metrics)?;
    let way = match Way::of(options, &config, &routes, &issuers) {
        Ok(way) => way,
        Err(misuse) => return Ok(Err(misuse)),
    };
    let given = Given::read(options, &way)?;
    let mut report = Report::new(&way, given.caller.as_ref().map(|token| token.trim()), clock.unix());
    let exchange = Exchange::new(clock.clone());
    exchange.add(issuers.values().map(|made| &made.exchanger));
    let asker = match asking(&way, &given).await {
        Ok(asker) => asker,
        Err(fault) => {
            report.refused(&fault);
            return Ok(Ok(report));
        }
    };
    let Some(target) = way.target(asker.caller().map(|caller| &*caller.subject.issuer)) else {
        let words = "which issuer is asked goes by the caller's token: give it with --token-file";
        return Ok(Err(Misuse(words.to_owned())));
    };
    report.asks(&target.issuer, asker.caller().is_some());
    start(&issuers, target).await;
    match exchange.token(&asker, target, Ask::ANY).await {
        Ok(granted) => report.granted(asker.caller(), target, &granted, clock.unix()),
        Err(fault) => report.refused(&fault),
    }
    Ok(Ok(report))
}

/// On whose behalf the issuer is asked. As the gateway does: who may not call the route is not exchanged for.
async fn asking(way: &Way, given: &Given) -> Result<Asker, Fault> {
    let (Some(verifiers), Some(token)) = (&way.verifiers, &given.caller) else { return Ok(Asker::Gateway) };
    let caller = verified(verifiers, token.trim()).await?;
    let actor = match &given.actor {
        Some(token) => Some(verified(verifiers, token.trim()).await.map_err(|fault| of_the_actor(fault, way.actor_header.as_ref()))?),
        None => None,
    };
    asker(&way.require, caller, actor)
}

/// A token as it stands in a file: some keep it with the scheme in front.
pub(super) fn bearer(token: &str) -> Result<SubjectToken, Fault> {
    let (token, none) = (token.trim(), |_| bad_request("a bearer token with characters that no header has"));
    let header = HeaderValue::try_from(if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") }).map_err(none)?;
    SubjectToken::from_authorization(&header).map_err(bad_request)?.ok_or(Fault::NoToken)
}

async fn verified(verifiers: &Verifiers, token: &str) -> Result<Caller, Fault> {
    let token = bearer(token)?;
    let verifier = verifiers.of(&token)?;
    verifier.issuer().start();
    keys(verifier.issuer()).await;
    verifier.verify(token).await
}

/// Where no caller was verified, the issuer has not been looked at yet: its token endpoint is to be known.
async fn start(issuers: &Issuers, target: &Target) {
    if let Some(made) = issuers.get(&target.issuer) {
        made.issuer.start();
        keys(&made.issuer).await;
    }
}

/// Waits until the issuer's keys have come in, or it is known why they do not.
async fn keys(issuer: &Arc<Issuer>) {
    let settled = async {
        while !issuer.loaded() && issuer.trouble().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(issuer.settings().timeouts.total, settled).await;
}

fn tell(options: &Options, report: &Report) -> ExitCode {
    let text = match options.output {
        Output::Text => report.text(options.show_claims),
        Output::Json => report.json(options.show_claims),
    };
    match report.token().filter(|_| options.print_token) {
        Some(token) => {
            anstream::eprintln!("{text}");
            super::print(token);
        }
        None => super::print(&text),
    }
    if report.token().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Report {
    fn granted(&mut self, caller: Option<&Caller>, target: &Target, granted: &Granted, now: u64) {
        let left = |caller: &Caller| caller.subject.expires_at.saturating_add(caller.subject.clock_skew.as_secs()).saturating_sub(now);
        // No caller's token ends the life of the gateway's own.
        let of_caller = caller.filter(|_| target.grant != Grant::ClientCredentials).map_or(u64::MAX, left);
        self.exchanged(granted, of_caller, target.settings.max_ttl.as_secs());
    }
}
