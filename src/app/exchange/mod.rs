//! `exchange`: one exchange from the terminal, through the very rooms that the gateway uses, and an explanation of what came of
//! it. The token comes from a file or stdin and never from the command line; none is shown to who does not ask for it.

mod claims;
mod report;

use super::routes::{make_routes, make_upstreams};
use super::world::{Issuers, MadeIssuer, make_issuers};
use super::{ConfigFile, Output, token_in};
use crate::clock::Clock;
use crate::config;
use crate::exchange::Exchange;
use crate::fault::{Fault, bad_request};
use crate::issuer::Issuer;
use crate::metrics::Metrics;
use crate::stack::{Injection, Route};
use crate::token::{Ask, Asker, Caller, Granted, SubjectToken, Target, TargetSettings, TokenSource};
use crate::verify::{Verifier, Verifiers};
use clap::Args;
use http::HeaderValue;
use report::Report;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The route whose exchange is to be made.
    #[arg(long, value_name = "NAME")]
    route: String,
    /// Ask for this audience instead of the route's.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Where the caller's token is; `-` is stdin.
    #[arg(long, value_name = "FILE", default_value = "-")]
    token_file: PathBuf,
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

/// What was asked for cannot be done with this configuration, whoever the caller is.
struct Misuse(String);

async fn made(options: &Options, config: config::Config) -> anyhow::Result<Result<Report, Misuse>> {
    let (clock, metrics) = (Clock::real(), Metrics::new());
    let issuers = make_issuers(&config, &clock, &metrics, &Handle::current(), None)?;
    let upstreams = make_upstreams(&config, &metrics, None)?;
    let routes = make_routes(&config, &issuers, &upstreams, &HashMap::new(), &metrics)?;
    let all: Vec<&Arc<Route>> = routes.by_listener.iter().flat_map(|(_, table)| table.routes()).collect();
    let (route, verifier, target, maker) = match chosen(options, &all, &issuers) {
        Ok(chosen) => chosen,
        Err(misuse) => return Ok(Err(misuse)),
    };
    let token = token_in(&options.token_file)?;
    let mut report = Report::new(&options.route, &target, token.trim(), clock.unix());
    let exchange = Exchange::new(clock.clone());
    exchange.add([&maker.exchanger]);
    maker.issuer.start();
    let caller = verified(&verifier, token.trim()).await;
    // As the gateway does: who may not call the route is not exchanged for.
    match caller.and_then(|caller| route.require.met_by(&caller.subject).map(|()| caller)) {
        Err(fault) => report.refused(&fault),
        Ok(caller) => {
            report.verified();
            match exchange.token(&Asker::Caller(caller.clone()), &target, Ask::ANY).await {
                Ok(granted) => report.granted(&caller, &target, &granted, clock.unix()),
                Err(fault) => report.refused(&fault),
            }
        }
    }
    Ok(Ok(report))
}

type Chosen<'a> = (Arc<Route>, Arc<Verifier>, Arc<Target>, &'a MadeIssuer);

fn chosen<'a>(options: &Options, all: &[&Arc<Route>], issuers: &'a Issuers) -> Result<Chosen<'a>, Misuse> {
    let Some(route) = all.iter().find(|r| *r.name == *options.route) else {
        let mut names: Vec<&str> = all.iter().map(|r| &*r.name).collect();
        names.sort_unstable();
        names.dedup();
        return Err(Misuse(format!("there is no route `{}` (have: {})", options.route, names.join(", "))));
    };
    let (Injection::Exchange(targets), Some(Verifiers::One(verifier))) = (&route.token, &route.verifiers) else {
        let why = "its `token` is another than `exchange`, or its issuer is chosen by the token";
        return Err(Misuse(format!("route `{}` exchanges nothing that could be shown ({why})", route.name)));
    };
    let Some(target) = targets.of(Some(&verifier.issuer().settings().name)) else {
        return Err(Misuse(format!("route `{}` has no target", route.name)));
    };
    let Some(maker) = issuers.get(&target.issuer) else { return Err(Misuse(format!("there is no issuer `{}`", target.issuer))) };
    let target = match &options.audience {
        None => target.clone(),
        Some(own) if *own == maker.issuer.settings().client_id => {
            return Err(Misuse(format!("`{own}` is the gateway's own client: the exchanged token must be good at a backend")));
        }
        Some(audience) => other(maker, target, audience),
    };
    Ok(((*route).clone(), verifier.clone(), target, maker))
}

/// The route's target with another audience.
fn other(maker: &MadeIssuer, target: &Target, audience: &str) -> Arc<Target> {
    let audiences = vec![audience.to_owned()];
    let wanted = TargetSettings { expect_audiences: audiences.clone(), audiences, ..target.settings.clone() };
    Arc::new(maker.exchanger.target(wanted))
}

/// A token as it stands in a file: some keep it with the scheme in front.
pub(super) fn bearer(token: &str) -> Result<SubjectToken, Fault> {
    let (token, none) = (token.trim(), |_| bad_request("a bearer token with characters that no header has"));
    let header = HeaderValue::try_from(if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") }).map_err(none)?;
    SubjectToken::from_authorization(&header).map_err(bad_request)?.ok_or(Fault::NoToken)
}

async fn verified(verifier: &Arc<Verifier>, token: &str) -> Result<Caller, Fault> {
    let token = bearer(token)?;
    keys(verifier.issuer()).await;
    verifier.verify(token).await
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
    fn granted(&mut self, caller: &Caller, target: &Target, granted: &Granted, now: u64) {
        let subject = &caller.subject;
        let of_caller = subject.expires_at.saturating_add(subject.clock_skew.as_secs()).saturating_sub(now);
        self.exchanged(granted, of_caller, target.settings.max_ttl.as_secs());
    }
}
