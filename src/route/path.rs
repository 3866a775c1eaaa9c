//! Path patterns, and the one reading of a request's path: as written, and in its boldest reading. What could mean two things
//! to two programs is found out here; nothing is ever rewritten.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A path as a route names it. Begins with `/`; a prefix matches whole segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    Prefix(String),
    Exact(String),
}

impl PathPattern {
    /// # Errors
    /// What is wrong with the pattern, for the one who wrote it.
    pub fn prefix(text: &str) -> Result<Self, String> {
        checked(text).map(|t| Self::Prefix(if t.len() > 1 { t.strip_suffix('/').unwrap_or(&t).to_owned() } else { t }))
    }

    /// # Errors
    /// What is wrong with the pattern, for the one who wrote it.
    pub fn exact(text: &str) -> Result<Self, String> {
        checked(text).map(Self::Exact)
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Prefix(text) | Self::Exact(text) => text,
        }
    }

    /// Whether it takes this path.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => text == path,
            Self::Prefix(text) if text == "/" => true,
            Self::Prefix(text) => path.strip_prefix(text.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// The pattern in its boldest reading.
    pub(super) fn folded(&self) -> Self {
        let fold = |text: &str| read(text).map_or_else(|_| text.to_owned(), |r| r.boldest().to_owned());
        match self {
            Self::Prefix(text) => Self::Prefix(fold(text)),
            Self::Exact(text) => Self::Exact(fold(text)),
        }
    }
}

fn checked(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}`: a path begins with `/`"));
    }
    if text.contains('?') {
        return Err(format!("`{text}`: query strings are never read for routing"));
    }
    if text.contains('*') {
        return Err(format!("`{text}`: there are no wildcards in paths; a path matches everything below it by itself"));
    }
    read(text).map(|_| as_sent(text)).map_err(|why| format!("`{text}`: {why}"))
}

/// As every client sends it (RFC 3986 §2.1): `/straße` is `/stra%C3%9Fe` on the wire.
fn as_sent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_graphic() && !br#""<>^`{|}"#.contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// A path that can be looked up: both of its readings.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    pub written: &'a str,
    /// `None`: the boldest reading is what is written.
    boldest: Option<String>,
}

impl<'a> Reading<'a> {
    /// A reading made before, put together again.
    pub fn again(written: &'a str, boldest: Option<String>) -> Self {
        Self { written, boldest }
    }

    /// The boldest reading, where it differs from what is written.
    pub fn into_boldest(self) -> Option<String> {
        self.boldest
    }

    pub fn boldest(&self) -> &str {
        self.boldest.as_deref().unwrap_or(self.written)
    }

    pub fn differs(&self) -> bool {
        self.boldest.is_some()
    }
}

/// Reads a path (without its query) twice.
///
/// # Errors
/// What makes it ambiguous under any reading; such a request gets a 400.
pub fn read(written: &str) -> Result<Reading<'_>, &'static str> {
    if plain(written) {
        return Ok(Reading { written, boldest: None });
    }
    refuse_as_written(written)?;
    let decoded = decoded_until_stable(written)?;
    let boldest = fold(&decoded)?;
    Ok(Reading { written, boldest: (boldest != written).then_some(boldest) })
}

/// Reads what is left of a path once a prefix is cut off. A first segment that vanishes in the boldest reading (`//x`, `/%2fx`,
/// `/;a/x`) would make another path of it than the one that was looked up, or even a host.
///
/// # Errors
/// What makes it ambiguous; `as_written`: under any reading alone.
pub fn read_rest(rest: &str, as_written: bool) -> Result<(), &'static str> {
    if !read(rest)?.differs() || as_written {
        return Ok(());
    }
    let decoded = decoded_until_stable(rest)?.replace('\\', "/");
    let after = decoded.strip_prefix('/').unwrap_or(&decoded);
    let (first, more) = after.split_once('/').map_or((after, false), |(first, _)| (first, true));
    let name = first.split([';', '?', '#']).next().unwrap_or_default().trim_end_matches(['.', ' ']);
    // All of it may be cut away: what is left is the root.
    if name.is_empty() && (more || !first.is_empty()) {
        return Err("a path that another one is left of once the route's prefix is cut off");
    }
    Ok(())
}

/// What is left of a path that begins with two slashes for those who take it for a reference to another host (RFC 3986 §4.2):
/// `new URL("//x/admin", base)` and `java.net.URI` read `/admin`. In its boldest reading; `None` for any other path.
pub(super) fn beyond_host(written: &str) -> Option<String> {
    let decoded = decoded_until_stable(written).ok()?.replace('\\', "/");
    let after = decoded.strip_prefix("//")?.trim_start_matches('/');
    fold(after.find('/').map_or("/", |at| &after[at..])).ok()
}

