//! A collector that is gone, slow or out of temper costs no request anything: what it does not take is counted, and the end does not
//! wait for it for long.

use crate::collector::{Collector, one};
use crate::kit::{ROUTES, Running, World, until};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::client::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

fn spans(result: &str) -> String {
    format!("cambist_trace_spans_total{{result=\"{result}\"}}")
}

async fn served(g: &Running, times: usize) {
    let token = g.token("ada");
    let mut connection = g.connect().await;
    for _ in 0..times {
        assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
    }
}

/// Waits until a batch has failed.
async fn lost(g: &Running) {
    for _ in 0..600 {
        if g.metric(&spans("failed")).await > 0.0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no span is counted as lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_counted() {
    let collector = Collector::start().await;
    let g = World::new().await.gateway(ROUTES, &collector.yaml("100%")).await;
    served(&g, 3).await;
    g.counted(&spans("sent"), (6 + 4 + 4) as f64).await;
    assert_eq!((g.metric(&spans("dropped")).await, g.metric(&spans("failed")).await), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_requests_are_served_and_spans_are_counted_as_lost() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let tracing = format!("tracing: {{ otlp_endpoint: \"http://{nobody}\", sample: 100% }}\n");
    let g = World::new().await.gateway(ROUTES, &tracing).await;
    served(&g, 20).await;
    lost(&g).await;
    assert_eq!(g.metric(&spans("sent")).await, 0.0);
    served(&g, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_is_not_asked_about_it_again() {
    let collector = Collector::answering("400 Bad Request").await;
    let g = World::new().await.gateway(ROUTES, &collector.yaml("100%")).await;
    served(&g, 1).await;
    g.counted(&spans("failed"), 6.0).await;
    let heard = collector.heads().len();
    served(&g, 1).await;
    g.counted(&spans("failed"), 12.0).await;
    assert!(collector.heads().len() > heard && collector.spans().len() == 12, "each span was sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_fills_the_queue_and_what_finds_no_room_is_dropped() {
    let collector = Collector::answering("").await;
    let g = World::new().await.gateway(ROUTES, &collector.yaml("100%")).await;
    // Four spans a hit, and room for 2048.
    served(&g, 700).await;
    assert!(g.metric(&spans("dropped")).await > 0.0, "{}", g.metrics().await);
    assert_eq!(g.metric(&spans("sent")).await, 0.0);
    let began = Instant::now();
    assert_eq!(g.gateway.end(Duration::ZERO, Duration::from_secs(5)).await, 0);
    assert!(began.elapsed() < Duration::from_secs(20), "the end waits for the collector: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_answer_comes_byte_by_byte_has_no_more_time_than_any_other() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let tracing = format!("tracing: {{ otlp_endpoint: \"http://{}\", sample: 100% }}\n", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
                while stream.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        }
    });
    let g = World::new().await.gateway(ROUTES, &tracing).await;
    served(&g, 1).await;
    lost(&g).await;
    assert_eq!(g.metric(&spans("sent")).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_hands_over_what_is_left() {
    let collector = Collector::start().await;
    let g = World::new().await.gateway(ROUTES, &collector.yaml("100%")).await;
    served(&g, 1).await;
    g.gateway.end(Duration::ZERO, Duration::from_secs(5)).await;
    assert_eq!(collector.spans().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websockets_span_ends_when_it_is_closed() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    socket.send(message).await.unwrap();
                }
            }
        }
    });
    let collector = Collector::start().await;
    let routes = format!("\n  ws: {{ upstream: \"{url}\", audience: orders-api, websocket: true }}\n");
    let g = World::new().await.gateway(&routes, &collector.yaml("100%")).await;
    let mut request = format!("ws://{}/feed", g.address()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", g.token("ada")).parse().unwrap());
    let stream = TcpStream::connect(g.address()).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    until("the steps before it have ended", || collector.spans().len() == 5).await;
    assert!(collector.spans().iter().all(|s| s.kind != 2), "it goes on");
    socket.close(None).await.unwrap();
    while matches!(socket.next().await, Some(Ok(_))) {}
    drop(socket);
    let spans = collector.only(5).await;
    let (server, upstream) = (one(&spans, "GET /"), one(&spans, "GET"));
    assert_eq!((server.says("http.response.status_code"), upstream.says("http.response.status_code")), ("101", "101"));
    assert!(server.ended > upstream.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_request_says_why_it_failed() {
    let collector = Collector::start().await;
    let g = World::new().await.gateway(ROUTES, &collector.yaml("100%")).await;
    g.world.iam.down().await;
    let stream = TokioIo::new(TcpStream::connect(g.address()).await.unwrap());
    let (mut caller, connection) = Builder::new(TokioExecutor::new()).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://api.example.com/orders/Get").header("content-type", "application/grpc");
    let request = request.header("authorization", format!("Bearer {}", g.token("ada"))).body(Empty::<Bytes>::new()).unwrap();
    let answer = caller.send_request(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["grpc-status"].to_str().unwrap()), (200, "14"));
    let spans = collector.only(3).await;
    let server = one(&spans, "POST /orders");
    assert_eq!(server.says("network.protocol.version"), "2");
    assert_eq!((server.says("http.response.status_code"), server.says("error.type"), server.is_error), ("200", "issuer_unavailable", true));
    assert_eq!(one(&spans, "exchange").says("error.type"), "issuer_unavailable");
}
