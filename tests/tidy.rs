//! The law of the house: which room may use which, through which door outside crates come in, and how long things may get.
//! It reads the sources as text. What it refuses, it refuses with the place and the rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor. On floor 0 a word may use the words that stand before it; above, a room may use lower floors only.
const FLOORS: [&[&str]; 6] = [
    &["clock", "fault", "token", "bounded", "metrics", "tls", "telemetry"],
    &["issuer", "route", "upstream", "listen"],
    &["verify", "exchange", "cache", "revocation"],
    &["stack", "api", "admin", "swap"],
    &["config"],
    &["app", "demo"],
];

/// Outside crates and the rooms that may name them. A crate that is not listed here (http, bytes, serde, …) is a word of its own.
const DOORS: [(&str, &[&str]); 23] = [
    ("dashmap", &["bounded"]),
    ("foldhash", &["bounded", "upstream"]),
    // To ask issuers; and the client that hands over spans is made by hand, since the exporter's own cannot do without authorities.
    ("reqwest", &["issuer", "telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("serde_yaml", &["config"]),
    ("prometheus", &["metrics"]),
    ("clap", &["app"]),
    ("clap_complete", &["app"]),
    // Checking signatures is the issuer's keys' matter; the development IAM has to make them.
    ("jsonwebtoken", &["issuer", "demo"]),
    ("aws_lc_rs", &["token", "tls", "issuer", "verify", "demo"]),
    ("rustls", &["tls", "listen", "upstream"]),
    ("tokio_rustls", &["listen", "upstream"]),
    ("rustls_platform_verifier", &["tls"]),
    ("x509_parser", &["tls"]),
    // The stack and the admin listener name hyper's request body, which `listen` hands them.
    ("hyper", &["listen", "upstream", "stack", "admin", "demo"]),
    ("hyper_util", &["listen", "upstream", "demo"]),
    ("h2", &["upstream"]),
    ("tower", &["stack", "listen", "admin", "swap", "demo"]),
    ("tower_http", &["stack", "admin"]),
    ("tracing_subscriber", &["telemetry"]),
    ("socket2", &["listen"]),
];

/// Names under which nothing is ever found again.
const NO_ROOMS: [&str; 5] = ["utils", "common", "types", "helpers", "manager"];

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 60;

struct Source {
    path: PathBuf,
    /// The folder or file directly under `src`.
    room: String,
    text: String,
    /// Without comments, strings and character literals; as many lines as the text.
    code: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "tests.rs" | "testing.rs")))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let path = entry.strip_prefix(&root).unwrap().to_owned();
                let room = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&entry).unwrap();
                found.push(Source { code: code_of(&text), path, room, text });
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Fails with all complaints at once.
fn judge(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_room_has_a_floor_and_a_name_that_says_something() {
    let rooms = sources().into_iter().map(|s| s.room).filter(|r| r != "main" && r != "lib");
    let named = |s: &Source| {
        NO_ROOMS.iter().find(|n| s.path.iter().any(|c| c.to_str().unwrap().trim_end_matches(".rs") == **n)).map(|n| (s.path.clone(), *n))
    };
    let mut complaints: Vec<_> = rooms.filter(|r| floor(r).is_none()).map(|r| format!("src/{r}: no floor in tests/tidy.rs")).collect();
    complaints.extend(sources().iter().filter_map(named).map(|(p, n)| format!("src/{}: `{n}` says nothing; name what it is", p.display())));
    judge(complaints);
}

#[test]
fn floors_look_down_only() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| s.room != "main" && s.room != "lib") {
        let mine = floor(&source.room).unwrap_or(0);
        for other in used_rooms(&source.code) {
            let Some(theirs) = floor(&other).filter(|_| other != source.room) else { continue };
            let place = |room: &str| FLOORS[0].iter().position(|r| *r == room);
            // The command line has to start the demo; nothing else on the top floor meets.
            let allowed = theirs < mine
                || (mine == 0 && theirs == 0 && place(&other) < place(&source.room))
                || (source.path == Path::new("app/demo.rs") && other == "demo");
            if !allowed {
                complaints.push(format!("src/{}: uses `{other}` (floor {theirs}) from floor {mine}", source.path.display()));
            }
        }
    }
    judge(complaints);
}

