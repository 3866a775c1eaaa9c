//! WebSocket through the gateway, between a real client and a real server of another house: the token is exchanged once, at the
//! handshake, and then frames pass both ways until either side, silence or the gateway's own end closes it.

use crate::kit::{Running, World, get, until};
use crate::wire::patiently;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

/// Echoes every message; `bye` makes it close, `drop` makes it break off. Keeps the heads it was asked with.
struct Echo {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    open: Arc<AtomicUsize>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let echo = Self { address: listener.local_addr().unwrap(), heads: Arc::default(), open: Arc::default() };
        let (heads, open) = (echo.heads.clone(), echo.open.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, open) = (heads.clone(), open.clone());
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    serve(stream, heads).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        echo
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    async fn gateway(&self, more: &str) -> Running {
        let routes = format!("\n  ws: {{ upstream: \"http://{}\", audience: orders-api, websocket: true{more} }}\n", self.address);
        World::new().await.gateway(&routes, "").await
    }
}

#[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
async fn serve(stream: TcpStream, heads: Arc<Mutex<Vec<HeaderMap>>>) {
    let keep = |request: &Request, mut response: Response| {
        heads.lock().unwrap().push(request.headers().clone());
        if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
            response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, keep).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        match &message {
            Message::Text(text) if text.as_str() == "bye" => {
                let _ = socket.close(None).await;
            }
            Message::Text(text) if text.as_str() == "drop" => {
                let _ = socket.get_ref().set_zero_linger();
                return;
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
            _ => {}
        }
    }
}

type Client = WebSocketStream<TcpStream>;

async fn handshake(g: &Running, token: &str) -> Result<Client, tungstenite::Error> {
    let mut request = "ws://api.example.com/orders/feed".into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "feed.v2".parse().unwrap());
    let stream = TcpStream::connect(g.address()).await.unwrap();
    let (client, answer) = patiently("a handshake", client_async(request, stream)).await?;
    assert_eq!(answer.headers()["sec-websocket-protocol"], "feed.v2");
    assert_eq!(answer.headers().get_all("upgrade").iter().collect::<Vec<_>>(), ["websocket"]);
    Ok(client)
}

