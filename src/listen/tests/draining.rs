//! The end of a gateway: nothing that was begun is lost, and nothing keeps it waiting for longer than it said.

use super::*;

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn answers_finish_and_the_idle_go() {
    let door = Door::open(2);
    let (mut idle, mut busy) = (door.caller().await, door.caller().await);
    idle.get("/").await;
    busy.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.has_requests(2).await;
    let drain = door.workers.drain(GRACE);
    let callers = async {
        assert!(idle.is_closed().await);
        assert!(TcpStream::connect(door.address).await.is_err());
        // The other worker hears of it at about the same time.
        tokio::time::sleep(Duration::from_millis(50)).await;
        door.release.add_permits(1);
        let (said, reset) = busy.hear_all().await;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("connection: close") && said.ends_with("slow") && !reset, "{said}");
    };
    assert_eq!(tokio::join!(drain, callers).0, 0);
}

#[tokio::test]
async fn half_a_head_gets_its_answer() {
    let door = Door::open(1);
    let (mut fresh, mut used, mut first) = (door.caller().await, door.caller().await, door.caller().await);
    used.get("/").await;
    fresh.say("GET / HT").await;
    used.say("GET / HTTP/1.1\r\n").await;
    // Fewer bytes than the HTTP/2 preface has, and a beginning that could be it.
    first.say("P").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let drain = door.workers.drain(GRACE);
    let callers = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        fresh.say("TP/1.1\r\nhost: a\r\n\r\n").await;
        used.say("host: a\r\n\r\n").await;
        first.say("UT / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        for caller in [&mut fresh, &mut used, &mut first] {
            let (said, reset) = caller.hear_all().await;
            assert!(said.ends_with(b"ok") && !reset);
        }
    };
    assert_eq!(tokio::join!(drain, callers).0, 0);
    assert_eq!(door.requests(), 4);
}

#[tokio::test]
async fn who_connected_before_the_drain_and_was_not_accepted_yet_gets_an_answer() {
    let door = Door::open(2);
    let mut callers = Vec::new();
    for _ in 0..20 {
        // A blocking connect: the acceptor, on this same runtime, cannot run meanwhile.
        let stream = std::net::TcpStream::connect(door.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        callers.push(Caller(TcpStream::from_std(stream).unwrap()));
    }
    assert_eq!(door.workers.connections(), 0);
    let drain = door.workers.drain(GRACE);
    let asking = async {
        for caller in &mut callers {
            caller.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        }
        for caller in &mut callers {
            assert!(caller.hear_all().await.0.ends_with(b"ok"));
        }
    };
    assert_eq!(tokio::join!(drain, asking).0, 0);
}

#[tokio::test]
async fn one_who_never_speaks_does_not_keep_the_drain() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    let began = std::time::Instant::now();
    assert_eq!(door.workers.drain(Duration::from_secs(30)).await, 0);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(caller.is_closed().await);
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut_and_counted() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.has_requests(1).await;
    assert_eq!(door.workers.drain(Duration::from_millis(300)).await, 1);
    assert!(caller.is_closed().await);
    assert_eq!(door.workers.connections(), 0);
}

#[tokio::test]
async fn http2_streams_finish() {
    let door = Door::open(1);
    let (mut caller, task) = http2(&door).await;
    let slow = caller.send_request(h2_get("/slow"));
    let (_idle, idle_task) = http2(&door).await;
    door.has_requests(1).await;
    let drain = door.workers.drain(GRACE);
    let callers = async {
        idle_task.await.unwrap();
        door.release.add_permits(1);
        assert_eq!(text(slow.await.unwrap()).await, "slow");
        drop(caller);
        task.await.unwrap();
    };
    assert_eq!(tokio::join!(drain, callers).0, 0);
}