#[test]
fn run_cannot_reach_the_development_iam() {
    let reaches = |s: &&Source| s.room != "demo" && s.path != Path::new("app/demo.rs") && names(&s.code, "crate::demo");
    judge(sources().iter().filter(reaches).map(|s| format!("src/{}: names the demo", s.path.display())).collect());
}

#[test]
fn outside_crates_come_in_through_one_door() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test()) {
        let code = without_test_modules(&source.code);
        for (outside, rooms) in DOORS {
            if names(&code, &format!("{outside}::")) && !rooms.contains(&source.room.as_str()) {
                complaints.push(format!("src/{}: names `{outside}`, whose door is {rooms:?}", source.path.display()));
            }
        }
    }
    judge(complaints);
}

#[test]
fn nothing_gets_too_long() {
    let mut complaints = Vec::new();
    for source in &sources() {
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            complaints.push(format!("src/{}: {lines} lines; {LONGEST_FILE} at the most", source.path.display()));
        }
        for (name, line, long) in functions(&without_test_modules(&source.code)).into_iter().filter(|(_, _, long)| *long > LONGEST_FUNCTION)
        {
            complaints.push(format!("src/{}:{line}: `{name}` has {long} lines; {LONGEST_FUNCTION} at the most", source.path.display()));
        }
    }
    judge(complaints);
}

#[test]
fn every_file_says_what_it_is() {
    let opens = |s: &&Source| !s.is_test() && !s.text.starts_with("//! ");
    judge(sources().iter().filter(opens).map(|s| format!("src/{}: does not open with `//!`", s.path.display())).collect());
}

#[test]
fn there_is_no_unsafe_and_nothing_left_undone() {
    let mut complaints = Vec::new();
    for source in &sources() {
        for word in ["unsafe", "todo!", "unimplemented!", "dbg!"] {
            if source.path != Path::new("lib.rs") && names(&source.code, word) {
                complaints.push(format!("src/{}: `{word}`", source.path.display()));
            }
        }
    }
    assert!(sources().iter().any(|s| s.path == Path::new("lib.rs") && s.text.contains("#![forbid(unsafe_code)]")));
    judge(complaints);
}

#[test]
fn the_law_is_written_down() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let rooms = FLOORS.iter().flat_map(|rooms| rooms.iter());
    judge(rooms.filter(|r| !text.contains(**r)).map(|r| format!("ARCHITECTURE.md does not name `{r}`")).collect());
}

#[test]
fn every_error_has_its_anchor_in_the_docs() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md")).unwrap();
    let faults = cambist::fault::Fault::CODES.iter().filter(|c| !text.contains(&format!("\n### {c}\n")));
    let config = cambist::config::Code::ALL.iter().filter(|c| !text.contains(&format!("<a id=\"{}\"></a>", c.as_str().to_lowercase())));
    judge(
        faults
            .map(ToString::to_string)
            .chain(config.map(ToString::to_string))
            .map(|c| format!("docs/errors.md has no anchor for {c}"))
            .collect(),
    );
}

/// Only the running gateway gives these; all others can be seen with `cambist exchange`, and the page says how.
const WHILE_RUNNING: [&str; 14] = [
    "no_route",
    "method_not_allowed",
    "no_tunnel",
    "misdirected",
    "body_too_large",
    "uri_too_long",
    "headers_too_large",
    "rate_limited",
    "overloaded",
    "draining",
    "upstream_unreachable",
    "upstream_error",
    "upstream_timeout",
    "internal",
];

