//! `schema`: JSON Schema (2020-12) of the configuration, for editors. Its keys are those of the chart's values, which a test holds equal
//! to the gateway's own; the words, defaults and choices stand beside. It judges no file: `check` does, and knows more.

use crate::app::Output;
use clap::Args;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

const CHART: &str = include_str!("../../../helm/cambist/values.schema.json");
/// By section and key; of a definition as a whole, by its name behind `#`.
const WORDS: &str = include_str!("words.json");

#[derive(Args)]
pub(super) struct Options {
    /// How to tell it: a schema is JSON in any case.
    #[arg(short, long, value_enum, default_value_t = Output::Json)]
    output: Output,
}

/// As text or as JSON, a schema is the same.
pub(super) fn schema(Options { output: _ }: &Options) -> ExitCode {
    match whole() {
        Ok(schema) => {
            super::print(&format!("{schema:#}"));
            ExitCode::SUCCESS
        }
        Err(error) => super::say(&error.into()),
    }
}

fn whole() -> serde_json::Result<Value> {
    let mut chart: Value = serde_json::from_str(CHART)?;
    let words: Map<String, Value> = serde_json::from_str(WORDS)?;
    let mut root = chart["properties"]["config"].take();
    // The chart needs to know two ports; the gateway has defaults for them.
    root.as_object_mut().map(|root| root.remove("required"));
    described(&mut root, "config", &words);
    let mut defs = Map::new();
    needed(&root, &chart["$defs"], &mut defs);
    for (name, def) in &mut defs {
        merge(def, words.get(&format!("#{name}")));
        if let Some(section) = name.strip_prefix("config.") {
            described(def, section, &words);
        }
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Cambist's configuration");
    root["description"] = json!(format!("Every key that Cambist {} knows. `cambist check` knows more.", env!("CARGO_PKG_VERSION")));
    root["$defs"] = defs.into();
    Ok(root)
}

/// Puts the words beside every key of a section, however deep.
fn described(node: &mut Value, at: &str, words: &Map<String, Value>) {
    for (key, inside) in fields(node, "properties") {
        let path = format!("{at}.{key}");
        merge(inside, words.get(&path));
        described(inside, &path, words);
    }
    for (_, named) in fields(node, "patternProperties") {
        described(named, at, words);
    }
    if let Some(items) = node.get_mut("items") {
        described(items, at, words);
    }
}

fn fields<'a>(node: &'a mut Value, of: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    node.get_mut(of).and_then(Value::as_object_mut).into_iter().flatten()
}

fn merge(node: &mut Value, words: Option<&Value>) {
    if let (Some(node), Some(words)) = (node.as_object_mut(), words.and_then(Value::as_object)) {
        node.extend(words.clone());
    }
}

/// Takes in what `node` refers to, and what that does.
fn needed(node: &Value, all: &Value, taken: &mut Map<String, Value>) {
    if let Some(name) = node.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix("#/$defs/"))
        && !taken.contains_key(name)
    {
        taken.insert(name.to_owned(), all[name].clone());
        needed(&all[name], all, taken);
    }
    match node {
        Value::Object(fields) => fields.values().for_each(|inside| needed(inside, all, taken)),
        Value::Array(items) => items.iter().for_each(|inside| needed(inside, all, taken)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undescribed(node: &Value, at: &str, found: &mut Vec<String>) {
        for (key, inside) in node["properties"].as_object().into_iter().flatten() {
            let path = format!("{at}.{key}");
            if inside["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            undescribed(inside, &path, found);
        }
        for named in node["patternProperties"].as_object().into_iter().flat_map(Map::values).chain(node.get("items")) {
            undescribed(named, at, found);
        }
    }

    #[test]
    fn every_key_has_its_words() {
        let schema = whole().unwrap();
        let mut found = Vec::new();
        undescribed(&schema, "config", &mut found);
        for (name, def) in schema["$defs"].as_object().unwrap() {
            undescribed(def, name.trim_start_matches("config."), &mut found);
        }
        assert!(found.is_empty(), "write a line for each in src/app/schema/words.json: {found:?}");
        assert!(schema["$defs"].get("podSecurityContext").is_none(), "nothing of the chart alone");
    }
}
