//! The cases of HTTP/2, in frames made by hand.

use super::stage::Stage;
use super::{Case, play_all};
use crate::frames::{Came, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, frame};
use crate::kit::until;
use std::collections::HashMap;

/// Of a stream that only asks whether the connection goes on.
const LAST: u32 = 0x7fff_ffff;

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_http_2_comes_out_as_it_should() {
    play_all("http2", 60, play).await;
}

async fn play(stage: &Stage, case: &Case) {
    let before = stage.backend.count();
    let mut raw = Raw::open(stage.g.address(), &[]).await;
    for (i, steps) in case.steps.split(|(mark, text)| mark == "~" && text == "heard").enumerate() {
        if i > 0 {
            until("the backend hears of it", || stage.backend.count() > before).await;
        }
        raw.send(&sent(stage, steps)).await;
    }
    let mut ends = Ends::default();
    for wanted in &case.outcome {
        let (stream, what) = wanted.split_once(": ").map_or((1, &**wanted), |(stream, what)| (stream.parse().unwrap(), what));
        ends.come_to(&mut raw, stream, what).await;
    }
    let goes_on = ends.goaway.is_none();
    if goes_on {
        let mut fields = Vec::new();
        usual(stage, &mut fields, "GET /orders/canary");
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, LAST, &fields)).await;
        ends.come_to(&mut raw, LAST, "200").await;
    }
    let mut wire = stage.g.wire().await;
    stage.canary(&mut wire, "on a fresh connection").await;
    stage.has_seen(case, before, 1 + usize::from(goes_on)).await;
}

/// The frames of a case: `> KIND STREAM +flag… payload`, and `+ name: value` for the fields of the one before.
fn sent(stage: &Stage, steps: &[(String, String)]) -> Vec<u8> {
    let mut frames: Vec<(u8, u8, u32, Vec<u8>)> = Vec::new();
    let mut out = Vec::new();
    for (mark, text) in steps {
        if mark == "+" {
            let fields = &mut frames.last_mut().expect("fields belong to a frame").3;
            match text.strip_prefix("@ ") {
                Some(line) => usual(stage, fields, line),
                None => {
                    let at = text[1..].find(':').expect("name: value") + 1;
                    let at = if text.starts_with("\\e:") { 2 } else { at };
                    literal(fields, &stage.bytes(&text[..at]), &stage.bytes(text[at + 1..].strip_prefix(' ').unwrap_or_default()));
                }
            }
            continue;
        }
        let mut words = text.splitn(3, ' ');
        let (kind, stream, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        let stream = stream.parse().unwrap();
        let (mut flags, mut rest) = (0, rest);
        let fields = ["HEADERS", "CONTINUATION"].contains(&kind);
        if fields {
            flags |= END_HEADERS;
        }
        while let Some(flag) = rest.split(' ').next().filter(|word| word.starts_with('+')) {
            rest = rest[flag.len()..].trim_start();
            match flag {
                "+end" => flags |= END_STREAM,
                "+more" => flags &= !END_HEADERS,
                "+padded" => flags |= 8,
                _ => panic!("no such flag: {flag}"),
            }
        }
        frames.push((kind_of(kind), flags, stream, stage.bytes(rest)));
    }
    for (kind, flags, stream, payload) in frames {
        out.extend(frame(kind, flags, stream, &payload));
    }
    out
}

fn kind_of(name: &str) -> u8 {
    let kinds =
        ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"];
    kinds.iter().position(|kind| *kind == name).map_or_else(|| name.strip_prefix('#').unwrap().parse().unwrap(), |at| at as u8)
}

/// What a good request begins with: its pseudo-fields and its token.
fn usual(stage: &Stage, fields: &mut Vec<u8>, line: &str) {
    let (method, path) = line.split_once(' ').unwrap();
    let bearer = format!("Bearer {}", stage.token("ada"));
    let all = [(":method", method), (":scheme", "http"), (":authority", "api.example.com"), (":path", path), ("authorization", &bearer)];
    for (name, value) in all {
        literal(fields, name.as_bytes(), value.as_bytes());
    }
}

/// A field that is not remembered.
fn literal(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        if text.len() < 127 {
            out.push(text.len() as u8);
        } else {
            out.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                out.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            out.push(rest as u8);
        }
        out.extend(text);
    }
}

/// What has become of the streams, and of the connection.
#[derive(Default, Debug)]
struct Ends {
    status: HashMap<u32, u16>,
    bodies: HashMap<u32, Vec<u8>>,
    resets: HashMap<u32, u32>,
    goaway: Option<u32>,
}

const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

impl Ends {
    async fn come_to(&mut self, raw: &mut Raw, stream: u32, wanted: &str) {
        for _ in 0..40 {
            if self.is(stream, wanted) {
                return;
            }
            let came = raw.came().await;
            let over = came.is_empty() && raw.over;
            came.into_iter().for_each(|frame| self.take(frame));
            assert!(!over || self.is(stream, wanted), "wanted {stream}: {wanted}, and the connection ended: {self:?}");
        }
        panic!("wanted {stream}: {wanted}; came {self:?}");
    }

    fn is(&self, stream: u32, wanted: &str) -> bool {
        let error = |code: &u32| ERRORS[*code as usize];
        match wanted.split_once(' ') {
            Some(("reset", code)) => self.resets.get(&stream).map(error) == Some(code),
            Some(("goaway", code)) => self.goaway.as_ref().map(error) == Some(code),
            Some(other) => panic!("no such outcome: {other:?}"),
            None => self.said(stream) == wanted.parse().ok(),
        }
    }

    /// The status; of an answer that the gateway gave itself, what its body says.
    fn said(&self, stream: u32) -> Option<u16> {
        let status = *self.status.get(&stream)?;
        let problem: Option<serde_json::Value> = self.bodies.get(&stream).and_then(|body| serde_json::from_slice(body).ok());
        match problem {
            Some(problem) if status != 200 => {
                assert!(problem["status"] != 400 || problem["code"] == "bad_request", "{problem}");
                problem["status"].as_u64().and_then(|s| u16::try_from(s).ok())
            }
            _ => Some(status).filter(|s| *s == 200),
        }
    }

    fn take(&mut self, (kind, _, stream, payload): Came) {
        let code = |at: usize| payload.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        match kind {
            // The status comes first, and the usual ones stand in HPACK's static table; of others, the body tells.
            HEADERS => {
                let indexed = [200, 204, 206, 304, 400, 404, 500];
                let status = payload.first().and_then(|b| indexed.get(usize::from(*b).checked_sub(0x88)?)).copied().unwrap_or(1);
                self.status.entry(stream).or_insert(status);
            }
            DATA => self.bodies.entry(stream).or_default().extend(payload),
            RST_STREAM => {
                self.resets.entry(stream).or_insert_with(|| code(0).unwrap());
            }
            GOAWAY => self.goaway = self.goaway.or(code(4)),
            _ => {}
        }
    }
}
