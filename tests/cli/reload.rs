//! The program and its configuration file: what is written is taken up by itself, or at once on SIGHUP, and what is wrong with it is
//! told. Under load neither that nor an end by SIGTERM loses a request. `CAMBIST_RELOADS`, `CAMBIST_SIGTERMS` and `CAMBIST_RATE`
//! make the runs under load as long and hard as they are wanted.

use crate::certs::Authority;
use crate::kit::{ROUTES, World};
use crate::load::{Load, Manner, number};
use crate::program::{Program, free_port, get, get_as};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

const IN_FORCE: &str = "another configuration is in force";
const REFUSED: &str = "the configuration that is written cannot be used; the one before stays in force";

fn said(program: &Program, message: &str) -> Vec<Value> {
    program.log().into_iter().filter(|l| l["message"] == message).collect()
}

fn with_more(world: &World) -> String {
    world.yaml(&format!("{ROUTES}  more: {{ match: {{ path: /more }}, upstream: OPEN, token: strip }}\n"), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_up_and_said() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "").await;
    let (at, token) = (program.listener().await, world.iam.caller_token("ada").unwrap());
    assert_eq!(get_as(at, "/more", &token).await.status, 404);
    program.rewrite(&with_more(&world));
    program.until("the new route is there", async || get_as(at, "/more", &token).await.status == 200).await;
    program.until_said(IN_FORCE, 1).await;
    let line = &said(&program, IN_FORCE)[0];
    assert_eq!((line["level"].as_str(), line["changes"].as_str()), (Some("INFO"), Some("routes added: 1 (more)")));
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_up_a_file_at_once_or_says_what_is_wrong_with_it() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "").await;
    let (at, metrics, token) = (program.listener().await, program.metrics().await, world.iam.caller_token("ada").unwrap());
    let good = with_more(&world);
    program.rewrite(&good.replace("token: strip", "tokn: strip"));
    program.signal("HUP");
    program.until_said(REFUSED, 1).await;
    let complaints: Vec<Value> = program.log().into_iter().filter(|l| l["level"] == "ERROR" && l["place"].is_string()).collect();
    assert!(complaints.len() >= 2, "{:?}", program.out());
    for line in &complaints {
        assert!(line["cure"].as_str().unwrap().len() > 1 && line["place"].as_str().unwrap().contains(':'), "{line}");
    }
    assert!(complaints.iter().any(|line| line["message"].as_str().unwrap().contains("tokn")), "{complaints:?}");
    let scraped = async || String::from_utf8(get(metrics, "/metrics").await.unwrap().body.to_vec()).unwrap();
    assert!(scraped().await.contains("cambist_config_last_reload_successful 0"));
    assert_eq!(get_as(at, "/strip", &token).await.status, 200);

    program.rewrite(&good);
    program.signal("HUP");
    program.until_said(IN_FORCE, 1).await;
    assert_eq!(get_as(at, "/more", &token).await.status, 200);
    assert!(scraped().await.contains("cambist_config_last_reload_successful 1"));
    program.signal("HUP");
    program.until_said("the configuration was read again: it is the one in force", 1).await;
    let kept = format!("{good}workers: 3\n");
    program.rewrite(&kept);
    program.signal("HUP");
    program.until_said("this key of the configuration counts from the next start on; all else is in force", 1).await;
    assert!(program.log().iter().any(|l| l["key"] == "workers" && l["level"] == "WARN"), "{:?}", program.out());
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0));
}

