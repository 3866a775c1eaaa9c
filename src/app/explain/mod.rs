//! `explain`: which route a request would take and why each other one would not, what would be asked of the issuer, and, of a running
//! gateway, what its cache would do. It sends no such request, and no token to anybody but that gateway.

mod asked;
mod cached;
mod lost;
mod outbound;
mod sends;
mod text;
mod told;

use super::gateway::Tokens;
use super::{Output, asking};
use crate::admin::Question;
use crate::config;
use crate::stack::Shared;
use anyhow::{Context, bail};
use asking::Url;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

pub(super) use told::explained;

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 a route or the gateway itself takes the request, 1 it would be refused or the configuration cannot be \
used, 2 wrong usage."
)]
pub(super) struct Options {
    #[command(flatten)]
    config: super::ConfigFile,
    /// The request's method.
    method: String,
    /// `https://host/path?query`, or a path alone.
    url: String,
    /// A header of the request; may be given more than once.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Explain it for this listener alone.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Ask a running gateway instead of a file: its admin address, as in `http://127.0.0.1:9901`.
    #[arg(long, value_name = "URL")]
    gateway: Option<Url>,
    /// Where the caller's token is, for what that gateway's cache would do; `-` is stdin.
    #[arg(long, value_name = "FILE", requires_all = ["gateway", "admin_token_file"])]
    token_file: Option<PathBuf>,
    /// Where that gateway's admin token is.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    admin_token_file: Option<PathBuf>,
    /// How to tell it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

const USAGE: u8 = 2;

pub(super) fn explain(options: &Options) -> ExitCode {
    let told = match &options.gateway {
        Some(gateway) => match of_gateway(options, gateway) {
            Ok(told) => told,
            Err(error) => return super::say(&error),
        },
        None => match of_file(options) {
            Ok(told) => told,
            Err(code) => return code,
        },
    };
    match options.output {
        Output::Text => super::print(text::of(&told).trim_end()),
        Output::Json => super::print(&format!("{told:#}")),
    }
    let taken = |answer: &Value| answer["outcome"] != "refused";
    if told["answers"].as_array().is_some_and(|all| all.iter().any(taken)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn of_file(options: &Options) -> Result<Value, ExitCode> {
    let loaded = config::load(&options.config.config).map_err(|report| {
        super::check::show(&report);
        ExitCode::FAILURE
    })?;
    explained(&loaded.config, &options.question()).map_err(|why| {
        anstream::eprintln!("error: {why}");
        ExitCode::from(USAGE)
    })
}

fn of_gateway(options: &Options, gateway: &Url) -> anyhow::Result<Value> {
    let question = options.question();
    let answer = match &options.admin_token_file {
        Some(file) => {
            let admin = secret(file).context("the admin token")?;
            let token = options.token_file.as_deref().map(secret).transpose().context("the caller's token")?;
            let body = json!({
                "method": question.method,
                "url": question.url,
                "headers": question.headers,
                "listener": question.listener,
                "token": token.as_ref().map(|t| t.as_str()),
            });
            asking::post(gateway, "/v1/explain", &admin, &body)?
        }
        None => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("method", &question.method).append_pair("url", &question.url);
            question.headers.iter().for_each(|header| {
                query.append_pair("header", header);
            });
            question.listener.iter().for_each(|listener| {
                query.append_pair("listener", listener);
            });
            asking::get(gateway, &format!("/v1/explain?{}", query.finish()))?
        }
    };
    if answer.status != 200 {
        bail!("the gateway at {gateway} says ({}): {}", answer.status, answer.body.trim());
    }
    serde_json::from_str(&answer.body)
        .with_context(|| format!("the gateway at {gateway} did not answer in JSON: is that its admin address?"))
}

fn secret(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    super::token_in(file).map(|text| Zeroizing::new(text.trim().to_owned()))
}

impl Options {
    fn question(&self) -> Question {
        let Self { method, url, headers, listener, .. } = self;
        Question {
            method: method.clone(),
            url: url.clone(),
            headers: headers.clone(),
            listener: listener.clone(),
            token: None,
            knows_values: true,
        }
    }
}

/// Adds to what was explained what the cache of this gateway would do.
///
/// # Errors
/// When the question's token is none.
pub(super) fn add_verdicts(told: &mut Value, shared: &Shared<Tokens>, question: &Question) -> Result<(), String> {
    let headers = asked::Asked::read(question)?.headers;
    let caller = question.token.as_ref().map(cached::digest).transpose()?;
    let in_force = shared.in_force.load();
    for answer in told["answers"].as_array_mut().into_iter().flatten().filter(|answer| answer["token"]["token"].is_string()) {
        let (listener, name) = (answer["listener"].as_str().unwrap_or_default(), answer["route"].as_str().unwrap_or_default());
        let table = in_force.routes.for_listener(listener);
        if let Some(route) = table.and_then(|table| table.routes().find(|route| *route.name == *name)) {
            answer["cache"] = cached::verdicts(&shared.tokens, route, caller, &headers);
        }
    }
    Ok(())
}
