//! Requests that an HTTP/2 upstream has not looked at, by its own word (RFC 9113 §8.7): they are sent again, whatever the method. Where
//! it may have looked, they are not.

use crate::frames::{self, END_STREAM, GOAWAY, Raw, frame};
use crate::kit::{Running, World, said};
use cambist::demo::fetch::Answer;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, TcpStream};

/// How a backend treats its first requests; later ones are echoed.
#[derive(Clone, Copy)]
enum First {
    /// So many streams are reset with this reason once they have come in whole.
    Reset(usize, h2::Reason),
    /// The first connection ends once a request has come in whole, with a GOAWAY that names this as the last stream.
    Leave(u32),
}

struct Backend {
    address: SocketAddr,
    first: First,
    requests: AtomicUsize,
    connections: AtomicUsize,
}

impl Backend {
    async fn start(first: First) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let backend = Arc::new(Self { address, first, requests: AtomicUsize::new(0), connections: AtomicUsize::new(0) });
        let this = backend.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let nth = this.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(this.clone().serve(stream, nth));
            }
        });
        backend
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, nth: usize) {
        if let (First::Leave(last), 0) = (self.first, nth) {
            return self.leave(stream, last).await;
        }
        let answer = service_fn(|request| self.clone().answer(request));
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn leave(&self, stream: TcpStream, last: u32) {
        let mut raw = Raw::accept(stream).await;
        let whole = |(kind, flags, ..): &frames::Came| matches!(*kind, frames::HEADERS | frames::DATA) && flags & END_STREAM != 0;
        assert!(raw.hears(whole).await);
        self.requests.fetch_add(1, Ordering::SeqCst);
        raw.send(&frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())).await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, h2::Error> {
        let nth = self.requests.fetch_add(1, Ordering::SeqCst);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        match self.first {
            First::Reset(requests, reason) if nth < requests => Err(reason.into()),
            _ => Ok(Response::new(Full::new(body))),
        }
    }

    fn seen(&self) -> (usize, usize) {
        (self.requests.load(Ordering::SeqCst), self.connections.load(Ordering::SeqCst))
    }

    async fn gateway(&self, route: &str) -> Running {
        let routes = format!("\n  all: {{ upstream: two, audience: orders-api{route} }}\n");
        let two = format!("workers: 1\nupstreams: {{ two: {{ endpoints: [\"http://{}\"], protocol: http2 }} }}\n", self.address);
        World::new().await.gateway(&routes, &two).await
    }
}

async fn posted(g: &Running) -> Answer {
    g.send(Method::POST, "/x", &[("authorization", &format!("Bearer {}", g.token("ada")))], "hello").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_and_one_too_late_for_a_goaway_are_sent_again_with_any_method() {
    for (first, connections) in [(First::Reset(1, h2::Reason::REFUSED_STREAM), 1), (First::Leave(0), 2)] {
        let backend = Backend::start(first).await;
        let g = backend.gateway("").await;
        let answer = posted(&g).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"hello"[..]), "{:?}", g.gateway.failures());
        assert_eq!(backend.seen(), (2, connections));
        assert_eq!(g.world.iam.exchanges(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_sent_again_as_often_as_the_route_says() {
    for (route, sent) in [("", 2), (", retries: { attempts: 3 }", 4), (", retries: { attempts: 0 }", 1)] {
        let backend = Backend::start(First::Reset(9, h2::Reason::REFUSED_STREAM)).await;
        let g = backend.gateway(route).await;
        assert_eq!(said(&posted(&g).await), (502, "upstream_error".into()));
        assert_eq!(backend.seen(), (sent, 1), "{route}");
        assert!(g.gateway.failures()[0].cause.contains("refused the request unread"), "{:?}", g.gateway.failures());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_may_have_looked_at_is_not_sent_again() {
    for first in [First::Reset(1, h2::Reason::INTERNAL_ERROR), First::Reset(1, h2::Reason::CANCEL), First::Leave(1)] {
        let backend = Backend::start(first).await;
        let g = backend.gateway(", retries: { attempts: 3 }").await;
        assert_eq!(said(&posted(&g).await), (502, "upstream_error".into()));
        assert_eq!(backend.seen(), (1, 1));
    }
}
