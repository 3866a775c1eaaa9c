//! Names: whatever a text of ours calls a metric exists in a live scrape with the labels that are told, and whatever a scrape holds is
//! told of. A rule or panel that asks for a label or value that never comes would be silent for ever, and nobody would notice.

use crate::scrape::Scrape;
use crate::stage::{self, DASHBOARD, DOCS, NOT_THERE_YET, RULES, Selector, VALUES_NOT_THERE_YET};
use cambist::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One row of a table in docs/metrics.md: kind, and labels with their closed sets (empty: names of the configuration and the like).
struct Told {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

fn told() -> BTreeMap<String, Told> {
    let mut all = BTreeMap::new();
    for line in stage::text(DOCS).lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, unit, labels, what] = cells[..] else { panic!("not five cells: {line}") };
        assert!(!unit.is_empty() && what.ends_with('.'), "{line}");
        let told = Told { kind: kind.to_owned(), labels: labels.split(';').filter_map(label).collect() };
        assert!(all.insert(name.trim_matches('`').to_owned(), told).is_none(), "twice: {name}");
    }
    all
}

/// `` `label`: `value`, `value` ``
fn label(text: &str) -> Option<(String, BTreeSet<String>)> {
    let mut ticked = text.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((ticked.next()?, ticked.collect()))
}

async fn scrape() -> Scrape {
    let running = stage::gateway().await;
    // The last request is counted after its answer is out.
    running.counted("cambist_http_requests_total{code=\"404\",method=\"GET\",route=\"unmatched\"}", 1.0).await;
    Scrape::read(&running.metrics().await)
}

/// The names of a scrape, as they may be asked for.
fn series(scrape: &Scrape) -> BTreeSet<String> {
    let of = |(name, family): (&String, &crate::scrape::Family)| match family.kind.as_str() {
        "histogram" => ["", "_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
        _ => vec![name.clone()],
    };
    scrape.0.iter().flat_map(of).collect()
}

/// The names that the code has: a family without a series is in no scrape.
fn made() -> BTreeSet<String> {
    let files = std::fs::read_dir(stage::path("src/metrics")).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file());
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // In quotes: what stands in a comment is made by nobody.
    text.split('"').skip(1).step_by(2).filter(|quoted| !quoted.contains(' ')).flat_map(stage::names).collect()
}

/// Everything that users and operators read.
fn texts() -> Vec<String> {
    let mut found: Vec<String> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned).to_vec();
    let mut folders = vec!["docs".to_owned(), "helm".to_owned(), "config".to_owned(), "benches".to_owned(), "tests/prometheus".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(stage::path(&folder)).unwrap().map(Result::unwrap) {
            let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            let read = ["md", "yaml", "yml", "json", "txt", "tpl"].iter().any(|e| Path::new(&name).extension().is_some_and(|x| x == *e));
            match entry.path().is_dir() {
                true => folders.push(name),
                false if read || name.ends_with("NOTES.txt") => found.push(name),
                false => {}
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_named_exists() {
    let known = series(&scrape().await);
    let mut named = BTreeSet::new();
    let mut complaints = Vec::new();
    for file in texts() {
        for (at, line) in stage::text(&file).lines().enumerate() {
            for name in stage::names(line) {
                if !known.contains(&name) && !NOT_THERE_YET.contains(&name.as_str()) {
                    complaints.push(format!("{file}:{}: there is no metric {name}", at + 1));
                }
                named.insert(name);
            }
        }
    }
    let made = made();
    assert!(named.len() > 30 && made.len() > 30, "the texts were not found");
    let unseen = made.iter().filter(|name| !known.contains(*name));
    complaints.extend(unseen.map(|name| format!("no series of {name}: have `gateway` of tests/prometheus/stage.rs do what makes one")));
    for name in NOT_THERE_YET {
        if known.contains(name) || made.contains(name) {
            complaints.push(format!("{name} is there now: take it out of NOT_THERE_YET in tests/prometheus/stage.rs"));
        }
        if !named.contains(name) {
            complaints.push(format!("{name} of NOT_THERE_YET is named nowhere"));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_exists_is_told_as_it_is_and_drawn() {
    let (scrape, told) = (scrape().await, told());
    let drawn = stage::names(&stage::text(DASHBOARD));
    let mut complaints = Vec::new();
    for (name, family) in &scrape.0 {
        let Some(row) = told.get(name) else {
            complaints.push(format!("{DOCS} does not tell of {name}"));
            continue;
        };
        let labels: BTreeSet<&str> = row.labels.keys().map(String::as_str).collect();
        if row.kind != family.kind || labels != family.labels() {
            complaints.push(format!("{DOCS}: {name} is a {} with {:?}", family.kind, family.labels()));
        }
        for (label, value) in family.samples.iter().flat_map(|(_, labels, _)| labels) {
            if row.labels.get(label).is_some_and(|closed| !closed.is_empty() && !closed.contains(value)) {
                complaints.push(format!("{DOCS}: {label} of {name} may be {value}, too"));
            }
            if VALUES_NOT_THERE_YET.contains(&value.as_str()) {
                complaints.push(format!("{value} is there now: take it out of VALUES_NOT_THERE_YET in tests/prometheus/stage.rs"));
            }
        }
        if !drawn.contains(name) && !drawn.contains(&format!("{name}_bucket")) {
            complaints.push(format!("{DASHBOARD} has no panel for {name}"));
        }
    }
    for name in told.keys().filter(|n| !scrape.0.contains_key(*n) && !NOT_THERE_YET.contains(&n.as_str())) {
        complaints.push(format!("{DOCS} tells of {name}, which is not there"));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn rules_and_dashboard_ask_for_labels_and_values_that_there_are() {
    let told = told();
    let rules = stage::rules().into_iter().map(|r| (RULES.to_owned(), r["expr"].as_str().unwrap().to_owned()));
    let panels = stage::dashboard_asks().into_iter().map(|(title, expr)| (format!("{DASHBOARD}, {title}"), expr));
    let mut complaints = Vec::new();
    for (place, expr) in rules.chain(panels) {
        let selectors = stage::selectors(&expr);
        assert!(!selectors.is_empty() || expr.contains(":cambist_"), "{place}: {expr}");
        complaints.extend(selectors.iter().flat_map(|s| wrong(s, &told)).map(|wrong| format!("{place}: {wrong}")));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// What a selector asks for in vain.
fn wrong(selector: &Selector, told: &BTreeMap<String, Told>) -> Vec<String> {
    let metric = selector.metric.as_str();
    let ends = ["", "_bucket", "_sum", "_count"];
    let Some(row) = ends.iter().find_map(|end| told.get(metric.strip_suffix(end)?)) else { return vec![format!("no metric {metric}")] };
    let mut complaints = Vec::new();
    for (label, _, value) in &selector.matchers {
        // Those that Prometheus itself gives to a target.
        if ["namespace", "job", "instance"].contains(&label.as_str()) {
            continue;
        }
        let Some(closed) = row.labels.get(label) else {
            complaints.push(format!("{metric} has no label {label}"));
            continue;
        };
        let faults = Fault::CODES.map(str::to_owned).into();
        let closed = if label == "reason" && closed.is_empty() { &faults } else { closed };
        let asked = value.split('|').filter(|v| !closed.is_empty() && !VALUES_NOT_THERE_YET.contains(v));
        complaints.extend(asked.filter(|v| !closed.contains(*v)).map(|v| format!("{label} of {metric} is never {v}")));
    }
    complaints
}
