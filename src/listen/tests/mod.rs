//! A door with two workers behind it, and callers that speak in raw bytes. The tests stand in the files beside.

mod changing;
mod deadlines;
mod draining;
mod framing;
mod refusing;
mod serving;

use super::*;
use crate::clock::Clock;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

type Out = UnsyncBoxBody<Bytes, io::Error>;

/// What the service is steered by and leaves behind.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Bytes taken of `/big`.
    taken: AtomicUsize,
    malformed: AtomicUsize,
    turned_away: Mutex<Vec<String>>,
    last: Mutex<Option<Arc<Connection>>>,
}

#[derive(Clone)]
struct Answers {
    seen: Arc<Seen>,
    release: Arc<Semaphore>,
    worker: usize,
}

impl Handler for Answers {
    type Service = tower::util::BoxCloneService<Request<Incoming>, Response<Out>, Infallible>;
    type Body = Out;

    fn connection(&self, peer: Peer) -> Self::Service {
        assert_eq!(&*peer.listener, "public");
        *self.seen.last.lock().unwrap() = Some(peer.connection);
        self.seen.connections.fetch_add(1, Ordering::SeqCst);
        let (me, from) = (self.clone(), peer.address);
        tower::util::BoxCloneService::new(tower::service_fn(move |request| {
            let me = me.clone();
            async move { Ok(me.answer(request, from).await) }
        }))
    }
}

impl Answers {
    async fn answer(&self, request: Request<Incoming>, from: SocketAddr) -> Response<Out> {
        self.seen.requests.fetch_add(1, Ordering::SeqCst);
        let full = |text: String| Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
        Response::new(match request.uri().path() {
            "/slow" => {
                self.release.acquire().await.unwrap().forget();
                full("slow".into())
            }
            "/who" => full(format!("{from} at {}", self.worker)),
            "/fields" => full(request.headers().len().to_string()),
            "/big" => Big { left: 50 << 20, seen: self.seen.clone(), breaks: false }.boxed_unsync(),
            "/breaks" => Big { left: 65536, seen: self.seen.clone(), breaks: true }.boxed_unsync(),
            "/panic" => panic!("asked for"),
            _ => full("ok".into()),
        })
    }
}

/// A body without a length.
struct Big {
    left: usize,
    seen: Arc<Seen>,
    breaks: bool,
}

impl http_body::Body for Big {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(self.breaks.then(|| Err(io::Error::other("upstream reset"))));
        }
        self.left -= 65536;
        self.seen.taken.fetch_add(65536, Ordering::SeqCst);
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; 65536])))))
    }
}

struct Door {
    address: SocketAddr,
    listening: Listening,
    clock: Clock,
    workers: Workers,
    seen: Arc<Seen>,
    release: Arc<Semaphore>,
}

const LIMITS: Limits = Limits {
    max_connections: 100,
    head_bytes: 64 * 1024,
    head_fields: 512,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    min_body_rate: 100,
    h2_streams: 100,
};

impl Door {
    fn open(workers: usize) -> Self {
        Self::limited(workers, LIMITS)
    }

    fn limited(workers: usize, limits: Limits) -> Self {
        let clock = Clock::turned();
        let (seen, release) = (Arc::<Seen>::default(), Arc::new(Semaphore::new(0)));
        let (m, t) = (seen.clone(), seen.clone());
        let hooks = Hooks {
            malformed: Arc::new(move || {
                m.malformed.fetch_add(1, Ordering::SeqCst);
            }),
            turned_away: Arc::new(move |listener| t.turned_away.lock().unwrap().push(listener.to_owned())),
            ..Hooks::default()
        };
        let (s, r) = (seen.clone(), release.clone());
        let make = move |context: &WorkerContext| Answers { seen: s.clone(), release: r.clone(), worker: context.index };
        let workers = Workers::start(workers, limits, &clock, hooks, make).unwrap();
        let bound = Bound::bind(Settings::plain("public", "127.0.0.1:0".parse().unwrap())).unwrap();
        let address = bound.local_addr().unwrap();
        let listening = workers.accept(bound, &Handle::current()).unwrap();
        Self { address, listening, clock, workers, seen, release }
    }

    async fn caller(&self) -> Caller {
        let had = || self.seen.connections.load(Ordering::SeqCst);
        let before = had();
        let caller = self.unheard().await;
        until(|| had() > before).await;
        caller
    }

    /// One whom nobody may have accepted yet.
    async fn unheard(&self) -> Caller {
        Caller(TcpStream::connect(self.address).await.unwrap())
    }

    fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    async fn has_requests(&self, n: usize) {
        until(|| self.requests() == n).await;
    }

    /// Turns the clock and gives the workers two ticks to notice.
    async fn turn(&self, seconds: u64) {
        self.clock.turn(Duration::from_secs(seconds));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

struct Caller(TcpStream);

impl Caller {
    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> String {
        self.say(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        self.hear().await
    }

    /// One read's worth.
    async fn hear(&mut self) -> String {
        let mut buffer = vec![0; 65536];
        let n = tokio::time::timeout(Duration::from_secs(5), self.0.read(&mut buffer)).await.expect("something is said").unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    /// Everything until the end; whether it ended in a reset.
    async fn hear_all(&mut self) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(5), self.0.read_to_end(&mut all)).await.expect("it ends");
        (all, end.is_err())
    }

    async fn is_closed(&mut self) -> bool {
        let mut buffer = [0; 16];
        let read = self.0.read(&mut buffer);
        matches!(tokio::time::timeout(Duration::from_millis(300), read).await, Ok(Ok(0) | Err(_)))
    }
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

type H2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

/// An HTTP/2 caller by prior knowledge, and the task that ends with its connection.
async fn http2(door: &Door) -> (H2, tokio::task::JoinHandle<()>) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let io = TokioIo::new(TcpStream::connect(door.address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let task = tokio::spawn(async move {
        let _ = connection.await;
    });
    (sender, task)
}

fn h2_get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://a{path}")).body(Full::default()).unwrap()
}

async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
