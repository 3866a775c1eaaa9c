//! The alerts, before promtool and by our own rules for them: unit-tested each, both ways; with a severity, words and a place in the
//! docs that exists.

use crate::stage::{self, DOCS, RULES};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// Of the issue: these must be there.
const ALERTS: [&str; 10] = [
    "CacheCold",
    "CacheThrash",
    "CertificateExpires",
    "ConfigReloadFailed",
    "ExchangeDenied",
    "ExchangeErrors",
    "ExchangeMisconfigured",
    "GatewayErrors",
    "IssuerDown",
    "SlowExchange",
];

#[test]
fn promtool_finds_the_rules_well_formed() {
    if let Some(said) = stage::tool("promtool", &["check", "rules", RULES]) {
        stage::good(&said);
    }
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    let files = stage::unit_tests();
    let mut arguments = vec!["test", "rules"];
    arguments.extend(files.iter().map(String::as_str));
    if let Some(said) = stage::tool("promtool", &arguments) {
        stage::good(&said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_a_live_scrape_well_formed() {
    let running = stage::gateway().await;
    let scrape = running.metrics().await;
    let piped =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Some(mut promtool) = stage::there("promtool", piped) else { return };
    promtool.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    stage::good(&said);
    assert!(said.stdout.is_empty() && said.stderr.is_empty(), "it has something to say: {said:?}");
}

#[test]
fn each_alert_is_tested_both_ways() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in stage::unit_tests() {
        let tests = stage::yaml(&file);
        assert_eq!(tests["rule_files"], serde_json::json!([format!("../../{RULES}")]), "{file}");
        for test in tests["tests"].as_array().unwrap().iter().flat_map(|t| t["alert_rule_test"].as_array().unwrap()) {
            let name = test["alertname"].as_str().unwrap().to_owned();
            let expected = test["exp_alerts"].as_array().unwrap_or_else(|| panic!("{file}: {name} without exp_alerts"));
            if expected.is_empty() {
                silent.insert(name)
            } else {
                fires.insert(name)
            };
        }
    }
    let alerts: BTreeSet<String> = stage::alerts().into_keys().collect();
    assert_eq!(alerts, ALERTS.map(str::to_owned).into());
    assert_eq!((&fires, &silent), (&alerts, &alerts), "a test in which it fires, and one in which it does not");
}

#[test]
fn each_alert_has_a_severity_words_and_a_place_in_the_docs() {
    let docs = stage::text(DOCS);
    let headings: Vec<&str> = docs.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    for (name, alert) in stage::alerts() {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let words = |key: &str| alert["annotations"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}")).to_owned();
        assert!(words("summary").len() < 120 && words("description").len() > 80, "{name}");
        assert_eq!(words("runbook"), format!("{DOCS}#{}", name.to_lowercase()));
        assert!(headings.contains(&name.as_str()), "{DOCS} has no heading {name}");
        let told = docs.split(&format!("### {name}\n")).nth(1).unwrap();
        let told = &told[..told.find("\n### ").unwrap_or(told.len())];
        assert!(told.trim_start().starts_with(&format!("`{severity}`.")) && told.contains("\nFirst: "), "{DOCS}: {name}\n{told}");
    }
}

#[test]
fn what_is_recorded_is_used_and_what_is_used_is_recorded() {
    let recorded: BTreeSet<String> = stage::rules().iter().filter_map(|r| Some(r["record"].as_str()?.to_owned())).collect();
    let exprs = stage::rules().into_iter().filter(|r| r["record"] == Value::Null).map(|r| r["expr"].as_str().unwrap().to_owned());
    let panels = stage::dashboard_asks().into_iter().map(|(_, expr)| expr);
    let with_colon = |text: &String| -> Vec<String> {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        text.split(|c| !part(c)).filter(|w| w.contains(':')).map(str::to_owned).collect()
    };
    let used: BTreeSet<String> = exprs.chain(panels).flat_map(|e| with_colon(&e)).collect();
    assert_eq!(used, recorded);
    assert!(recorded.iter().all(|name| stage::text(DOCS).contains(name)), "{DOCS} names what is recorded");
}
