//! Rates: so many requests of a route by subject, client or address, and so many failed authentications of one source; what is too
//! much is told when to come back.

use crate::kit::{Running, World, get};
use crate::wire::Message;
use std::time::Duration;

/// So slow that no test's own time gives anything back.
const ROUTES: &str = "
  subject: { match: { path: /subject }, upstream: ORDERS, audience: orders-api, rate_limit: { rate: 1/h, burst: 2 } }
  client: { match: { path: /client }, upstream: ORDERS, audience: orders-api, rate_limit: { rate: 2/h, by: client } }
  address: { match: { path: /address }, upstream: ORDERS, audience: orders-api, rate_limit: { rate: 2/h, by: address } }
  open: { match: { path: /open }, upstream: OPEN, token: strip, callers: anonymous, rate_limit: { rate: 2/h, by: address } }
  browser: { match: { path: /browser }, upstream: OPEN, audience: orders-api, preflight: forward, rate_limit: { rate: 2/h } }
  free: { match: { path: /free }, upstream: ORDERS, audience: orders-api }
  anybody: { match: { path: /anybody }, upstream: OPEN, token: strip, callers: anonymous }
";
const BY_PROXY: &str = "listeners: { main: { address: 127.0.0.1:0, trusted_proxies: [127.0.0.0/8] } }\n";
const LIMITED: (u16, &str) = (429, "rate_limited");

async fn gateway(more: &str) -> Running {
    World::new().await.gateway(ROUTES, more).await
}

fn said(answer: &Message) -> (u16, String) {
    answer.said()
}

