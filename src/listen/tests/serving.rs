//! Requests that are served, and connections that are not.

use super::*;

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    for _ in 0..3 {
        assert!(caller.get("/").await.ends_with("ok"));
    }
    caller.say("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let (both, reset) = caller.hear_all().await;
    let both = String::from_utf8(both).unwrap();
    assert_eq!((both.matches("200 OK").count(), reset), (2, false), "{both}");
    assert!(both.ends_with(&format!("{} at 0", caller.0.local_addr().unwrap())), "{both}");
    assert_eq!(door.requests(), 5);
    until(|| door.workers.connections() == 0).await;
}

#[tokio::test]
async fn each_worker_gets_as_many_connections() {
    let door = Door::open(2);
    let mut callers = Vec::new();
    for _ in 0..8 {
        callers.push(door.caller().await);
    }
    assert_eq!(door.workers.connections_by_worker(), [4, 4]);
    let mut by_worker = [0, 0];
    for caller in &mut callers {
        by_worker[usize::from(caller.get("/who").await.ends_with("at 1"))] += 1;
    }
    assert_eq!(by_worker, [4, 4]);
    drop(callers);
    until(|| door.workers.connections_by_worker() == [0, 0]).await;
}

#[tokio::test]
async fn one_too_many_is_told_so_and_counted() {
    let door = Door::limited(2, Limits { max_connections: 2, ..LIMITS });
    let (mut a, mut b) = (door.caller().await, door.caller().await);
    let mut c = door.unheard().await;
    c.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (said, _) = c.hear_all().await;
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{said}");
    for part in ["retry-after: 1\r\n", "connection: close\r\n", "application/problem+json", "\"code\":\"overloaded\""] {
        assert!(said.to_lowercase().contains(part), "{said}");
    }
    let length: usize = said.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    assert_eq!(said.split("\r\n\r\n").nth(1).unwrap().len(), length);
    assert_eq!(*door.seen.turned_away.lock().unwrap(), ["public"]);
    assert!(a.get("/").await.ends_with("ok") && b.get("/").await.ends_with("ok"));
    drop(a);
    until(|| door.workers.connections() == 1).await;
    assert!(door.caller().await.get("/").await.ends_with("ok"));
    assert_eq!(door.requests(), 3);
}

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let door = Door::open(1);
    let (mut caller, _task) = http2(&door).await;
    let (one, two) = (caller.send_request(h2_get("/slow")), caller.clone().send_request(h2_get("/")));
    assert_eq!(text(two.await.unwrap()).await, "ok");
    door.release.add_permits(1);
    assert_eq!(text(one.await.unwrap()).await, "slow");
    assert_eq!(door.workers.connections(), 1);
}

#[tokio::test]
async fn what_the_parser_refuses_is_counted() {
    let door = Door::open(1);
    for (n, nonsense) in ["NONSENSE\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"].iter().enumerate() {
        let mut caller = door.caller().await;
        caller.say(nonsense).await;
        let (said, _) = caller.hear_all().await;
        assert!(said.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
        until(|| door.seen.malformed.load(Ordering::SeqCst) == n + 1).await;
    }
    assert_eq!(door.requests(), 0);
}

#[tokio::test]
async fn a_head_larger_than_the_buffer_is_refused_by_the_parser() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say(&format!("GET / HTTP/1.1\r\nx: {}\r\n", "y".repeat(LIMITS.head_bytes))).await;
    assert!(caller.hear().await.starts_with("HTTP/1.1 431 "));
    until(|| door.seen.malformed.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn an_answer_is_read_by_one_who_was_still_sending() {
    let door = Door::open(1);
    for path in ["/", "no path"] {
        let mut caller = door.caller().await;
        caller.say(&format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n")).await;
        for _ in 0..8 {
            caller.say(&"x".repeat(1_000_000)).await;
        }
        let (said, reset) = caller.hear_all().await;
        assert!(said.starts_with(b"HTTP/1.1 ") && !reset, "{}", String::from_utf8_lossy(&said));
    }
    until(|| door.workers.connections() == 0).await;
}

#[tokio::test]
async fn a_panic_costs_its_own_connection_alone() {
    let door = Door::open(1);
    let (mut caller, mut other) = (door.caller().await, door.caller().await);
    caller.say("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(caller.hear_all().await.0.is_empty());
    until(|| door.workers.connections() == 1).await;
    assert!(other.get("/").await.ends_with("ok"));
}

#[tokio::test]
async fn more_fields_than_hypers_hundred_reach_the_service() {
    let door = Door::open(1);
    let fields: String = (0..300).map(|i| format!("x-{i}: y\r\n")).collect();
    let mut caller = door.caller().await;
    caller.say(&format!("GET /fields HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await;
    assert!(caller.hear().await.ends_with("301"));
}

#[tokio::test]
async fn a_reader_who_does_not_read_is_sent_little_and_can_be_cut() {
    let door = Door::open(1);
    let mut caller = door.caller().await;
    caller.say("GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let taken = door.seen.taken.load(Ordering::SeqCst);
    assert!((1..20 << 20).contains(&taken), "{taken}");
    let connection = door.seen.last.lock().unwrap().take().unwrap();
    connection.cut();
    until(|| door.workers.connections() == 0).await;
    let (_, reset) = caller.hear_all().await;
    assert!(reset);
}

#[tokio::test]
async fn a_body_that_breaks_is_never_a_clean_end() {
    let door = Door::open(1);
    for version in ["1.0", "1.1"] {
        let mut caller = door.caller().await;
        caller.say(&format!("GET /breaks HTTP/{version}\r\nhost: a\r\n\r\n")).await;
        let (said, reset) = caller.hear_all().await;
        assert!(reset && !said.ends_with(b"0\r\n\r\n"), "HTTP/{version}");
        until(|| door.workers.connections() == 0).await;
    }
}

#[tokio::test]
async fn a_plain_server_serves_and_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"plain")))) });
    let server = tokio::spawn(serve_plain(listener, service, async {
        let _ = stopped.await;
    }));
    let mut caller = Caller(TcpStream::connect(address).await.unwrap());
    assert!(caller.get("/").await.ends_with("plain"));
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(caller.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err());
}

/// Ready every other time it is asked.
#[derive(Clone, Default)]
struct Busy(Arc<AtomicUsize>);

impl tower::Service<Request<Incoming>> for Busy {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.0.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(Response::new(Full::new(Bytes::from_static(b"at last")))))
    }
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_plain(listener, Busy::default(), std::future::pending()));
    let mut caller = Caller(TcpStream::connect(address).await.unwrap());
    for _ in 0..2 {
        assert!(caller.get("/").await.ends_with("at last"));
    }
}
