//! Bodies stream both ways, at the pace of whoever is slower: nothing is held whole, and nothing is lost.

use crate::kit::{Running, World, get, request};
use crate::wire::{Act, Puppet, patiently, say};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const MIRROR: &str = "\n  mirror: { upstream: OPEN, token: strip }\n";

async fn mirror() -> Running {
    let world = World::new().await;
    world.open.mirror();
    world.gateway(MIRROR, "workers: 1").await
}

/// Bytes that show when some of them are missing or changed places.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| ((i * 31) ^ (i >> 8)) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_goes_on_before_the_rest_is_there() {
    let g = mirror().await;
    let mut wire = g.wire().await;
    wire.send(request("POST /x HTTP/1.1", &g.token("ada"), &["Transfer-Encoding: chunked"])).await;
    let head = wire.stream_head().await;
    assert_eq!(head.one("transfer-encoding"), "chunked");
    for word in ["there", "and", "back"] {
        wire.send(format!("{:x}\r\n{word}\r\n", word.len())).await;
        assert_eq!(wire.piece().await, word, "while the request goes on");
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.piece().await, "");
    assert_eq!(wire.ask(request("POST /x HTTP/1.1", &g.token("ada"), &["Content-Length: 5"]) + "again").await.text(), "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_there_and_back_whole() {
    const ALL: usize = 32 << 20;
    const PIECE: usize = 1 << 18;
    let g = mirror().await;
    let mut wire = g.wire().await;
    wire.send(request("POST /x HTTP/1.1", &g.token("ada"), &[&format!("Content-Length: {ALL}")])).await;
    let (mut reader, mut writer) = wire.stream.into_split();
    let sending = tokio::spawn(async move {
        for at in (0..ALL).step_by(PIECE) {
            writer.write_all(&pattern(at, PIECE)).await.unwrap();
        }
        writer
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reader.read_u8().await.unwrap());
    }
    assert!(String::from_utf8_lossy(&head).to_lowercase().contains(&format!("content-length: {ALL}")), "the length is known on both sides");
    let mut piece = vec![0; PIECE];
    for at in (0..ALL).step_by(PIECE) {
        patiently("the next piece", reader.read_exact(&mut piece)).await.unwrap();
        assert!(piece == pattern(at, PIECE), "at {at}");
    }
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_read_is_not_read_from_for_ever() {
    const FAR_TOO_MUCH: usize = 1 << 30;
    let g = mirror().await;
    let mut wire = g.wire().await;
    wire.send(request("POST /x HTTP/1.1", &g.token("ada"), &[&format!("Content-Length: {FAR_TOO_MUCH}")])).await;
    let piece = vec![b'x'; 1 << 20];
    let mut taken = 0;
    while let Ok(sent) = tokio::time::timeout(std::time::Duration::from_secs(1), wire.stream.write_all(&piece)).await {
        sent.unwrap();
        taken += piece.len();
        assert!(taken < 256 << 20, "the sockets' buffers hold no such amount: somebody else does");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_up_nobody_else() {
    let g = mirror().await;
    g.world.open.behave();
    let huge = cambist::demo::misbehave::Misbehave::Huge(1 << 30);
    g.world.open.script(huge);
    let token = g.token("ada");
    let mut slow = g.wire().await;
    slow.send(get("/x", &token, &[])).await;
    patiently("its beginning", slow.stream.readable()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(g.ask(request("POST /x HTTP/1.1", &token, &["Content-Length: 2"]) + "ok").await.text(), "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_reach_the_caller_before_any_of_the_body() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let acts = move |_: &str| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Act::Wait(wait.clone()), say("later")];
    let backend = Puppet::start(acts).await;
    let g = crate::kit::before(&backend.url(), "", "").await;
    let mut wire = g.wire().await;
    wire.send(get("/x", &g.token("ada"), &[])).await;
    assert_eq!(wire.stream_head().await.status(), 200);
    go.notify_one();
    let mut rest = [0; 5];
    patiently("the body", wire.stream.read_exact(&mut rest)).await.unwrap();
    assert_eq!(&rest, b"later");
}
