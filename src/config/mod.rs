//! The configuration: one file per section of the YAML. It turns what the operator wrote into the rooms' own `Settings`, and
//! gathers all complaints at once. Config knows every room; no room knows config. Nobody else sees the YAML crate.

mod address;
mod admin;
mod blank;
mod cache;
mod callers;
mod check;
mod client_auth;
mod complaint;
mod delegation;
mod duration;
mod exchange_api;
mod force_update;
mod issuers;
mod limits;
mod listener_tls;
mod listeners;
mod log;
mod logout;
mod matching;
mod metrics;
mod nearest;
mod outside;
mod params;
mod place;
mod profiles;
mod protection;
mod rate;
mod rate_limit;
mod ratio;
mod reading;
mod report;
mod retries;
mod rewrite;
mod routes;
#[cfg(test)]
mod sample;
mod secret;
mod section;
mod shutdown;
mod size;
mod target;
mod ties;
mod timeouts;
mod token_headers;
mod tracing;
mod tree;
mod upstream_tls;
mod upstreams;
mod url;
mod verification;
mod workers;
mod written;

pub use complaint::{Code, Complaint, Excerpt, Severity};
pub use outside::{Machine, Outside};
pub use place::Place;
pub use report::Report;

use crate::{exchange, issuer, listen, stack, telemetry, upstream, verify};
use blank::Blanked;
use reading::{Name, Reading, Value};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use written::Written;

/// A whole configuration, checked: what the program runs on.
#[derive(Clone, Debug)]
pub struct Config {
    pub listeners: Vec<listen::Settings>,
    /// Which of them are outbound proxies.
    pub outbound: Vec<stack::OutboundSettings>,
    pub connections: listen::Limits,
    pub requests: stack::Limits,
    pub metrics: SocketAddr,
    /// `None`: off.
    pub admin: Option<crate::admin::Settings>,
    pub issuers: Vec<Issuer>,
    pub upstreams: Vec<upstream::Settings>,
    pub routes: Vec<stack::RouteSettings>,
    pub cache: crate::cache::Settings,
    /// `None`: off.
    pub exchange_api: Option<crate::api::Settings>,
    /// `None`: off.
    pub logout: Option<crate::api::LogoutSettings>,
    /// By which callers may ask for a newer token.
    pub force: Option<stack::ForceHeader>,
    pub shutdown: Shutdown,
    /// Worker threads; `None`: one per core.
    pub workers: Option<usize>,
    pub log: telemetry::Settings,
    /// `None`: off.
    pub tracing: Option<telemetry::TraceSettings>,
}

/// An issuer's settings, for the three rooms that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub issuer: issuer::Settings,
    pub verify: verify::Settings,
    pub exchange: exchange::Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// From failing readiness to draining.
    pub delay: Duration,
    /// From draining to the end.
    pub grace: Duration,
}

/// A configuration that can run, and what somebody should look at all the same.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Complaint>,
    /// What the file is called in `warnings`.
    pub file: String,
}

impl Loaded {
    /// The warnings, ready to be shown.
    pub fn report(&self) -> Report {
        Report { file: self.file.clone(), complaints: self.warnings.clone() }
    }
}

/// Reads a configuration file, and the secrets it points to.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    let (file, text) = text_of(path)?;
    read(&text, &file)
}

/// What a configuration file holds now, unread.
///
/// # Errors
/// When there is none, or none that could be read as text.
pub fn text(path: &Path) -> Result<String, Report> {
    text_of(path).map(|(_, text)| text)
}

