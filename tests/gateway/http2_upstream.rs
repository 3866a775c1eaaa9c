//! HTTP/2 towards upstreams: shared connections within the peer's own limit, trailers and `te` for gRPC, resets both ways, and what
//! becomes of requests when a connection is on its way out.

use crate::kit::{Running, World, until};
use crate::wire::patiently;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A backend that speaks HTTP/2 only. By path: `/…/wait` answers when told to, `/…/break` breaks off half-way, `/…/early` answers
/// without reading, `/…/hang` never answers, anything else echoes body and trailers.
struct Two {
    address: SocketAddr,
    heads: Mutex<Vec<http::request::Parts>>,
    trailers: Mutex<Vec<HeaderMap>>,
    connections: AtomicUsize,
    cancelled: AtomicUsize,
    waiting: AtomicUsize,
    go: Notify,
    leave: Notify,
}

impl Two {
    async fn start(streams: u32) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let two = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            heads: Mutex::default(),
            trailers: Mutex::default(),
            connections: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            go: Notify::new(),
            leave: Notify::new(),
        });
        let this = two.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::SeqCst);
                let this = this.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| this.clone().answer(request));
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let mut connection =
                        std::pin::pin!(builder.max_concurrent_streams(streams).serve_connection(TokioIo::new(stream), answer));
                    tokio::select! {
                        _ = &mut connection => {}
                        () = this.leave.notified() => {
                            connection.as_mut().graceful_shutdown();
                            let _ = connection.await;
                        }
                    }
                });
            }
        });
        two
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        self.heads.lock().unwrap().push(head);
        let mut cancel = Cancelled(self.clone(), true);
        let answer = match path.rsplit('/').next().unwrap_or_default() {
            "wait" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.go.notified().await;
                Response::new(full("waited"))
            }
            "hang" => std::future::pending().await,
            "break" => {
                let (to, from) = mpsc::channel(2);
                to.send(Ok(Frame::data(Bytes::from_static(b"half")))).await.unwrap();
                // After it has left: a reset takes what is still to be sent along.
                let this = self.clone();
                tokio::spawn(async move {
                    this.go.notified().await;
                    let _ = to.send(Err("broken on purpose".into())).await;
                });
                Response::new(stream(from))
            }
            "early" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("9"));
                Response::new(full("early").with_trailers(async move { Some(Ok(trailers)) }).boxed_unsync())
            }
            _ => self.echo(body),
        };
        cancel.1 = false;
        Ok(answer)
    }

    fn echo(self: &Arc<Self>, mut body: Incoming) -> Response<Body> {
        let (to, from) = mpsc::channel(4);
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    this.cancelled.fetch_add(1, Ordering::SeqCst);
                    return;
                };
                match frame.into_trailers() {
                    Ok(trailers) => this.trailers.lock().unwrap().push(trailers),
                    Err(data) => {
                        if to.send(Ok(data)).await.is_err() {
                            return;
                        }
                    }
                }
            }
            let mut trailers = HeaderMap::new();
            for (name, value) in [("grpc-status", "0"), ("x-sum", "7"), ("authorization", "stolen"), ("x-forwarded-for", "6.6.6.6")] {
                trailers.insert(name, HeaderValue::from_static(value));
            }
            let _ = to.send(Ok(Frame::trailers(trailers))).await;
        });
        Response::builder().header("content-type", "application/grpc").body(stream(from)).unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn last(&self) -> http::request::Parts {
        self.heads.lock().unwrap().last().unwrap().clone()
    }

    async fn gateway(&self, more: &str) -> Running {
        let routes = "\n  all: { upstream: two, audience: orders-api }\n";
        let upstreams =
            format!("workers: 1\nupstreams: {{ two: {{ endpoints: [\"http://{}\"], protocol: http2{more} }} }}\n", self.address);
        World::new().await.gateway(routes, &upstreams).await
    }
}

/// Counts a request whose answer nobody waited for.
struct Cancelled(Arc<Two>, bool);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(usize::from(self.1), Ordering::SeqCst);
    }
}