/// Two configurations that differ in everything that may change while callers are served.
fn two(world: &World, main: SocketAddr, second: SocketAddr, tls: &str) -> [String; 2] {
    let common = "log: { access: false }\nshutdown: { delay: 1s, grace: 20s }";
    let one = world.yaml(ROUTES, &format!("listeners: {{ main: {{ address: {main}{tls} }} }}\n{common}"));
    let routes = format!("{ROUTES}  more: {{ match: {{ path: /more }}, upstream: OPEN, token: strip }}\n")
        .replace("audience: orders-api", "audience: orders-api, max_body: 1MiB");
    let more = format!(
        "listeners: {{ renamed: {{ address: {main}{tls} }}, second: {{ address: {second} }} }}
issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret, max_in_flight: 32, verify: {{ clock_skew: 20s }} }} }}
cache: {{ max_entries: 5000, refused_ttl: 5s }}
limits: {{ max_connections: 5000, uri_bytes: 8KiB, idle_timeout: 60s }}
exchange_api: {{ listeners: [renamed], audiences: {{ orders-api: {{}} }} }}
force_update: {{ header: X-Token-Force-Update, trusted_from: [10.0.0.0/8] }}
{common}"
    );
    [one, world.yaml(&routes, &more)]
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_lose_nothing() {
    reloads_under_load(Manner::Http1, "", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_in_http_2_lose_nothing() {
    reloads_under_load(Manner::Http2, "", " in HTTP/2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_under_tls_lose_nothing() {
    let ca = Authority::new();
    ca.put("api.test", &["api.test"]);
    let tls = format!(", tls: {{ certificates: [{}] }}", ca.pair("api.test"));
    reloads_under_load(Manner::Sealed(Box::new(ca)), &tls, " in HTTP/2 under TLS").await;
}

async fn reloads_under_load(manner: Manner, tls: &str, how: &str) {
    let (reloads, rate) = (number("CAMBIST_RELOADS", 10), number("CAMBIST_RATE", 300));
    let world = World::new().await;
    let [main, second] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let texts = two(&world, main, second, tls);
    let mut program = Program::run(&texts[0]);
    let metrics = program.metrics().await;
    program.until("it is ready", async || get(metrics, "/readyz").await.is_some_and(|a| a.status == 200)).await;
    let tokens: Vec<String> = (0..10).map(|i| world.iam.caller(&format!("u{i}")).expires_in(36_000).token().unwrap()).collect();
    let load = Load::speaking(manner);
    load.door(main, metrics).await;
    let began = Instant::now();
    let callers = load.begin(rate, &["/orders", "/strip", "/orders"], &tokens);
    for n in 0..usize::try_from(reloads).unwrap() {
        let before = load.answered();
        program.rewrite(&texts[(n + 1) % 2]);
        // Some are noticed by themselves.
        if n % 10 != 3 {
            program.signal("HUP");
        }
        program.until_said(IN_FORCE, n + 1).await;
        program.until("callers are served under it", async || load.answered() > before + 20).await;
    }
    let answered = load.end(callers, began, &format!("{reloads} reloads{how}")).await;
    assert_eq!(answered, world.orders.requests() + world.open.requests(), "each was sent once");
    // Keys and secrets of the issuer are the same in both: what was held has been used to its end.
    assert_eq!(world.iam.exchanges(), 10, "the cache stayed warm");
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_of_one_of_two_loses_nothing() {
    sigterm_of_one_of_two(Manner::Http1, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_of_one_of_two_in_http_2_loses_nothing() {
    sigterm_of_one_of_two(Manner::Http2, " in HTTP/2").await;
}

async fn sigterm_of_one_of_two(manner: Manner, how: &str) {
    let (ends, rate) = (number("CAMBIST_SIGTERMS", 4), number("CAMBIST_RATE", 300));
    let world = World::new().await;
    let more = "log: { access: false }\nshutdown: { delay: 1s, grace: 20s }";
    let tokens: Vec<String> = (0..10).map(|i| world.iam.caller(&format!("u{i}")).expires_in(36_000).token().unwrap()).collect();
    let load = Load::speaking(manner);
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(opened(&world, more, &load).await);
    }
    let began = Instant::now();
    let callers = load.begin(rate, &["/orders", "/strip", "/orders"], &tokens);
    for n in 0..ends {
        let before = load.answered();
        let (mut program, door) = running.remove(0);
        program.until("both are busy", async || load.answered() > before + 50).await;
        if n % 4 == 1 {
            // A reload is under way when the end comes.
            program.rewrite(&format!("{}# {n}\n", world.yaml(ROUTES, more).replace("grace: 20s", "grace: 19s")));
            program.signal("HUP");
        }
        program.signal("TERM");
        assert_eq!(program.ended().await.code(), Some(0), "{:?}", program.out());
        assert!(!door.ready.load(Ordering::SeqCst) && program.err().is_empty());
        assert!(!program.out().join("\n").contains("cut"), "nobody had to be");
        load.shut(&door);
        running.push(opened(&world, more, &load).await);
    }
    let answered = load.end(callers, began, &format!("{ends} SIGTERMs{how}")).await;
    assert_eq!(answered, world.orders.requests() + world.open.requests(), "each was sent once");
}

async fn opened(world: &World, more: &str, load: &Arc<Load>) -> (Program, Arc<crate::load::Door>) {
    let mut program = Program::in_world(world, ROUTES, more).await;
    let door = load.door(program.listener().await, program.metrics().await).await;
    (program, door)
}