/// Reads nothing of a configuration file but where the metrics are answered: no secret, and no judgement on the rest.
///
/// # Errors
/// When the file is no YAML, or `metrics` cannot be used.
pub fn metrics_address(path: &Path) -> Result<SocketAddr, Report> {
    let (file, text) = text_of(path)?;
    let of_the_file = Reading::new(&Machine);
    let Some(tree) = tree::parse(&text, &of_the_file) else {
        return Err(Report { file, complaints: shown(of_the_file, &Blanked::by_looks(&text)) });
    };
    let blanked = Blanked::of_tree(&text, &tree, &of_the_file);
    let root = match tree.root.kind {
        tree::Kind::Map(mut entries) => {
            entries.retain(|entry| entry.key == "metrics");
            tree::Node { kind: tree::Kind::Map(entries), ..tree.root }
        }
        _ => tree.root,
    };
    let reading = Reading::new(&Machine);
    let value = Value { node: &root, key: Place::default(), name: Name::default(), reading: &reading };
    let address = value.section(&[]).map(|mut root| metrics::settings(metrics::read(&mut root)));
    match address {
        Some(address) if !reading.has_errors() => Ok(address),
        _ => Err(Report { file, complaints: shown(reading, &blanked) }),
    }
}

/// What the file is called, and all of it.
fn text_of(path: &Path) -> Result<(String, String), Report> {
    let file = path.display().to_string();
    let refuse = |message: String, cure: &str| Report {
        file: file.clone(),
        complaints: vec![Complaint::of_file(Code::Unreadable, message).cure(cure)],
    };
    let bytes =
        Machine.file(path).map_err(|e| refuse(format!("cannot be read: {}", secret::reason(&e)), "check the path and its permissions"))?;
    let text = String::from_utf8(bytes).map_err(|_| refuse("holds bytes that are no UTF-8".to_owned(), "save it as UTF-8"))?;
    Ok((file, text))
}

/// Reads a configuration from `text`, and the secrets it points to from this machine.
///
/// # Errors
/// All that is wrong with it.
pub fn read(text: &str, file_name: &str) -> Result<Loaded, Report> {
    read_with(text, file_name, &Machine)
}

/// Reads a configuration from `text`, and the secrets it points to from `outside`.
///
/// # Errors
/// All that is wrong with it.
pub fn read_with(text: &str, file_name: &str, outside: &dyn Outside) -> Result<Loaded, Report> {
    let reading = Reading::new(outside);
    let (config, blanked) = match tree::parse(text, &reading) {
        None => (None, Blanked::by_looks(text)),
        Some(tree) => {
            let blanked = Blanked::of_tree(text, &tree, &reading);
            (compile(&tree.root, &reading), blanked)
        }
    };
    let complaints = shown(reading, &blanked);
    let failed = complaints.iter().any(Complaint::is_error);
    match config {
        Some(config) if !failed => Ok(Loaded { config, warnings: complaints, file: file_name.to_owned() }),
        _ => Err(Report { file: file_name.to_owned(), complaints }),
    }
}

/// `None`: it cannot run, and a complaint says why.
fn compile(root: &tree::Node, reading: &Reading) -> Option<Config> {
    let root = Value { node: root, key: Place::default(), name: Name::default(), reading };
    let written = Written::read(root.section(Written::later())?);
    check::check(&written, reading);
    if reading.has_errors() {
        return None;
    }
    let config = written.settings();
    if config.is_none() {
        reading.complain(Complaint::of_file(Code::Bug, "refused for no reason that Cambist can name").cure("please report this"));
    }
    config
}

/// All complaints, each with its line as it may be shown.
fn shown(reading: Reading, blanked: &Blanked) -> Vec<Complaint> {
    let mut complaints = ordered(reading.into_complaints());
    for complaint in &mut complaints {
        complaint.excerpt = complaint.place.and_then(|place| blanked.excerpt(place));
    }
    complaints
}

/// In the order of the file, each once; and nothing more about a value that cannot be what was meant.
fn ordered(mut complaints: Vec<Complaint>) -> Vec<Complaint> {
    let final_word = |c: &Complaint| matches!(c.code, Code::Substitution | Code::Exotic);
    let settled: Vec<Place> = complaints.iter().filter(|c| final_word(c)).filter_map(|c| c.place).collect();
    complaints.retain(|c| final_word(c) || c.place.is_none_or(|place| !settled.contains(&place)));
    complaints.sort_by_key(|c| (c.place, c.code));
    complaints.dedup();
    complaints
}