/// A refusal that an operator can bring about has an anchor, the issuer's words, its cause, its cure and a way to see it.
#[test]
fn every_refusal_is_explained_and_can_be_reproduced() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (text, rules) = (fs::read_to_string(here.join("docs/errors.md")).unwrap(), rules(here));
    let is_row = |line: &&str| ["keycloak-", "issuer-", "entra-"].iter().any(|of| line.starts_with(&format!("| <a id=\"{of}")));
    let rows: Vec<Vec<&str>> =
        text.lines().filter(is_row).map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect();
    let mut complaints = Vec::new();
    for row in &rows {
        if row.len() != 5 || row.iter().any(|cell| cell.trim_matches('-').is_empty()) {
            complaints.push(format!("docs/errors.md: words, code, cause, cure and a way to see it are wanted in {row:?}"));
        }
    }
    let words: Vec<String> =
        rows.iter().map(|row| row[0].replace('`', "").split_once("</a>").map_or_else(String::new, |(_, w)| w.to_owned())).collect();
    for (error, begins) in &rules {
        if !words.iter().any(|words| words.contains(&format!("{error} {begins}")) || (begins.is_empty() && words.contains(error.as_str())))
        {
            complaints.push(format!("src/exchange/refusal/rows.rs: docs/errors.md has no row for `{error}: {begins}`"));
        }
    }
    let seen = text.split_once("\n| to see | do this |\n").expect("the table of what can be seen").1.split("\n\n").next().unwrap();
    let can_be_seen =
        |code: &str| seen.lines().any(|line| line.split(" | ").next().is_some_and(|cell| cell.contains(&format!("[{code}]"))));
    let unseen = cambist::fault::Fault::CODES.iter().filter(|code| !can_be_seen(code) && !WHILE_RUNNING.contains(*code));
    complaints.extend(unseen.map(|code| format!("docs/errors.md does not say how to see {code} with `cambist exchange`")));
    assert!(rules.len() > 30 && rows.len() > 30, "{} rules and {} rows were found", rules.len(), rows.len());
    judge(complaints);
}

/// `error` and the beginning of the description of every row in the tables of refusals.
fn rules(here: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(here.join("src/exchange/refusal/rows.rs")).unwrap();
    let quoted = |text: &str| -> Option<(String, usize)> {
        let start = text.find('"')? + 1;
        let end = start + text[start..].find('"')?;
        Some((text[start..end].to_owned(), end + 1))
    };
    let read = |(at, word): (usize, &str)| {
        let rest = &text[at + word.len()..];
        let (_anchor, end) = quoted(rest.trim_start().starts_with('"').then_some(rest)?)?;
        let (error, more) = quoted(&rest[end..])?;
        Some((error, quoted(&rest[end + more..])?.0))
    };
    text.match_indices("rule(").filter_map(read).collect()
}

#[test]
fn every_configuration_in_the_tree_loads() {
    struct Made;
    impl cambist::config::Outside for Made {
        fn file(&self, path: &Path) -> std::io::Result<Vec<u8>> {
            let pem = path.extension().is_some_and(|e| e == "crt" || e == "pem");
            Ok(if pem { b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_vec() } else { b"secret".to_vec() })
        }
        fn variable(&self, _: &str) -> Option<String> {
            Some("secret".to_owned())
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        if let Err(report) = cambist::config::read_with(&text, name, &Made) {
            panic!("{}", report.render(false));
        }
    }
}

/// Whether `word` stands in `code` and not as the end of a longer name.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(i, _)| {
        let before = code[..i].chars().next_back();
        let after = code[i + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !part(before) && (word.ends_with(':') || word.ends_with('!') || !part(after))
    })
}

