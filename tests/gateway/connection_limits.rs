//! `max_connections`: connections in use to each endpoint, all workers together; who must wait, and for how long.

use crate::endpoints::{OK, across, served};
use crate::kit::{World, until};
use crate::wire::{Act, Puppet, Wire, say};
use std::sync::Arc;
use tokio::sync::Notify;

const SLOW: &str = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
const QUICK: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A backend that answers `/slow` when it is told to, once each time.
async fn slow() -> (Puppet, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    let acts = move |path: &str| if path == "/slow" { vec![Act::Wait(waiting.clone()), say(OK)] } else { vec![say(OK)] };
    (Puppet::start(acts).await, go)
}

async fn asking(wire: &mut Wire, request: &str, backend: &Puppet, heard: usize) {
    wire.send(request).await;
    until("it is upstream", || backend.heard().len() == heard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_waits_for_one() {
    let (backend, go) = slow().await;
    let g = across(&[backend.url()], ", max_connections: 1, timeouts: { connect: 60s }", "").await;
    let (mut first, mut second) = (g.wire().await, g.wire().await);
    asking(&mut first, SLOW, &backend, 1).await;
    second.send(QUICK).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(backend.heard().len(), 1, "it is not sent before there is a place");
    go.notify_one();
    assert_eq!((first.answer().await.status(), second.answer().await.status()), (200, 200));
    assert_eq!(backend.connections(), 1, "the second takes the connection that the first left");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_longer_than_connect_is_told_that_there_is_too_much() {
    let (backend, go) = slow().await;
    let g = across(&[backend.url()], ", max_connections: 2, timeouts: { connect: 200ms }", "").await;
    let (mut first, mut second) = (g.wire().await, g.wire().await);
    asking(&mut first, SLOW, &backend, 1).await;
    asking(&mut second, SLOW, &backend, 2).await;
    let refused = g.ask(QUICK).await;
    assert_eq!(refused.said(), (503, "overloaded".into()));
    assert!(!refused.one("retry-after").is_empty());
    assert_eq!(g.metric("cambist_upstream_requests_total{code=\"overloaded\",upstream=\"pool\"}").await, 1.0);
    go.notify_one();
    go.notify_one();
    assert_eq!((first.answer().await.status(), second.answer().await.status()), (200, 200));
    assert_eq!(served(&g, 10).await, 10, "whoever stopped waiting holds no place");
    assert_eq!(backend.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_endpoint_sends_on_to_one_that_is_not() {
    let ((one, go), (other, go_too)) = (slow().await, slow().await);
    let g = across(&[one.url(), other.url()], ", balance: round_robin, max_connections: 1, timeouts: { connect: 200ms }", "").await;
    let mut first = g.wire().await;
    asking(&mut first, SLOW, &one, 1).await;
    assert_eq!(served(&g, 10).await, 10);
    assert_eq!((one.heard().len(), other.heard().len()), (1, 10));
    go.notify_one();
    go_too.notify_one();
    assert_eq!(first.answer().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_frees_the_place() {
    let (backend, _go) = slow().await;
    let g = across(&[backend.url()], ", max_connections: 1, timeouts: { connect: 60s }", "").await;
    let mut first = g.wire().await;
    asking(&mut first, SLOW, &backend, 1).await;
    let (mut gone, mut second) = (g.wire().await, g.wire().await);
    gone.send(QUICK).await;
    second.send(QUICK).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    drop(gone);
    drop(first);
    assert_eq!(second.answer().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_one_worker_starve_no_other() {
    let backend = Puppet::saying(OK).await;
    let more = format!("workers: 4\nupstreams: {{ pool: {{ endpoints: [{}], max_connections: 1 }} }}\n", backend.url());
    let g = World::new().await.gateway("\n  all: { upstream: pool, token: strip, callers: anonymous }\n", &more).await;
    // Callers that stay, so that each worker has one.
    let mut callers = Vec::new();
    for _ in 0..8 {
        callers.push(g.wire().await);
    }
    for caller in &mut callers {
        assert_eq!(caller.ask(QUICK).await.status(), 200);
    }
    // At once, from all workers, over one place.
    for caller in &mut callers {
        caller.send(QUICK).await;
    }
    for caller in &mut callers {
        assert_eq!(caller.answer().await.status(), 200);
    }
    assert_eq!(backend.heard().len(), 16);
}
