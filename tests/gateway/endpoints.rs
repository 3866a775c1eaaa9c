//! Several endpoints of one upstream: how requests are shared among them, and what becomes of those whose endpoint is not there.

use crate::kit::{Running, World, said, until};
use crate::wire::{Act, Puppet, say};
use cambist::demo::backend::Backend;
use http::Method;
use std::sync::Arc;
use tokio::sync::Notify;

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway with one worker that sends everything, without a token, to a pool of these; `upstream` and `route` are added to theirs.
pub async fn across(urls: &[String], upstream: &str, route: &str) -> Running {
    let more = format!("workers: 1\nupstreams: {{ pool: {{ endpoints: [{}]{upstream} }} }}\n", urls.join(", "));
    World::new().await.gateway(&format!("\n  all: {{ upstream: pool, token: strip, callers: anonymous{route} }}\n"), &more).await
}

pub fn backend() -> Backend {
    Backend::open(([127, 0, 0, 1], 0).into(), None).unwrap()
}

/// Requests that were answered with 200, of `count`, one after the other on one connection.
pub async fn served(g: &Running, count: usize) -> usize {
    let (mut caller, mut served) = (g.connect().await, 0);
    for _ in 0..count {
        served += usize::from(caller.get("/", None).await.unwrap().status == 200);
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_goes_round() {
    let pool = [backend(), backend(), backend()];
    let g = across(&pool.each_ref().map(Backend::url), ", balance: round_robin", "").await;
    assert_eq!(served(&g, 30).await, 30);
    assert_eq!(pool.each_ref().map(Backend::requests), [10; 3]);
    assert_eq!(pool.each_ref().map(Backend::connections), [1; 3]);
    assert_eq!(g.metric("cambist_upstream_endpoints{upstream=\"pool\"}").await, 3.0);
    assert_eq!(g.metric("cambist_upstream_endpoints_healthy{upstream=\"pool\"}").await, 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_busy_gets_nothing_while_others_are_not() {
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    let acts = move |path: &str| if path == "/slow" { vec![Act::Wait(waiting.clone()), say(OK)] } else { vec![say(OK)] };
    let pool = [Puppet::start(acts.clone()).await, Puppet::start(acts).await];
    let g = across(&pool.each_ref().map(Puppet::url), "", "").await;
    let mut slow = g.wire().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until("one is busy", || pool.iter().any(|p| p.heard().len() == 1)).await;
    assert_eq!(served(&g, 20).await, 20);
    let mut heard = pool.each_ref().map(|p| p.heard().len());
    heard.sort_unstable();
    assert_eq!(heard, [1, 20]);
    go.notify_one();
    assert_eq!(slow.answer().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_a_request_goes_elsewhere_whatever_its_method() {
    let pool = [backend(), backend()];
    let g = across(&pool.each_ref().map(Backend::url), ", balance: round_robin, eject: off", "").await;
    pool[0].down().await;
    for n in 0..6 {
        let answer = g.send(Method::POST, "/", &[], "a body").await;
        assert_eq!(answer.status, 200, "{n}");
    }
    assert_eq!(pool[1].received().iter().filter(|r| r.body == "a body").count(), 6);
    assert_eq!(g.metric("cambist_upstream_requests_total{code=\"200\",upstream=\"pool\"}").await, 6.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_forgo_that_and_where_all_are_down_that_is_said() {
    let pool = [backend(), backend()];
    for (retries, expected) in [("retries: { attempts: 0 }", 3), ("retries: { on: [\"503\"] }", 3), ("retries: { attempts: 1 }", 6)] {
        let g = across(&pool.each_ref().map(Backend::url), ", balance: round_robin, eject: off", &format!(", {retries}")).await;
        pool[0].down().await;
        assert_eq!(served(&g, 6).await, expected, "{retries}");
        pool[0].up().unwrap();
    }
    let g = across(&pool.each_ref().map(Backend::url), "", ", retries: { attempts: 10 }").await;
    pool[0].down().await;
    pool[1].down().await;
    assert_eq!(said(&g.get_without_token("/").await), (502, "upstream_unreachable".into()));
    pool[1].up().unwrap();
    assert_eq!(g.get_without_token("/").await.status, 200, "it is used again as soon as it is there");
}