/// The rooms that `crate::x` and `crate::{x, y::z}` name.
fn used_rooms(code: &str) -> Vec<String> {
    let word = |s: &str| s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = Vec::new();
    for (i, _) in code.match_indices("crate::") {
        let rest = &code[i + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut start) = (1, 0);
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if (c == ',' && depth == 1) || depth == 0 {
                    used.push(word(&group[start..at]));
                    start = at + 1;
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            used.push(word(rest));
        }
    }
    used
}

/// Name, first line and length of every function that has a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let modifier = |w: &str| matches!(w, "pub" | "async" | "const") || w.starts_with("pub(");
        if !before.split_whitespace().all(modifier) {
            continue;
        }
        let name = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let (mut depth, mut seen) = (0i32, false);
        for (long, line) in lines[first..].iter().enumerate() {
            if !seen && line.trim_end().ends_with(';') && !line.contains('{') {
                break;
            }
            for c in line.chars() {
                depth += i32::from(c == '{') - i32::from(c == '}');
                seen |= c == '{';
            }
            if seen && depth <= 0 {
                found.push((name, first + 1, long + 1));
                break;
            }
        }
    }
    found
}

/// The code with the insides of `#[cfg(test)] mod x { … }` blanked, line for line.
fn without_test_modules(code: &str) -> String {
    let (mut out, mut depth, mut inside, mut armed) = (Vec::new(), 0i32, false, false);
    for line in code.lines() {
        if line.trim_start().starts_with("#[cfg(") && line.contains("test") {
            armed = true;
        } else if armed && line.trim_start().trim_start_matches("pub ").starts_with("mod ") && line.contains('{') {
            (inside, armed, depth) = (true, false, 0);
        } else if !line.trim().is_empty() && !line.trim_start().starts_with("#[") {
            armed = false;
        }
        if inside {
            depth += line.chars().map(|c| i32::from(c == '{') - i32::from(c == '}')).sum::<i32>();
            inside = depth > 0;
            out.push("");
        } else {
            out.push(line);
        }
    }
    out.join("\n")
}

/// Blanks comments, strings and character literals, and keeps the lines.
fn code_of(text: &str) -> String {
    let (mut out, chars) = (String::with_capacity(text.len()), text.chars().collect::<Vec<_>>());
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut i = 0;
    while i < chars.len() {
        let end = match at(i) {
            '/' if at(i + 1) == '/' => (i..chars.len()).find(|j| at(*j) == '\n').unwrap_or(chars.len()),
            '/' if at(i + 1) == '*' => (i + 2..chars.len()).find(|j| at(*j) == '*' && at(j + 1) == '/').map_or(chars.len(), |j| j + 2),
            'r' if matches!(at(i + 1), '"' | '#') && !(at(i.wrapping_sub(1)).is_alphanumeric() || at(i.wrapping_sub(1)) == '_') => {
                raw_end(&chars, i)
            }
            '"' => quoted_end(&chars, i, '"'),
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => quoted_end(&chars, i, '\''),
            _ => i,
        };
        if end == i {
            out.push(at(i));
            i += 1;
        } else {
            out.extend(chars[i..end].iter().filter(|c| **c == '\n'));
            out.push(' ');
            i = end;
        }
    }
    out
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return start;
    }
    let closes = |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (start + 2 + hashes..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

#[test]
fn the_reader_of_code_reads_code() {
    let text = "fn a() { // }\n    \"}\"; '}'; r#\"}\"#;\n}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    let code = code_of(text);
    assert_eq!(functions(&code).iter().map(|f| (f.0.as_str(), f.2)).collect::<Vec<_>>(), [("a", 3), ("b", 1)]);
    assert_eq!(functions(&without_test_modules(&code)).len(), 1);
    assert_eq!(used_rooms("use crate::{token::{A, B}, fault}; crate::clock::now()"), ["token", "fault", "clock"]);
    assert!(names("a unsafe b", "unsafe") && !names("unsafe_code", "unsafe"));
    assert_eq!(BTreeMap::from(DOORS).len(), DOORS.len(), "a door stands twice");
}
