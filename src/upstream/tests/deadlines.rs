//! Every timeout by turning the clock, broken answers, and readers who do not read.

use super::*;

/// Long enough for what is under way to have come to rest.
const REST: Duration = Duration::from_millis(50);

async fn after_turning(worker: &Worker, by: Duration, request: Request<Sent>) -> Result<Response<Body>, Error> {
    let turn = async {
        tokio::time::sleep(REST).await;
        worker.clock.turn(by);
    };
    tokio::join!(worker.send(request), turn).0
}

fn timeout(error: &Error) -> Option<Waited> {
    if let Error::Timeout { waited, .. } = error { Some(*waited) } else { None }
}

#[tokio::test]
async fn no_headers_within_response() {
    let backend = Backend::start(|_| (String::new(), Then::Hang)).await;
    let worker = Worker::to(backend.address);
    let error = after_turning(&worker, Duration::from_secs(31), post("/", "x")).await.unwrap_err();
    assert_eq!(timeout(&error), Some(Waited::Response), "{error}");
    backend.sees_a_close().await;
}

#[tokio::test]
async fn response_is_not_idle() {
    // All is sent, and the backend is silent for longer than `idle` but shorter than `response`.
    let backend = Backend::start(|_| (String::new(), Then::Hang)).await;
    let mut worker = Worker::to(backend.address);
    worker.timeouts.response = Duration::from_secs(100);
    let sent = tokio::time::timeout(Duration::from_millis(500), after_turning(&worker, Duration::from_secs(90), post("/", "x")));
    assert!(sent.await.is_err());
}

#[tokio::test]
async fn a_body_that_stands_still() {
    let backend = Backend::start(|_| ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(), Then::Hang)).await;
    let worker = Worker::to(backend.address);
    let mut answer = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    worker.clock.turn(Duration::from_secs(61));
    let error = answer.body_mut().frame().await.unwrap().unwrap_err();
    assert_eq!(timeout(&error), Some(Waited::Idle), "{error}");
    assert!(!http_body::Body::is_end_stream(answer.body()));
    backend.sees_a_close().await;
}

#[tokio::test]
async fn total_ends_a_stream_that_moves() {
    let backend = Backend::start(|_| ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(), Then::Hang)).await;
    let mut worker = Worker::to(backend.address);
    worker.timeouts.total = Some(Duration::from_secs(5));
    let mut answer = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    worker.clock.turn(Duration::from_secs(6));
    let error = answer.body_mut().frame().await.unwrap().unwrap_err();
    assert_eq!(timeout(&error), Some(Waited::Total), "{error}");
}

#[tokio::test]
async fn a_caller_who_stops_sending_is_not_the_upstreams_fault() {
    let backend = Backend::start(|_| (ok(""), Then::Keep)).await;
    let worker = Worker::to(backend.address);
    let mut stuck = request(Method::POST, "/", Stuck(Some("begin".into())));
    stuck.headers_mut().insert("content-length", "100".parse().unwrap());
    let error = after_turning(&worker, Duration::from_secs(61), stuck).await.unwrap_err();
    assert_eq!(error, Error::CallerStalled);
    backend.sees_a_close().await;
}

#[tokio::test]
async fn an_upstream_that_does_not_take_the_body_is_an_idle_upstream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let worker = Worker::to(listener.local_addr().unwrap());
    let big = request(Method::POST, "/", Endless { left: 1 << 30, taken: Arc::default() });
    let turn = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        worker.clock.turn(Duration::from_secs(61));
    };
    let error = tokio::join!(worker.send(big), turn).0.unwrap_err();
    assert_eq!(timeout(&error), Some(Waited::Idle), "{error}");
}

#[tokio::test]
async fn nobody_at_the_port_and_nobody_at_the_address() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Worker::to(gone).send(post("/", "x")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { why, .. } if why.contains("refused")), "{error}");
    // A listener whose queue is full takes no more connections.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let mut worker = Worker::to(address);
    worker.timeouts.connect = Duration::from_millis(200);
    let error = worker.send(post("/", "x")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { why, .. } if why.contains("200ms") || why.contains("did not answer")), "{error}");
}

