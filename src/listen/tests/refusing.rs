//! What a caller sees of a refused head, in every state that its connection may be in.

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const BAD: &str = "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n";

/// The answers' status lines, and that the last one is the refusal, alone and whole.
fn refused_after(said: &[u8], before: usize) {
    let said = String::from_utf8_lossy(said);
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), before, "{said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), before + 1, "{said}");
    let last = said.split("HTTP/1.1 ").last().unwrap();
    assert!(last.starts_with("400 Bad Request\r\n"), "{said}");
    let lower = last.to_lowercase();
    for part in ["content-type: application/problem+json\r\n", "connection: close\r\n", "cache-control: no-store\r\n"] {
        assert!(lower.contains(part), "{said}");
    }
    let (head, body) = last.split_once("\r\n\r\n").unwrap();
    let length: usize = head.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    assert_eq!(body.len(), length);
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["code"], &problem["type"]), (&"bad_request".into(), &"urn:cambist:fault:bad_request".into()));
    assert_eq!(problem["trace_id"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn a_refused_head_is_answered_once_and_ends_the_connection() {
    let door = Door::open(1);
    for (n, byte_by_byte) in [false, true].into_iter().enumerate() {
        let mut caller = door.caller().await;
        if byte_by_byte {
            for byte in "GET /a#".chars() {
                caller.say(&byte.to_string()).await;
            }
        } else {
            caller.say(&format!("{BAD}{GET}")).await;
        }
        let (said, reset) = caller.hear_all().await;
        refused_after(&said, 0);
        assert!(!reset);
        until(|| door.seen.malformed.load(Ordering::SeqCst) == n + 1).await;
    }
    assert_eq!(door.requests(), 0);
    until(|| door.workers.connections() == 0).await;
}

#[tokio::test]
async fn what_came_before_is_answered_first() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say(&format!("{GET}POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nok{GET}{BAD}{GET}")).await;
    refused_after(&caller.hear_all().await.0, 3);
    assert_eq!(door.requests(), 3);
    let mut caller = door.caller().await;
    assert!(caller.get("/").await.ends_with("ok"));
    caller.say(BAD).await;
    refused_after(&caller.hear_all().await.0, 0);
    assert_eq!(door.requests(), 4);
}

#[tokio::test]
async fn an_answer_under_way_is_waited_for() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.has_requests(1).await;
    caller.say(&format!("{BAD}{GET}")).await;
    until(|| door.seen.malformed.load(Ordering::SeqCst) == 1).await;
    assert!(!caller.is_closed().await);
    door.release.add_permits(1);
    refused_after(&caller.hear_all().await.0, 1);
    assert_eq!(door.requests(), 1);
}

#[tokio::test]
async fn a_long_answer_is_out_before_the_refusal() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say(&format!("GET /big HTTP/1.1\r\nhost: a\r\n\r\n{BAD}")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (said, reset) = caller.hear_all().await;
    assert!(!reset && said.len() > 50 << 20);
    let tail = &said[said.len() - 2000..];
    let end = tail.windows(5).position(|w| w == b"0\r\n\r\n").unwrap();
    refused_after(&tail[end + 5..], 0);
}

#[tokio::test]
async fn one_who_has_ended_or_goes_on_sending_hears_it() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say(BAD).await;
    caller.0.shutdown().await.unwrap();
    refused_after(&caller.hear_all().await.0, 0);
    let mut caller = door.caller().await;
    caller.say("POST / HTTP/1.1\r\ncontent-length: 8000000\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..8 {
        caller.say(&"x".repeat(1_000_000)).await;
    }
    let (said, reset) = caller.hear_all().await;
    refused_after(&said, 0);
    assert!(!reset);
    until(|| door.workers.connections() == 0).await;
}

#[tokio::test]
async fn a_chunk_that_is_none_breaks_the_body_and_is_counted() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    door.has_requests(1).await;
    caller.say("5 \r\nhello\r\n0\r\n\r\n").await;
    until(|| door.seen.malformed.load(Ordering::SeqCst) == 1).await;
    door.release.add_permits(1);
    let (said, _) = caller.hear_all().await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.matches("HTTP/1.1 ").count() <= 1, "the request has an answer already: {said}");
    until(|| door.workers.connections() == 0).await;
}

#[tokio::test]
async fn what_only_began_like_http2_is_read_from_its_beginning() {
    let door = Door::open(1);
    for (begin, rest) in
        [("PRI", " /#a HTTP/1.1\r\n\r\n"), ("PRI * HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"), ("PRI * HTTP/", "1.1\r\nx : y\r\n\r\n")]
    {
        let mut caller = door.caller().await;
        caller.say(begin).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        caller.say(rest).await;
        refused_after(&caller.hear_all().await.0, 0);
    }
    assert_eq!(door.requests(), 0);
    let (mut caller, _task) = http2(&door).await;
    let request = Request::post("http://a/").body(Full::new(Bytes::from_static(b"\n#\n \0"))).unwrap();
    assert_eq!(text(caller.send_request(request).await.unwrap()).await, "ok");
}
