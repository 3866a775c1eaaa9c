//! Whole outputs against files of what is expected, in `tests/cli/said`. `UPDATE=1` writes them anew; look at what changed.

use crate::program::Said;
use std::path::Path;

/// What was said on stdout, and on stderr where there was anything, is what stands in the file; `hide` are texts that differ from run
/// to run, each with what stands in for it.
pub fn as_expected(name: &str, said: &Said, hide: &[(&str, &str)]) {
    let mut text = format!("exit code {}\n--- stdout\n{}", said.code, said.out);
    if !said.err.is_empty() {
        text = format!("{text}--- stderr\n{}", said.err);
    }
    for (from, to) in hide {
        text = text.replace(from, to);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/said").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}: run again with UPDATE=1 if this is what is wanted, and look at the file", path.display());
}
