//! When a connection is used again, and when it must not be.

use super::*;

fn by_path(text: &str) -> (String, Then) {
    let body = "x".repeat(3000);
    let answer = match text.split(' ').nth(1).unwrap() {
        "/chunked" => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nbb8\r\n{body}\r\n0\r\nx-sum: 7\r\n\r\n"),
        "/head" => "HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n".to_owned(),
        "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 3000\r\n\r\n".to_owned(),
        "/close" => format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        _ => ok(&body),
    };
    (answer, Then::Keep)
}

#[tokio::test]
async fn whole_exchanges_share_one_connection() {
    let backend = Backend::start(by_path).await;
    let worker = Worker::to(backend.address);
    for _ in 0..5 {
        assert_eq!(worker.get("/").await.len(), 3000);
        assert_eq!(worker.get("/chunked").await.len(), 3000);
        // As hyper's server does: a body of known length goes with its last byte, and a bodiless one is never polled.
        let mut answer = worker.send(post("/", "all of it")).await.unwrap();
        while !http_body::Body::is_end_stream(answer.body()) {
            answer.body_mut().frame().await.unwrap().unwrap();
        }
        drop(answer);
        for (method, path) in [(Method::HEAD, "/head"), (Method::GET, "/204"), (Method::GET, "/304")] {
            drop(worker.send(request(method, path, Empty::new())).await.unwrap());
        }
    }
    assert_eq!((backend.requests(), backend.connections()), (30, 1));
}

#[tokio::test]
async fn trailers_pass() {
    let backend = Backend::start(by_path).await;
    let worker = Worker::to(backend.address);
    let answer = worker.send(request(Method::GET, "/chunked", Empty::new())).await.unwrap();
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "7");
}

#[tokio::test]
async fn an_answer_left_half_read_closes_its_connection() {
    let backend = Backend::start(|_| ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(), Then::Hang)).await;
    let worker = Worker::to(backend.address);
    let mut answer = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    backend.sees_a_close().await;
    drop(worker.send(request(Method::GET, "/", Empty::new())).await.unwrap());
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_request_that_was_not_sent_to_its_end_closes_its_connection() {
    for answer in [ok(""), ok("too much")] {
        let backend = Backend::start(move |_| (answer.clone(), Then::Hang)).await;
        let worker = Worker::to(backend.address);
        let answer = worker.send(request(Method::POST, "/early", Stuck(Some("begin".into())))).await.unwrap();
        text(answer).await;
        backend.sees_a_close().await;
        assert!(worker.send(post("/", "next")).await.is_ok());
        assert_eq!(backend.connections(), 2);
    }
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let backend = Backend::start(|_| (String::new(), Then::Hang)).await;
    let worker = Worker::to(backend.address);
    let sent = tokio::time::timeout(Duration::from_millis(100), worker.send(post("/", "x"))).await;
    assert!(sent.is_err());
    backend.sees_a_close().await;
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let backend = Backend::start(by_path).await;
    let worker = Worker::to(backend.address);
    worker.get("/close").await;
    worker.get("/").await;
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn what_was_idle_too_long_is_dropped_by_the_tick() {
    let backend = Backend::start(by_path).await;
    let worker = Worker::to(backend.address);
    worker.get("/").await;
    worker.clock.turn(Duration::from_secs(29));
    worker.get("/").await;
    assert_eq!(backend.connections(), 1);
    worker.clock.turn(Duration::from_secs(31));
    backend.sees_a_close().await;
    worker.get("/").await;
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_post_on_a_connection_that_the_backend_closed_goes_out_once_on_another() {
    let backend = Backend::start(|_| (ok("y"), Then::Close)).await;
    let worker = Worker::to(backend.address);
    for _ in 0..3 {
        assert_eq!(text(worker.send(post("/", "body")).await.unwrap()).await, "y");
        // Long enough for the close to arrive, too short for a tick to have cleared the pool.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((backend.requests(), backend.connections()), (3, 3));
}

#[tokio::test]
async fn a_close_that_the_reactor_has_not_seen_yet_costs_no_request() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let worker = Worker::to(listener.local_addr().unwrap());
    let (close, on_close) = std::sync::mpsc::channel();
    let (closed, on_closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(ok("y").as_bytes()).unwrap();
            let _ = on_close.recv();
            drop(stream);
            let _ = closed.send(());
        }
    });
    worker.get("/").await;
    worker.clock.turn(Duration::from_secs(1));
    worker.ticker.tick();
    // Blocks the runtime, so that the close lies in the kernel when the request comes.
    close.send(()).unwrap();
    on_closed.recv().unwrap();
    assert_eq!(text(worker.send(post("/", "body")).await.unwrap()).await, "y");
}

