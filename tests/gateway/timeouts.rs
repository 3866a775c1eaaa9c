//! Time that runs out: for callers between connection and head and between requests, for upstreams between connection and last
//! byte. The clock is turned; nothing here waits for it.

use crate::kit::{ROUTES, Running, World, before, get, request, running, until};
use crate::wire::{Act, Puppet, patiently, say};
use cambist::clock::Ticker;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TIMES: &str = ", timeouts: { response: 10s, idle: 20s }";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Once this has been answered, whoever connected before has been accepted.
async fn settled(g: &Running) {
    assert!(g.get_without_token("/nowhere").await.status.is_client_error());
}

/// Time passes, and the workers' ticks see it: stamps are as old as the last of them.
async fn pass(g: &Running, by: Duration) {
    settled(g).await;
    g.world.clock.turn(by);
    tokio::time::sleep(3 * Ticker::PERIOD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_says_nothing_is_closed_after_header_timeout() {
    let g = running().await;
    let (mut silent, mut late) = (g.wire().await, g.wire().await);
    settled(&g).await;
    g.world.clock.turn(seconds(9));
    assert_eq!(late.ask(get("/orders", &g.token("ada"), &[])).await.status(), 200, "late, but not too late");
    g.world.clock.turn(seconds(2));
    silent.ends().await;
    assert_eq!(late.ask(get("/orders", &g.token("ada"), &[])).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_comes_after_a_long_pause_has_all_its_time() {
    let g = running().await;
    for _ in 0..20 {
        // Between two ticks, as when the machine has slept.
        g.world.clock.turn(seconds(15));
        let mut wire = g.wire().await;
        tokio::time::sleep(2 * Ticker::PERIOD).await;
        assert_eq!(wire.ask(get("/orders", &g.token("ada"), &[])).await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_closed_after_header_timeout_however_busily_it_drips() {
    let g = running().await;
    let mut first_head = g.wire().await;
    let mut second_head = g.wire().await;
    let mut h2 = g.wire().await;
    assert_eq!(second_head.ask(get("/orders", &g.token("ada"), &[])).await.status(), 200);
    let drops = ["GET /o", "rders HT", "TP/1.1\r\nX", "-A: b", "b", "b"];
    let h2_drops = ["PRI * ", "HTTP", "/2.0", "\r\n\r\n", "SM", "\r\n"];
    for (drop, h2_drop) in drops.iter().zip(h2_drops) {
        for (wire, bytes) in [(&mut first_head, *drop), (&mut second_head, *drop), (&mut h2, h2_drop)] {
            // The last drops fall on what is closed already.
            let _ = wire.stream.write_all(bytes.as_bytes()).await;
        }
        pass(&g, seconds(3)).await;
    }
    for wire in [&mut first_head, &mut second_head, &mut h2] {
        wire.ends().await;
    }
    assert_eq!(g.world.orders.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_between_requests_is_closed_after_idle_timeout() {
    let g = World::new().await.gateway(ROUTES, "limits: { idle_timeout: 30s, header_timeout: 10s }").await;
    let token = g.token("ada");
    let (mut used, mut unused) = (g.wire().await, g.wire().await);
    for wire in [&mut used, &mut unused] {
        assert_eq!(wire.ask(get("/orders", &token, &[])).await.status(), 200);
    }
    pass(&g, seconds(20)).await;
    assert_eq!(used.ask(get("/orders", &token, &[])).await.status(), 200, "a pause longer than a head may take");
    g.world.clock.turn(seconds(20));
    unused.ends().await;
    assert_eq!(used.ask(get("/orders", &token, &[])).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_not_idle() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let backend = Puppet::start(move |_| vec![Act::Wait(wait.clone()), say(OK)]).await;
    let g = before(&backend.url(), ", timeouts: { response: 10m }", "limits: { idle_timeout: 30s }").await;
    let mut wire = g.wire().await;
    wire.send(get("/x", &g.token("ada"), &[])).await;
    until("it is upstream", || backend.heard().len() == 1).await;
    pass(&g, seconds(300)).await;
    go.notify_one();
    assert_eq!(wire.answer().await.text(), "ok");
}

/// A port that takes no connection: its queue is full.
async fn full_port() -> (Full, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let at = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(at)).await {
        waiting.push(stream);
    }
    ((listener, waiting), format!("http://{at}"))
}

type Full = (tokio::net::TcpListener, Vec<TcpStream>);

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_within_connect_is_502() {
    let (_full, url) = full_port().await;
    let g = before(&url, ", timeouts: { connect: 100ms }", "").await;
    assert_eq!(g.ask(get("/x", &g.token("ada"), &[])).await.said(), (502, "upstream_unreachable".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_headers_within_response_is_504_by_upstream_and_by_route() {
    let backend = Puppet::start(|_| vec![Act::Wait(Arc::default())]).await;
    let upstreams = format!("upstreams: {{ slow: {{ endpoints: [\"{}\"], timeouts: {{ response: 100s }} }} }}", backend.url());
    let routes = "
  patient: { match: { path: /patient }, upstream: slow, token: strip }
  hasty: { match: { path: /hasty }, upstream: slow, token: strip, timeouts: { response: 10s } }
";
    let g = World::new().await.gateway(routes, &upstreams).await;
    let token = g.token("ada");
    let (mut patient, mut hasty) = (g.wire().await, g.wire().await);
    patient.send(get("/patient", &token, &[])).await;
    hasty.send(request("POST /hasty HTTP/1.1", &token, &["Content-Length: 5"]) + "hello").await;
    until("both are upstream", || backend.heard().len() == 2).await;
    g.world.clock.turn(seconds(11));
    assert_eq!(hasty.answer().await.said(), (504, "upstream_timeout".into()));
    g.world.clock.turn(seconds(100));
    assert_eq!(patient.answer().await.said(), (504, "upstream_timeout".into()));
    assert_eq!(backend.heard().len(), 2, "nothing was sent twice");
    assert_eq!(patient.ask(get("/nowhere", &token, &[])).await.said().0, 404, "the caller's connection goes on");
    assert_eq!(g.metric("cambist_upstream_requests_total{code=\"upstream_timeout\",upstream=\"slow\"}").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stands_still_for_idle_breaks_off() {
    let acts = |path: &str| match path {
        "/counted" => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"), Act::Wait(Arc::default())],
        "/chunked" => vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Act::Wait(Arc::default())],
        _ => vec![say("HTTP/1.1 200 OK\r\n\r\nhalf"), Act::Wait(Arc::default())],
    };
    let backend = Puppet::start(acts).await;
    let g = before(&backend.url(), TIMES, "").await;
    for path in ["/counted", "/chunked", "/to-the-end"] {
        let mut wire = g.wire().await;
        wire.send(get(path, &g.token("ada"), &[])).await;
        patiently("the first half", wire.stream.readable()).await.unwrap();
        g.world.clock.turn(seconds(21));
        assert!(!wire.answer().await.whole, "{path}");
    }
    let mut old = g.wire().await;
    old.send(request("GET /to-the-end HTTP/1.0", &g.token("ada"), &[])).await;
    patiently("the first half", old.stream.readable()).await.unwrap();
    g.world.clock.turn(seconds(21));
    assert!(!old.answer().await.whole, "and it does not look like the end where the end of the connection is the end of the body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_moves_may_take_longer_than_idle_but_not_longer_than_total() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let backend = Puppet::start(move |_| {
        let mut acts = vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")];
        for _ in 0..6 {
            acts.extend([say("1\r\nx\r\n"), Act::Wait(wait.clone())]);
        }
        acts.push(say("0\r\n\r\n"));
        acts
    })
    .await;
    for (total, whole) in [("", true), (", total: 60s", false)] {
        let g = before(&backend.url(), &format!(", timeouts: {{ response: 10s, idle: 20s{total} }}"), "").await;
        let mut wire = g.wire().await;
        wire.send(get("/x", &g.token("ada"), &[])).await;
        let mut seen = vec![0; 16 * 1024];
        let mut got = String::new();
        for nth in 1..=6 {
            while got.matches("1\r\nx\r\n").count() < nth {
                match patiently("a piece", tokio::io::AsyncReadExt::read(&mut wire.stream, &mut seen)).await {
                    Ok(n) if n > 0 => got += &String::from_utf8_lossy(&seen[..n]),
                    _ => break,
                }
            }
            pass(&g, seconds(15)).await;
            go.notify_one();
        }
        if whole {
            while !got.ends_with("0\r\n\r\n") {
                let n = patiently("the end", tokio::io::AsyncReadExt::read(&mut wire.stream, &mut seen)).await.unwrap();
                assert!(n > 0, "{got}");
                got += &String::from_utf8_lossy(&seen[..n]);
            }
        } else {
            assert!(!got.ends_with("0\r\n\r\n"), "{got}");
            wire.ends().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_sending_is_400() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), TIMES, "").await;
    let mut wire = g.wire().await;
    wire.send(request("POST /x HTTP/1.1", &g.token("ada"), &["Content-Length: 10"]) + "half").await;
    until("it is on its way up", || backend.connections() == 1).await;
    pass(&g, seconds(21)).await;
    assert_eq!(wire.answer().await.said(), (400, "bad_request".into()));
    wire.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_reading_is_cut() {
    let world = World::new().await;
    world.open.mirror();
    let g = world.gateway("\n  mirror: { upstream: OPEN, token: strip, timeouts: { idle: 20s } }\n", "workers: 1").await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    wire.send(request("POST /x HTTP/1.1", &token, &["Content-Length: 1000000000"])).await;
    let piece = vec![b'x'; 1 << 20];
    // Until nothing moves any more: every buffer on the way there and back is full.
    while let Ok(sent) = tokio::time::timeout(seconds(1), wire.stream.write_all(&piece)).await {
        sent.unwrap();
    }
    for _ in 0..3 {
        pass(&g, seconds(21)).await;
    }
    let cut = async { while wire.stream.write_all(&piece).await.is_ok() {} };
    patiently("the connection is cut", cut).await;
    assert_eq!(g.ask(get("/x", &token, &[])).await.status(), 200);
}
