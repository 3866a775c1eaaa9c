//! What operators see: metrics that are there, are well-formed and count what happened; probes; the admin's status. And what they
//! must not see: paths, hosts, callers.

use crate::kit::{ROUTES, Running, World, running, said, until};
use crate::scrape::Scrape;
use cambist::demo::fetch::{Answer, Connection};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Every family of this version: name, kind, labels.
const FAMILIES: &[(&str, &str, &[&str])] = &[
    ("cambist_build_info", "gauge", &["revision", "version"]),
    ("cambist_config_last_reload_success_timestamp_seconds", "gauge", &[]),
    ("cambist_config_last_reload_successful", "gauge", &[]),
    ("cambist_forced_updates_total", "counter", &["cause", "result"]),
    ("cambist_http_request_duration_seconds", "histogram", &["route"]),
    ("cambist_http_requests_in_flight", "gauge", &["listener"]),
    ("cambist_http_requests_total", "counter", &["code", "method", "route"]),
    ("cambist_issued_token_lifetime_seconds", "histogram", &["issuer"]),
    ("cambist_issuer_circuit_open", "gauge", &["issuer"]),
    ("cambist_issuer_up", "gauge", &["issuer"]),
    ("cambist_jwks_last_success_timestamp_seconds", "gauge", &["issuer"]),
    ("cambist_log_lines_dropped_total", "counter", &[]),
    ("cambist_log_lines_held_back_total", "counter", &[]),
    ("cambist_malformed_requests_total", "counter", &[]),
    ("cambist_overhead_duration_seconds", "histogram", &["token_source"]),
    ("cambist_rejections_total", "counter", &["reason", "route"]),
    ("cambist_token_cache_bytes", "gauge", &[]),
    ("cambist_token_cache_capacity_bytes", "gauge", &[]),
    ("cambist_token_cache_capacity_entries", "gauge", &[]),
    ("cambist_token_cache_entries", "gauge", &[]),
    ("cambist_token_cache_evictions_total", "counter", &["cause"]),
    ("cambist_token_cache_lookups_total", "counter", &["result", "route"]),
    ("cambist_token_exchange_duration_seconds", "histogram", &["issuer"]),
    ("cambist_token_exchanges_in_flight", "gauge", &["issuer"]),
    ("cambist_token_exchanges_total", "counter", &["audience", "issuer", "result"]),
    ("cambist_trace_spans_total", "counter", &["result"]),
    ("cambist_upgraded_connections", "gauge", &["route"]),
    ("cambist_upstream_endpoints", "gauge", &["upstream"]),
    ("cambist_upstream_endpoints_healthy", "gauge", &["upstream"]),
    ("cambist_upstream_request_duration_seconds", "histogram", &["upstream"]),
    ("cambist_upstream_requests_total", "counter", &["code", "upstream"]),
    ("cambist_upstream_unauthorized_total", "counter", &["route"]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_max_fds", "gauge", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
    ("process_threads", "gauge", &[]),
    ("process_virtual_memory_bytes", "gauge", &[]),
];

async fn scrape(g: &Running) -> Scrape {
    Scrape::read(&g.metrics().await)
}

/// A scrape once every request has been let go of.
async fn settled(g: &Running) -> Scrape {
    for _ in 0..500 {
        let scrape = scrape(g).await;
        if scrape.value("cambist_http_requests_in_flight", &[("listener", "main")]) == 0.0 {
            return scrape;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("something is in flight for ever");
}

async fn operator(at: SocketAddr, method: Method, path: &str) -> Answer {
    Connection::open(at).await.unwrap().send(method, path, HeaderMap::new(), bytes::Bytes::new()).await.unwrap()
}

/// Known traffic: what the counters must say of it stands in the test below.
async fn traffic(g: &Running) {
    let (ada, bob, eve) = (g.token("c4nary-ada"), g.token("c4nary-bob"), g.token("c4nary-eve"));
    let bearer = format!("Bearer {ada}");
    for path in ["/orders", "/orders/c4nary?c4nary=1", "/orders"] {
        assert_eq!(g.get(path, &ada).await.status, 200);
    }
    assert_eq!(g.get("/orders", &bob).await.status, 200);
    let gate = Gate::new();
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let during = async {
        gate.reached(1).await;
        while g.metric("cambist_http_requests_in_flight{listener=\"main\"}").await < 3.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(g.metric("cambist_token_exchanges_in_flight{issuer=\"main\"}").await, 1.0);
        gate.open();
    };
    let (one, two, three, ()) = tokio::join!(g.get("/orders", &eve), g.get("/orders", &eve), g.get("/orders", &eve), during);
    assert_eq!([one.status, two.status, three.status], [StatusCode::OK; 3]);
    assert_eq!(g.get("/payroll", &ada).await.status, 403);
    g.world.orders.script(Misbehave::status(StatusCode::UNAUTHORIZED));
    assert_eq!(g.get("/orders", &ada).await.status, 401, "the upstream's own");
    for method in ["BREW", "C4NARY"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(g.send(method, "/strip", &[("authorization", &bearer)], "").await.status, 200);
    }
    assert_eq!(g.send(Method::POST, "/pass", &[("authorization", &bearer)], "body").await.status, 200);
    assert_eq!(said(&g.get_without_token("/strip").await).1, "no_token");
    assert_eq!(said(&g.get("/c4nary", &ada).await).1, "no_route");
    g.raw("GET /orders HTTP/1.1\r\nHost: c4nary.example\r\nConnection: close\r\n\r\n").await;
    g.raw("GET /orders HTTP/1.1\r\nHost: a\r\nBroken line\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_there_and_counts_what_happened() {
    let g = running().await;
    traffic(&g).await;
    // hyper tells of what it refused only when the connection ends.
    while g.metric("cambist_malformed_requests_total").await < 1.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let s = settled(&g).await;
    let count = |name: &str, labels: &[(&str, &str)]| s.value(name, labels) as u64;
    let requests = |route, method, code| count("cambist_http_requests_total", &[("code", code), ("method", method), ("route", route)]);
    assert_eq!((requests("orders", "GET", "200"), requests("orders", "GET", "401"), requests("payroll", "GET", "403")), (7, 2, 1));
    assert_eq!((requests("strip", "other", "200"), requests("strip", "GET", "401"), requests("pass", "POST", "200")), (2, 1, 1));
    assert_eq!(requests("unmatched", "GET", "404"), 1);
    for route in ["orders", "payroll", "strip", "pass", "unmatched"] {
        let all = s.sum("cambist_http_requests_total", &[("route", route)]);
        assert_eq!(s.value("cambist_http_request_duration_seconds_count", &[("route", route)]), all, "{route}");
    }
    let lookups = |result| count("cambist_token_cache_lookups_total", &[("result", result), ("route", "orders")]);
    assert_eq!((lookups("miss"), lookups("hit"), lookups("coalesced"), lookups("denied")), (3, 3, 2, 0));
    assert_eq!(count("cambist_token_cache_lookups_total", &[("result", "miss"), ("route", "payroll")]), 1, "an issuer was asked");
    let overhead = |source| count("cambist_overhead_duration_seconds_count", &[("token_source", source)]);
    assert_eq!((overhead("miss"), overhead("hit"), overhead("coalesced"), overhead("none")), (3, 3, 2, 3));
    for (route, reason) in [("payroll", "target_refused"), ("strip", "no_token"), ("orders", "no_token"), ("unmatched", "no_route")] {
        assert_eq!(count("cambist_rejections_total", &[("reason", reason), ("route", route)]), 1, "{reason}");
    }
    assert_eq!(s.sum("cambist_rejections_total", &[]), 4.0, "and nothing else");
    let exchanges =
        |audience, result| count("cambist_token_exchanges_total", &[("audience", audience), ("issuer", "main"), ("result", result)]);
    assert_eq!((exchanges("orders-api", "success"), exchanges("payroll-api", "denied")), (3, 1));
    assert_eq!(s.sum("cambist_token_exchanges_total", &[]), 4.0);
    assert_eq!(count("cambist_token_exchange_duration_seconds_count", &[("issuer", "main")]), 4);
    assert_eq!(count("cambist_token_exchanges_in_flight", &[("issuer", "main")]), 0);
    assert_eq!(count("cambist_issued_token_lifetime_seconds_count", &[("issuer", "main")]), 3);
    assert_eq!(s.value("cambist_issued_token_lifetime_seconds_sum", &[("issuer", "main")]), 900.0, "Keycloak's expires_in");
    assert_eq!((count("cambist_token_cache_entries", &[]), count("cambist_token_cache_capacity_entries", &[])), (3, 100_000));
    let orders = g.world.orders.address().to_string();
    let upstream = |code| count("cambist_upstream_requests_total", &[("code", code), ("upstream", &orders)]);
    assert_eq!((upstream("200"), upstream("401")), (7, 1));
    assert_eq!(count("cambist_upstream_request_duration_seconds_count", &[("upstream", &orders)]), 8);
    assert_eq!(count("cambist_upstream_unauthorized_total", &[("route", "orders")]), 1);
    assert_eq!(count("cambist_malformed_requests_total", &[]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn families_and_labels_are_those_that_are_promised_and_hold_nothing_of_a_request() {
    let g = running().await;
    traffic(&g).await;
    let s = settled(&g).await;
    let promised: BTreeSet<&str> = FAMILIES.iter().map(|(name, ..)| *name).collect();
    let there: BTreeSet<&str> = s.0.keys().map(String::as_str).collect();
    assert_eq!(there, promised);
    for &(name, kind, labels) in FAMILIES {
        let family = &s.0[name];
        assert_eq!((family.kind.as_str(), family.labels()), (kind, labels.iter().copied().collect()), "{name}");
        assert!(family.help.ends_with('.') || name.starts_with("cambist_build"), "{name}: {}", family.help);
    }
    let text = g.metrics().await;
    assert!(!text.contains("c4nary") && !text.contains("C4NARY") && !text.contains("eyJ") && !text.contains("BREW"));
    judged_by_promtool(&text);
    let build = &s.0["cambist_build_info"].samples[0];
    assert_eq!((build.1["version"].as_str(), build.2), (env!("CARGO_PKG_VERSION"), 1.0));
    assert!(s.value("process_resident_memory_bytes", &[]) > 1e6 && s.value("process_open_fds", &[]) > 3.0);
    let (start, keys) =
        (s.value("process_start_time_seconds", &[]), s.value("cambist_jwks_last_success_timestamp_seconds", &[("issuer", "main")]));
    let now = g.world.clock.unix() as f64;
    assert!(start > now - 3600.0 && start <= now && keys > now - 600.0 && keys <= now, "{start} {keys} {now}");
}

/// Where there is a promtool, its word counts too.
fn judged_by_promtool(text: &str) {
    let piped =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = piped else {
        return eprintln!("SKIPPED: there is no promtool on this machine; only our own reader has read the scrape");
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success(), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alerts_ask_for_is_there_before_anything_happened() {
    let g = running().await;
    let s = scrape(&g).await;
    for (name, labels) in [
        ("cambist_issuer_up", vec![("issuer", "main")]),
        ("cambist_issuer_circuit_open", vec![("issuer", "main")]),
        ("cambist_token_cache_evictions_total", vec![("cause", "size")]),
        ("cambist_token_cache_evictions_total", vec![("cause", "expired")]),
        ("cambist_token_cache_lookups_total", vec![("result", "hit"), ("route", "orders")]),
        ("cambist_token_exchanges_total", vec![("audience", "payroll-api"), ("issuer", "main"), ("result", "misconfigured")]),
        ("cambist_token_exchange_duration_seconds_count", vec![("issuer", "main")]),
        ("cambist_rejections_total", vec![("reason", "issuer_unavailable"), ("route", "orders")]),
        ("cambist_http_requests_in_flight", vec![("listener", "main")]),
        ("cambist_log_lines_dropped_total", vec![]),
        ("cambist_trace_spans_total", vec![("result", "dropped")]),
    ] {
        assert!(s.find(name, &labels).is_some(), "{name} {labels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_tell_alive_and_ready_and_nothing_else_is_there() {
    let g = running().await;
    let at = g.gateway.metrics_address();
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404), ("/v1/status", 404), ("/orders", 404), ("/livez/", 404)]
    {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(operator(at, method, path).await.status, status, "{path}");
        }
        let refused = operator(at, Method::POST, path).await;
        assert_eq!((refused.status.as_u16(), refused.headers["allow"].to_str().unwrap()), (405, "GET, HEAD"));
    }
    assert_eq!(operator(at, Method::GET, "/metrics").await.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    harmless(&operator(at, Method::GET, "/nothing").await);

    // The end has begun: not ready, alive, and everybody is still served.
    let g = std::sync::Arc::new(g);
    let ending = g.clone();
    let end = tokio::spawn(async move { ending.gateway.end(Duration::from_secs(600), Duration::from_secs(1)).await });
    until("readiness fails", || !g.gateway.ready()).await;
    let probe = g.probe("/readyz").await;
    assert_eq!((probe.status.as_u16(), g.probe("/livez").await.status.as_u16()), (503, 200));
    assert!(String::from_utf8_lossy(&probe.body).contains("shutting down"));
    assert_eq!(g.status().await["ready"], false);
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200);
    end.abort();
}

/// What no browser keeps, frames or guesses at.
fn harmless(answer: &Answer) {
    assert_eq!(answer.headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_answers_to_its_own_names_alone() {
    let g = running().await;
    let at = g.gateway.admin_address().unwrap();
    let ask = |head: String| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::TcpStream::connect(at).await.unwrap();
        socket.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer[9..12].to_owned()
    };
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", &at.to_string(), "[::1]:9901", "127.0.0.9"] {
        assert_eq!(ask(format!("GET /v1/status HTTP/1.1\r\nHost: {host}")).await, "200", "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:9901",
        "10.0.0.1",
        "",
        "localhost:evil",
        "localhost\r\nHost: evil.example",
    ] {
        assert_eq!(ask(format!("GET /v1/status HTTP/1.1\r\nHost: {host}")).await, "421", "{host}");
    }
    assert_eq!(ask("GET http://evil.example/v1/status HTTP/1.1\r\nHost: localhost".to_owned()).await, "421");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert_eq!(operator(at, method, "/v1/status").await.status, 403, "there is no admin token");
    }
    for path in ["/metrics", "/readyz", "/page", "/v1/token"] {
        assert_eq!(operator(at, Method::GET, path).await.status, 404, "{path}");
    }
    assert_eq!(operator(at, Method::GET, "/v1/tokens").await.status, 405);
    harmless(&operator(at, Method::GET, "/v1/status").await);
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_what_runs_and_what_failed_and_nothing_of_callers() {
    let g = World::new().await.gateway(ROUTES, "cache: { max_entries: 1000 }").await;
    traffic(&g).await;
    let status = g.status().await;
    let parts =
        ["cache", "config", "exchange_api", "failures", "history", "issuers", "listeners", "log", "now", "problems", "ready", "routes"];
    assert_eq!(keys(&status), [&parts[..], &["upstreams", "uptime_seconds", "version"]].concat());
    assert_eq!((&status["cache"]["entries"], &status["cache"]["max_entries"]), (&json!(3), &json!(1000)));
    let issuer = &status["issuers"][0];
    assert_eq!((&issuer["name"], &issuer["url"], &issuer["keys_loaded"]), (&json!("main"), &json!(g.world.iam.issuer()), &json!(true)));
    assert_eq!((&status["listeners"][0]["name"], &status["listeners"][0]["address"]), (&json!("main"), &json!(g.address().to_string())));
    assert_eq!(status["listeners"][0]["routes"].as_array().unwrap().len(), 4);
    let route = |name: &str| status["routes"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
    let told = |name: &str| ["upstream", "token", "audience"].map(|key| route(name)[key].clone());
    assert_eq!(told("orders"), [json!(g.world.orders.address().to_string()), json!("exchange"), json!(["orders-api"])]);
    assert_eq!(told("strip")[1..], [json!("strip"), Value::Null]);
    let failures = status["failures"].as_array().unwrap();
    let reasons: Vec<&str> = failures.iter().map(|f| f["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["no_token", "no_route", "no_token", "target_refused"], "the newest first");
    assert_eq!(keys(&failures[3]), ["cause", "cure", "docs", "issuer_words", "reason", "route", "status", "time", "trace_id"]);
    assert_eq!((&failures[3]["route"], &failures[1]["route"]), (&json!("payroll"), &Value::Null));
    assert!(!status.to_string().contains("c4nary") && !status.to_string().contains("gateway-secret"), "{status}");
    for _ in 0..250 {
        g.get_without_token("/strip").await;
    }
    assert_eq!(g.status().await["failures"].as_array().unwrap().len(), 200, "a ring, whoever fills it");
}
