//! `init`: a first configuration for an issuer, out of its discovery document, with comments that say what to change. It writes to
//! stdout and to no file, and no secret: it says where one is to be put.

use super::Output;
use crate::clock::Clock;
use crate::config;
use crate::exchange::Profile;
use crate::issuer::{self, ClientAuth, Issuer};
use crate::metrics::Metrics;
use crate::token::Secret;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::Handle;

#[derive(Args)]
#[command(
    after_help = "For example: cambist init --issuer https://iam.example.com/realms/main > gateway.yaml\n\nExit codes: 0 written, 1 the \
issuer's discovery document cannot be used, 2 wrong usage."
)]
pub(super) struct Options {
    /// The issuer, as it stands in `iss` of its tokens.
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The gateway's own client there.
    #[arg(long, value_name = "ID", default_value = "gateway")]
    client_id: String,
    /// The file in which the client's secret is; else the variable `CAMBIST_CLIENT_SECRET`.
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// Where the discovery document is, if not behind the issuer's URL.
    #[arg(long, value_name = "URL")]
    discovery_url: Option<String>,
    /// Certificate authorities instead of this machine's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Allow clear text to addresses other than loopback.
    #[arg(long)]
    allow_http: bool,
    /// How to tell it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn init(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from);
    match runtime.and_then(|runtime| runtime.block_on(document(options))) {
        Ok(document) => {
            let yaml = written(options, &document);
            match options.output {
                Output::Text => super::print(yaml.trim_end()),
                Output::Json => super::print(&serde_json::json!({ "issuer": options.issuer, "yaml": yaml }).to_string()),
            }
            anstream::eprintln!("Written from what {} says of itself.", options.issuer);
            anstream::eprintln!("Now: put the client's secret in its place, correct the route, and run `cambist check --online FILE`.");
            ExitCode::SUCCESS
        }
        Err(error) => super::say(&error),
    }
}

/// The settings of an issuer, as the configuration would read them of what `init` writes: so that what is refused there is refused here.
fn settings(options: &Options) -> anyhow::Result<issuer::Settings> {
    let text = written(options, &Map::new());
    let found = config::read_with(&text, "init", &Anything).map_err(|report| anyhow!("{}", report.render(false).trim_end().to_owned()))?;
    let issuer = found.config.issuers.into_iter().next().context("nothing was written")?.issuer;
    Ok(issuer::Settings { client_auth: ClientAuth::basic(Secret::new("unused")), ca_file: options.ca_file.clone(), ..issuer })
}

/// Secrets are there, whatever they are: only what is written is looked at.
struct Anything;

impl config::Outside for Anything {
    fn file(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        // What is to be read as certificates has to be some.
        std::fs::read(path).or_else(|_| Ok(b"secret".to_vec()))
    }

    fn variable(&self, _: &str) -> Option<String> {
        Some("secret".to_owned())
    }
}

async fn document(options: &Options) -> anyhow::Result<Map<String, Value>> {
    let metrics = Metrics::new();
    let issuer = Issuer::new(settings(options)?, Clock::real(), metrics.issuer("main"), Handle::current())?;
    match issuer.inspect().await.discovery {
        Some(Ok(document)) => Ok(document),
        Some(Err(why)) => bail!("{}\n  cure    {}", why.cause, why.cure.unwrap_or_default()),
        None => bail!("there is nothing to discover"),
    }
}

fn profile(document: &Map<String, Value>, issuer: &str) -> Profile {
    let endpoint = document.get("token_endpoint").and_then(Value::as_str).unwrap_or_default();
    if endpoint.ends_with("/protocol/openid-connect/token") {
        Profile::Keycloak
    } else if issuer.starts_with("https://login.microsoftonline.com/") {
        Profile::EntraObo
    } else {
        Profile::Rfc8693
    }
}