async fn statuses(g: &Running, path: &str, token: &str, fields: &[&str], times: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(g.ask(get(path, token, fields)).await.status());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_has_a_burst_and_then_its_rate() {
    let g = gateway("").await;
    let (ada, again, bob) = (g.token("ada"), g.token("ada"), g.token("bob"));
    let first = g.ask(get("/subject", &ada, &[])).await;
    assert_eq!((first.status(), first.one("ratelimit-policy")), (200, "\"route\";q=2;w=7200"));
    assert!(first.one("ratelimit").starts_with("\"route\";r=1;t=3"), "{}", first.head);
    assert_eq!(statuses(&g, "/subject", &ada, &[], 1).await, [200]);
    let refused = g.ask(get("/subject", &again, &[])).await;
    assert_eq!(said(&refused), (LIMITED.0, LIMITED.1.to_owned()), "another token of the same subject");
    assert_eq!(refused.one("ratelimit-policy"), "\"route\";q=2;w=7200");
    let wait: u64 = refused.one("retry-after").parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert!(refused.one("ratelimit").starts_with("\"route\";r=0;t=3"), "{}", refused.head);
    assert_eq!(statuses(&g, "/subject", &bob, &[], 3).await, [200, 200, 429], "everybody has their own");
    assert_eq!(statuses(&g, "/free", &ada, &[], 1).await, [200], "another route has another");
    assert_eq!(g.world.orders.requests(), 5);
    g.counted("cambist_rejections_total{reason=\"rate_limited\",route=\"subject\"}", 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_up_comes_back_with_time() {
    let g = gateway("").await;
    assert_eq!(statuses(&g, "/subject", &g.token("ada"), &[], 3).await, [200, 200, 429]);
    g.turn(Duration::from_secs(3600)).await;
    assert_eq!(statuses(&g, "/subject", &g.token("ada"), &[], 2).await, [200, 429]);
    g.turn(Duration::from_secs(30 * 3600)).await;
    assert_eq!(statuses(&g, "/subject", &g.token("ada"), &[], 3).await, [200, 200, 429], "no more than a burst is saved up");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_count_together() {
    let g = gateway("workers: 2\n").await;
    let token = g.token("ada");
    let answers = futures_util::future::join_all((0..12).map(|_| g.get("/subject", &token))).await;
    assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 2);
    assert_eq!(g.world.orders.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_one_client_count_together() {
    let g = gateway("").await;
    let (ada, bob, eve) = (g.token("ada"), g.token("bob"), g.token("eve"));
    let all = [&ada, &bob, &eve];
    let mut seen = Vec::new();
    for token in all {
        seen.extend(statuses(&g, "/client", token, &[], 1).await);
    }
    assert_eq!(seen, [200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_counts_before_its_token_is_looked_at() {
    let g = gateway(BY_PROXY).await;
    let (ada, from) = (g.token("ada"), |address: &str| format!("X-Forwarded-For: {address}"));
    let (one, other) = (from("192.0.2.1"), from("192.0.2.2"));
    assert_eq!(statuses(&g, "/address", "nonsense", &[&one], 3).await, [401, 401, 429]);
    assert_eq!(statuses(&g, "/address", &ada, &[&one], 1).await, [429]);
    assert_eq!(statuses(&g, "/address", &ada, &[&other], 3).await, [200, 200, 429]);
    assert_eq!(statuses(&g, "/open", "nonsense", &[&one], 3).await, [200, 200, 429], "where anybody may call, too");
    let (net, same) = (from("2001:db8::1"), from("2001:db8::2"));
    assert_eq!(statuses(&g, "/address", &ada, &[&net], 2).await, [200, 200]);
    assert_eq!(statuses(&g, "/address", &ada, &[&same], 1).await, [429], "who has one address of a network has them all");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_to_authenticate_is_not_counted_as_anybody() {
    let g = gateway("").await;
    assert_eq!(statuses(&g, "/subject", "nonsense", &[], 5).await, [401; 5]);
    assert_eq!(statuses(&g, "/subject", &g.token("ada"), &[], 3).await, [200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_count_by_their_address() {
    let g = gateway("").await;
    let preflight = "OPTIONS /browser HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\nAccess-Control-Request-Method: GET\r\n\r\n";
    for status in [200, 200, 429] {
        assert_eq!(g.ask(preflight).await.status(), status);
    }
    assert_eq!(statuses(&g, "/browser", &g.token("ada"), &[], 3).await, [200, 200, 429], "and take nothing from anybody else");
}

const FAILED: &str = "limits: { failed_authentication: 3/h }\n";

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_close_the_door_to_all_but_those_who_are_known() {
    let g = gateway(&format!("{FAILED}{BY_PROXY}")).await;
    let (from, other) = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2");
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    assert_eq!(statuses(&g, "/free", &ada, &[from], 1).await, [200]);
    assert_eq!(statuses(&g, "/free", "nonsense", &[from], 5).await, [401, 401, 401, 429, 429]);
    let refused = g.ask(get("/free", &bob, &[from])).await;
    assert_eq!(said(&refused), (LIMITED.0, LIMITED.1.to_owned()), "good, but nobody knows it yet");
    assert!(refused.all("ratelimit-policy").is_empty() && !refused.one("retry-after").is_empty(), "{}", refused.head);
    assert!(refused.all("www-authenticate").is_empty());
    assert_eq!(statuses(&g, "/free", &ada, &[from], 5).await, [200; 5], "who was verified before goes on");
    assert_eq!(statuses(&g, "/free", &bob, &[other], 1).await, [200], "from elsewhere");
    assert_eq!(statuses(&g, "/free", &bob, &[from], 1).await, [200], "and is known now");
    assert_eq!(statuses(&g, "/anybody", "nonsense", &[from], 1).await, [200], "where nobody has to authenticate");
    g.counted("cambist_rejections_total{reason=\"rate_limited\",route=\"free\"}", 3.0).await;
    g.turn(Duration::from_secs(1200)).await;
    assert_eq!(statuses(&g, "/free", "nonsense", &[from], 2).await, [401, 429], "one has become possible again");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_a_failure_and_a_bad_request_or_a_missing_right_is_none() {
    let g = gateway(FAILED).await;
    let none = "GET /free HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..5 {
        assert_eq!(g.ask(get("/free", "a b", &[])).await.status(), 400);
        assert_eq!(g.ask(get("/nowhere", "nonsense", &[])).await.status(), 404);
    }
    for status in [401, 401, 401, 429] {
        assert_eq!(g.ask(none).await.status(), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_off_costs_no_verification() {
    let issuer = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, verify: { by: introspection } } }\n";
    let g = gateway(&format!("{issuer}{FAILED}")).await;
    for n in 0..10 {
        let status = g.ask(get("/free", &format!("made-up-{n}"), &[])).await.status();
        assert_eq!(status, if n < 3 { 401 } else { 429 });
    }
    assert_eq!(g.world.iam.introspections(), 3, "the others were not asked about");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_counted_unless_it_is_written() {
    let g = gateway("").await;
    assert_eq!(statuses(&g, "/free", "nonsense", &[], 30).await, [401; 30]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_api_holds_off_too() {
    let more = format!("{FAILED}exchange_api: {{ listeners: [main], audiences: {{ orders-api: {{}} }} }}\n");
    let g = gateway(&more).await;
    let body = "{\"audience\":\"orders-api\"}";
    let ask = |token: &str| {
        format!(
            "POST /v1/exchange HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for status in [401, 401, 401, 429] {
        assert_eq!(g.ask(ask("nonsense")).await.status(), status);
    }
}
