//! Too much to log, and nowhere to log it: refusals that come by the hundred are one line and a number, a pipe that nobody reads and a disk
//! that is full cost lines, which are counted, and no request.

use crate::kit::{ROUTES, World};
use crate::program::{Program, cambist, file, free_port, get, get_as};
use cambist::demo::fetch::Connection;
use serde_json::Value;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const FLOOD: usize = 300;

async fn number(metrics: SocketAddr, name: &str) -> f64 {
    let text = String::from_utf8(get(metrics, "/metrics").await.unwrap().body.to_vec()).unwrap();
    text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_is_a_line_and_a_number() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "shutdown: { delay: 0s }\n").await;
    let (at, metrics, token) = (program.listener().await, program.metrics().await, world.iam.caller_token("ada").unwrap());
    let begun = Instant::now();
    let mut caller = Connection::open(at).await.unwrap();
    for n in 0..FLOOD {
        assert_eq!(caller.get("/payroll", Some(&token)).await.unwrap().status, 403);
        if n % 3 == 0 {
            assert_eq!(caller.get("/orders", None).await.unwrap().status, 401);
        }
        if n == 0 {
            assert_eq!(caller.get("/strip", None).await.unwrap().status, 401, "another route, another kind");
        }
    }
    let whiles = begun.elapsed().as_secs() / 10 + 2;
    // Before the end: after that there is nobody to ask.
    let held = number(metrics, "cambist_log_lines_held_back_total").await;
    program.signal("TERM");
    assert!(program.ended().await.success());
    let log = program.log();
    let refused = |route: &str| log.iter().filter(|l| l["message"] == "request refused" && l["route"] == route).collect::<Vec<_>>();
    for (route, requests) in [("payroll", FLOOD), ("orders", FLOOD / 3)] {
        let lines = refused(route);
        let told: u64 = lines.iter().map(|l| 1 + l["held_back"].as_u64().unwrap_or(0)).sum();
        assert_eq!(told, requests as u64, "none is forgotten: {lines:?}");
        assert!((2..=whiles).contains(&(lines.len() as u64)), "{lines:?}");
        assert!(lines[0]["held_back"].is_null(), "the first says nothing but itself");
        assert!(lines.iter().all(|l| l["cure"].is_string() && l["trace_id"].is_string()), "{lines:?}");
    }
    assert_eq!(refused("strip").len(), 1);
    assert_eq!(program.access().len(), FLOOD + FLOOD / 3 + 1, "access lines are never summed up");
    let untold = |lines: &[Value]| lines.iter().map(|l| l["held_back"].as_u64().unwrap_or(0)).sum::<u64>();
    assert!((1.0..=untold(&log) as f64).contains(&held), "{held}");
}

/// A gateway whose stdout is `out`.
struct Deaf {
    child: Child,
    _file: crate::program::File,
    at: SocketAddr,
    metrics: SocketAddr,
    token: String,
}

impl Deaf {
    async fn start(world: &World, out: Stdio, log: &str) -> Self {
        let (main, metrics) = (free_port(), free_port());
        let text = world
            .yaml(ROUTES, &format!("log: {log}\nshutdown: {{ delay: 0s, grace: 5s }}"))
            .replace("main: { address: 127.0.0.1:0 }", &format!("main: {{ address: 127.0.0.1:{main} }}"))
            .replace("metrics: { address: 127.0.0.1:0 }", &format!("metrics: {{ address: 127.0.0.1:{metrics} }}"));
        let file = file(&text);
        let child = cambist().arg("run").arg("--config").arg(&file.path).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let this = Self { child, _file: file, at: local(main), metrics: local(metrics), token: world.iam.caller_token("ada").unwrap() };
        for _ in 0..2000 {
            if get(this.metrics, "/readyz").await.is_some_and(|a| a.status == 200) {
                return this;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is never ready");
    }

    async fn lost(&self) -> f64 {
        number(self.metrics, "cambist_log_lines_dropped_total").await
    }

    /// Requests on one connection until so many lines are lost.
    async fn until_lost(&self, lines: f64) {
        let mut caller = Connection::open(self.at).await.unwrap();
        // A path that makes long lines: the pipe and the memory for lines are full sooner.
        let path = format!("/strip/{}", "x".repeat(240));
        for round in 0..600 {
            for _ in 0..100 {
                assert_eq!(caller.get(&path, None).await.unwrap().status, 401);
            }
            if self.lost().await >= lines {
                return;
            }
            assert!(round < 599, "no line is lost");
        }
    }

    /// SIGTERM; returns how long it took, what came on stderr, and whether it ended well.
    async fn ended(mut self) -> (Duration, String, bool) {
        let begun = Instant::now();
        assert!(std::process::Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap().success());
        for _ in 0..3000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut err = String::new();
                std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut err).unwrap();
                return (begun.elapsed(), err, status.success());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not end");
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_costs_lines_and_no_request() {
    let world = World::new().await;
    let mut gateway = Deaf::start(&world, Stdio::piped(), "{ level: trace }").await;
    let pipe = gateway.child.stdout.take().unwrap();
    gateway.until_lost(100.0).await;
    assert_eq!(get_as(gateway.at, "/orders", &gateway.token).await.status, 200, "it goes on");
    let (took, err, well) = gateway.ended().await;
    assert!(well && err.is_empty(), "{err}");
    assert!(took < Duration::from_secs(10), "the end waits for the log a moment only: {took:?}");
    drop(pipe);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_whose_reader_is_gone_costs_lines_and_no_request() {
    let world = World::new().await;
    let mut gateway = Deaf::start(&world, Stdio::piped(), "{}").await;
    drop(gateway.child.stdout.take());
    gateway.until_lost(50.0).await;
    let (_, err, well) = gateway.ended().await;
    assert!(well && err.is_empty(), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_lines_and_no_request() {
    let world = World::new().await;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let gateway = Deaf::start(&world, full.into(), "{}").await;
    gateway.until_lost(50.0).await;
    assert_eq!(get_as(gateway.at, "/orders", &gateway.token).await.status, 200);
    let (_, err, well) = gateway.ended().await;
    assert!(well && err.is_empty(), "{err}");
}
