//! Callers who take their time: silent ones, those whose heads or bodies drip, those who read nothing. Others are served
//! meanwhile, and the slow are gone in half a minute. `SLOW_CLIENTS=2000` makes it the crowd that the goals speak of.

use crate::kit::{Running, World, get, request};
use crate::wire::{Wire, patiently};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ROUTES: &str = "
  slow: { match: { path: /slow }, upstream: OPEN, token: strip }
  sink: { match: { path: /sink }, upstream: PAYROLL, token: strip }
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
";

async fn mirrored(more: &str) -> Running {
    let world = World::new().await;
    world.open.mirror();
    world.gateway(ROUTES, more).await
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn canary(g: &Running, token: &str) {
    assert_eq!(g.ask(get("/orders", token, &[])).await.status(), 200);
}

/// Sends until nothing moves any more: every buffer on the way there and back is full, and nobody reads.
async fn stuffed(g: &Running, token: &str) -> Wire {
    let mut wire = g.wire().await;
    wire.send(request("POST /slow HTTP/1.1", token, &["Content-Length: 1000000000"])).await;
    let piece = vec![b'x'; 1 << 20];
    while let Ok(sent) = tokio::time::timeout(seconds(1), wire.stream.write_all(&piece)).await {
        sent.unwrap();
    }
    wire
}

async fn is_cut(wire: &mut Wire) {
    let piece = vec![b'x'; 1 << 16];
    let cut = async { while wire.stream.write_all(&piece).await.is_ok() {} };
    patiently("the connection is cut", cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_slow_callers_is_gone_in_half_a_minute_and_nobody_waits_for_it() {
    let crowd = std::env::var("SLOW_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let g = mirrored("").await;
    let token = g.token("ada");
    let mut slow = Vec::new();
    for n in 0..crowd {
        let mut wire = g.wire().await;
        match n % 3 {
            0 => {}
            1 => wire.send("GET /slow HTTP/1.1\r\nHost: a").await,
            // What answers before it has heard all is another matter: there, the answer counts.
            _ => wire.send(request("POST /sink HTTP/1.1", &token, &["Content-Length: 100000"]) + "a").await,
        }
        slow.push(wire);
    }
    // Fewer: each fills all buffers on its way.
    let mut readers = vec![stuffed(&g, &token).await, stuffed(&g, &token).await];
    canary(&g, &token).await;
    for _ in 0..5 {
        for (n, wire) in slow.iter_mut().enumerate().filter(|(n, _)| n % 3 > 0) {
            // They drip for as long as they are let.
            let _ = wire.stream.write_all(if n % 3 == 1 { b"x" } else { b"bb" }).await;
        }
        g.turn(seconds(5)).await;
        canary(&g, &token).await;
    }
    for mut wire in slow {
        let mut heard = Vec::new();
        let _ = patiently("it is closed", wire.stream.read_to_end(&mut heard)).await;
    }
    for wire in &mut readers {
        is_cut(wire).await;
    }
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
    canary(&g, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_400_however_steadily_it_drips() {
    let g = World::new().await.gateway(ROUTES, "").await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    wire.send(request("POST /slow HTTP/1.1", &token, &["Content-Length: 100000"])).await;
    let mut quick = g.wire().await;
    quick.send(request("POST /slow HTTP/1.1", &token, &["Content-Length: 5000"])).await;
    for _ in 0..8 {
        let _ = wire.stream.write_all(b"drip").await;
        quick.send(vec![b'x'; 500]).await;
        canary(&g, &token).await;
        g.turn(seconds(3)).await;
    }
    assert_eq!(wire.answer().await.said(), (400, "bad_request".into()));
    quick.send(vec![b'x'; 1000]).await;
    assert_eq!(quick.answer().await.status(), 200, "one at some 140 bytes a second is not slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_as_configured() {
    let g = World::new().await.gateway(ROUTES, "limits: { min_body_rate: 1B/s }").await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    wire.send(request("POST /slow HTTP/1.1", &token, &["Content-Length: 200"])).await;
    for _ in 0..8 {
        wire.send("aaaaaaaaaaaaaaaaaaaaaaaaa").await;
        canary(&g, &token).await;
        g.turn(seconds(6)).await;
    }
    assert_eq!(wire.answer().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_reads_nothing_is_cut_long_before_the_upstream_s_idle() {
    let g = mirrored("").await;
    let token = g.token("ada");
    let mut wire = stuffed(&g, &token).await;
    for _ in 0..3 {
        canary(&g, &token).await;
        g.turn(seconds(8)).await;
    }
    is_cut(&mut wire).await;
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_slow_is_not_the_caller_s_fault() {
    use crate::kit::before;
    use crate::wire::{Act, Puppet, say};
    use std::sync::Arc;
    use tokio::sync::Notify;
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let backend = Puppet::start(move |_| {
        vec![say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), Act::Wait(wait.clone()), say("o"), Act::Wait(wait.clone()), say("k")]
    })
    .await;
    let g = before(&backend.url(), "", "").await;
    let mut wire = g.wire().await;
    wire.send(get("/x", &g.token("ada"), &[])).await;
    assert_eq!(wire.stream_head().await.status(), 200);
    for _ in 0..2 {
        g.turn(seconds(45)).await;
        go.notify_one();
        g.turn(Duration::ZERO).await;
    }
    let mut body = [0; 2];
    patiently("the body", wire.stream.read_exact(&mut body)).await.unwrap();
    assert_eq!(&body, b"ok");
}
