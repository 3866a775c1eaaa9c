//! What was explained, for people. It reads the very JSON that programs get, whoever made it, and adds nothing.

use super::super::clean;
use serde_json::Value;
use std::fmt::Write;

/// Lines of an answer: what it is about, and what is said.
struct Lines<'a>(&'a mut String);

impl Lines<'_> {
    fn add(&mut self, about: &str, said: &str) {
        if !said.is_empty() {
            let _ = writeln!(self.0, "{}", format!("  {about:10} {}", clean(said)).trim_end());
        }
    }
}

pub fn of(told: &Value) -> String {
    let mut out = String::new();
    let request = &told["request"];
    let _ = writeln!(out, "{} {}{}", word(&request["method"]), word(&request["host"]), clean(word(&request["path"])));
    let mut lines = Lines(&mut out);
    lines.add("boldly", word(&request["boldest_reading"]));
    lines.add("preflight", &said("a CORS preflight for ", &request["preflight_for"]));
    for answer in told["answers"].as_array().into_iter().flatten() {
        one(answer, &mut out);
    }
    out
}

fn one(answer: &Value, out: &mut String) {
    let listener = word(&answer["listener"]);
    let _ = match answer["outcome"].as_str() {
        Some("route") => writeln!(out, "\nlistener {listener}: route {}", word(&answer["route"])),
        Some("unmatched") => writeln!(out, "\nlistener {listener}: no route, let through"),
        Some("own_path") => writeln!(out, "\nlistener {listener}: {}", word(&answer["own_path"])),
        _ => {
            let refused = &answer["refused"];
            writeln!(out, "\nlistener {listener}: refused, {} (HTTP {})", word(&refused["code"]), refused["status"])
        }
    };
    let mut lines = Lines(out);
    lines.add("why", word(&answer["refused"]["why"]));
    lines.add("why", word(&answer["why"]));
    callers(&answer["callers"], &mut lines);
    token(&answer["token"], &mut lines);
    for verdict in answer["cache"].as_array().into_iter().flatten() {
        lines.add("cache", &cache(verdict));
    }
    let upstream = &answer["upstream"];
    if upstream.is_object() {
        let at = format!("{} ({}), path {}", word(&upstream["name"]), list(&upstream["endpoints"]), word(&upstream["path"]));
        lines.add("upstream", &format!("{at}, host {}", word(&upstream["host"])));
    }
    let routes = answer["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let width = routes.iter().map(|r| word(&r["route"]).len()).max().unwrap_or(0);
    for (i, route) in routes.iter().enumerate() {
        let mark = if route["verdict"] == "won" { '+' } else { '-' };
        let name = word(&route["route"]);
        lines.add(if i == 0 { "routes" } else { "" }, &format!("{mark} {name:width$}  {}", word(&route["why"])));
    }
}

fn callers(callers: &Value, lines: &mut Lines) {
    match callers["callers"].as_str() {
        Some("verified") => {
            let issuers = callers["issuers"].as_array().into_iter().flatten();
            let from: Vec<String> = issuers.map(|i| format!("{} for {}", word(&i["url"]), list(&i["audiences"]))).collect();
            lines.add("callers", &format!("with a token of {}, in `{}`", from.join(" or "), word(&callers["token_in"])));
            lines.add("requires", &said("scopes ", &callers["require"]["scopes"]));
            for (claim, values) in callers["require"]["claims"].as_object().into_iter().flatten() {
                lines.add("requires", &format!("claim {claim}: {}", list(values).replace(", ", " or ")));
            }
        }
        Some("anonymous") => lines.add("callers", "anybody: a token is neither wanted nor looked at"),
        _ => {}
    }
}

fn token(token: &Value, lines: &mut Lines) {
    match token["token"].as_str() {
        Some("strip") => lines.add("token", "strip: none goes upstream"),
        Some("passthrough") => lines.add("token", "passthrough: the caller's own goes upstream"),
        Some(mode) => {
            for at in token["issuers"].as_array().into_iter().flatten() {
                let by = format!("{mode} at {} as client {}", word(&at["url"]), word(&at["client_id"]));
                lines.add("token", &format!("{by} ({})", word(&at["grant"])));
                lines.add("", &said("extra parameters ", &at["extra_params"]));
            }
            for (name, key) in [("audience", "audience"), ("scopes", "scopes"), ("resource", "resource")] {
                lines.add(name, &list(&token[key]));
            }
            lines.add("actor", &said("the token in the header ", &token["actor"]["header"]));
            lines.add("actor", if token["actor"]["gateway"] == true { "the gateway, with a token of its own" } else { "" });
            lines.add("expected", &said("aud ", &token["expect_audience"]));
            lines.add("cache key", &list(&token["cache_key"]));
        }
        None => {}
    }
}

fn cache(verdict: &Value) -> String {
    let seconds = |v: &Value| v.as_u64().map(|s| humantime::format_duration(std::time::Duration::from_secs(s)).to_string());
    let left = seconds(&verdict["left_seconds"]).unwrap_or_default();
    let refused = &verdict["refused"];
    match word(&verdict["verdict"]) {
        "hit" => match seconds(&verdict["renews_in_seconds"]) {
            _ if verdict["in_flight"] == true => format!("hit: good for {left}, and being renewed"),
            Some(renewal) => format!("hit: good for {left}, renewed from {renewal} on"),
            None => format!("hit: good for {left}"),
        },
        "renew" => format!("hit, and the next request renews it: good for {left}"),
        "in_flight" => "an exchange is under way: the next request waits for it".to_owned(),
        "refused" => {
            let by = format!("refused for {} yet: {}", seconds(&refused["for_seconds"]).unwrap_or_default(), word(&refused["code"]));
            format!("{by}, {} (cure: {})", word(&refused["issuer_words"]), word(&refused["cure"]))
        }
        "miss" => "miss: the next request makes an exchange".to_owned(),
        other => format!("{other}: {}", word(&verdict["why"])),
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> String {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// Nothing, where there is nothing to say.
fn said(before: &str, value: &Value) -> String {
    let text = value.as_str().map_or_else(|| list(value), str::to_owned);
    if text.is_empty() { text } else { format!("{before}{text}") }
}
