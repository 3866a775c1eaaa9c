//! What these tests look at: files of the repository, a gateway whose every family has a series, the tools, and expressions taken
//! apart. No judgement is made here.

use crate::certs::Authority;
use crate::kit::{ROUTES, Running, World};
use crate::wire::Wire;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Metrics that rules, dashboard and docs name already and that this version does not have yet. Once one of them appears in a
/// scrape `named` fails, and its name has to go from here: that is all there is to do.
pub const NOT_THERE_YET: [&str; 0] = [];

/// Values of labels, likewise: a shared tier of the cache.
pub const VALUES_NOT_THERE_YET: [&str; 1] = ["shared_hit"];

pub const RULES: &str = "helm/cambist/files/rules.yaml";
pub const DASHBOARD: &str = "helm/cambist/files/dashboard.json";
pub const DOCS: &str = "docs/metrics.md";

pub fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

pub fn text(of: &str) -> String {
    std::fs::read_to_string(path(of)).unwrap_or_else(|e| panic!("{of}: {e}"))
}

/// A file with rules, or with tests of them.
pub fn yaml(of: &str) -> Value {
    serde_yaml::from_str(&text(of)).unwrap_or_else(|e| panic!("{of}: {e}"))
}

/// All rules, of all groups.
pub fn rules() -> Vec<Value> {
    yaml(RULES)["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap().clone()).collect()
}

/// Names and rules of the alerts.
pub fn alerts() -> BTreeMap<String, Value> {
    rules().into_iter().filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule))).collect()
}

