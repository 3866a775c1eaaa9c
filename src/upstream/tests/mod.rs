//! A backend that counts and does as it is told, over real sockets, and one worker's pools. The tests stand in the files beside.

mod anywhere;
mod choice;
mod deadlines;
mod names;
mod reuse;
mod slots;

use super::*;
use crate::clock::{Clock, Ticker};
use crate::metrics::Metrics;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Sent = UnsyncBoxBody<Bytes, io::Error>;

/// What the backend does with one request, after its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Keep,
    Close,
    Hang,
}

/// A backend; `answer` is given each request, head and body.
struct Backend {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Connections that the gateway has closed.
    closed: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    async fn start(answer: impl Fn(&str) -> (String, Then) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let it =
            Self { address: listener.local_addr().unwrap(), connections: Arc::default(), closed: Arc::default(), requests: Arc::default() };
        let (connections, closed, requests) = (it.connections.clone(), it.closed.clone(), it.requests.clone());
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, requests, closed) = (answer.clone(), requests.clone(), closed.clone());
                tokio::spawn(async move {
                    serve(stream, &*answer, &requests).await;
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        it
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Comes back when the gateway has closed a connection.
    async fn sees_a_close(&self) {
        until(|| self.closed.load(Ordering::SeqCst) > 0).await;
    }
}

async fn serve(mut stream: TcpStream, answer: &(impl Fn(&str) -> (String, Then) + Sync), requests: &Mutex<Vec<String>>) {
    let mut buffer = Vec::new();
    loop {
        let mut some = [0; 4096];
        let Ok(n) = stream.read(&mut some).await else { return };
        if n == 0 {
            return;
        }
        buffer.extend_from_slice(&some[..n]);
        let text = String::from_utf8_lossy(&buffer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let due = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |v| v.parse().unwrap());
        if body.len() < due && !head.contains("early") {
            continue;
        }
        buffer.clear();
        let (bytes, then) = answer(&text);
        requests.lock().unwrap().push(text);
        stream.write_all(bytes.as_bytes()).await.unwrap();
        if then == Then::Close {
            return;
        }
        if then == Then::Hang {
            while stream.read(&mut some).await.is_ok_and(|n| n > 0) {}
            return;
        }
    }
}

/// One worker's upstream side.
struct Worker {
    clock: Clock,
    ticker: Arc<Ticker>,
    pools: Arc<Pools<Sent>>,
    upstream: Arc<Upstream>,
    timeouts: Timeouts,
}

impl Worker {
    fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint { tls: false, host: address.ip().to_string(), port: address.port() };
        Self::with(Settings::to("orders", Endpoints::Listed(vec![endpoint])))
    }

    fn with(settings: Settings) -> Self {
        let clock = Clock::turned();
        let ticker = Ticker::new(clock.clone());
        tokio::spawn(ticker.clone().run());
        let timeouts = settings.timeouts;
        let upstream = Upstream::new(settings, Metrics::new().upstream("orders")).unwrap();
        Self { clock, pools: Pools::new(ticker.clone()), ticker, upstream, timeouts }
    }

    fn terms(&self, cut: Option<Arc<dyn Cut>>) -> Terms {
        Terms::new(self.timeouts, cut)
    }

    async fn send(&self, request: Request<Sent>) -> Result<Response<Body>, Error> {
        self.pools.send(&self.upstream, request, &mut self.terms(None)).await
    }

    /// Sends and reads the answer to its end.
    async fn get(&self, path: &str) -> String {
        let answer = self.send(request(Method::GET, path, Empty::new())).await.unwrap();
        text(answer).await
    }
}

fn request(method: Method, path: &str, body: impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Request<Sent> {
    let body = body.map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(path).header("host", "orders").body(body).unwrap()
}

fn post(path: &str, body: &'static str) -> Request<Sent> {
    request(Method::POST, path, Full::new(Bytes::from_static(body.as_bytes())))
}

async fn text(answer: Response<Body>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn until(mut it: impl FnMut() -> bool) {
    for _ in 0..500 {
        if it() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to pass");
}

/// A request body of which only the beginning ever comes.
struct Stuck(Option<Bytes>);

impl http_body::Body for Stuck {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |b| Poll::Ready(Some(Ok(http_body::Frame::data(b)))))
    }
}