/// As a YAML scalar that is nothing but this text.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain);
    let url = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let url = url.is_some_and(|rest| rest.split_once(':').map_or(rest.to_owned(), |(a, b)| format!("{a}{b}")).chars().all(plain));
    if word && !["true", "false", "null", "yes", "no", "on", "off"].contains(&text) || url {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

fn written(options: &Options, document: &Map<String, Value>) -> String {
    let mut out = String::from(HEAD);
    // Writing to a String cannot fail.
    let mut line = |text: &str, about: &str| {
        let _ = if about.is_empty() { writeln!(out, "{text}") } else { writeln!(out, "{text:55} # {about}") };
    };
    line("issuers:", "");
    line("  main:", "a name of your own");
    line(&format!("    url: {}", scalar(&options.issuer)), "must equal `iss` of its tokens");
    if let Some(url) = &options.discovery_url {
        line(&format!("    discovery_url: {}", scalar(url)), "");
    }
    let profile = profile(document, &options.issuer);
    let (name, about) = match profile {
        Profile::Keycloak => ("keycloak", "by its token endpoint"),
        Profile::EntraObo => ("entra_obo", "by its host"),
        Profile::Rfc8693 => ("rfc8693", "the plain standard; or keycloak, entra_obo"),
    };
    line(&format!("    profile: {name}"), about);
    line(&format!("    client_id: {}", scalar(&options.client_id)), "the gateway's own client, not the one that users log in with");
    let method = method(document);
    line(&format!("    token_endpoint_auth_method: {}", method.0), method.1);
    let secret = match &options.client_secret_file {
        Some(file) => format!("{{ file: {} }}", scalar(&file.display().to_string())),
        None => "{ env: CAMBIST_CLIENT_SECRET }".to_owned(),
    };
    line(&format!("    client_secret: {secret}"), "or { file: … }; never the secret itself");
    if let Some(file) = &options.ca_file {
        line(&format!("    ca_file: {}", scalar(&file.display().to_string())), "");
    }
    if options.allow_http {
        line("    allow_http: true", "secrets and tokens can be read on the way: for trials only");
    }
    grants(document, profile, &mut line);
    line("", "");
    line("routes:", "");
    line("  orders:", "a name of your own, for each backend");
    line("    match: { path: /orders }", "takes /orders and all below it");
    line("    upstream: http://127.0.0.1:8081", "where the backend is");
    if profile == Profile::EntraObo {
        line("    scopes: [\"api://orders/.default\"]", "whom the exchanged token is for");
        line("    expect_audience: api://orders", "what must stand in its `aud`");
    } else {
        line("    audience: orders-api", "whom the exchanged token is for: the backend's own client");
    }
    out
}

const HEAD: &str = "\
# A first configuration, written by `cambist init`. What else there is: `cambist schema`, and config/cambist.yaml.
# For completion in an editor: `cambist schema > cambist.schema.json`, and this line.
# yaml-language-server: $schema=cambist.schema.json

";

/// How the gateway proves who it is, with a secret as most do.
fn method(document: &Map<String, Value>) -> (&'static str, &'static str) {
    let Some(takes) = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array) else {
        return ("client_secret_basic", "");
    };
    let takes = |method: &str| takes.iter().any(|m| m == method);
    match () {
        () if takes("client_secret_basic") => ("client_secret_basic", ""),
        () if takes("client_secret_post") => ("client_secret_post", ""),
        () => ("client_secret_basic", "the issuer takes neither this nor client_secret_post: see config/cambist.yaml for others"),
    }
}

/// What is known not to work is said where it will be looked for.
fn grants(document: &Map<String, Value>, profile: Profile, line: &mut impl FnMut(&str, &str)) {
    let Some(listed) = document.get("grant_types_supported").and_then(Value::as_array) else { return };
    let wanted = match profile {
        Profile::Keycloak | Profile::Rfc8693 => "urn:ietf:params:oauth:grant-type:token-exchange",
        Profile::EntraObo => "urn:ietf:params:oauth:grant-type:jwt-bearer",
    };
    if !listed.iter().any(|grant| grant == wanted) {
        line(&format!("    # Its discovery document does not list the grant {wanted}."), "");
        line("    # `cambist check --online` tells whether it exchanges tokens all the same.", "");
    }
}