#[tokio::test]
async fn tls_to_a_backend_that_speaks_none() {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = backend.local_addr().unwrap();
    let worker = Worker::to(address);
    let mut settings = worker.upstream.settings().clone();
    let endpoint = |tls, host: &str| Endpoints::Listed(vec![Endpoint { tls, host: host.to_owned(), port: address.port() }]);
    settings.endpoints = endpoint(true, "127.0.0.1");
    tokio::spawn(async move {
        let (mut stream, _) = backend.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    match Upstream::new(settings.clone(), Metrics::new().upstream("orders")) {
        Ok(upstream) => {
            let error = worker.pools.send(&upstream, post("/", "x"), &mut worker.terms(None)).await.unwrap_err();
            assert!(matches!(&error, Error::Unreachable { why, .. } if why.contains("https://127.0.0.1")), "{error}");
        }
        // A machine without certificate authorities.
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
    settings.endpoints = endpoint(true, "not a name");
    let error = Upstream::new(settings, Metrics::new().upstream("orders")).err().unwrap();
    assert!(error.to_string().contains("`not a name`"), "{error}");
}

#[tokio::test]
async fn a_broken_answer_is_an_error_and_never_a_clean_end() {
    for answer in
        ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    {
        let backend = Backend::start(move |_| (answer.to_owned(), Then::Close)).await;
        let worker = Worker::to(backend.address);
        let answer = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap();
        let error = answer.into_body().collect().await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
    }
    for nonsense in ["220 mail ready\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
        let backend = Backend::start(move |_| (nonsense.to_owned(), Then::Hang)).await;
        let error = Worker::to(backend.address).send(post("/", "x")).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
    }
}

struct Cuts(AtomicUsize);

impl Cut for Cuts {
    fn cut(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_body_that_nobody_polls_cuts_the_caller_once() {
    let backend = Backend::start(|_| (ok(&"x".repeat(100_000)), Then::Keep)).await;
    let worker = Worker::to(backend.address);
    let cuts = Arc::new(Cuts(AtomicUsize::new(0)));
    let get = request(Method::GET, "/", Empty::new());
    let answer = worker.pools.send(&worker.upstream, get, &mut worker.terms(Some(cuts.clone()))).await.unwrap();
    tokio::time::sleep(REST).await;
    assert_eq!(cuts.0.load(Ordering::SeqCst), 0);
    worker.clock.turn(Duration::from_secs(61));
    until(|| cuts.0.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(3 * Ticker::PERIOD).await;
    assert_eq!(cuts.0.load(Ordering::SeqCst), 1);
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_body_read_in_time_cuts_nobody() {
    let backend = Backend::start(|_| (ok(&"x".repeat(100_000)), Then::Keep)).await;
    let worker = Worker::to(backend.address);
    let cuts = Arc::new(Cuts(AtomicUsize::new(0)));
    let get = request(Method::GET, "/", Empty::new());
    let answer = worker.pools.send(&worker.upstream, get, &mut worker.terms(Some(cuts.clone()))).await.unwrap();
    worker.clock.turn(Duration::from_secs(50));
    assert_eq!(text(answer).await.len(), 100_000);
    worker.clock.turn(Duration::from_secs(200));
    tokio::time::sleep(3 * Ticker::PERIOD).await;
    assert_eq!(cuts.0.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&cuts), 1);
}

/// A body that is always ready, and counts what was taken of it.
struct Endless {
    left: u64,
    taken: Arc<AtomicUsize>,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.left -= 65536;
        self.taken.fetch_add(65536, Ordering::SeqCst);
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[0; 65536])))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

#[tokio::test]
async fn neither_way_is_more_swallowed_than_the_other_side_takes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let worker = Worker::to(listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let send = worker.send(request(Method::POST, "/", Endless { left: 50 << 20, taken: taken.clone() }));
    let _ = tokio::time::timeout(Duration::from_millis(500), send).await;
    let swallowed = taken.load(Ordering::SeqCst);
    assert!((1..20 << 20).contains(&swallowed), "{swallowed}");

    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    tokio::spawn(async move {
        // The first is the POST's.
        let _first = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n").await.unwrap();
        while let Ok(n) = stream.write(&[0; 65536]).await {
            count.fetch_add(n, Ordering::SeqCst);
        }
    });
    let _answer = worker.send(request(Method::GET, "/", Empty::new())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let swallowed = written.load(Ordering::SeqCst);
    assert!((1..20 << 20).contains(&swallowed), "{swallowed}");
}