/// Whether nothing about the path can be read in two ways: the common case, decided in one pass over the bytes.
fn plain(path: &str) -> bool {
    let mut last = 0;
    for &b in path.as_bytes() {
        match b {
            b'/' if last == b'/' || last == b'.' => return false,
            b'.' if last == b'/' => return false,
            b'a'..=b'z'
            | b'0'..=b'9'
            | b'/'
            | b'.'
            | b'-'
            | b'_'
            | b'~'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'+'
            | b','
            | b'='
            | b':'
            | b'@' => {}
            _ => return false,
        }
        last = b;
    }
    path.starts_with('/') && last != b'.'
}

fn refuse_as_written(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("the path does not begin with a slash");
    }
    for (i, b) in path.bytes().enumerate() {
        match b {
            0..0x20 | 0x7f => return Err("a control byte in the path"),
            b'\\' => return Err("a backslash in the path"),
            b'#' => return Err("a `#` in the path"),
            b'%' if !path.as_bytes()[i + 1..].iter().take(2).filter(|b| b.is_ascii_hexdigit()).count().eq(&2) => {
                return Err("a broken percent escape in the path");
            }
            _ => {}
        }
    }
    if path.split('/').any(|s| s == "." || s == "..") { Err("a dot segment in the path") } else { Ok(()) }
}

/// Decodes again and again, as a chain of programs would that each decode once.
fn decoded_until_stable(path: &str) -> Result<String, &'static str> {
    let now = unescaped(path.as_bytes()).ok_or("escapes of escapes of escapes in the path")?;
    if now.iter().any(|b| *b < 0x20 || *b == 0x7f) {
        return Err("an encoded control byte in the path");
    }
    let text = std::str::from_utf8(&now).map_err(|_| "the path is no UTF-8")?;
    if text.chars().any(char::is_control) { Err("an encoded control byte in the path") } else { Ok(text.chars().map(ascii_of).collect()) }
}

/// What compatibility forms of Unicode and the "best fit" of some systems make of a character: the fullwidth forms of ASCII, and
/// what else becomes a slash or a dot.
fn ascii_of(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        // One, two and three dots: a segment of them is refused however many they are.
        '\u{2024}'..='\u{2026}' | '\u{fe52}' | '\u{3002}' | '\u{ff61}' => '.',
        '\u{2044}' | '\u{2215}' | '\u{29f8}' => '/',
        '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{fe68}' => '\\',
        _ => c,
    }
}

/// Escapes of escapes of escapes: no chain of programs is that long. `%252525…` would cost a pass for every two characters.
const MOST_PASSES: usize = 8;

/// Bytes without percent escapes, however often they were escaped, within reason. `None`: it goes on beyond that.
pub fn unescaped(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut now = Cow::Borrowed(text);
    for _ in 0..MOST_PASSES {
        match decoded_once(&now) {
            Some(next) => now = Cow::Owned(next),
            None => return Some(now),
        }
    }
    None
}

/// `None`: nothing was there to decode.
fn decoded_once(path: &[u8]) -> Option<Vec<u8>> {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(path.len());
    let (mut i, mut any) = (0, false);
    while i < path.len() {
        let pair = if path[i] == b'%' { path.get(i + 1).and_then(|h| hex(*h)).zip(path.get(i + 2).and_then(|l| hex(*l))) } else { None };
        if let Some((high, low)) = pair {
            out.push(high << 4 | low);
            (i, any) = (i + 3, true);
        } else {
            out.push(path[i]);
            i += 1;
        }
    }
    any.then_some(out)
}

