//! `retries` of a route: after a status, on another endpoint, for safe methods, and only what is there to be sent again.

use crate::endpoints::{across, backend};
use crate::kit::{Running, World};
use cambist::demo::backend::Backend;
use cambist::demo::misbehave::Misbehave;
use http::{Method, StatusCode};

const BY_TURNS: &str = ", balance: round_robin, eject: off";
const ON_503: &str = ", retries: { attempts: 1, on: [connect, \"503\"] }";

/// Two backends, of which the first answers 503.
async fn half_good(route: &str) -> (Running, [Backend; 2]) {
    let pool = [backend(), backend()];
    let g = across(&pool.each_ref().map(Backend::url), BY_TURNS, route).await;
    pool[0].script_always(Misbehave::status(StatusCode::SERVICE_UNAVAILABLE));
    (g, pool)
}

async fn statuses(g: &Running, method: Method, body: &'static str) -> Vec<u16> {
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(g.send(method.clone(), "/", &[("x-mine", "1")], body).await.status.as_u16());
    }
    got.sort_unstable();
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_request_is_sent_again_elsewhere_as_it_was() {
    let (g, pool) = half_good(ON_503).await;
    for (method, body) in [(Method::GET, ""), (Method::HEAD, ""), (Method::OPTIONS, ""), (Method::GET, "asked in the body")] {
        assert_eq!(statuses(&g, method.clone(), body).await, [200; 4], "{method}");
        let last = pool[1].last().unwrap();
        assert_eq!((last.method.as_str(), &last.body[..], last.header("x-mine")), (method.as_str(), body.as_bytes(), vec!["1"]));
    }
    assert_eq!(pool[1].requests(), 16);
    assert!(pool[0].requests() >= 8);
    assert_eq!(g.metric("cambist_upstream_requests_total{code=\"200\",upstream=\"pool\"}").await, 16.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_safe_or_not_asked_for_is_sent_once() {
    let (g, pool) = half_good(ON_503).await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        assert_eq!(statuses(&g, method.clone(), "").await, [200, 200, 503, 503], "{method}");
    }
    assert_eq!(pool.each_ref().map(Backend::requests), [8, 8]);
    for route in ["", ", retries: { on: [\"502\"] }", ", retries: { attempts: 0, on: [\"503\"] }"] {
        let (g, pool) = half_good(route).await;
        assert_eq!(statuses(&g, Method::GET, "").await, [200, 200, 503, 503], "{route}");
        assert_eq!(pool.each_ref().map(Backend::requests), [2, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_bounded_and_the_last_answer_passes() {
    for (attempts, requests) in [(1, 2), (2, 3), (5, 6)] {
        let pool = [backend(), backend()];
        let route = format!(", retries: {{ attempts: {attempts}, on: [\"503\"] }}");
        let g = across(&pool.each_ref().map(Backend::url), BY_TURNS, &route).await;
        pool.iter().for_each(|b| b.script_always(Misbehave::answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "come back later")));
        let answer = g.get_without_token("/").await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (503, &b"come back later"[..]));
        assert_eq!(pool.iter().map(Backend::requests).sum::<u64>(), requests, "{attempts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_not_kept_is_not_sent_again() {
    let pool = [backend(), backend()];
    let urls = pool.each_ref().map(Backend::url).join(", ");
    let more = format!("workers: 1\nlimits: {{ replay_body: 10B }}\nupstreams: {{ pool: {{ endpoints: [{urls}]{BY_TURNS} }} }}\n");
    let routes = format!("\n  all: {{ upstream: pool, token: strip, callers: anonymous{ON_503} }}\n");
    let g = World::new().await.gateway(&routes, &more).await;
    pool[0].script_always(Misbehave::status(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(statuses(&g, Method::GET, "far more than ten bytes").await, [200, 200, 503, 503]);
    assert_eq!(statuses(&g, Method::GET, "few bytes").await, [200; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_repair_send_the_same_body() {
    let world = World::new().await;
    let route = format!("\n  all: {{ upstream: pool, audience: orders-api{ON_503} }}\n");
    let more = format!("workers: 1\nupstreams: {{ pool: {{ endpoints: [{}], eject: off }} }}\n", world.orders.url());
    let g = world.gateway(&route, &more).await;
    let (token, orders) = (g.token("ada"), &g.world.orders);
    assert_eq!(g.get("/", &token).await.status, 200);
    // The token is from the cache now, and the backend says first that it cannot, then that the token is bad.
    orders.script(Misbehave::status(StatusCode::SERVICE_UNAVAILABLE));
    let challenge = http::HeaderValue::from_static("Bearer error=\"invalid_token\"");
    orders.script(Misbehave::status(StatusCode::UNAUTHORIZED).with(http::header::WWW_AUTHENTICATE, challenge));
    let bearer = format!("Bearer {token}");
    let answer = g.send(Method::GET, "/", &[("authorization", &bearer)], "asked in the body").await;
    assert_eq!((answer.status.as_u16(), &orders.last().unwrap().body[..]), (200, &b"asked in the body"[..]));
    assert_eq!(orders.requests(), 4);
}
