//! What the configuration refuses, as the operator sees it: every file in tests/config/bad has the report expected for it beside
//! it. `UPDATE=1` writes them anew. And what it accepts: every file in config/.

use cambist::config::{self, Code, Loaded, Outside, Report};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Files and variables for one test.
#[derive(Default)]
struct Fake {
    files: HashMap<PathBuf, Vec<u8>>,
    variables: HashMap<String, String>,
}

impl Fake {
    fn new() -> Self {
        let mut fake = Self::default();
        let files: [(&str, &[u8]); 6] = [
            ("/run/secrets/iam", b"c4nary-file\n"),
            ("/run/secrets/iam/client-secret", b"c4nary-file\r\n"),
            ("/run/secrets/empty", b"\n"),
            ("/run/secrets/binary", b"\xff\xfe"),
            ("/tls/ca.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            ("/tls/key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ];
        fake.files.extend(files.map(|(path, bytes)| (path.into(), bytes.to_vec())));
        fake.variables.insert("PARTNERS_SECRET".into(), "c4nary-variable".into());
        fake.variables.insert("EMPTY".into(), String::new());
        fake
    }
}

impl Outside for Fake {
    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("/run/secrets/forbidden") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.files.get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

fn read(text: &str) -> Result<Loaded, Report> {
    config::read_with(text, "gateway.yaml", &Fake::new())
}

fn yaml_files(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

#[test]
fn the_shipped_files_load_without_a_word() {
    let files = yaml_files("config");
    assert!(files.len() >= 3);
    for file in files {
        let loaded = read(&std::fs::read_to_string(&file).unwrap()).unwrap_or_else(|report| panic!("{}\n{report}", file.display()));
        assert!(loaded.warnings.is_empty(), "{}\n{}", file.display(), loaded.report());
    }
}

/// The report of a file that is refused, or the warnings of one that is not.
fn report(text: &str) -> Report {
    match read(text) {
        Ok(loaded) => loaded.report(),
        Err(report) => report,
    }
}

#[test]
fn bad_files_are_told_of_as_written_beside_them() {
    let files = yaml_files("tests/config/bad");
    assert!(files.len() >= 40);
    let (update, mut wrong) = (std::env::var_os("UPDATE").is_some(), Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (found, beside) = (report(&text).render(false), file.with_extension("report"));
        assert!(!found.is_empty(), "{}: not a word", file.display());
        if update {
            std::fs::write(&beside, &found).unwrap();
        } else if std::fs::read_to_string(&beside).ok().as_ref() != Some(&found) {
            wrong.push(format!("{}\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE=1 writes the reports anew; read them before you commit them", wrong.join("\n"));
}

#[test]
fn every_code_is_seen_and_every_warning_is_one_that_runs() {
    let mut seen = Vec::new();
    for file in yaml_files("tests/config/bad") {
        let found = report(&std::fs::read_to_string(&file).unwrap());
        seen.extend(found.complaints.iter().map(|c| c.code));
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(name.starts_with("warning_"), found.errors() == 0, "{name}\n{found}");
    }
    let without: Vec<_> = Code::ALL.iter().filter(|c| !seen.contains(c) && !matches!(c, Code::Unreadable | Code::Bug)).collect();
    assert!(without.is_empty(), "no bad file shows {without:?}");
}

#[test]
fn no_secret_is_ever_shown() {
    for file in yaml_files("tests/config/bad") {
        let result = read(&std::fs::read_to_string(&file).unwrap());
        let shown = match &result {
            Ok(loaded) => format!("{}{}{result:?}", loaded.report(), loaded.report().render(true)),
            Err(report) => format!("{report}{}{result:?}", report.render(true)),
        };
        assert!(!shown.contains("c4nary"), "{}\n{shown}", file.display());
    }
}
