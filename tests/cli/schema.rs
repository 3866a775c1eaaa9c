//! `schema`: what it prints is JSON Schema, takes every configuration that we show, and refuses what has the wrong shape, as the
//! gateway itself does.

use crate::program::{cambist, say};
use cambist::config::{self, Code, Outside};
use jsonschema::Validator;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn schema() -> (Value, Validator) {
    let said = say(cambist().arg("schema"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    (schema, validator)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    assert!(!all.is_empty());
    all
}

/// As an editor reads it; `None`: it is no YAML that could be checked at all.
fn read(path: &Path) -> Option<Value> {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).ok()
}

#[test]
fn every_configuration_that_we_show_is_good() {
    let (_, validator) = schema();
    for path in files("config") {
        let wrong: Vec<String> = validator.iter_errors(&read(&path).unwrap()).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
    }
}

/// No file is there, and no variable is set.
struct Nothing;

impl Outside for Nothing {
    fn file(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

#[test]
fn what_has_the_wrong_shape_is_refused_by_both() {
    let (_, validator) = schema();
    let (mut refused, mut missed) = (0, Vec::new());
    for path in files("tests/config/bad") {
        let Some(value) = read(&path) else { continue };
        let text = fs::read_to_string(&path).unwrap();
        let Err(report) = config::read_with(&text, "bad.yaml", &Nothing) else { continue };
        let shape = |code: Code| matches!(code, Code::UnknownField | Code::WrongType | Code::Choice | Code::Quantity);
        if !report.complaints.iter().any(|c| c.is_error() && shape(c.code)) {
            continue;
        }
        if validator.is_valid(&value) {
            let said: Vec<_> = report.complaints.iter().map(|c| format!("{:?}: {}", c.code, c.message)).collect();
            missed.push((path.file_name().unwrap().to_owned(), said));
        }
        refused += 1;
    }
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(refused > 20, "{refused}");
}

#[test]
fn an_editor_has_words_choices_and_defaults_to_show() {
    let (schema, validator) = schema();
    let route = &schema["$defs"]["config.routes"]["patternProperties"]["^[a-z0-9][a-z0-9_-]{0,62}$"]["properties"];
    assert_eq!((&route["token"]["default"], &route["token"]["enum"][1]), (&"exchange".into(), &"client_credentials".into()));
    assert!(route["audience"]["description"].as_str().is_some_and(|d| d.contains("list")));
    for (text, good) in [
        ("routes: { a: { upstream: \"http://a\", token: strip } }", true),
        ("routes: { a: { upstream: \"http://a\", token: strop } }", false),
        ("routes: { a: { upstream: \"http://a\", audiance: a } }", false),
        ("shutdown: { grace: 1m30s }", true),
        ("shutdown: { grace: 5 }", false),
        ("cache: { refresh_ahead: 10 }", false),
    ] {
        assert_eq!(validator.is_valid(&serde_yaml::from_str(text).unwrap()), good, "{text}");
    }
}
