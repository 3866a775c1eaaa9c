//! The PROXY protocol: a load balancer says whose connection it hands on, and is believed where it is trusted. Whatever else
//! connects, or says something else first, is closed.

use crate::certs::Authority;
use crate::kit::{ROUTES, Running, World, get};
use crate::wire::{Message, Wire};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";

async fn behind(trusted: &str) -> Running {
    let listeners = format!("listeners: {{ main: {{ address: 127.0.0.1:0, proxy_protocol: true, trusted_proxies: [{trusted}] }} }}\n");
    World::new().await.gateway(ROUTES, &listeners).await
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut all = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    all.extend([0x20 | command, family]);
    all.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    all.extend(rest);
    all
}

/// What the backend is told of a caller whose connection begins with `header`.
async fn told(g: &Running, header: &[u8]) -> Message {
    let mut wire = g.wire().await;
    wire.send([header, get("/orders", &g.token("ada"), &[]).as_bytes()].concat()).await;
    wire.answer().await
}

fn came_from(message: &Message, address: &str) {
    assert_eq!(message.status(), 200, "{}", message.text());
    let text = message.json().to_string();
    assert!(text.contains(&format!(r#"["x-forwarded-for","{address}"]"#)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_is_whom_the_header_names() {
    let g = behind("127.0.0.0/8").await;
    came_from(&told(&g, V1.as_bytes()).await, "192.0.2.7");
    came_from(&told(&g, b"PROXY TCP6 2001:db8::7 fd00::1 40000 443\r\n").await, "2001:db8::7");
    came_from(&told(&g, &v2(1, 0x11, &[192, 0, 2, 8, 198, 51, 100, 1, 1, 0, 1, 187, 4, 0, 2, 9, 9])).await, "192.0.2.8");
    // Health checks of the load balancer's own, and those of whom it knows nothing.
    came_from(&told(&g, &v2(0, 0, &[])).await, "127.0.0.1");
    came_from(&told(&g, b"PROXY UNKNOWN\r\n").await, "127.0.0.1");
    // One header a connection: its other requests are the same caller's.
    let mut wire = g.wire().await;
    wire.send(V1).await;
    for _ in 0..2 {
        came_from(&wire.ask(get("/orders", &g.token("ada"), &[])).await, "192.0.2.7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_says_nothing_of_whom_to_trust() {
    let g = behind("127.0.0.1").await;
    let mut wire = g.wire().await;
    wire.send(V1).await;
    let answer = wire.ask(get("/orders", &g.token("ada"), &["X-Forwarded-For: 203.0.113.9"])).await;
    came_from(&answer, "192.0.2.7");
}

/// Closed without a byte, however that looks from outside.
async fn closed(mut wire: Wire) {
    wire.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_else_connects_is_closed_and_counted() {
    let g = behind("192.0.2.0/24").await;
    for _ in 0..3 {
        let mut wire = g.wire().await;
        let _ = wire.stream.write_all(V1.as_bytes()).await;
        closed(wire).await;
    }
    g.counted("cambist_connections_refused_total{listener=\"main\",reason=\"proxy_untrusted\"}", 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_header_is_closed_and_counted() {
    let g = behind("127.0.0.1").await;
    let bad: [&[u8]; 4] = [
        b"GET /orders HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        &v2(1, 0x11, &[1, 2, 3]),
        &[b"PROXY TCP4 ", &[b'1'; 200][..]].concat(),
    ];
    for bytes in bad {
        let mut wire = g.wire().await;
        let _ = wire.stream.write_all(bytes).await;
        closed(wire).await;
    }
    g.counted("cambist_connections_refused_total{listener=\"main\",reason=\"proxy_header\"}", 4.0).await;
    came_from(&told(&g, V1.as_bytes()).await, "192.0.2.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_has_as_long_as_a_head() {
    let g = behind("127.0.0.1").await;
    let (silent, mut half, mut headless) = (g.wire().await, g.wire().await, g.wire().await);
    half.send(&V1[..20]).await;
    headless.send(V1).await;
    came_from(&told(&g, V1.as_bytes()).await, "192.0.2.7");
    g.turn(Duration::from_secs(11)).await;
    for wire in [silent, half, headless] {
        closed(wire).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_may_follow() {
    let ca = Authority::new();
    ca.put("api.test", &["api.test"]);
    let listener = ca.listener(&["api.test"], "", ", proxy_protocol: true, trusted_proxies: [127.0.0.1]");
    let g = World::new().await.gateway(ROUTES, &listener).await;
    let mut stream = tokio::net::TcpStream::connect(g.address()).await.unwrap();
    stream.write_all(V1.as_bytes()).await.unwrap();
    let sealed = ca.caller().speaking(&["h2"]).shake(stream, "api.test").await.unwrap();
    let (status, seen) = sealed.get2("api.test", "/orders", &g.token("ada")).await.unwrap();
    assert_eq!(status, 200);
    let text = seen.to_string();
    assert!(text.contains(r#"["x-forwarded-for","192.0.2.7"]"#) && text.contains(r#"["x-forwarded-proto","https"]"#), "{text}");
}
