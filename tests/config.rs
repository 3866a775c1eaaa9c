//! What the configuration refuses, as the operator sees it: every file in tests/config/bad has the report expected for it beside
//! it. `UPDATE=1` writes them anew. And what it accepts: every file in config/.

use cambist::config::{self, Code, Loaded, Outside, Report};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Files and variables for one test.
#[derive(Default)]
struct Fake {
    files: HashMap<PathBuf, Vec<u8>>,
    variables: HashMap<String, String>,
}

/// A certificate, its key, and a key that is not its.
static KEYS: LazyLock<(String, String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), rcgen::KeyPair::generate().unwrap().serialize_pem())
});

impl Fake {
    fn new() -> Self {
        let mut fake = Self::default();
        let files: [(&str, &[u8]); 8] = [
            ("/run/secrets/iam", b"c4nary-file\n"),
            ("/run/secrets/iam/client-secret", b"c4nary-file\r\n"),
            ("/run/secrets/admin", b"c4nary-file\n"),
            ("/run/secrets/empty", b"\n"),
            ("/run/secrets/two-lines", b"c4nary-file\nc4nary-comment\n"),
            ("/run/secrets/binary", b"\xff\xfe"),
            ("/tls/ca.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            ("/tls/key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ];
        fake.files.extend(files.map(|(path, bytes)| (path.into(), bytes.to_vec())));
        let (certificate, key, other) = &*KEYS;
        for (path, text) in [("/tls/client.crt", certificate), ("/tls/client.key", key), ("/tls/p256.pem", other)] {
            fake.files.insert(path.into(), text.clone().into_bytes());
        }
        fake.variables.insert("PARTNERS_SECRET".into(), "c4nary-variable".into());
        fake.variables.insert("ENTRA_SECRET".into(), "c4nary-variable".into());
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

#[test]
fn a_real_file_with_a_real_secret_loads_and_what_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (file, secret) = (dir.path().join("gateway.yaml"), dir.path().join("iam"));
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/minimal.yaml")).unwrap();
    std::fs::write(&secret, "c4nary\n").unwrap();
    std::fs::write(&file, text.replace("/run/secrets/iam", &secret.display().to_string())).unwrap();
    let loaded = config::load(&file).unwrap();
    assert!(loaded.warnings.is_empty() && loaded.config.routes.len() == 1);

    std::fs::remove_file(&secret).unwrap();
    assert_eq!(config::load(&file).unwrap_err().complaints[0].code, Code::SecretFile);
    std::fs::write(&file, b"a: \xff\n").unwrap();
    assert_eq!(config::load(&file).unwrap_err().complaints[0].code, Code::Unreadable);
    let report = config::load(dir.path()).unwrap_err();
    assert!(report.to_string().contains("it is a directory"), "{report}");
    let report = config::load(&dir.path().join("none.yaml")).unwrap_err();
    assert!(report.to_string().contains("there is no such file"), "{report}");
}

/// A way to spoil a line.
#[derive(Clone, Debug)]
enum Spoil {
    Delete,
    Double,
    Indent(usize),
    Cut(usize),
    Insert(usize, String),
    Replace(String),
}

fn spoil(text: &str, line: usize, how: &Spoil, keep: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = line % lines.len();
    if !keep.is_empty() && lines[at].contains(keep) {
        return text.to_owned();
    }
    let old = lines[at].clone();
    let place = |n: usize| old.char_indices().map(|(i, _)| i).nth(n % (old.chars().count() + 1)).unwrap_or(old.len());
    match how {
        Spoil::Delete => drop(lines.remove(at)),
        Spoil::Double => lines.insert(at, old),
        Spoil::Indent(n) => lines[at] = format!("{}{}", " ".repeat(*n), old.trim_start()),
        Spoil::Cut(n) => lines[at].truncate(place(*n)),
        Spoil::Insert(n, what) => lines[at].insert_str(place(*n), what),
        Spoil::Replace(what) => lines[at] = what.clone(),
    }
    if lines.is_empty() { String::from("\n") } else { lines.join("\n") }
}

mod spoilt {
    use super::*;
    use proptest::prelude::*;

    fn how() -> impl Strategy<Value = Spoil> {
        let pieces = [
            "\"", "'", ":", ": ", "[", "]", "{", "}", ",", "- ", "? ", "|", ">", "&a ", "*a", "!x ", "#", "\t", "<<: *a", "---", "${X}",
            "%", "\u{e9}", "\u{1b}", "\r", "~", "0", "@",
        ];
        let piece = prop_oneof![prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), "\\PC{0,8}"];
        prop_oneof![
            Just(Spoil::Delete),
            Just(Spoil::Double),
            (0usize..9).prop_map(Spoil::Indent),
            any::<usize>().prop_map(Spoil::Cut),
            (any::<usize>(), piece.clone()).prop_map(|(n, p)| Spoil::Insert(n, p)),
            piece.prop_map(Spoil::Replace),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is spoilt, there is an answer, every complaint of it stands in the file, and the secret in it stays one.
        #[test]
        fn configurations_are_answered_and_keep_their_secret(spoils in prop::collection::vec((any::<usize>(), how()), 1..6), which in 0usize..3) {
            let text = [include_str!("../config/minimal.yaml"), include_str!("../config/cambist.yaml"), include_str!("../config/kubernetes.yaml")][which];
            let inline = "client_secret: c4nary";
            let mut text = text.replace("client_secret: { file: /run/secrets/iam }", inline).replace("client_secret: { env: PARTNERS_SECRET }", inline);
            text = text.replace("client_secret: { file: /run/secrets/iam/client-secret }", inline);
            for (line, how) in &spoils {
                text = spoil(&text, *line, how, "c4nary");
            }
            let found = report(&text);
            let shown = format!("{}{found:?}", found.render(true));
            prop_assert!(!shown.contains("c4nary"), "{shown}\n\n{text}");
            // Of what could not be read to its end, nobody knows the secrets: a place may lie inside of what is hidden by its looks.
            let unread = found.complaints.iter().any(|c| matches!(c.code, Code::Syntax | Code::Document | Code::Alias | Code::Exotic));
            for complaint in &found.complaints {
                if let Some(place) = complaint.place {
                    prop_assert!(place.line >= 1 && place.column >= 1 && place.end <= text.len(), "{complaint:?}");
                    prop_assert!(complaint.excerpt.is_some() || unread, "{complaint:?}");
                }
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,200}") {
            report(&text);
        }
    }
}
