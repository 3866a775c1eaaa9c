//! The offending line as it may be shown: alone, and with secrets blanked. It blanks too much rather than too little, and never
//! shows a neighbouring line. It also finds `${…}`, since it is what looks at every scalar.

use super::complaint::{Code, Complaint, Excerpt};
use super::nearest::distance;
use super::place::Place;
use super::reading::Reading;
use super::secret::{is_plainly_a_path, is_variable_name};
use super::tree::{Entry, Kind, Node, Tree};

const BLANK: &str = "[secret]";
const SECRETISH: &[&str] =
    &["secret", "passw", "passphrase", "private_key", "encryption_key", "credential", "api_key", "apikey", "assertion"];
/// Fields of ours that sound like secrets and are none.
const NO_SECRETS: &[&str] = &["max_per_token", "client_secret_encoding"];
const SLIPS: &[&str] = &["secret", "client_secret", "password", "private_key", "encryption_key", "token"];
/// Longer lines are cut around the caret.
const WIDEST: usize = 160;

/// The text with what must not be shown of it.
pub struct Blanked<'t> {
    text: &'t str,
    /// Bytes from and to.
    secrets: Vec<(usize, usize)>,
    /// There is no tree to know secrets by; lines are judged by their looks.
    by_looks: bool,
}

impl<'t> Blanked<'t> {
    /// Complains about every `${…}` on the way.
    pub fn of_tree(text: &'t str, tree: &Tree, reading: &Reading) -> Self {
        let mut secrets = Vec::new();
        sweep(&tree.root, &mut Vec::new(), false, &mut secrets, reading);
        sweep_map(&tree.dropped, &mut Vec::new(), false, &mut secrets, reading);
        Self { text, secrets, by_looks: false }
    }

    pub fn by_looks(text: &'t str) -> Self {
        Self { text, secrets: Vec::new(), by_looks: true }
    }

    /// `None`: that line cannot be shown, or not in such a way that it would help.
    pub fn excerpt(&self, place: Place) -> Option<Excerpt> {
        let breaks = |c: char| c == '\n' || c == '\r';
        let before = self.text.get(..place.start)?;
        let from = before.rfind(breaks).map_or(0, |i| i + 1);
        let to = self.text.get(from..)?.find(breaks).map_or(self.text.len(), |i| from + i);
        let mut line = self.text.get(from..to)?;
        let mut hidden: Vec<(usize, usize)> =
            self.secrets.iter().filter(|(a, b)| *a < to && *b > from).map(|(a, b)| ((*a).max(from) - from, (*b).min(to) - from)).collect();
        if let Some((start, end)) = self.by_looks.then(|| by_looks(&self.text[..from], line)).flatten() {
            // The caret would stand under all that is hidden, and so point at nothing.
            let begins = line.len() - line[start..].trim_start().len();
            if (from + begins + 1..from + end).contains(&place.start) {
                return None;
            }
            hidden.push((start, end));
        }
        // A comment behind a secret may well be the secret of yesterday.
        if !hidden.is_empty() || has_secretish_word(line) {
            let behind = hidden.iter().map(|(_, end)| *end).max().unwrap_or(0);
            let comment = line.get(behind..).and_then(|rest| rest.find(" #"));
            line = comment.and_then(|i| line.get(..behind + i)).unwrap_or(line).trim_end();
        }
        hidden.sort_unstable();
        Some(cut(show(line, &hidden, place.start.saturating_sub(from), place.width)))
    }
}

fn sweep(node: &Node, path: &mut Vec<String>, secret: bool, secrets: &mut Vec<(usize, usize)>, reading: &Reading) {
    match &node.kind {
        Kind::Nothing => {}
        Kind::Scalar { text, .. } => {
            let displaced = match path.last().map(String::as_str) {
                Some("env") => !is_variable_name(text),
                Some("file") => !is_plainly_a_path(text),
                _ => false,
            };
            let swallowed = text.contains('\n') && has_secretish_word(text);
            let keyed = text.split_once('?').is_some_and(|(_, query)| has_secretish_word(query));
            if secret || displaced || swallowed || (text.contains("://") && (keyed || text.contains('@'))) {
                secrets.push((node.written.start, node.written.end));
            }
            complain_of_substitution(text, node.place, reading);
        }
        Kind::List(nodes) => nodes.iter().for_each(|node| sweep(node, path, secret, secrets, reading)),
        Kind::Map(entries) => sweep_map(entries, path, secret, secrets, reading),
    }
}

fn sweep_map(entries: &[Entry], path: &mut Vec<String>, secret: bool, secrets: &mut Vec<(usize, usize)>, reading: &Reading) {
    for entry in entries {
        complain_of_substitution(&entry.key, entry.place, reading);
        let reference = matches!(entry.key.as_str(), "file" | "env" | "algorithm" | "key_id") || entry.key.ends_with("_file");
        let route_mode = entry.key == "token" && path.len() == 2 && path[0] == "routes";
        let inside = !route_mode && (secret || is_secretish(&entry.key)) && !reference;
        path.push(entry.key.clone());
        sweep(&entry.value, path, inside, secrets, reading);
        path.pop();
    }
}

