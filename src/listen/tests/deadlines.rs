//! Callers who take their time, by turning the clock.

use super::*;

#[tokio::test]
async fn one_who_says_nothing_is_closed() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    door.turn(9).await;
    assert!(!caller.is_closed().await);
    door.turn(2).await;
    assert!(caller.is_closed().await);
    until(|| door.workers.connections() == 0).await;
}

#[tokio::test]
async fn one_who_drips_a_head_is_closed() {
    let door = Door::open(1);
    let (mut fresh, mut used) = (door.caller().await, door.caller().await);
    used.get("/").await;
    door.turn(60).await;
    assert!(fresh.is_closed().await);
    let mut fresh = door.caller().await;
    for part in ["GET", " / HTTP/1.1\r\n"] {
        fresh.say(part).await;
        used.say(part).await;
        door.turn(6).await;
    }
    assert!(fresh.is_closed().await && used.is_closed().await);
    assert_eq!(door.requests(), 1);
}

#[tokio::test]
async fn one_who_drips_the_preface_of_http2_is_closed() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("PRI * HT").await;
    door.turn(6).await;
    caller.say("TP/2.0\r\n").await;
    door.turn(5).await;
    assert!(caller.is_closed().await);
}

#[tokio::test]
async fn idle_connections_are_closed_and_used_ones_are_not() {
    let door = Door::open(1);
    let (mut idle, mut used) = (door.caller().await, door.caller().await);
    idle.get("/").await;
    used.get("/").await;
    door.turn(70).await;
    assert!(used.get("/").await.ends_with("ok"));
    door.turn(10).await;
    assert!(idle.is_closed().await);
    assert!(used.get("/").await.ends_with("ok"));
}

#[tokio::test]
async fn a_slow_answer_is_not_idleness() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.has_requests(1).await;
    door.turn(1000).await;
    door.release.add_permits(1);
    assert!(caller.hear().await.ends_with("slow"));
    // The time between requests is counted from the answer.
    door.turn(70).await;
    assert!(caller.get("/").await.ends_with("ok"));
}

#[tokio::test]
async fn idle_http2_takes_its_leave() {
    let door = Door::open(1);
    let (mut caller, task) = http2(&door).await;
    assert_eq!(text(caller.send_request(h2_get("/")).await.unwrap()).await, "ok");
    // Not a head that is awaited: the next stream may begin whenever it likes.
    door.turn(60).await;
    assert_eq!(text(caller.send_request(h2_get("/")).await.unwrap()).await, "ok");
    door.turn(76).await;
    task.await.unwrap();
    until(|| door.workers.connections() == 0).await;
}

#[tokio::test]
async fn pings_do_not_keep_an_unused_http2() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let request = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
    let first = [&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &[0, 0, 6, 1, 5, 0, 0, 0, 1], &request].concat();
    caller.0.write_all(&first).await.unwrap();
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
    for second in 0..85 {
        let _ = caller.0.write_all(&[&ping[..], &ping].concat()).await;
        let mut heard = [0; 4096];
        let heard = tokio::time::timeout(Duration::from_secs(20), caller.0.read(&mut heard)).await.unwrap();
        if heard.is_ok_and(|n| n > 0) {
            door.turn(1).await;
        } else {
            assert!(second > 50, "{second}");
            break;
        }
        assert!(second < 80, "it stands for as long as it likes");
    }
}

#[tokio::test]
async fn http2_that_ignores_goaway_is_cut() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    caller.0.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    door.turn(60).await;
    assert_eq!(door.workers.connections(), 1);
    door.turn(16).await;
    door.turn(2).await;
    until(|| door.workers.connections() == 0).await;
}
