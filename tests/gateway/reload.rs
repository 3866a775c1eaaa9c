//! Another configuration takes the place of the one in force: what is equal goes on as it runs, what is under way ends as it began,
//! and what cannot be made changes nothing.

use crate::kit::{ROUTES, Running, World, get, running, said, until};
use crate::wire::{End, Wire};
use cambist::app::{Changes, Named};
use cambist::config;
use cambist::demo::fetch::Connection;
use cambist::demo::iam::{Endpoint, Iam, Settings};
use cambist::demo::misbehave::{Gate, Misbehave};
use http::StatusCode;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::net::TcpStream;

impl Running {
    async fn try_to_apply(&self, routes: &str, more: &str) -> anyhow::Result<Changes> {
        let text = self.world.yaml(routes, more);
        let loaded = config::read(&text, "test.yaml").unwrap_or_else(|report| panic!("{}\n{text}", report.render(false)));
        self.gateway.apply(loaded.config).await
    }

    async fn apply(&self, routes: &str, more: &str) -> Changes {
        self.try_to_apply(routes, more).await.unwrap()
    }
}

fn named(added: &[&str], removed: &[&str], changed: &[&str]) -> Named {
    let all = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Named { added: all(added), removed: all(removed), changed: all(changed) }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_come_change_and_go_and_the_cache_stays_warm() {
    let g = running().await;
    let token = g.token("ada");
    let mut connection = g.connect().await;
    assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
    let keys = g.world.iam.requests(Endpoint::Jwks);

    let routes = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api, max_body: 1KiB }
  again: { match: { path: /again }, upstream: ORDERS, audience: orders-api }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip }
";
    let changes = g.apply(routes, "").await;
    assert_eq!(changes.routes, named(&["again"], &["payroll", "pass"], &["orders"]));
    assert_eq!(changes.upstreams, named(&[], &[g.world.payroll.address().to_string().as_str()], &[]));
    assert_eq!((changes.issuers, changes.listeners), (Named::default(), Named::default()));
    for _ in 0..3 {
        assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200, "on the connection of before");
        assert_eq!(connection.get("/again", Some(&token)).await.unwrap().status, 200);
    }
    assert_eq!(said(&g.get("/payroll", &token).await), (404, "no_route".into()));
    let large = g.send(http::Method::POST, "/orders", &[("authorization", &format!("Bearer {token}"))], vec![0; 2000]).await;
    assert_eq!(said(&large), (413, "body_too_large".into()));
    assert_eq!(g.world.iam.exchanges(), 1, "the same token for the same target, whatever the route is called");
    assert_eq!(g.world.iam.requests(Endpoint::Jwks), keys, "the issuer runs on");
    assert_eq!(g.world.orders.connections(), 1, "the upstream's pool, too");
    let again = "cambist_token_cache_lookups_total{result=\"hit\",route=\"again\"}";
    g.counted(again, 3.0).await;

    let changes = g.apply(ROUTES, "").await;
    assert_eq!(changes.routes, named(&["payroll", "pass"], &["again"], &["orders"]));
    assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
    assert_eq!(g.world.iam.exchanges(), 1);
    assert_eq!(g.apply(ROUTES, "").await, Changes::default(), "the same once more is nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_target_is_another_token() {
    let g = running().await;
    let token = g.token("ada");
    for (more, exchanges) in [("", 1), (", scopes: [orders.read]", 2), ("", 2), (", max_ttl: 1m", 3)] {
        g.apply(&format!("\n  orders: {{ match: {{ path: /orders }}, upstream: ORDERS, audience: orders-api{more} }}\n"), "").await;
        g.get("/orders", &token).await;
        assert_eq!(g.world.iam.exchanges(), exchanges, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_ends_under_the_configuration_it_came_in_under() {
    let g = running().await;
    let (token, gate) = (g.token("ada"), Gate::new());
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let mut connection = g.connect().await;
    let (answer, ()) = tokio::join!(connection.get("/orders", Some(&token)), async {
        gate.reached(1).await;
        // Neither its route, nor its upstream, nor its issuer is there any more.
        let other = "issuers: { other: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret } }";
        let changes = g.apply("\n  strip: { match: { path: /strip }, upstream: OPEN, token: strip }\n", other).await;
        assert_eq!(changes.issuers, named(&["other"], &["main"], &[]));
        assert_eq!(said(&g.get("/orders", &token).await), (404, "no_route".into()));
        gate.open();
    });
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(said(&connection.get("/orders", Some(&token)).await.unwrap()), (404, "no_route".into()));

    let gate = Gate::new();
    g.world.open.script(Misbehave::Delay(gate.clone()));
    let (answer, ()) = tokio::join!(connection.get("/strip", Some(&token)), async {
        gate.reached(1).await;
        g.apply(ROUTES, "").await;
        gate.open();
    });
    assert_eq!(answer.unwrap().status, 200);
}

fn issuer(more: &str) -> String {
    format!("issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret{more} }} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_under_other_settings_keeps_its_keys_and_its_tokens() {
    let g = running().await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    assert_eq!(g.get("/orders", &ada).await.status, 200);
    g.world.iam.script_always(Endpoint::Jwks, Misbehave::status(StatusCode::SERVICE_UNAVAILABLE));
    g.world.iam.script_always(Endpoint::Discovery, Misbehave::status(StatusCode::SERVICE_UNAVAILABLE));
    let changes = g.apply(ROUTES, &issuer(", max_in_flight: 3")).await;
    assert_eq!(changes.issuers, named(&[], &[], &["main"]));
    assert_eq!(g.get("/orders", &ada).await.status, 200);
    assert_eq!(g.world.iam.exchanges(), 1);
    assert_eq!(g.get("/orders", &bob).await.status, 200, "by the keys of before");
    // A wrong secret is another matter: who has a token keeps it, and who has none is told whose fault it is.
    g.apply(ROUTES, &issuer("").replace("gateway-secret", "wrong")).await;
    assert_eq!(g.get("/orders", &ada).await.status, 200);
    assert_eq!(said(&g.get("/orders", &g.token("eve")).await), (500, "misconfigured".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_our_client_ends_with_the_secret_that_was_wrong() {
    let g = World::new().await.gateway(ROUTES, &issuer("").replace("gateway-secret", "wrong")).await;
    let token = g.token("ada");
    assert_eq!(said(&g.get("/orders", &token).await), (500, "misconfigured".into()));
    g.apply(ROUTES, &issuer("")).await;
    assert_eq!(g.get("/orders", &token).await.status, 200, "at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_must_fulfil_counts_for_tokens_that_were_verified_before() {
    let g = running().await;
    let token = g.token("ada");
    assert_eq!(g.get("/strip", &token).await.status, 200);
    let keys = g.world.iam.requests(Endpoint::Jwks);
    g.apply(ROUTES, &issuer(", verify: { audiences: [somebody-else] }")).await;
    assert_eq!(said(&g.get("/strip", &token).await), (401, "invalid_token".into()));
    g.apply(ROUTES, "").await;
    assert_eq!(g.get("/strip", &token).await.status, 200);
    assert_eq!(g.world.iam.requests(Endpoint::Jwks), keys, "the issuer itself is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_comes_brings_its_keys_and_one_that_goes_is_left_alone() {
    let g = running().await;
    let other = Iam::start(Settings { clock: g.world.clock.clone(), ..Settings::anywhere() }).await.unwrap();
    let both = |more: &str| {
        let one = |name: &str, url: &str| format!("{name}: {{ url: \"{url}\", client_id: gateway, client_secret: gateway-secret }}");
        format!("issuers: {{ {}, {} }}\n{more}", one("main", "IAM"), one("second", other.issuer()))
    };
    let routes = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api, issuer: main }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip, issuer: second }
";
    g.apply(routes, &both("")).await;
    let token = other.caller_token("ada").unwrap();
    assert_eq!(g.get("/strip", &token).await.status, 200, "nobody has to wait for its keys");
    assert_eq!(said(&g.get("/orders", &token).await), (401, "invalid_token".into()));
    let up = "cambist_issuer_up{issuer=\"second\"}";
    assert_eq!(g.metric(up).await, 1.0);

    g.apply(ROUTES, "").await;
    assert_eq!(said(&g.get("/strip", &token).await), (401, "invalid_token".into()));
    assert!(!g.metrics().await.contains(up), "nobody is to be woken for it");
    let asked = || (other.requests(Endpoint::Jwks), g.world.iam.requests(Endpoint::Jwks));
    let (before, main) = asked();
    g.turn(Duration::from_secs(3600)).await;
    until("the one that stays is asked again", || asked().1 > main).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(asked().0, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_wait_for_ever_for_an_issuer_that_is_down() {
    let g = running().await;
    let other = Iam::start(Settings { clock: g.world.clock.clone(), ..Settings::anywhere() }).await.unwrap();
    other.down().await;
    g.apply(ROUTES, &issuer("").replace("IAM", other.issuer())).await;
    assert!(g.gateway.ready(), "it latches");
    let token = other.caller_token("ada").unwrap();
    assert_eq!(said(&g.get("/strip", &token).await), (503, "issuer_unavailable".into()));
    other.up().unwrap();
    for _ in 0..200 {
        g.turn(Duration::from_secs(11)).await;
        if g.get("/strip", &other.caller_token("ada").unwrap()).await.status == 200 {
            return;
        }
    }
    panic!("its keys never came in");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_from_the_next_request_on() {
    let g = running().await;
    let (token, long) = (g.token("ada"), format!("/strip?{}", "a".repeat(300)));
    let mut connection = g.connect().await;
    assert_eq!(connection.get(&long, Some(&token)).await.unwrap().status, 200);
    let changes = g.apply(ROUTES, "limits: { uri_bytes: 256B }").await;
    assert_eq!(changes.sections, ["limits"]);
    assert_eq!(said(&connection.get(&long, Some(&token)).await.unwrap()), (414, "uri_too_long".into()));
    g.apply(ROUTES, "").await;
    assert_eq!(g.get(&long, &token).await.status, 200);

    let gate = Gate::new();
    g.world.open.script(Misbehave::Delay(gate.clone()));
    let mut busy = g.connect().await;
    let (answer, ()) = tokio::join!(busy.get("/strip", Some(&token)), async {
        gate.reached(1).await;
        g.apply(ROUTES, "limits: { max_in_flight: 1 }").await;
        assert_eq!(said(&g.get("/strip", &token).await), (503, "overloaded".into()), "who is in counts");
        g.apply(ROUTES, "").await;
        assert_eq!(g.get("/strip", &token).await.status, 200);
        gate.open();
    });
    assert_eq!(answer.unwrap().status, 200);
    g.apply(ROUTES, "limits: { max_connections: 2 }").await;
    let _held = [g.connect().await, g.connect().await, g.connect().await];
    until("a connection too many is turned away", || {
        let text = std::net::TcpStream::connect(g.address()).and_then(|mut s| {
            s.set_read_timeout(Some(Duration::from_millis(300)))?;
            let mut byte = [0; 12];
            std::io::Read::read_exact(&mut s, &mut byte).map(|()| byte)
        });
        text.is_ok_and(|t| &t == b"HTTP/1.1 503")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caches_bounds_change_and_what_fits_stays() {
    let g = running().await;
    let tokens: Vec<String> = (0..8).map(|i| g.token(&format!("u{i}"))).collect();
    for token in &tokens {
        assert_eq!(g.get("/orders", token).await.status, 200);
    }
    let changes = g.apply(ROUTES, "cache: { max_entries: 3 }").await;
    assert_eq!(changes.sections, ["cache"]);
    assert_eq!((g.metric("cambist_token_cache_entries").await, g.metric("cambist_token_cache_capacity_entries").await), (3.0, 3.0));
    let before = g.world.iam.exchanges();
    g.apply(ROUTES, "cache: { max_entries: 100 }").await;
    for token in &tokens {
        assert_eq!(g.get("/orders", token).await.status, 200);
    }
    assert_eq!(g.world.iam.exchanges(), before + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_paths_and_headers_come_and_go() {
    let g = running().await;
    let token = g.token("ada");
    let api = "exchange_api: { listeners: [main], audiences: { orders-api: {} } }
force_update: { header: X-Token-Force-Update, trusted_from: [127.0.0.0/8], min_interval: 1ms }";
    let ask = || async {
        let fields = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
        g.send(http::Method::POST, "/v1/exchange", &fields, r#"{"audience":"orders-api"}"#).await
    };
    let force = || async { g.ask(get("/orders", &token, &["X-Token-Force-Update: true"])).await.status() };
    assert_eq!((said(&ask().await), force().await), ((404, "no_route".into()), 200));
    assert_eq!(g.world.orders.last().unwrap().header("x-token-force-update"), ["true"], "nobody's header");
    let changes = g.apply(ROUTES, api).await;
    assert_eq!(changes.sections, ["cache", "exchange_api", "force_update"]);
    assert_eq!((ask().await.status.as_u16(), g.world.iam.exchanges()), (200, 1), "from the cache");
    assert_eq!((force().await, g.world.iam.exchanges()), (200, 2));
    assert!(g.world.orders.last().unwrap().header("x-token-force-update").is_empty());
    g.apply(ROUTES, "").await;
    assert_eq!(said(&ask().await), (404, "no_route".into()));
}

fn listeners(list: &str) -> String {
    format!("listeners: {{ {list} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_open_and_close_and_who_is_in_is_served() {
    let (g, port) = (running().await, free_port());
    let (token, second) = (g.token("ada"), SocketAddr::from(([127, 0, 0, 1], port)));
    let main = g.address();
    let mut kept = g.connect().await;
    let two = listeners(&format!("main: {{ address: 127.0.0.1:0 }}, second: {{ address: {second} }}"));
    let routes = ROUTES.replace("token: strip", "token: strip, listeners: [second]");
    let changes = g.apply(&routes, &two).await;
    assert_eq!(changes.listeners, named(&["second"], &[], &[]));
    assert_eq!((g.gateway.listener("main"), g.gateway.listener("second")), (Some(main), Some(second)));
    assert_eq!(kept.get("/strip", Some(&token)).await.unwrap().status, 404, "not on this one any more");
    let mut on_second = Connection::open(second).await.unwrap();
    assert_eq!(on_second.get("/strip", Some(&token)).await.unwrap().status, 200);

    let gate = Gate::new();
    g.world.open.script(Misbehave::Delay(gate.clone()));
    let (answer, ()) = tokio::join!(on_second.get("/strip", Some(&token)), async {
        gate.reached(1).await;
        g.apply(ROUTES, "").await;
        assert!(TcpStream::connect(second).await.is_err(), "closed");
        gate.open();
    });
    assert_eq!(answer.unwrap().status, 200, "under way when it was closed");
    assert_eq!(kept.get("/strip", Some(&token)).await.unwrap().status, 200);
    assert_eq!(g.address(), main);
    assert!(!g.status().await["listeners"].to_string().contains("second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_refuses_the_whole_configuration() {
    let (g, taken) = (running().await, TcpListener::bind("127.0.0.1:0").unwrap());
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let token = g.token("ada");
    let list = format!("main: {{ address: {free} }}, second: {{ address: {} }}", taken.local_addr().unwrap());
    let routes = "\n  strip: { match: { path: /else }, upstream: OPEN, token: strip }\n";
    let error = format!("{:#}", g.try_to_apply(routes, &listeners(&list)).await.unwrap_err());
    assert!(error.contains("second") && error.contains("port"), "{error}");
    assert!(TcpStream::connect(free).await.is_err(), "what had been opened is closed again");
    assert_eq!((g.get("/strip", &token).await.status.as_u16(), g.get("/else", &token).await.status.as_u16()), (200, 404));
    drop(taken);
    g.apply(routes, &listeners(&list)).await;
    assert_eq!(Connection::open(free).await.unwrap().get("/else", Some(&token)).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_under_another_name_is_never_closed() {
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let called = |name: &str| listeners(&format!("{name}: {{ address: {at} }}"));
    let g = World::new().await.gateway(&ROUTES.replace("token: strip", "token: strip, listeners: [one]"), &called("one")).await;
    let token = g.token("ada");
    let mut wire = Wire::open(at).await;
    let request = get("/strip", &token, &[]);
    assert_eq!(wire.ask(&request).await.status(), 200);
    // One that the kernel has taken and we have not: it must not be lost, either.
    let mut waiting = Wire::open(at).await;
    for name in ["two", "three"] {
        let changes = g.apply(&ROUTES.replace("token: strip", &format!("token: strip, listeners: [{name}]")), &called(name)).await;
        assert_eq!(changes.listeners.added, [name]);
        assert_eq!(Connection::open(at).await.unwrap().get("/strip", Some(&token)).await.unwrap().status, 200);
    }
    let last = wire.ask(&request).await;
    assert_eq!((last.status(), last.one("connection")), (200, "close"), "served as what the address is now, and sent to it anew");
    assert_eq!(wire.ends().await, End::Closed);
    assert_eq!(waiting.ask(&request).await.status(), 200);
    assert!(g.gateway.listener("one").is_none() && g.gateway.listener("three") == Some(at));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let g = running().await;
    let more = "workers: 7\nlog: { level: debug, format: text, access: false }\nshutdown: { delay: 1s }";
    let text = g.world.yaml("\n  only: { match: { path: /only }, upstream: OPEN, token: strip }\n", more);
    let text = text.replace("metrics: { address: 127.0.0.1:0 }", "metrics: { address: 127.0.0.1:1 }");
    let text = text.replace("admin: { address: 127.0.0.1:0 }", "admin: { address: 127.0.0.1:2 }");
    for _ in 0..2 {
        let changes = g.gateway.apply(config::read(&text, "test.yaml").unwrap().config).await.unwrap();
        assert_eq!(changes.ignored, ["metrics", "admin", "workers", "log.format"], "as long as it is not so");
    }
    assert_eq!(g.get("/only", &g.token("ada")).await.status, 200);
    assert_eq!(g.gateway.shutdown().delay, Duration::from_secs(1));
    assert_eq!(g.probe("/readyz").await.status, 200);
}
