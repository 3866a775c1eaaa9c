//! Active health checks: who fails them gets no requests, and whom nobody passes gets them all the same.

use crate::endpoints::{OK, across, served};
use crate::kit::Running;
use crate::wire::{Puppet, say};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CHECKED: &str = ", balance: round_robin, health: { path: /up, interval: 5s, unhealthy_after: 2, healthy_after: 2 }";

/// A backend whose `/up` answers what the switch says.
struct Checked {
    puppet: Puppet,
    up: Arc<AtomicBool>,
}

impl Checked {
    async fn start() -> Self {
        let up = Arc::new(AtomicBool::new(true));
        let is_up = up.clone();
        let acts = move |path: &str| match (path, is_up.load(Ordering::SeqCst)) {
            ("/up", false) => vec![say("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")],
            ("/up", true) => vec![say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")],
            _ => vec![say(OK)],
        };
        Self { puppet: Puppet::start(acts).await, up }
    }

    fn checks(&self) -> usize {
        self.puppet.heard().iter().filter(|m| m.line() == "GET /up HTTP/1.1").count()
    }

    fn requests(&self) -> usize {
        self.puppet.heard().len() - self.checks()
    }
}

/// Turns the clock until all of them were checked once more, and whatever came of it is known.
async fn checked(g: &Running, pool: &[Checked]) {
    let before: Vec<_> = pool.iter().map(Checked::checks).collect();
    g.turn(Duration::from_secs(5)).await;
    crate::kit::until("all were checked", || pool.iter().zip(&before).all(|(one, n)| one.checks() > *n)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn healthy(g: &Running, count: f64) {
    g.counted("cambist_upstream_endpoints_healthy{upstream=\"pool\"}", count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_its_checks_gets_no_requests_until_it_passes_them_again() {
    let pool = [Checked::start().await, Checked::start().await];
    let g = across(&[pool[0].puppet.url(), pool[1].puppet.url()], CHECKED, "").await;
    crate::kit::until("all were checked", || pool.iter().all(|one| one.checks() == 1)).await;
    let check = &pool[0].puppet.heard()[0];
    assert_eq!(check.one("host"), pool[0].puppet.address.to_string());
    assert!(check.one("user-agent").starts_with("cambist/") && check.all("authorization").is_empty(), "{}", check.head);
    assert_eq!(served(&g, 4).await, 4);
    pool[0].up.store(false, Ordering::SeqCst);
    checked(&g, &pool).await;
    healthy(&g, 2.0).await;
    assert_eq!(served(&g, 4).await, 4);
    assert_eq!([pool[0].requests(), pool[1].requests()], [4, 4], "one check that fails is none");
    checked(&g, &pool).await;
    healthy(&g, 1.0).await;
    assert_eq!(served(&g, 6).await, 6);
    assert_eq!([pool[0].requests(), pool[1].requests()], [4, 10]);
    pool[0].up.store(true, Ordering::SeqCst);
    checked(&g, &pool).await;
    healthy(&g, 1.0).await;
    checked(&g, &pool).await;
    healthy(&g, 2.0).await;
    assert_eq!(served(&g, 4).await, 4);
    assert_eq!([pool[0].requests(), pool[1].requests()], [6, 12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_passes_all_are_used() {
    let pool = [Checked::start().await, Checked::start().await];
    let g = across(&[pool[0].puppet.url(), pool[1].puppet.url()], CHECKED, "").await;
    pool.iter().for_each(|one| one.up.store(false, Ordering::SeqCst));
    for _ in 0..2 {
        checked(&g, &pool).await;
    }
    healthy(&g, 0.0).await;
    assert_eq!(served(&g, 6).await, 6);
    assert_eq!([pool[0].requests(), pool[1].requests()], [3, 3]);
}
