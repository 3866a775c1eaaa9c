//! The same driver for small servers that are not the gateway's door: metrics, probes, the demo. It runs on the current runtime
//! and takes no settings.

use super::accept::{Acceptor, HandOver};
use super::bind::Bound;
use super::drive::{self, Accepted};
use super::greet::Greeting;
use super::shop::{Desk, Hooks, Shop};
use super::worker::drained;
use super::{Handler, Limits, Peer};
use crate::clock::{Clock, Ticker};
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits {
    max_connections: 256,
    head_bytes: 64 * 1024,
    head_fields: 100,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    min_body_rate: 100,
    h2_streams: 100,
};

/// How long answers have to finish once `shutdown` is over.
const GRACE: Duration = Duration::from_secs(5);

/// Serves `service` on `listener` until `shutdown` is over and what is under way has finished.
///
/// # Errors
/// When the runtime does not take the listener.
pub async fn serve_plain<S, RB>(listener: TcpListener, service: S, shutdown: impl Future<Output = ()>) -> io::Result<()>
where
    S: tower::Service<Request<Incoming>, Response = Response<RB>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
    RB: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let bound = Bound { name: "plain".into(), greeting: Greeting::default(), listener };
    let shop = Shop::new(&LIMITS, Hooks::default());
    let ticker = Ticker::new(Clock::real());
    let desk = Desk::new(Arc::clone(&shop), &LIMITS, &ticker);
    let here = Here { handler: Same(service, PhantomData), desk, ticker: Arc::clone(&ticker), count: Arc::default() };
    let acceptor = Acceptor::new(bound, Arc::clone(&shop), here)?;
    let gate = Arc::clone(&acceptor.gate);
    let all = async {
        let stopping = async {
            shutdown.await;
            gate.stop.send_replace(true);
        };
        tokio::join!(acceptor.run(), stopping);
        shop.draining.store(true, Ordering::Relaxed);
        drained(&shop, Instant::now() + GRACE).await;
    };
    tokio::select! {
        () = all => {}
        () = ticker.run() => {}
    }
    Ok(())
}

/// The same service for every connection.
struct Same<S, RB>(S, PhantomData<fn() -> RB>);

impl<S: Clone, RB> Clone for Same<S, RB> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S, RB> Handler for Same<S, RB>
where
    S: tower::Service<Request<Incoming>, Response = Response<RB>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
    RB: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Service = S;
    type Body = RB;

    fn connection(&self, _: Peer) -> S {
        self.0.clone()
    }
}

struct Here<H> {
    handler: H,
    desk: Arc<Desk>,
    ticker: Arc<Ticker>,
    count: Arc<AtomicUsize>,
}

impl<H: Handler> HandOver for Here<H> {
    fn next(&self) -> (usize, Arc<AtomicUsize>) {
        (0, Arc::clone(&self.count))
    }

    fn hand(&self, _: usize, accepted: Accepted) {
        drive::start(accepted, &self.handler, &self.desk, &self.ticker);
    }
}