async fn says(client: &mut Client, text: &str) -> String {
    client.send(Message::text(text)).await.unwrap();
    patiently("an echo", client.next()).await.unwrap().unwrap().into_text().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_exchanged_once_and_frames_pass_both_ways() {
    let echo = Echo::start().await;
    let g = echo.gateway("").await;
    let token = g.token("ada");
    let mut client = handshake(&g, &token).await.unwrap();
    for n in 0..50 {
        assert_eq!(says(&mut client, &format!("message {n}")).await, format!("message {n}"));
    }
    let large = vec![7u8; 3 << 20];
    client.send(Message::binary(large.clone())).await.unwrap();
    assert_eq!(patiently("a large echo", client.next()).await.unwrap().unwrap().into_data(), large);
    assert_eq!(g.world.iam.exchanges(), 1);
    let head = echo.heads.lock().unwrap()[0].clone();
    assert!(!format!("{head:?}").contains(&token), "the caller's token stays here");
    assert!(head["authorization"].to_str().unwrap().starts_with("Bearer ey"));
    assert_eq!((head["host"].as_bytes(), head["x-forwarded-for"].as_bytes()), (&b"api.example.com"[..], &b"127.0.0.1"[..]));
    g.counted("cambist_upgraded_connections{route=\"ws\"}", 1.0).await;
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 1.0).await;
    client.close(None).await.unwrap();
    while patiently("the close", client.next()).await.is_some_and(|m| m.is_ok()) {}
    drop(client);
    until("both ends are gone", || echo.open() == 0).await;
    g.counted("cambist_upgraded_connections{route=\"ws\"}", 0.0).await;
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
    g.counted("cambist_http_requests_total{code=\"101\",method=\"GET\",route=\"ws\"}", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_without_a_good_token_never_reaches_the_upstream() {
    let echo = Echo::start().await;
    let g = echo.gateway("").await;
    match handshake(&g, "forged").await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 401),
        other => panic!("{other:?}"),
    }
    assert_eq!((echo.heads.lock().unwrap().len(), g.world.iam.exchanges()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_close_and_a_break_is_no_clean_end() {
    let echo = Echo::start().await;
    let g = echo.gateway("").await;
    let token = g.token("ada");
    let mut closed = handshake(&g, &token).await.unwrap();
    closed.send(Message::text("bye")).await.unwrap();
    assert!(matches!(patiently("a close frame", closed.next()).await, Some(Ok(Message::Close(_)))));
    while patiently("the end", closed.next()).await.is_some_and(|m| m.is_ok()) {}
    let mut broken = handshake(&g, &token).await.unwrap();
    assert_eq!(says(&mut broken, "hello").await, "hello");
    broken.send(Message::text("drop")).await.unwrap();
    match patiently("the break", broken.next()).await {
        Some(Err(tungstenite::Error::Io(e))) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset),
        Some(Err(tungstenite::Error::Protocol(_))) | None => panic!("it looked like an end"),
        other => panic!("{other:?}"),
    }
    let mut left = handshake(&g, &token).await.unwrap();
    assert_eq!(says(&mut left, "hello").await, "hello");
    drop(left);
    until("the upstream sees that the caller is gone", || echo.open() == 0).await;
    assert_eq!(g.world.iam.exchanges(), 1, "the token was good for all of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_it_and_a_byte_either_way_puts_that_off() {
    let echo = Echo::start().await;
    let g = echo.gateway(", timeouts: { idle: 60s }").await;
    let mut client = handshake(&g, &g.token("ada")).await.unwrap();
    for _ in 0..4 {
        g.turn(Duration::from_secs(40)).await;
        assert_eq!(says(&mut client, "still here").await, "still here");
    }
    g.turn(Duration::from_secs(70)).await;
    assert!(!matches!(patiently("the end", client.next()).await, Some(Ok(_))));
    until("the upstream's side is closed, too", || echo.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_it_at_once_and_does_not_wait_for_the_grace() {
    let echo = Echo::start().await;
    let g = echo.gateway("").await;
    let mut client = handshake(&g, &g.token("ada")).await.unwrap();
    assert_eq!(says(&mut client, "hello").await, "hello");
    let cut = patiently("the drain", g.gateway.end(Duration::ZERO, Duration::from_secs(3600))).await;
    assert_eq!(cut, 0, "nothing had to be cut");
    assert!(!matches!(patiently("the end", client.next()).await, Some(Ok(_))));
    until("the upstream's side is closed, too", || echo.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_during_the_delay_before_the_drain_still_works() {
    let echo = Echo::start().await;
    let g = Arc::new(echo.gateway("").await);
    let token = g.token("ada");
    let ending = g.clone();
    let end = tokio::spawn(async move { ending.gateway.end(Duration::from_secs(3), Duration::from_secs(3600)).await });
    until("the end has begun", || !g.gateway.ready()).await;
    let mut client = handshake(&g, &token).await.unwrap();
    assert_eq!(says(&mut client, "hello").await, "hello");
    assert_eq!(patiently("the drain", end).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_takes_a_place_among_the_requests_in_flight() {
    let echo = Echo::start().await;
    let routes = format!("\n  ws: {{ upstream: \"http://{}\", audience: orders-api, websocket: true }}\n", echo.address);
    let g = World::new().await.gateway(&routes, "limits: { max_in_flight: 1 }").await;
    let token = g.token("ada");
    let client = handshake(&g, &token).await.unwrap();
    assert_eq!(g.ask(get("/orders", &token, &[])).await.said(), (503, "overloaded".into()));
    drop(client);
    until("the place is free again", || echo.open() == 0).await;
    for _ in 0..500 {
        if handshake(&g, &token).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no place became free");
}