/// What is left when every doubt is resolved the boldest way.
fn fold(decoded: &str) -> Result<String, &'static str> {
    let slashes = decoded.replace('\\', "/");
    let cut = slashes.split(['?', '#']).next().unwrap_or_default();
    let mut out = String::with_capacity(cut.len());
    let mut segments = cut.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(';').next().unwrap_or_default();
        // `.`, `..`, and what some systems take for them: dots and spaces alone.
        if !name.is_empty() && name.bytes().all(|b| b == b'.' || b == b' ') {
            return Err("an encoded dot segment in the path");
        }
        let name = name.trim_end_matches(['.', ' ']);
        if name.is_empty() && segments.peek().is_some() {
            continue;
        }
        out.push('/');
        // Both ways: some letters become another only on their way up (the long s), others only on their way down. The dotted capital I
        // keeps its dot in full case mapping, and loses it in the simple one that Java goes by.
        let dotless = |c| if c == '\u{130}' { 'i' } else { c };
        out.extend(name.chars().map(dotless).flat_map(char::to_uppercase).flat_map(char::to_lowercase));
    }
    Ok(if out.is_empty() { "/".to_owned() } else { out })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_have_one_reading() {
        for path in ["/", "/orders", "/orders/", "/a.b/c-d_e~f", "/a:b@c", "/v1.2/x"] {
            let reading = read(path).unwrap();
            assert!(!reading.differs(), "{path}");
        }
    }

    #[test]
    fn what_is_left_of_a_path_is_no_other_path() {
        for good in ["/", "/x", "/x//y", "/X", "/x/", "/%41", "/x;a/y", "/a%2fb"] {
            assert_eq!(read_rest(good, false), Ok(()), "{good}");
        }
        for bad in ["//", "//x", "//evil.example.com/x", "/%2fx", "/%5cx", "/%252fx", "/;a/x", "/;a", "/%3fx", "/%23x", "/%2f"] {
            assert!(read_rest(bad, false).is_err(), "{bad}");
            assert_eq!(read_rest(bad, true), Ok(()), "{bad}, taken as it is written");
        }
        for never in ["/../x", "/..", "/%2e%2e/x", "/..%2fx", "/./x", "", "x", "/a%00", "//../x"] {
            assert!(read_rest(never, true).is_err() && read_rest(never, false).is_err(), "{never}");
        }
    }

    #[test]
    fn what_nobody_should_send_is_refused() {
        let bad = [
            "",
            "orders",
            "/a\\b",
            "/a#b",
            "/%",
            "/%4",
            "/%zz",
            "/a%00b",
            "/a%0d%0a",
            "/.",
            "/..",
            "/a/../b",
            "/./a",
            "/a/%2e%2e/b",
            "/%2E/a",
            "/a/..;/b",
            "/a/%252e%252e/b",
            "/a%5c..%5cb",
            "/%ff",
            "/a/.%2e/b",
            "/a/.. /b",
            "/a/.../b",
            "/a/%2e%2e%3bx/b",
            "/\u{1}",
            "/a%7f",
            "/a/%c2%80",
            "/%252525252525252541",
        ];
        for path in bad {
            assert!(read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_boldest_reading() {
        let bold = |p: &str| read(p).unwrap().boldest().to_owned();
        assert_eq!(bold("/Orders"), "/orders");
        assert_eq!(bold("/orders%2Fadmin"), "/orders/admin");
        assert_eq!(bold("/orders%252fadmin"), "/orders/admin");
        assert_eq!(bold("//orders///x"), "/orders/x");
        assert_eq!(bold("/orders;v=1/x;y"), "/orders/x");
        assert_eq!(bold("/orders./x "), "/orders/x");
        assert_eq!(bold("/orders%3fx"), "/orders");
        assert_eq!(bold("/orders%5cadmin"), "/orders/admin");
        assert_eq!(bold("/100%25"), "/100%");
        assert_eq!(bold("/a%20b"), "/a b");
        assert_eq!(bold("/%C3%84"), "/\u{e4}");
        assert_eq!(bold("/orders//"), "/orders/");
        assert_eq!(bold("/%C5%BFtra%C3%9Fe/%E2%84%AA"), "/strasse/k");
        assert_eq!(bold("/K%C4%B0OSK"), "/kiosk");
    }

    #[test]
    fn two_slashes_may_begin_a_host() {
        for (path, left) in [("//x/admin", "/admin"), ("//x", "/"), ("///x//Admin;a", "/admin"), ("/%2fx/%61dmin", "/admin"), ("//", "/")] {
            assert_eq!(beyond_host(path).as_deref(), Some(left), "{path}");
        }
        assert_eq!((beyond_host("/x//admin"), beyond_host("/")), (None, None));
    }

    #[test]
    fn other_forms_of_ascii_are_folded() {
        let bold = |p: &str| read(p).unwrap().boldest().to_owned();
        assert_eq!(bold("/%EF%BD%81dmin"), "/admin");
        assert_eq!(bold("/x%EF%BC%8Fadmin"), "/x/admin");
        assert!(read("/x/%EF%BC%8E%EF%BC%8E/admin").is_err() && read("/x/%E2%80%A5/admin").is_err());
    }

    #[test]
    fn patterns_are_checked() {
        assert_eq!(PathPattern::prefix("/orders/").unwrap(), PathPattern::Prefix("/orders".into()));
        assert_eq!(PathPattern::prefix("/").unwrap(), PathPattern::Prefix("/".into()));
        for bad in ["orders", "/a?b", "/a*", "/a/../b", "/%zz", ""] {
            assert!(PathPattern::prefix(bad).is_err(), "{bad}");
        }
    }
}
