//! Secrets that sing: planted where secrets and tokens are, and looked for, in every spelling that a program might give them, in
//! everything that anybody could look at.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use cambist::demo::fetch::Answer;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use url::form_urlencoded::byte_serialize;

/// Every spelling of `secret` in which it would be as good as raw.
fn spellings(secret: &str) -> BTreeSet<String> {
    let bytes = secret.as_bytes();
    let percent = |b: &u8| if b.is_ascii_alphanumeric() { char::from(*b).to_string() } else { format!("%{b:02X}") };
    let list = |b: &u8| b.to_string();
    let mut all = BTreeSet::from([
        secret.to_owned(),
        byte_serialize(bytes).collect(),
        bytes.iter().map(percent).collect(),
        bytes.iter().map(|b| format!("{b:02x}")).collect(),
        bytes.iter().map(list).collect::<Vec<_>>().join(", "),
        serde_json::to_string(secret).unwrap().trim_matches('"').to_owned(),
        secret.escape_debug().to_string(),
    ]);
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        all.extend((0..3).map(|before| inside(&engine, bytes, before)));
    }
    all
}

/// What base64 makes of `bytes` wherever they stand in something longer: `before` bytes of the group that they begin in are not
/// theirs, and neither are the characters that depend on what stands around them.
fn inside(engine: &impl Engine, bytes: &[u8], before: usize) -> String {
    let shifted = [vec![0; before].as_slice(), bytes].concat();
    let text = engine.encode(&shifted);
    let start = [0, 2, 3][before];
    let end = text.len() - usize::from(shifted.len() % 3 != 0);
    text[start..end].to_owned()
}

/// What is planted, and what was seen.
#[derive(Default)]
pub struct Aviary {
    planted: Mutex<Vec<(String, BTreeSet<String>)>>,
    /// Where something was seen, and what.
    seen: Mutex<Vec<(String, String)>>,
    codes: Mutex<BTreeSet<String>>,
}

impl Aviary {
    /// `what` it is, for whoever reads the failure.
    pub fn plant(&self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what}: too short to be told from chance");
        self.planted.lock().unwrap().push((what.to_owned(), spellings(secret)));
    }

    /// A JWT counts as seen if any telling part of it is: the signature, or the middle of the claims.
    pub fn plant_jwt(&self, what: &str, token: &str) {
        let parts: Vec<&str> = token.split('.').collect();
        self.plant(&format!("{what} (signature)"), &parts[2][..40]);
        let half = parts[1].len() / 2;
        self.plant(&format!("{what} (claims)"), &parts[1][half..half + 24]);
    }

    pub fn saw(&self, place: &str, text: impl Into<String>) {
        self.seen.lock().unwrap().push((place.to_owned(), text.into()));
    }

    /// Notes an answer, head and body, and returns its `code`, if the gateway gave it itself. A backend that tells its caller what
    /// the caller sent gives nothing away.
    pub fn answered(&self, place: &str, answer: &Answer) -> String {
        let is_echo = answer.json()["headers"].is_array();
        let (headers, body) = (&answer.headers, if is_echo { "".into() } else { String::from_utf8_lossy(&answer.body) });
        // The sensitive mark of a header value would hide it from `Debug`.
        let fields: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes()))).collect();
        self.saw(&format!("the answer to {place}"), format!("{}\n{}\n\n{body}", answer.status, fields.join("\n")));
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        if !code.is_empty() {
            self.codes.lock().unwrap().insert(code.clone());
        }
        code
    }

    /// The codes of all answers so far.
    pub fn codes(&self) -> BTreeSet<String> {
        self.codes.lock().unwrap().clone()
    }

    /// Every canary that can be heard, and where.
    pub fn heard(&self) -> Vec<String> {
        let (planted, seen) = (self.planted.lock().unwrap(), self.seen.lock().unwrap());
        let mut heard = Vec::new();
        for (place, text) in seen.iter() {
            for (what, spellings) in planted.iter() {
                if let Some(spelt) = spellings.iter().find(|s| text.contains(s.as_str())) {
                    let line = text.lines().find(|l| l.contains(spelt.as_str())).unwrap_or(spelt);
                    let before: String = line.split(spelt.as_str()).next().unwrap_or_default().chars().rev().take(300).collect();
                    heard.push(format!("{what}, in {place}: {}[HERE]", before.chars().rev().collect::<String>()));
                }
            }
        }
        heard
    }
}

/// The log's output, kept.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_canary_is_heard_in_every_spelling() {
    let secret = "C4n:secret/ä+%";
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}{secret}{before}");
        let spelt = [
            text.clone(),
            STANDARD_NO_PAD.encode(&text),
            URL_SAFE_NO_PAD.encode(format!("{text}tail")),
            byte_serialize(text.as_bytes()).collect(),
            format!("{:?}", text.as_bytes()),
            serde_json::json!({ "a": text }).to_string(),
        ];
        for text in spelt {
            let aviary = Aviary::default();
            aviary.plant("it", secret);
            aviary.saw("here", text.clone());
            assert_eq!(aviary.heard().len(), 1, "{text}");
        }
    }
    let silent = Aviary::default();
    silent.plant("it", secret);
    silent.saw("here", "nothing of it".repeat(100));
    assert!(silent.heard().is_empty());
}
