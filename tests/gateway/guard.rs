//! Framings that two readers could take for two things, which hyper alone would hide: refused before anything of them is read
//! further. And the ordinary ones beside them, which pass.

use crate::kit::{Running, get, request, running};
use crate::wire::{End, Message};
use cambist::demo::iam::Endpoint;
use http::Method;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

/// Requests at the backends, and exchanges.
fn outside(g: &Running) -> [u64; 4] {
    let w = &g.world;
    [w.orders.requests(), w.payroll.requests(), w.open.requests(), w.iam.requests(Endpoint::Token)]
}

fn problem(answer: &Message, what: &str) {
    assert_eq!(answer.said(), (400, "bad_request".to_owned()), "{what:?}: {}", answer.head);
    assert_eq!(answer.one("content-type"), "application/problem+json");
    assert_eq!(answer.one("cache-control"), "no-store");
    assert_eq!(answer.one("connection"), "close");
    let body = answer.json();
    assert_eq!((&body["type"], &body["status"]), (&"urn:cambist:fault:bad_request".into(), &400.into()));
    assert_eq!(body["trace_id"].as_str().map(str::len), Some(32));
    assert!(body["title"].is_string() && body["detail"].is_string());
}

/// Everything that is refused, with a good token.
fn ambiguous(token: &str) -> Vec<String> {
    let post = |fields: &[&str]| request("POST /orders HTTP/1.1", token, fields) + CHUNKS;
    let line = |line: &str| request(line, token, &[]);
    let plain = get("/orders", token, &[]);
    let mut all = vec![
        post(&["Content-Length: 15", "Transfer-Encoding: chunked"]),
        post(&["Transfer-Encoding: chunked", "Content-Length: 15"]),
        post(&["Transfer-Encoding: chunked", "X: y", "content-length: 0"]),
        post(&["Content-Length: 15", "Content-Length: 15"]),
        post(&["Content-Length: 15, 15"]),
        post(&["Content-Length: 015"]),
        post(&["Content-Length: +15"]),
        post(&["Content-Length:"]),
        post(&["Transfer-Encoding: gzip, chunked"]),
        post(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]),
        post(&["Transfer-Encoding : chunked"]),
        post(&["X: y\n Transfer-Encoding: chunked"]),
        post(&["X: y", " folded"]),
        post(&["X: y\rZ: z"]),
        post(&["X: \0"]),
        request("POST /orders HTTP/1.0", token, &["Transfer-Encoding: chunked"]) + CHUNKS,
        plain.replace("\r\n", "\n"),
        plain.replacen("\r\n", "\n", 1),
        plain.replace("\r\n\r\n", "\r\n\n"),
        plain.replace("\r\n\r\n", "\n\r\n"),
        format!("\r\n\r\n{plain}"),
        format!("\n{plain}"),
        line("GET /orders#x HTTP/1.1"),
        line("GET /orders?a=b#x HTTP/1.1"),
        line("GET http://api.example.com/orders#x HTTP/1.1"),
        line("GET /orders\0 HTTP/1.1"),
        line("GET\t/orders HTTP/1.1"),
    ];
    for chunks in [
        "5 \r\nhello\r\n0\r\n\r\n",
        "x\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "0\r\n\n",
        "0x5\r\nhello\r\n",
    ] {
        all.push(request("POST /orders HTTP/1.1", token, &["Transfer-Encoding: chunked"]) + chunks);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ambiguous_is_400_and_goes_nowhere() {
    let g = running().await;
    let all = ambiguous(&g.token("ada"));
    let before = outside(&g);
    for bytes in &all {
        let mut wire = g.wire().await;
        // What was smuggled behind it is read by nobody.
        let answer = wire.ask(format!("{bytes}{}", get("/orders", &g.token("eve"), &[]))).await;
        problem(&answer, bytes);
        assert_eq!(wire.ends().await, End::Closed, "{bytes:?}");
        assert_eq!(outside(&g), before, "{bytes:?}");
    }
    g.counted("cambist_malformed_requests_total", all.len() as f64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn good_requests_before_a_bad_one_are_answered() {
    let g = running().await;
    let token = g.token("ada");
    let good = get("/orders", &token, &[]);
    for bad in ambiguous(&token) {
        let before = g.world.orders.requests();
        let mut wire = g.wire().await;
        let counted = request("POST /orders HTTP/1.1", &token, &["Content-Length: 5"]) + "hello";
        wire.send(format!("{good}{counted}{bad}{good}")).await;
        assert_eq!((wire.answer().await.status(), wire.answer().await.status()), (200, 200), "{bad:?}");
        problem(&wire.answer().await, &bad);
        assert_eq!(wire.ends().await, End::Closed);
        assert_eq!(g.world.orders.requests(), before + 2, "{bad:?}");
    }
    let mut wire = g.wire().await;
    assert_eq!(wire.ask(&good).await.status(), 200);
    problem(&wire.ask(good.replace("/orders", "/orders#")).await, "on a used connection");
    assert_eq!(wire.ends().await, End::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_in_pieces_is_refused_all_the_same() {
    let g = running().await;
    let before = outside(&g);
    for bytes in ambiguous(&g.token("ada")).iter().take(4) {
        let mut wire = g.wire().await;
        let (head, _) = bytes.split_once("\r\n\r\n").unwrap();
        for piece in format!("{head}\r\n\r\n").as_bytes().chunks(97) {
            // The end may come before the last piece.
            let _ = wire.stream.write_all(piece).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        problem(&wire.answer().await, bytes);
        assert_eq!(wire.ends().await, End::Closed);
    }
    assert_eq!(outside(&g), before);
}

/// The head is at the backend before the chunk that is none comes: the body must not look whole to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_chunk_after_its_head_has_gone_ends_the_connection() {
    let g = running().await;
    let mut wire = g.wire().await;
    wire.send(request("POST /orders HTTP/1.1", &g.token("ada"), &["Transfer-Encoding: chunked"]) + "2\r\nab\r\n").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let served = g.world.orders.requests();
    let answer = wire.ask(format!("2 \r\ncd\r\n0\r\n\r\n{}", get("/orders", &g.token("eve"), &[]))).await;
    assert_eq!(answer.said(), (400, "bad_request".to_owned()), "{}", answer.head);
    wire.ends().await;
    assert!(g.world.orders.requests() <= served + 1, "nothing behind it was read");
    g.counted("cambist_malformed_requests_total", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_requests_pass_on_one_connection() {
    let g = running().await;
    let token = g.token("ada");
    let post = |fields: &[&str], body: &str| request("POST /orders HTTP/1.1", &token, fields) + body;
    let mut wire = g.wire().await;
    let chunked = "5;a=b;c=\"d\"\r\nhello\r\n00A\r\n0123456789\r\n0;x\r\nX-Sum: 1\r\n\r\n";
    let large = "#\n\0\r".repeat(200_000);
    for bytes in [
        get("/orders", &token, &["X: a\tb#c"]),
        post(&["Content-Length: 5"], "hello"),
        post(&["Content-Length: 0"], ""),
        post(&["Transfer-Encoding: chunked"], chunked),
        post(&["transfer-encoding: Chunked", "Trailer: X-Sum"], chunked),
        post(&[&format!("Content-Length: {}", large.len())], &large),
        format!("\r\n{}", get("/orders", &token, &[])),
    ] {
        let answer = wire.ask(&bytes).await;
        assert_eq!(answer.status(), 200, "{} to {:?}", answer.head, &bytes[..bytes.len().min(300)]);
    }
    wire.send(request("HEAD /orders HTTP/1.1", &token, &[])).await;
    assert_eq!(wire.answer_without_body().await.status(), 200);
    assert_eq!(wire.ask(post(&["Expect: 100-continue", "Content-Length: 5"], "")).await.status(), 100);
    assert_eq!(wire.ask("hello").await.status(), 200);
    wire.send([get("/orders", &token, &[]), post(&["Transfer-Encoding: chunked"], chunked), get("/orders", &token, &[])].concat()).await;
    for _ in 0..3 {
        assert_eq!(wire.answer().await.status(), 200);
    }
    assert_eq!(g.metric("cambist_malformed_requests_total").await, 0.0);
    let answer = g.send(Method::POST, "/orders", &[("authorization", &format!("Bearer {token}"))], "#\n").await;
    assert_eq!(answer.status, 200);
}
