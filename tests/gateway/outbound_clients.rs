//! Real clients behind the proxy, by their own ways to be told of one: curl, Python's requests, reqwest, and the client of Java's library. Who is not installed is not
//! asked, and that is said; with `CAMBIST_REQUIRE_CLIENTS=1` all of them must be.

use crate::kit::{Running, World};
use std::process::Command;

const ROUTES: &str = "\n  orders: { match: { hosts: [orders.shop.svc] }, upstream: ORDERS, audience: orders-api }\n";
const KNOWN: &str = "http://orders.shop.svc:8080/orders";
const UNKNOWN: &str = "http://unknown.shop.svc/";
const TUNNEL: &str = "https://orders.shop.svc/orders";
/// What clients show of the answer to a CONNECT, if they show anything.
const REASON: &str = "No tunnels here: use http:// URLs";

async fn proxy() -> Running {
    World::new().await.gateway(ROUTES, "listeners: { main: { address: 127.0.0.1:0, mode: outbound } }\n").await
}

/// Runs a client under `HTTP_PROXY`, and returns what it printed.
async fn run(g: &Running, program: &str, arguments: &[&str]) -> String {
    let proxy = format!("http://{}", g.address());
    let mut command = Command::new(program);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, &proxy);
    }
    command.env("NO_PROXY", "").env("no_proxy", "").env("TOKEN", g.token("ada")).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether a program is there and does this; if not, a word, or the test's end where it must be.
fn has(program: &str, arguments: &[&str]) -> bool {
    let there = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CAMBIST_REQUIRE_CLIENTS").is_none(), "`{program} {}` does not work", arguments.join(" "));
    if !there {
        eprintln!("SKIPPED: `{program} {}` does not work here", arguments.join(" "));
    }
    there
}

/// The exchanged token has come, once, and nothing else went anywhere.
fn the_right_token_came(g: &Running) {
    let seen = g.world.orders.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.claim("aud"), seen.claim("sub")), ("/orders", Some("orders-api"), Some("ada")));
    assert_eq!(seen.header("host"), ["orders.shop.svc:8080"]);
    assert_eq!((g.world.orders.requests(), g.world.iam.exchanges()), (1, 1));
}

/// A line for each: what is known, what is unknown, what wants a tunnel.
fn three_answers(printed: &str) {
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines.len() >= 3, "{printed}");
    assert!(lines[0].starts_with("200 "), "{printed}");
    assert!(lines[1].starts_with("404 ") && lines[1].contains("no_route"), "{printed}");
    assert!(lines[2].starts_with("error "), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    if !has("curl", &["--version"]) {
        return;
    }
    let g = proxy().await;
    let (at, bearer) = (format!("http://{}", g.address()), format!("Authorization: Bearer {}", g.token("ada")));
    let ask = async |url: &str, more: &[&str]| {
        let usual = ["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code} %{http_connect}", "-H", &bearer];
        run(&g, "curl", &[&usual, more, &[url]].concat()).await
    };
    assert!(ask(KNOWN, &["-x", &at]).await.ends_with("\n200 000"));
    the_right_token_came(&g);
    assert!(ask(KNOWN, &[]).await.ends_with("\n200 000"), "by its environment");
    assert!(ask(UNKNOWN, &["-x", &at]).await.contains("no_route"));
    let refused = ask(TUNNEL, &["-x", &at, "--verbose"]).await;
    assert!(refused.contains("405") && refused.contains(REASON), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_requests() {
    let python = std::env::var("CAMBIST_CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !has(&python, &["-c", "import requests"]) {
        return;
    }
    let g = proxy().await;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/outbound.py");
    let printed = run(&g, &python, &[program, KNOWN, UNKNOWN, TUNNEL]).await;
    three_answers(&printed);
    assert!(printed.contains(REASON), "{printed}");
    the_right_token_came(&g);
}

#[tokio::test(flavor = "multi_thread")]
async fn javas_own_client() {
    if !has("javac", &["-version"]) {
        return;
    }
    let g = proxy().await;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/Outbound.java");
    let at = ["http", "https"].map(|s| [format!("-D{s}.proxyHost=127.0.0.1"), format!("-D{s}.proxyPort={}", g.address().port())]);
    let arguments: Vec<&str> = at.iter().flatten().map(String::as_str).chain([program, KNOWN, UNKNOWN, TUNNEL]).collect();
    let printed = run(&g, "java", &arguments).await;
    three_answers(&printed);
    the_right_token_came(&g);
}

#[tokio::test(flavor = "multi_thread")]
async fn reqwest() {
    let g = proxy().await;
    let proxy = reqwest::Proxy::all(format!("http://{}", g.address())).unwrap();
    let client = reqwest::Client::builder().proxy(proxy).build().unwrap();
    let token = g.token("ada");
    let ask = async |url: &str| client.get(url).bearer_auth(&token).send().await;
    assert_eq!(ask(KNOWN).await.unwrap().status(), 200);
    the_right_token_came(&g);
    let unknown = ask(UNKNOWN).await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().await.unwrap().contains("no_route"));
    assert!(ask(TUNNEL).await.is_err());
}
