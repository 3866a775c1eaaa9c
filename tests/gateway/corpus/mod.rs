//! The corpus in `tests/corpus`: requests byte by byte, what becomes of each, and why. Here is how its files are read; what they
//! hold is sent by `http1` and `http2`, to a gateway before a backend that keeps every byte (`backend`).

mod backend;
mod http1;
mod http2;
mod stage;

use futures_util::FutureExt;
use stage::Stage;
use std::panic::AssertUnwindSafe;
use std::path::Path;

/// One case, still in the words of its file.
pub struct Case {
    pub name: String,
    pub why: String,
    /// What is sent, and where to wait: the marks `>`, `>>`, `+` and `~`.
    pub steps: Vec<(String, String)>,
    /// What comes back.
    pub outcome: Vec<String>,
    /// What the backend must have seen: the marks `<`, `<<` and `<!`.
    pub seen: Vec<(String, String)>,
}

/// Every case of a folder, in the order of its files.
pub fn read(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let before = cases.len();
        for (n, line) in text.lines().enumerate() {
            if let Err(why) = take(&mut cases, &stem, line) {
                panic!("{}:{}: {why}: {line}", file.display(), n + 1);
            }
        }
        assert!(cases.len() > before, "{} holds no case", file.display());
    }
    for case in &cases {
        assert!(!case.why.is_empty() && !case.steps.is_empty() && !case.outcome.is_empty(), "{}: something is missing", case.name);
        assert_eq!(cases.iter().filter(|c| c.name == case.name).count(), 1, "{} stands there twice", case.name);
        assert_eq!(cases.iter().filter(|c| c.steps == case.steps).count(), 1, "{} sends what another sends", case.name);
    }
    match std::env::var("CORPUS") {
        Ok(only) => cases.into_iter().filter(|case| case.name.contains(&only)).collect(),
        Err(_) => cases,
    }
}

fn take(cases: &mut Vec<Case>, group: &str, line: &str) -> Result<(), &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    if mark == "===" {
        let name = format!("{group}/{rest}");
        cases.push(Case { name, why: String::new(), steps: Vec::new(), outcome: Vec::new(), seen: Vec::new() });
        return Ok(());
    }
    let case = cases.last_mut().ok_or("before the first case")?;
    match mark {
        "why:" => case.why += rest,
        ">" | ">>" | "+" | "~" => case.steps.push((mark.to_owned(), rest.to_owned())),
        "=" => case.outcome.push(rest.to_owned()),
        "<" | "<<" | "<!" => case.seen.push((mark.to_owned(), rest.to_owned())),
        _ => return Err("a line of no kind"),
    }
    Ok(())
}

/// The bytes that a text stands for: `\r \n \t \0 \\ \xff`, `\s` for a blank that would not be seen, `\e` for nothing, `${name}` for
/// a token, `${a*9}` for nine of them.
pub fn bytes(text: &str, token: &impl Fn(&str) -> String) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '$']) {
        out.extend(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some((inside, after)) = rest.strip_prefix("${").and_then(|r| r.split_once('}')) {
            match inside.rsplit_once('*') {
                Some((what, times)) => out.extend(bytes(what, token).repeat(times.parse().unwrap())),
                None => out.extend(token(inside).into_bytes()),
            }
            rest = after;
            continue;
        }
        let escaped = rest.as_bytes().get(1).copied().filter(|_| rest.starts_with('\\'));
        let (byte, length) = match escaped {
            Some(b'r') => (Some(b'\r'), 2),
            Some(b'n') => (Some(b'\n'), 2),
            Some(b't') => (Some(b'\t'), 2),
            Some(b'0') => (Some(0), 2),
            Some(b's') => (Some(b' '), 2),
            Some(b'e') => (None, 2),
            Some(b'\\') => (Some(b'\\'), 2),
            Some(b'x') => (Some(u8::from_str_radix(&rest[2..4], 16).unwrap()), 4),
            Some(_) => panic!("no such escape: {rest}"),
            None => (Some(b'$'), 1),
        };
        out.extend(byte);
        rest = &rest[length..];
    }
    out.extend(rest.as_bytes());
    out
}

/// Plays every case of a folder, and fails with all that did not come out as they should.
async fn play_all(folder: &str, at_least: usize, play: impl AsyncFn(&Stage, &Case)) {
    let (stage, cases, mut failures) = (Stage::set().await, read(folder), Vec::new());
    for case in &cases {
        if let Err(panic) = AssertUnwindSafe(play(&stage, case)).catch_unwind().await {
            let said = panic.downcast_ref::<String>().map_or("?", String::as_str);
            failures.push(format!("{}: {said}\n    ({})\n", case.name, case.why));
        }
    }
    let count = cases.len();
    assert!(failures.is_empty(), "{} of {count} cases of {folder}:\n\n{}", failures.len(), failures.join("\n"));
    if std::env::var("CORPUS").is_err() {
        assert!(count >= at_least, "only {count} cases of {folder}");
    }
    eprintln!("{count} cases of {folder}");
}
