//! Floods of HTTP/2: frames that cost the sender little and a careless server much. Whatever comes, a caller on a fresh connection
//! is answered, during and after, and the program's memory stays where it was: each flood is let loose on the built program.

use crate::frames::*;
use crate::kit::{World, get, until};
use crate::wire::{Wire, patiently};
use cambist::demo::misbehave::Misbehave;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The built program, in front of this process's backends.
struct Program {
    child: Child,
    address: SocketAddr,
    world: World,
    token: String,
    _dir: tempfile::TempDir,
}

const MOST_GROWTH: u64 = 16 * 1024 * 1024;
const ROUTES: &str = "
  open: { match: { path: /open }, upstream: OPEN, token: strip }
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
";

impl Program {
    async fn start() -> Self {
        let world = World::new().await;
        world.open.mirror();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.yaml");
        std::fs::write(&file, world.yaml(ROUTES, "workers: 1\nlog: { access: false }\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
        let mut child = command.arg("run").arg("--config").arg(&file).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if line["message"] == "listening" || line["fields"]["message"] == "listening" {
                let at = line["address"].as_str().or(line["fields"]["address"].as_str()).unwrap();
                break at.parse().unwrap();
            }
        };
        // Read on: a program whose output nobody takes is another test's.
        std::thread::spawn(move || lines.for_each(drop));
        let token = world.iam.caller_token("ada").unwrap();
        let program = Self { child, address, world, token, _dir: dir };
        for n in 0.. {
            if Wire::open(program.address).await.ask(get("/orders", &program.token, &[])).await.status() == 200 {
                break;
            }
            assert!(n < 200, "it does not get ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // What an ordinary request takes for good is taken.
        for _ in 0..20 {
            program.canary().await;
        }
        program
    }

    async fn canary(&self) {
        let mut wire = Wire::open(self.address).await;
        assert_eq!(patiently("the canary is answered", wire.ask(get("/orders", &self.token, &[]))).await.status(), 200);
    }

    /// Resident, in bytes.
    fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    async fn raw(&self, settings: &[u8]) -> Raw {
        Raw::open(self.address, settings).await
    }

    /// Lets `flood` loose, step by step, until it is over or the gateway has had enough.
    async fn withstands(&self, what: &str, settings: &[u8], mut flood: impl AsyncFnMut(&mut Raw, u32) -> bool) -> Raw {
        let before = self.memory();
        let (mut raw, mut most) = (self.raw(settings).await, 0);
        for step in 0..40 {
            let goes_on = flood(&mut raw, step).await;
            let _ = raw.came().await;
            if step % 8 == 0 {
                self.canary().await;
                most = most.max(self.memory());
            }
            if !goes_on || raw.over {
                break;
            }
        }
        self.canary().await;
        most = most.max(self.memory());
        let growth = most.saturating_sub(before);
        assert!(growth <= MOST_GROWTH, "{what}: {} KiB more", growth / 1024);
        raw
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ids(step: u32, each: u32) -> impl Iterator<Item = u32> {
    (step * each..(step + 1) * each).map(|n| 2 * n + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn resets() {
    let program = Program::start().await;
    let head = head("GET", "/orders", &program.token);
    let rapid = program
        .withstands("rapid reset", &[], async |raw, step| {
            let opened = |id| [frame(HEADERS, END_STREAM | END_HEADERS, id, &head), frame(RST_STREAM, 0, id, &8u32.to_be_bytes())].concat();
            raw.send(&ids(step, 250).flat_map(opened).collect::<Vec<u8>>()).await
        })
        .await;
    assert!(rapid.over, "ten thousand streams and as many resets are too many");
    // The other way round: what is sent makes the gateway reset the stream.
    let made = program
        .withstands("made to reset", &[], async |raw, step| {
            let opened =
                |id| [frame(HEADERS, END_STREAM | END_HEADERS, id, &head), frame(WINDOW_UPDATE, 0, id, &0u32.to_be_bytes())].concat();
            raw.send(&ids(step, 250).flat_map(opened).collect::<Vec<u8>>()).await
        })
        .await;
    assert!(made.over, "so are those that it is made to send");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_end() {
    let program = Program::start().await;
    let head = head("GET", "/orders", &program.token);
    let mut more = Vec::new();
    field(&mut more, "x-more", &"m".repeat(1000));
    let raw = program
        .withstands("continuation", &[], async |raw, step| {
            let first = if step == 0 { frame(HEADERS, END_STREAM, 1, &head) } else { Vec::new() };
            let rest: Vec<u8> = (0..500).flat_map(|_| frame(CONTINUATION, 0, 1, &more)).collect();
            raw.send(&[first, rest].concat()).await
        })
        .await;
    assert!(raw.over);
    let raw = program
        .withstands("empty continuation", &[], async |raw, step| {
            let first = if step == 0 { frame(HEADERS, END_STREAM, 1, &head) } else { Vec::new() };
            let rest: Vec<u8> = (0..2000).flat_map(|_| frame(CONTINUATION, 0, 1, &[])).collect();
            raw.send(&[first, rest].concat()).await
        })
        .await;
    assert!(raw.over);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_frames_without_end() {
    let program = Program::start().await;
    for (what, one) in [
        ("settings", frame(SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, 65_535))),
        ("settings with nothing", frame(SETTINGS, 0, 0, &[])),
        ("ping", frame(PING, 0, 0, &[7; 8])),
        ("pong", frame(PING, 1, 0, &[7; 8])),
        ("window", frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())),
        ("priority", frame(2, 0, 1, &[0, 0, 0, 0, 16])),
        ("unknown", frame(0xbb, 0, 0, &[0; 64])),
    ] {
        // Its answers are not read: they must not pile up.
        let many: Vec<u8> = one.iter().copied().cycle().take(one.len() * 5000).collect();
        let (before, mut most) = (program.memory(), 0);
        let mut raw = program.raw(&[]).await;
        for step in 0..20 {
            let goes_on = raw.send(&many).await;
            if step % 4 == 0 {
                program.canary().await;
                most = most.max(program.memory());
            }
            if !goes_on {
                break;
            }
        }
        program.canary().await;
        let growth = most.max(program.memory()).saturating_sub(before);
        assert!(growth <= MOST_GROWTH, "{what}: {} KiB more", growth / 1024);
        for _ in 0..20 {
            let _ = raw.came().await;
        }
        assert!(raw.over, "{what}: a hundred thousand of them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_with_nothing_in_it() {
    let program = Program::start().await;
    let head = head("POST", "/orders", &program.token);
    let raw = program
        .withstands("empty data", &[], async |raw, step| {
            let first = if step == 0 { frame(HEADERS, END_HEADERS, 1, &head) } else { Vec::new() };
            let rest: Vec<u8> = (0..2500).flat_map(|_| frame(DATA, 0, 1, &[])).collect();
            raw.send(&[first, rest].concat()).await
        })
        .await;
    assert!(raw.over, "a hundred thousand frames with nothing in them");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_that_stands_for_many() {
    let program = Program::start().await;
    // A field of 4,000 bytes, once; then again and again, at a byte each.
    let mut bomb = head("GET", "/orders", &program.token);
    remembered(&mut bomb, "x-bomb", &"b".repeat(4000));
    bomb.extend(std::iter::repeat_n(0x80 | 62, 8000));
    let mut raw = program
        .withstands("hpack bomb", &[], async |raw, step| {
            raw.send(&ids(step, 20).flat_map(|id| frame(HEADERS, END_STREAM | END_HEADERS, id, &bomb)).collect::<Vec<u8>>()).await
        })
        .await;
    let _ = raw.came().await;
    // As many crumbs as fit under hyper's own limit are one cookie that is too long, or fields that are too many.
    for (crumbs, length) in [(3000, 1), (20, 4000)] {
        let mut crumbled = head("GET", "/orders", &program.token);
        remembered(&mut crumbled, "cookie", &"c".repeat(length));
        crumbled.extend(std::iter::repeat_n(0x80 | 62, crumbs));
        let mut raw = program.raw(&[]).await;
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &crumbled)).await;
        let refused = raw.hears(|(kind, flags, stream, payload)| {
            // 431 as h2 or the stack says it; or the stream is reset, or the connection goes.
            (*kind == HEADERS && *stream == 1 && !payload.starts_with(&[0x88]) && *flags & END_HEADERS > 0)
                || matches!(*kind, RST_STREAM | GOAWAY)
        });
        assert!(refused.await || raw.over, "{crumbs} crumbs of {length}");
        program.canary().await;
    }
    assert!(program.world.orders.requests() < 400, "no bomb has come through");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_held_shut() {
    let program = Program::start().await;
    program.world.open.script_always(Misbehave::Huge(20 << 20));
    let head = head("GET", "/open", &program.token);
    let (before, mut most) = (program.memory(), 0);
    let mut held = Vec::new();
    // As many streams as there may be; of each answer there is far more than could be kept.
    for _ in 0..2 {
        let mut raw = program.raw(&setting(INITIAL_WINDOW_SIZE, 0)).await;
        let begun = program.world.open.requests();
        raw.send(&ids(0, 100).flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, &head)).collect::<Vec<u8>>()).await;
        until("all have come through", || program.world.open.requests() == begun + 100).await;
        let _ = raw.came().await;
        program.canary().await;
        most = most.max(program.memory());
        held.push(raw);
    }
    program.canary().await;
    let growth = most.max(program.memory()).saturating_sub(before);
    assert!(growth <= MOST_GROWTH, "{} KiB more", growth / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_streams_as_configured_are_offered() {
    for (limits, offered) in [("", 100), ("limits: { h2_streams: 7 }", 7)] {
        let g = World::new().await.gateway(ROUTES, limits).await;
        let wanted = setting(MAX_CONCURRENT_STREAMS, offered);
        let mut raw = Raw::open(g.address(), &[]).await;
        assert!(raw.hears(|(kind, _, _, payload)| *kind == SETTINGS && payload.chunks(6).any(|one| one == wanted)).await, "{offered}");
    }
}
