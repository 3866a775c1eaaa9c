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
