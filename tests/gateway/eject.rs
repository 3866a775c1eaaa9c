//! Endpoints that are left out for what they do to requests, and come back.

use crate::endpoints::{OK, across, backend, served};
use crate::wire::{Act, Puppet, say};
use cambist::demo::backend::Backend;
use cambist::demo::misbehave::Misbehave;
use http::StatusCode;
use std::time::Duration;

const TWICE: &str = ", balance: round_robin, eject: { failures: 2, for: 10s }";
const HEALTHY: &str = "cambist_upstream_endpoints_healthy{upstream=\"pool\"}";

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_again_and_again_is_left_out_for_a_while() {
    for bad in [Misbehave::Reset, Misbehave::status(StatusCode::SERVICE_UNAVAILABLE), Misbehave::status(StatusCode::GATEWAY_TIMEOUT)] {
        let pool = [backend(), backend()];
        let g = across(&pool.each_ref().map(Backend::url), TWICE, "").await;
        pool[0].script_always(bad.clone());
        assert_eq!(served(&g, 4).await, 2, "{bad:?}: by turns, until it has failed twice");
        assert_eq!(served(&g, 10).await, 10, "{bad:?}");
        assert_eq!(pool.each_ref().map(Backend::requests), [2, 12]);
        g.counted(HEALTHY, 1.0).await;
        pool[0].behave();
        g.turn(Duration::from_secs(10)).await;
        g.counted(HEALTHY, 2.0).await;
        assert_eq!(served(&g, 4).await, 4);
        assert_eq!(pool.each_ref().map(Backend::requests), [4, 14]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_fault_of_the_endpoint_is_not_held_against_it() {
    let pool = [backend(), backend()];
    let g = across(&pool.each_ref().map(Backend::url), TWICE, "").await;
    for status in [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS, StatusCode::INTERNAL_SERVER_ERROR] {
        pool[0].script_always(Misbehave::status(status));
        assert_eq!(served(&g, 6).await, 3, "{status}");
    }
    assert_eq!(pool.each_ref().map(Backend::requests), [12, 12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_left_out_and_costs_no_further_try() {
    let pool = [backend(), backend()];
    let g = across(&pool.each_ref().map(Backend::url), TWICE, ", retries: { attempts: 0 }").await;
    pool[0].down().await;
    assert_eq!(served(&g, 4).await, 2);
    assert_eq!(served(&g, 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_break_off_and_headers_that_do_not_come_count_too() {
    let broken = Puppet::start(|_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), Act::Close]).await;
    let good = Puppet::saying(OK).await;
    let g = across(&[broken.url(), good.url()], TWICE, "").await;
    for _ in 0..14 {
        let mut wire = g.wire().await;
        wire.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    assert_eq!((broken.heard().len(), good.heard().len()), (2, 12));

    let silent = Puppet::start(|_| vec![Act::Wait(Default::default())]).await;
    let good = Puppet::saying(OK).await;
    let g = across(&[silent.url(), good.url()], ", balance: round_robin, eject: { failures: 1, for: 1h }", "").await;
    let (mut one, mut other) = (g.wire().await, g.wire().await);
    one.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    other.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    crate::kit::until("it was asked", || silent.heard().len() == 1).await;
    g.turn(Duration::from_secs(31)).await;
    let mut statuses = [one.answer().await.status(), other.answer().await.status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
    assert_eq!(served(&g, 10).await, 10);
    assert_eq!(silent.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_are_out_all_are_used() {
    let pool = [backend(), backend()];
    let g = across(&pool.each_ref().map(Backend::url), TWICE, "").await;
    pool.iter().for_each(|b| b.script_always(Misbehave::status(StatusCode::BAD_GATEWAY)));
    assert_eq!(served(&g, 4).await, 0);
    g.counted(HEALTHY, 0.0).await;
    pool.iter().for_each(Backend::behave);
    assert_eq!(served(&g, 10).await, 10);
    assert_eq!(pool.each_ref().map(Backend::requests), [7, 7]);
}
