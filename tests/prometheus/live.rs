//! A real Prometheus scrapes a running gateway under load with our rules. Whatever alerts and panels compare is there: an
//! expression that never has a sample never fires, and looks like peace.

use crate::kit::until;
use crate::stage::{self, NOT_THERE_YET, RULES, Stage};
use cambist::demo::fetch::Connection;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Ends with the test.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// `None` where there is none on this machine.
    fn start(target: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "global": { "scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "500ms" },
            "rule_files": [stage::path(RULES)],
            "scrape_configs": [{
                "job_name": "gateway",
                "static_configs": [{ "targets": [target.to_string()], "labels": { "namespace": "shop" } }],
            }],
        });
        let (file, data) = (folder.path().join("prometheus.yml"), folder.path().join("data"));
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display())).arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg("--web.listen-address=127.0.0.1:0").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = stage::there("prometheus", command.spawn())?;
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = log.by_ref().find_map(|line| line.split_once("msg=\"Listening on\" address=")?.1.trim().parse().ok());
        // Whatever else it says goes nowhere; a full pipe would halt it.
        std::thread::spawn(move || log.for_each(drop));
        Some(Self { child, address: address.expect("Prometheus says where it listens"), _folder: folder })
    }

    async fn ask(&self, path: &str) -> Value {
        let mut connection = Connection::open(self.address).await.unwrap();
        connection.get(path, None).await.unwrap().json()
    }

    /// How many samples an expression has now.
    async fn samples(&self, expr: &str) -> usize {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", expr).finish();
        let answer = self.ask(&format!("/api/v1/query?{query}")).await;
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        answer["data"]["result"].as_array().unwrap().len()
    }
}

/// Callers who come and go, each round one more, until the test is over.
fn load(running: Arc<Stage>) -> (tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = rounds.clone();
    let task = tokio::spawn(async move {
        loop {
            let round = counted.fetch_add(1, Ordering::Relaxed);
            stage::visit(&running, &running.token(&format!("caller-{}", round % 50))).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    (task, rounds)
}

fn waits_for_others(expr: &str) -> bool {
    stage::names(expr).iter().any(|name| NOT_THERE_YET.contains(&name.as_str()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alerts_and_panels_compare_is_there() {
    let running = Arc::new(stage::gateway().await);
    let Some(prometheus) = Prometheus::start(running.gateway.metrics_address()) else { return };
    let (task, rounds) = load(running);
    until("there is load", || rounds.load(Ordering::Relaxed) > 3).await;

    let rules = stage::rules().into_iter().map(|rule| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap().to_owned();
        (name, rule["expr"].as_str().unwrap().to_owned())
    });
    let mut missing: Vec<(String, String)> = rules
        .chain(stage::dashboard_asks())
        .filter(|(_, expr)| !waits_for_others(expr))
        .map(|(what, expr)| (what, stage::without_comparison(&stage::filled(&expr))))
        .collect();
    assert!(missing.len() > 50, "rules and panels were not found");
    for _ in 0..240 {
        let mut left = Vec::new();
        for (what, expr) in missing {
            if prometheus.samples(&expr).await == 0 {
                left.push((what, expr));
            }
        }
        missing = left;
        if missing.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(missing.is_empty(), "no sample after two minutes of load: {missing:#?}");

    let state = prometheus.ask("/api/v1/rules").await;
    let rules: Vec<&Value> = state["data"]["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), stage::rules().len());
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    let target = &prometheus.ask("/api/v1/targets").await["data"]["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    assert!(!task.is_finished(), "the load went on until the end");
    task.abort();
}
