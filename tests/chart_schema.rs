//! The chart's schema and the gateway know the same keys under `config`: level by level, each key of the one is a key of the other.

use cambist::config::{self, Code, Outside, Report};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// No file is there, and no variable is set: only keys are looked at.
struct Nothing;

impl Outside for Nothing {
    fn file(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

const MADE_UP: &str = "bogus_key";

/// A level of the schema: where it is, and what it allows.
struct Level<'a> {
    path: Vec<&'a str>,
    schema: &'a Map<String, Value>,
}

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("helm/cambist/values.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What stands behind a `$ref`.
fn resolved<'a>(root: &'a Value, node: &'a Value) -> &'a Map<String, Value> {
    match node["$ref"].as_str() {
        Some(at) => resolved(root, &root["$defs"][at.strip_prefix("#/$defs/").unwrap()]),
        None => node.as_object().unwrap(),
    }
}

fn may_be_a_map(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|t| t == "object"),
        Some(one) => one == "object",
        None => false,
    }
}

/// Every map under `node`, each name that the operator may choose being `a`.
fn levels<'a>(root: &'a Value, node: &'a Value, path: &[&'a str], found: &mut Vec<Level<'a>>) {
    let schema = resolved(root, node);
    if !may_be_a_map(schema) {
        return;
    }
    found.push(Level { path: path.to_vec(), schema });
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, node)| (key.as_str(), node));
    let named = schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten().map(|(_, node)| ("a", node));
    for (key, node) in fields.chain(named) {
        levels(root, node, &[path, &[key]].concat(), found);
    }
}

/// The complaints about a configuration that has `value` at `path` and nothing else.
fn complaints(path: &[&str], value: Value) -> Report {
    let wrap = |inside: Value, key: &&str| {
        // Looked at only beside the method that it belongs to.
        let method = match *key {
            "private_key" => "private_key_jwt",
            "client_certificate" if path[0] == "issuers" => "tls_client_auth",
            _ => return json!({ *key: inside }),
        };
        json!({ *key: inside, "token_endpoint_auth_method": method })
    };
    let text = path.iter().rev().fold(value, wrap).to_string();
    config::read_with(&text, "values.yaml", &Nothing).expect_err("it is never whole")
}

/// The keys that the gateway says a section has, when it is given one that nobody knows.
fn known_to_the_gateway(path: &[&str]) -> Option<BTreeSet<String>> {
    let report = complaints(path, json!({ MADE_UP: 1 }));
    let unknown = report.complaints.iter().find(|c| c.code == Code::UnknownField && c.message.contains(MADE_UP))?;
    let (_, known) = unknown.cure.as_ref().unwrap().split_once(" takes: ").unwrap();
    Some(known.split(", ").map(str::to_owned).collect())
}

#[test]
fn the_schema_and_the_gateway_know_the_same_keys() {
    let root = schema();
    let mut found = Vec::new();
    levels(&root, &root["properties"]["config"], &[], &mut found);
    assert!(found.len() > 20, "the schema was not read");
    for Level { path, schema } in found {
        let at = path.join(".");
        assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "config.{at} is open in the schema");
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
            assert!(schema.contains_key("patternProperties"), "config.{at}: nothing is known of it");
            assert_eq!(known_to_the_gateway(&path), None, "config.{at} has fields, and the schema has names");
            continue;
        };
        let fields_of_the_schema: BTreeSet<String> = fields.keys().cloned().collect();
        let fields_of_the_gateway = known_to_the_gateway(&path).unwrap_or_else(|| panic!("config.{at}: any key is accepted"));
        assert_eq!(fields_of_the_schema, fields_of_the_gateway, "config.{at}: the schema's, and the gateway's");
        for (key, node) in fields {
            let inside = [&path[..], &[key]].concat();
            let unknown = complaints(&path, json!({ key: 1 })).complaints.iter().any(|c| c.code == Code::UnknownField);
            assert!(!unknown, "config.{}: the gateway does not know it", inside.join("."));
            let has_fields = may_be_a_map(resolved(&root, node));
            assert!(has_fields || known_to_the_gateway(&inside).is_none(), "config.{}: a map, and not in the schema", inside.join("."));
        }
    }
}

#[test]
fn names_are_the_same_to_both() {
    let root = schema();
    let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
    for kind in ["listeners", "issuers", "upstreams", "routes"] {
        let named = resolved(&root, &root["properties"]["config"]["properties"][kind]);
        let patterns: Vec<_> = named["patternProperties"].as_object().unwrap().keys().collect();
        assert_eq!(patterns, ["^[a-z0-9][a-z0-9_-]{0,62}$"], "{kind}");
        for (name, good) in
            [("a", true), ("0_-", true), (&longest, true), (&too_long, false), ("-a", false), ("_a", false), ("A", false), ("a.b", false)]
        {
            let refused = complaints(&[kind, name], json!({})).complaints.iter().any(|c| c.code == Code::Name);
            assert_eq!(refused, !good, "{kind}.{name}");
        }
    }
}