/// The files with unit tests of the rules.
pub fn unit_tests() -> Vec<String> {
    let folder = std::fs::read_dir(path("tests/prometheus")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = folder.filter(|name| name.ends_with(".yaml")).map(|name| format!("tests/prometheus/{name}")).collect();
    found.sort();
    found
}

/// Panels and variables of the dashboard that ask for something: a title and what is asked.
pub fn dashboard_asks() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let mut asks = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            asks.push((panel["title"].as_str().unwrap().to_owned(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    asks
}

/// What Grafana would send with every variable at *All*.
pub fn filled(expr: &str) -> String {
    ["$namespace", "$job", "$route"].iter().fold(expr.replace("$__rate_interval", "1m"), |e, variable| e.replace(variable, ".*"))
}

/// A gateway, and the files of its TLS.
pub struct Stage {
    running: Running,
    _authority: Authority,
}

impl Deref for Stage {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A gateway with the ordinary routes, the exchange API, a listener with TLS and a route to nobody, to which everything has happened
/// once that makes a family or label exist.
pub async fn gateway() -> Stage {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let routes = format!("{ROUTES}  nobody: {{ match: {{ path: /nobody }}, upstream: \"http://{nobody}\", token: strip }}\n");
    let authority = Authority::new();
    authority.put("api.test", &["api.test"]);
    let sealed = format!("sealed: {{ address: 127.0.0.1:0, tls: {{ certificates: [{}] }} }}", authority.pair("api.test"));
    let listeners = format!("listeners: {{ main: {{ address: 127.0.0.1:0 }}, {sealed} }}\n");
    let api = "exchange_api: { listeners: [main], audiences: { orders-api: {} } }\n";
    let running = World::new().await.gateway(&routes, &format!("{listeners}{api}")).await;
    visit(&running, &running.token("ada")).await;
    // Clear text where TLS is spoken.
    let mut astray = Wire::open(running.gateway.listener("sealed").unwrap()).await;
    astray.send("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n").await;
    running.counted("cambist_connections_refused_total{listener=\"sealed\",reason=\"tls_handshake\"}", 1.0).await;
    Stage { running, _authority: authority }
}

/// One round: a hit or a miss, a refusal by the IAM, a backend that is not there, and a path that is nobody's.
pub async fn visit(running: &Running, token: &str) {
    let mut caller = running.connect().await;
    for (path, status) in [("/orders", 200), ("/orders", 200), ("/payroll", 403), ("/nobody", 502), ("/else", 404)] {
        assert_eq!(caller.get(path, Some(token)).await.unwrap().status, status, "{path}");
    }
}

/// What a tool says; `None`, and a word about it, where there is no such tool and none is required.
pub fn tool(name: &str, arguments: &[&str]) -> Option<Output> {
    there(name, Command::new(name).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output())
}

/// Whether it could be started.
pub fn there<T>(name: &str, started: io::Result<T>) -> Option<T> {
    match started {
        Ok(it) => Some(it),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let required = std::env::var_os("CAMBIST_REQUIRE_PROMETHEUS").is_some_and(|v| v != "0");
            assert!(!required, "{name} is missing; on Debian: apt-get install -y prometheus");
            eprintln!("SKIPPED: there is no {name} on this machine; on Debian: apt-get install -y prometheus");
            None
        }
        Err(e) => panic!("{name}: {e}"),
    }
}

pub fn good(said: &Output) {
    assert!(said.status.success(), "{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
}

/// The metric names in a text: words that begin with `cambist_` or `process_` and are no other name's part. What is recorded by a
/// rule has a colon in its name and is no metric of ours.
pub fn names(text: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !part(c)).map(|word| word.trim_end_matches(':'));
    let ours = |word: &&str| (word.starts_with("cambist_") || word.starts_with("process_")) && !word.contains(':') && !word.ends_with('_');
    words.filter(ours).map(str::to_owned).collect()
}

/// One selector of an expression: a metric, and label, operator and value of each of its matchers.
#[derive(Debug)]
pub struct Selector {
    pub metric: String,
    pub matchers: Vec<(String, String, String)>,
}

/// Every selector of an expression that names one of our metrics.
pub fn selectors(expr: &str) -> Vec<Selector> {
    names(expr).into_iter().flat_map(|name| named(expr, &name)).collect()
}

fn named(expr: &str, name: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    for (at, _) in expr.match_indices(name) {
        let rest = &expr[at + name.len()..];
        let cut_out_of = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if rest.starts_with(cut_out_of) || expr[..at].ends_with(cut_out_of) {
            continue;
        }
        let inside = rest.strip_prefix('{').map_or("", |rest| &rest[..rest.find('}').unwrap()]);
        found.push(Selector { metric: name.to_owned(), matchers: matchers(inside) });
    }
    found
}

/// Values hold neither quotes nor commas followed by a label: our own files are read, not anybody's.
fn matchers(inside: &str) -> Vec<(String, String, String)> {
    let mut parts = inside.split('"');
    let mut found = Vec::new();
    while let (Some(head), Some(value)) = (parts.next(), parts.next()) {
        let head = head.trim_start_matches(',').trim();
        let end = head.find(['=', '!']).unwrap();
        found.push((head[..end].trim().to_owned(), head[end..].to_owned(), value.to_owned()));
    }
    found
}

/// An expression without what it is compared with: what is left has to be there at all.
pub fn without_comparison(expr: &str) -> String {
    let mut left = String::new();
    let mut words = expr.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let number = words.peek().is_some_and(|next| next.trim_end_matches(')').parse::<f64>().is_ok());
        if [">", "<", "==", "!=", ">=", "<="].contains(&word) && number {
            left.extend(words.next().unwrap().chars().filter(|c| *c == ')'));
        } else {
            left.push(' ');
            left.push_str(word);
        }
    }
    left
}

#[test]
fn expressions_are_taken_apart() {
    let expr = r#"sum(rate(cambist_a_total{x=~"b|c",y!="d"}[5m])) / z:cambist_a:rate > 0.5 and (cambist_b / cambist_bb > 1)"#;
    assert_eq!(names(expr).into_iter().collect::<Vec<_>>(), ["cambist_a_total", "cambist_b", "cambist_bb"]);
    let all = selectors(expr);
    let matcher = |l: &str, o: &str, v: &str| (l.to_owned(), o.to_owned(), v.to_owned());
    assert_eq!(all[0].matchers, [matcher("x", "=~", "b|c"), matcher("y", "!=", "d")]);
    assert_eq!((all.len(), all[1].metric.as_str(), all[1].matchers.len()), (3, "cambist_b", 0));
    let left = r#" sum(rate(cambist_a_total{x=~"b|c",y!="d"}[5m])) / z:cambist_a:rate and (cambist_b / cambist_bb)"#;
    assert_eq!(without_comparison(expr), left);
}