fn complain_of_substitution(text: &str, place: Place, reading: &Reading) {
    if text.contains("${") {
        let it = Complaint::error(Code::Substitution, place, "`${…}` stays as it is: nothing is substituted in this file");
        reading.complain(it.cure("for a secret write `{ env: NAME }` or `{ file: /path }`; for the rest, write the value itself"));
    }
}

/// Whether what stands under this key may be a secret, slips of the keys included.
fn is_secretish(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    if NO_SECRETS.contains(&key.as_str()) {
        return false;
    }
    let slip = |word: &str| {
        let allowed = if word.len() > 6 { 3 } else { 1 };
        key.len().abs_diff(word.len()) <= allowed && distance(&key, word) <= allowed
    };
    SECRETISH.iter().any(|word| key.contains(word)) || key.ends_with("_token") || SLIPS.iter().any(|word| slip(word))
}

fn has_secretish_word(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').any(is_secretish)
}

/// `"` and `'`.
const QUOTES: [char; 2] = ['\u{22}', '\u{27}'];

/// What to hide of a line when nothing is known of its structure: all behind a secretish word, or all of it where it may go on
/// from such a line above.
fn by_looks(above: &str, line: &str) -> Option<(usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    if has_secretish_word(line) || line.contains('@') {
        let colon = line.find(':').map_or(0, |i| i + 1);
        return Some((colon, line.len()));
    }
    // A line above that began a secret, and has not ended by indentation, or left a quote open.
    let began = above.lines().rev().take(50).find(|l| has_secretish_word(l));
    let goes_on = |l: &str| indent(line) > indent(l) || l.matches(QUOTES).count() % 2 == 1;
    if began.is_some_and(goes_on) { Some((0, line.len())) } else { None }
}

/// Puts `[secret]` in the place of each hidden stretch, and moves the caret with the text.
fn show(line: &str, hidden: &[(usize, usize)], caret_byte: usize, width: usize) -> Excerpt {
    let mut out = String::new();
    let (mut caret, mut caret_width, mut at, mut skip_to) = (None, width.max(1), 0, 0);
    for (byte, c) in line.char_indices() {
        if byte < skip_to {
            continue;
        }
        if let Some((_, end)) = hidden.iter().find(|(start, end)| (*start..*end).contains(&byte)) {
            skip_to = *end;
            if caret.is_none() && caret_byte < *end {
                (caret, caret_width) = (Some(at), BLANK.len());
            }
            out.push_str(BLANK);
            at += BLANK.len();
            continue;
        }
        if caret.is_none() && byte >= caret_byte {
            caret = Some(at);
        }
        out.push(if c.is_control() { ' ' } else { c });
        at += 1;
    }
    let caret = caret.unwrap_or(at);
    Excerpt { line: out, caret, width: caret_width.min((at - caret.min(at)).max(1)) }
}

fn cut(it: Excerpt) -> Excerpt {
    if it.line.chars().count() <= WIDEST {
        return it;
    }
    let from = it.caret.saturating_sub(WIDEST / 2);
    let line: String = it.line.chars().skip(from).take(WIDEST).collect();
    let caret = it.caret - from;
    Excerpt { line, caret, width: it.width.min(WIDEST - caret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, what: &str) -> Place {
        let start = text.find(what).unwrap();
        Place { line: 1, column: 1, width: what.chars().count(), start, end: start + what.len() }
    }

    #[test]
    fn the_caret_moves_with_what_is_blanked() {
        let text = "x\n{ a: hidden, b: \u{e9}, c: seen }\ny";
        let blanked = Blanked { text, secrets: vec![(text.find("hidden").unwrap(), text.find(", b").unwrap())], by_looks: false };
        let it = blanked.excerpt(at(text, "seen")).unwrap();
        assert_eq!(it.line, "{ a: [secret], b: \u{e9}, c: seen }");
        assert_eq!(it.line.chars().skip(it.caret).take(it.width).collect::<String>(), "seen");
        let it = blanked.excerpt(at(text, "hidden")).unwrap();
        assert_eq!(it.line.chars().skip(it.caret).take(it.width).collect::<String>(), BLANK);
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("{}here{}", "a".repeat(5000), "b".repeat(5000));
        let it = Blanked::by_looks(&text).excerpt(at(&text, "here")).unwrap();
        assert_eq!(it.line.chars().skip(it.caret).take(it.width).collect::<String>(), "here");
        assert!(it.line.len() <= WIDEST);
    }

    #[test]
    fn secretish_keys_are_known_and_others_are_not() {
        assert!(
            ["client_secret", "Client-Secret", "clientsecret", "cleint_secert", "password", "token", "access_token", "passwrd"]
                .iter()
                .all(|k| is_secretish(k))
        );
        assert!(
            !["audience", "token_endpoint", "max_per_token", "scopes", "client_id", "jwks_uri", "path"].iter().any(|k| is_secretish(k))
        );
    }
}