fn full(text: &'static str) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

fn stream(from: mpsc::Receiver<Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>>) -> Body {
    StreamBody::new(futures_util::stream::unfold(from, |mut from| async move { from.recv().await.map(|frame| (frame, from)) }))
        .boxed_unsync()
}

struct Caller(SendRequest<Body>);

impl Caller {
    async fn of(g: &Running) -> Self {
        let stream = TcpStream::connect(g.address()).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        patiently("an answer", self.0.clone().send_request(request)).await
    }
}

fn grpc(path: &str, token: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(format!("http://api.example.com{path}"));
    let request = request.header("authorization", format!("Bearer {token}")).header("content-type", "application/grpc");
    request.header("te", "trailers").body(body).unwrap()
}

type Frames = mpsc::Sender<Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>>;

fn open_body() -> (Frames, Body) {
    let (to, from) = mpsc::channel(4);
    (to, stream(from))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_either_http_share_one_connection_in_http_2s_own_form() {
    let two = Two::start(100).await;
    let g = two.gateway("").await;
    let token = g.token("ada");
    let asks = (0..20).map(|_| g.get("/echo?x=%2f", &token));
    assert!(join_all(asks).await.iter().all(|answer| answer.status == 200));
    let head = two.last();
    assert_eq!((head.version, head.uri.to_string()), (Version::HTTP_2, format!("http://{}/echo?x=%2f", g.address())));
    assert!(["host", "connection", "transfer-encoding", "te"].iter().all(|name| !head.headers.contains_key(*name)), "{:?}", head.headers);
    assert!(!format!("{:?}", head.headers).contains(&token));
    let posted = g.send(Method::POST, "/echo", &[("authorization", &format!("Bearer {token}"))], "hello").await;
    assert_eq!(&posted.body[..], b"hello");
    assert_eq!(two.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_connection_is_opened_where_the_peers_stream_limit_binds() {
    let two = Two::start(3).await;
    let g = Arc::new(two.gateway("").await);
    let token = g.token("ada");
    let asks: Vec<_> = (0..10)
        .map(|_| {
            let (g, token) = (g.clone(), token.clone());
            tokio::spawn(async move { g.get("/x/wait", &token).await.status })
        })
        .collect();
    until("all of them are at the backend at once", || two.waiting.load(Ordering::SeqCst) == 10).await;
    assert_eq!(two.connections(), 4, "three streams on each");
    two.go.notify_waiters();
    assert!(join_all(asks).await.into_iter().all(|status| status.unwrap() == 200));
    assert_eq!(g.get("/echo", &token).await.status, 200);
    assert_eq!(two.connections(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bidirectional_call_streams_both_ways_and_ends_with_its_trailers() {
    let two = Two::start(100).await;
    let g = two.gateway("").await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let (to, body) = open_body();
    let mut answer = caller.send(grpc("/pkg.Echo/Bidi", &token, body)).await.unwrap();
    for text in ["one", "two"] {
        to.send(Ok(Frame::data(Bytes::from(text)))).await.unwrap();
        let frame = patiently("an echo before the request is whole", answer.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    trailers.insert("authorization", HeaderValue::from_static("Bearer forged"));
    trailers.insert("x-copy", HeaderValue::try_from(format!("of {token}")).unwrap());
    to.send(Ok(Frame::trailers(trailers))).await.unwrap();
    drop(to);
    let trailers = patiently("trailers", answer.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!((trailers["grpc-status"].as_bytes(), trailers["x-sum"].as_bytes()), (&b"0"[..], &b"7"[..]));
    assert!(!trailers.contains_key("authorization") && !trailers.contains_key("x-forwarded-for"));
    assert_eq!(two.last().headers["te"], "trailers");
    let sent = two.trailers.lock().unwrap().remove(0);
    assert_eq!(sent.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-checksum"], "no token passes in a trailer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_ends_the_call_while_the_caller_still_sends() {
    let two = Two::start(100).await;
    let g = two.gateway("").await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let (to, body) = open_body();
    let answer = caller.send(grpc("/x/early", &token, body)).await.unwrap();
    let answer = patiently("the whole answer", answer.collect()).await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "9");
    patiently("the caller's body is let go", to.closed()).await;
    assert_eq!(g.get("/echo", &token).await.status, 200);
    assert_eq!(two.connections(), 1, "a stream that is over costs no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_pass_both_ways_and_are_no_clean_end() {
    let two = Two::start(100).await;
    let g = two.gateway("").await;
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let mut broken = caller.send(grpc("/x/break", &token, full(""))).await.unwrap();
    assert_eq!(patiently("one half", broken.frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
    two.go.notify_one();
    assert!(patiently("the end", broken.collect()).await.is_err(), "half an answer looked whole");
    let before = two.cancelled.load(Ordering::SeqCst);
    let asking = tokio::time::timeout(Duration::from_millis(300), caller.0.clone().send_request(grpc("/x/hang", &token, full(""))));
    assert!(asking.await.is_err());
    until("the backend's stream is reset", || two.cancelled.load(Ordering::SeqCst) > before).await;
    assert_eq!(g.get("/echo", &token).await.status, 200);
    assert_eq!(two.connections(), 1, "nobody else's stream suffered");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_goaway_requests_go_on_another_connection() {
    let two = Two::start(100).await;
    let g = Arc::new(two.gateway("").await);
    let token = g.token("ada");
    let (slow, its_token) = (g.clone(), token.clone());
    let slow = tokio::spawn(async move { slow.get("/x/wait", &its_token).await.status });
    until("it is at the backend", || two.waiting.load(Ordering::SeqCst) == 1).await;
    two.leave.notify_waiters();
    for _ in 0..500 {
        assert_eq!(g.get("/echo", &token).await.status, 200);
        if two.connections() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(two.connections(), 2);
    two.go.notify_waiters();
    assert_eq!(patiently("the one under way", slow).await.unwrap(), 200, "what is under way ends in peace");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_hold_for_each_stream_and_grpc_timeout_shortens_them() {
    let two = Two::start(100).await;
    let g = Arc::new(two.gateway("").await);
    let (caller, token) = (Caller::of(&g).await, g.token("ada"));
    let mut hurried = grpc("/x/hang", &token, full(""));
    hurried.headers_mut().insert("grpc-timeout", HeaderValue::from_static("5S"));
    let asking = tokio::spawn(async move { caller.send(hurried).await.unwrap() });
    until("it is at the backend", || !two.heads.lock().unwrap().is_empty()).await;
    g.turn(Duration::from_secs(6)).await;
    let answer = patiently("the deadline", asking).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"], &answer.headers()["content-type"]),
        (200, &"4".parse().unwrap(), &"application/grpc".parse().unwrap())
    );
    assert_eq!(two.last().headers["grpc-timeout"], "5S");
    until("the backend's stream is reset", || two.cancelled.load(Ordering::SeqCst) == 1).await;
    assert_eq!((g.get("/echo", &token).await.status.as_u16(), two.connections()), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_speaks_no_http_2_is_unreachable_and_an_idle_connection_is_dropped() {
    let puppet = crate::wire::Puppet::saying("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let routes = "\n  all: { upstream: two, audience: orders-api }\n";
    let upstreams = format!("upstreams: {{ two: {{ endpoints: [\"{}\"], protocol: http2 }} }}\n", puppet.url());
    let g = World::new().await.gateway(routes, &upstreams).await;
    assert_eq!(crate::kit::said(&g.get("/x", &g.token("ada")).await), (502, "upstream_unreachable".into()));
    let two = Two::start(100).await;
    let g = two.gateway(", pool_idle: 10s").await;
    let token = g.token("ada");
    assert_eq!(g.get("/echo", &token).await.status, 200);
    g.turn(Duration::from_secs(11)).await;
    assert_eq!((g.get("/echo", &token).await.status.as_u16(), two.connections()), (200, 2));
}
