//! The same over HTTP/2: a proper client's request with a token, and frames written by hand for what no proper client sends.

use crate::stage::Stage;
use bytes::Bytes;
use cambist::demo::fetch::Answer;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn over_http2(stage: &Stage<'_>, token: &str) {
    let socket = TcpStream::connect(stage.running.address()).await.unwrap();
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let driver = tokio::spawn(connection);
    for path in ["/orders", "/payroll", "/nowhere"] {
        let request = Request::get(format!("http://a{path}?access_token={token}"))
            .header("authorization", format!("Bearer {token}"))
            .header("cookie", format!("a={token}"))
            .header("cookie", "b=c");
        let (head, body) = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        stage.aviary.answered(&format!("{path} over HTTP/2"), &Answer { status: head.status, headers: head.headers, body });
    }
    driver.abort();
    for fields in [
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", &*format!("/or ders?access_token={token}"))],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", &*format!("user:{token}@a b")), (":path", "/orders")],
        vec![(":method", "GET"), (":scheme", &*format!("{token} ")), (":authority", "a"), (":path", "/orders")],
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
            ("authorization", &*format!("Bearer {token}\n")),
        ],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("connection", token)],
        vec![(":method", token), (":scheme", "http"), (":authority", "a"), (":path", "/"), (":path", token)],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("Authorization", &*format!("Bearer {token}"))],
    ] {
        by_hand(stage, &fields).await;
    }
}

/// One HEADERS frame with these fields, as they are, on a connection of its own.
async fn by_hand(stage: &Stage<'_>, fields: &[(&str, &str)]) {
    let mut block = Vec::new();
    for (name, value) in fields {
        // RFC 7541 §6.2.2: a literal without indexing, with a new name; no Huffman code.
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let size = u32::try_from(block.len()).unwrap().to_be_bytes();
    // HEADERS with END_STREAM and END_HEADERS, on stream 1.
    bytes.extend_from_slice(&[size[1], size[2], size[3], 1, 0x05, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    let mut socket = TcpStream::connect(stage.running.address()).await.unwrap();
    socket.write_all(&bytes).await.unwrap();
    let mut answer = [0; 4096];
    let mut seen = Vec::new();
    while let Ok(Ok(n @ 1..)) = tokio::time::timeout(Duration::from_millis(200), socket.read(&mut answer)).await {
        seen.extend_from_slice(&answer[..n]);
    }
    stage.aviary.saw("the answer to frames by hand", String::from_utf8_lossy(&seen));
}

/// RFC 7541 §5.1, with a prefix of seven bits.
fn length(block: &mut Vec<u8>, mut n: usize) {
    if n < 127 {
        return block.push(u8::try_from(n).unwrap());
    }
    block.push(127);
    n -= 127;
    while n >= 128 {
        block.push(u8::try_from(n % 128).unwrap() | 0x80);
        n /= 128;
    }
    block.push(u8::try_from(n).unwrap());
}