#[tokio::test]
async fn a_request_that_may_have_been_read_is_never_sent_again() {
    let backend = Backend::start(|_| (String::new(), Then::Close)).await;
    let worker = Worker::to(backend.address);
    let error = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    assert_eq!((backend.requests(), backend.connections()), (1, 1));
}

/// Answers the first request of each connection, and ends it at the second, as one does whose patience with idle connections has run out.
async fn short_of_patience() -> Backend {
    let n = AtomicUsize::new(0);
    Backend::start(
        move |_| if n.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { (ok(""), Then::Keep) } else { (String::new(), Then::Close) },
    )
    .await
}

/// Pools go by the time of the last tick.
async fn ticked() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn with_retries(worker: &Worker, request: Request<Sent>) -> Result<Response<Body>, Error> {
    let mut terms = worker.terms(None);
    terms.retries = 1;
    worker.pools.send(&worker.upstream, request, &mut terms).await
}

#[tokio::test]
async fn what_is_safe_goes_once_more_where_a_rested_connection_ends_instead_of_answering() {
    let backend = short_of_patience().await;
    let worker = Worker::to(backend.address);
    drop(worker.send(request(Method::GET, "/", Empty::new())).await.unwrap());
    worker.clock.turn(Duration::from_secs(5));
    ticked().await;
    with_retries(&worker, request(Method::GET, "/?again", Empty::new())).await.unwrap();
    assert_eq!((backend.requests(), backend.connections()), (3, 2));
}

#[tokio::test]
async fn nothing_else_does() {
    for (method, body, turned) in [(Method::POST, "", 5), (Method::DELETE, "", 5), (Method::GET, "body", 5), (Method::GET, "", 0)] {
        let backend = short_of_patience().await;
        let worker = Worker::to(backend.address);
        drop(worker.send(request(Method::GET, "/", Empty::new())).await.unwrap());
        if turned > 0 {
            worker.clock.turn(Duration::from_secs(turned));
            ticked().await;
        }
        let error = with_retries(&worker, request(method.clone(), "/", Full::from(body))).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{method}: {error}");
        assert_eq!(backend.requests(), 2, "{method}");
    }
}

#[tokio::test]
async fn an_unasked_101_is_a_broken_answer() {
    let backend = Backend::start(|_| ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_owned(), Then::Hang)).await;
    let worker = Worker::to(backend.address);
    let error = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    backend.sees_a_close().await;
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_a_broken_one() {
    for framing in [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "content-length: 5, 5\r\n\r\nhello",
        "content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        "content-length: +5\r\n\r\nhello",
    ] {
        let backend = Backend::start(move |_| (format!("HTTP/1.1 200 OK\r\n{framing}"), Then::Hang)).await;
        let worker = Worker::to(backend.address);
        let error = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{framing}: {error}");
        backend.sees_a_close().await;
    }
}

#[tokio::test]
async fn a_callers_broken_body_is_the_callers_fault() {
    let backend = Backend::start(|_| (ok(""), Then::Keep)).await;
    let worker = Worker::to(backend.address);
    let body = Broken(Some("begin".into())).boxed_unsync();
    let error = worker.send(Request::post("/").header("host", "orders").body(body).unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::CallerBroken(_)), "{error}");
    backend.sees_a_close().await;
    assert_eq!(backend.requests(), 0);
}

struct Broken(Option<Bytes>);

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(self.0.take().map_or_else(|| Err(io::Error::other("reset")), |b| Ok(http_body::Frame::data(b)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(100)
    }
}

#[tokio::test]
async fn what_every_request_carries_stays_small() {
    let worker = Worker::to("127.0.0.1:1".parse().unwrap());
    let mut terms = worker.terms(None);
    let sending = worker.pools.send(&worker.upstream, post("/", ""), &mut terms);
    let size = std::mem::size_of_val(&sending);
    assert!(size < 1600, "{size}");
}
