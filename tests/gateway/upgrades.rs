//! Upgrades byte by byte: what is asked for, what an upstream may answer, and what must not get through in the shade of one.

use crate::kit::{Running, World, get, request};
use crate::wire::{Act, End, Puppet, Wire, patiently, say};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x-talk/1\r\nConnection: Upgrade\r\nX-Said: yes\r\n\r\n";
const ASKING: [&str; 2] = ["Connection: Upgrade", "Upgrade: x-talk/1"];

async fn before(upstream: &str) -> Running {
    let routes = format!(
        "\n  open: {{ match: {{ path: /open }}, upstream: \"{upstream}\", audience: orders-api, websocket: true, timeouts: {{ idle: 60s }} }}
  shut: {{ match: {{ path: /shut }}, upstream: \"{upstream}\", audience: orders-api }}\n"
    );
    World::new().await.gateway(&routes, "workers: 1").await
}

/// An upstream that accepts, says `first` right behind its 101, and hands its socket over.
async fn switching(first: &'static str) -> (String, tokio::sync::mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (to, from) = tokio::sync::mpsc::channel(8);
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(format!("{ACCEPTED}{first}").as_bytes()).await.unwrap();
            to.send(stream).await.unwrap();
        }
    });
    (url, from)
}

async fn exactly(stream: &mut (impl AsyncReadExt + Unpin), wanted: &str) {
    let mut got = vec![0; wanted.len()];
    patiently(wanted, stream.read_exact(&mut got)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_protocol_passes_and_both_fields_are_made_anew() {
    let puppet = Puppet::saying(ACCEPTED).await;
    let g = before(&puppet.url()).await;
    let mut wire = g.wire().await;
    let fields = ["Connection: keep-alive, Upgrade, X-Mine", "Upgrade: X-Talk/1", "X-Mine: 1", "Keep-Alive: timeout=5"];
    wire.send(get("/open", &g.token("ada"), &fields)).await;
    let answer = wire.stream_head().await;
    assert_eq!(
        (answer.status(), answer.one("upgrade"), answer.one("connection"), answer.one("x-said")),
        (101, "X-Talk/1", "upgrade", "yes")
    );
    let heard = puppet.last();
    assert_eq!(
        (heard.one("connection"), heard.one("upgrade"), heard.one("x-mine"), heard.one("keep-alive")),
        ("upgrade", "X-Talk/1", "", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_the_101_pass_and_each_side_may_end_before_the_other() {
    let (url, mut sockets) = switching("hello at once").await;
    let g = before(&url).await;
    let mut wire = g.wire().await;
    wire.send(get("/open", &g.token("ada"), &ASKING)).await;
    assert_eq!(wire.stream_head().await.status(), 101);
    let mut upstream = patiently("a socket", sockets.recv()).await.unwrap();
    wire.send("\0\x01 not HTTP\n\r").await;
    exactly(&mut upstream, "\0\x01 not HTTP\n\r").await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(patiently("the caller's end", upstream.read(&mut [0; 8])).await.unwrap(), 0);
    upstream.write_all(b", and goodbye").await.unwrap();
    drop(upstream);
    let mut said = Vec::new();
    patiently("the upstream's end", wire.stream.read_to_end(&mut said)).await.unwrap();
    assert!("hello at once, and goodbye".ends_with(std::str::from_utf8(&said).unwrap()) && said.ends_with(b"goodbye"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_route_does_not_allow_it_the_request_is_an_ordinary_one() {
    let puppet = Puppet::start(|_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
    let g = before(&puppet.url()).await;
    let token = g.token("ada");
    let cases: [(&str, &str, &[&str]); 7] = [
        ("GET", "/shut", &ASKING),
        ("GET", "/open", &["Connection: Upgrade", "Upgrade: h2c"]),
        ("GET", "/open", &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]),
        ("GET", "/open", &["Connection: Upgrade", "Upgrade: TLS/1.2"]),
        ("GET", "/open", &["Connection: Upgrade", "Upgrade: x-talk/1, h2c"]),
        ("GET", "/open", &["Connection: Upgrade", "Upgrade: x-talk/1", "Upgrade: websocket"]),
        ("GET", "/open", &["Upgrade: x-talk/1"]),
    ];
    for (method, path, fields) in cases {
        let answer = g.ask(request(&format!("{method} {path} HTTP/1.1"), &token, fields)).await;
        let heard = puppet.last();
        assert_eq!((answer.status(), heard.one("upgrade"), heard.one("connection")), (200, "", ""), "{fields:?}");
        assert_eq!(heard.one("http2-settings"), "");
    }
    let old = g.ask(request("GET /open HTTP/1.0", &token, &ASKING)).await;
    assert_eq!((old.status(), puppet.last().one("upgrade")), (200, ""), "HTTP/1.0 knows no upgrade");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_declines_answers_as_ever_and_the_connection_goes_on() {
    let puppet = Puppet::saying("HTTP/1.1 426 Upgrade Required\r\nUpgrade: x-talk/2\r\nContent-Length: 2\r\n\r\nno").await;
    let g = before(&puppet.url()).await;
    let (mut wire, token) = (g.wire().await, g.token("ada"));
    for _ in 0..2 {
        let answer = wire.ask(get("/open", &token, &ASKING)).await;
        assert_eq!((answer.status(), answer.text(), answer.one("upgrade")), (426, "no".into(), ""));
    }
    assert_eq!((puppet.connections(), g.world.iam.exchanges()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unasked_101_or_one_to_another_protocol_is_an_error() {
    for (path, fields, answer) in [
        ("/open", &[][..], ACCEPTED),
        ("/shut", &ASKING[..], ACCEPTED),
        ("/open", &ASKING[..], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nbytes"),
        ("/open", &ASKING[..], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x-talk/1, h2c\r\nConnection: Upgrade\r\n\r\nbytes"),
        ("/open", &ASKING[..], "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\nbytes"),
        ("/open", &ASKING[..], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x-talk/1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nbytes"),
    ] {
        let puppet = Puppet::saying(answer).await;
        let g = before(&puppet.url()).await;
        let said = g.ask(get(path, &g.token("ada"), fields)).await.said();
        assert_eq!(said, (502, "upstream_error".into()), "{path} {fields:?} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_with_a_body_is_refused() {
    let puppet = Puppet::saying(ACCEPTED).await;
    let g = before(&puppet.url()).await;
    let token = g.token("ada");
    for body in ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut wire = g.wire().await;
        let answer = wire.ask(request("POST /open HTTP/1.1", &token, &[ASKING[0], ASKING[1], body])).await;
        assert_eq!((answer.said(), answer.one("connection")), ((400, "bad_request".into()), "close"), "{body}");
    }
    assert!(puppet.heard().is_empty());
}

/// Bytes that came before the 101 could be meant as anything: they reach nobody, in whatever way the upgrade ends.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_before_the_101_reach_nobody() {
    for early in ["GET /open/secret HTTP/1.1\r\nHost: x\r\n\r\n", "\x01\x02 early frame", "GET /half HTTP/1.1\r\n"] {
        let go = Arc::new(Notify::new());
        let wait = go.clone();
        let puppet = Puppet::start(move |_| vec![Act::Wait(wait.clone()), say(ACCEPTED)]).await;
        let g = before(&puppet.url()).await;
        let mut wire = g.wire().await;
        wire.send(format!("{}{early}", get("/open", &g.token("ada"), &ASKING))).await;
        crate::kit::until("the upstream is asked", || !puppet.heard().is_empty()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        go.notify_one();
        let mut rest = Vec::new();
        let _ = patiently("the end", wire.stream.read_to_end(&mut rest)).await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.matches("HTTP/1.1").count() <= 1, "one answer at the most: {rest}");
        assert_eq!(puppet.heard().len(), 1, "{early:?} went on: {:?}", puppet.heard());
        g.counted("cambist_upgraded_connections{route=\"open\"}", 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_stays_refused_and_http_2_offers_no_extended_connect() {
    let g = before(&Puppet::saying(ACCEPTED).await.url()).await;
    let token = g.token("ada");
    assert_eq!(g.ask(request("CONNECT api.example.com:443 HTTP/1.1", &token, &ASKING)).await.said(), (405, "method_not_allowed".into()));
    let mut stream = TcpStream::connect(g.address()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    patiently("SETTINGS", stream.read_exact(&mut head)).await.unwrap();
    let mut settings = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    assert!(head[3] == 4 && settings.chunks(6).all(|s| s[..2] != [0, 8]), "{settings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_token_that_the_handshake_is_refused_with_is_repaired_before_the_upgrade() {
    let refused = "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 0\r\n\r\n";
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let puppet = Puppet::start(move |_| {
        let nth = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        vec![say(if nth == 1 { refused } else { ACCEPTED })]
    })
    .await;
    let g = before(&puppet.url()).await;
    let token = g.token("ada");
    for _ in 0..2 {
        let mut wire = g.wire().await;
        wire.send(get("/open", &token, &ASKING)).await;
        assert_eq!(wire.stream_head().await.status(), 101);
    }
    let tokens: Vec<_> = puppet.heard().iter().map(|m| m.one("authorization").to_owned()).collect();
    assert!(tokens.len() == 3 && tokens[0] == tokens[1] && tokens[1] != tokens[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_slows_down_the_other_side() {
    let (url, mut sockets) = switching("").await;
    let g = before(&url).await;
    let mut wire: Wire = g.wire().await;
    wire.send(get("/open", &g.token("ada"), &ASKING)).await;
    assert_eq!(wire.stream_head().await.status(), 101);
    let mut upstream = patiently("a socket", sockets.recv()).await.unwrap();
    let block = vec![b'x'; 1 << 20];
    let mut taken = 0;
    while let Ok(n) = tokio::time::timeout(Duration::from_millis(500), upstream.write(&block)).await {
        taken += n.unwrap();
        assert!(taken < 256 << 20, "somebody keeps it all");
    }
    // Nothing moves, so `idle` ends it.
    g.turn(Duration::from_secs(70)).await;
    crate::kit::until("the tunnel is gone", || upstream.try_write(&block).is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)).await;
    assert!(matches!(wire.end, None | Some(End::Closed | End::Reset)));
}
