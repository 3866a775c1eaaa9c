//! What may change while connections are open: the limits, and which listeners there are.

use super::*;

#[tokio::test]
async fn new_limits_hold_from_the_next_tick_and_turn_nobody_out() {
    let door = Door::open(1);
    let (mut first, mut second) = (door.caller().await, door.caller().await);
    first.get("/").await;
    second.get("/").await;
    door.workers.set_limits(Limits { max_connections: 1, idle_timeout: Duration::from_secs(20), ..LIMITS });
    let mut third = door.unheard().await;
    assert!(third.hear().await.starts_with("HTTP/1.1 503"));
    assert!(first.get("/").await.ends_with("ok") && second.get("/").await.ends_with("ok"));
    door.turn(15).await;
    assert!(second.get("/").await.ends_with("ok"));
    door.turn(10).await;
    assert!(first.is_closed().await, "the time between requests is the new one, for those who were in, too");
    assert!(second.get("/").await.ends_with("ok"));
    door.workers.set_limits(LIMITS);
    assert!(door.caller().await.get("/").await.ends_with("ok"));
}

#[tokio::test]
async fn a_new_connection_gets_the_new_head_limits_and_an_old_one_keeps_its_own() {
    let door = Door::open(1);
    let mut old = door.caller().await;
    old.get("/").await;
    door.workers.set_limits(Limits { head_fields: 4, ..LIMITS });
    let head = "GET / HTTP/1.1\r\nhost: a\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n\r\n";
    // The message to the worker overtakes no connection, and none overtakes it.
    let mut new = door.caller().await;
    new.say(head).await;
    assert!(new.hear().await.starts_with("HTTP/1.1 431"));
    old.say(head).await;
    assert!(old.hear().await.ends_with("ok"));
}

#[tokio::test]
async fn one_listener_closes_and_the_others_go_on() {
    let door = Door::open(2);
    let other = Bound::bind(Settings::plain("public", "127.0.0.1:0".parse().unwrap())).unwrap();
    let at = other.local_addr().unwrap();
    let other = door.workers.accept(other, &Handle::current()).unwrap();
    let (mut busy, mut idle, mut stays) =
        (Caller(TcpStream::connect(at).await.unwrap()), TcpStream::connect(at).await.unwrap(), door.caller().await);
    busy.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.has_requests(1).await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut idle = Caller(idle);
    assert!(idle.hear().await.ends_with("ok"));
    // Accepted by nobody yet, or just now: it is still served.
    let mut late = Caller(TcpStream::connect(at).await.unwrap());
    late.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.workers.close(&other).await;
    Bound::bind(Settings::plain("public", at)).map(drop).expect("the port is free");
    assert!(late.hear().await.ends_with("ok"));
    assert!(idle.is_closed().await);
    assert!(stays.get("/").await.ends_with("ok"));
    door.release.add_permits(1);
    assert!(busy.hear().await.ends_with("slow"));
    until(|| door.workers.connections() == 1).await;
    assert_eq!(&**door.listening.name(), "public");
    assert!(door.caller().await.get("/").await.ends_with("ok"));
    door.workers.close(&other).await;
    door.workers.close(&door.listening).await;
    assert!(TcpStream::connect(door.address).await.is_err());
    until(|| door.workers.connections() == 0).await;
}
