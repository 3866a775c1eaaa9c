//! The file that a gateway keeps in step with: a good one is taken up by itself, a bad one changes nothing and is told of in the
//! metrics and the status.

use crate::kit::{ROUTES, Running, World, running, until};
use cambist::app::Reloaded;
use cambist::config;
use cambist::demo::fetch::Connection;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const SUCCESSFUL: &str = "cambist_config_last_reload_successful";
const SUCCESS_AT: &str = "cambist_config_last_reload_success_timestamp_seconds";

/// A gateway that keeps in step with a file.
struct Kept {
    g: Running,
    dir: TempDir,
    path: PathBuf,
    /// What the file holds to begin with.
    good: String,
}

impl Kept {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.yaml");
        Self::at(dir, path, |path, text| fs::write(path, text).unwrap()).await
    }

    async fn at(dir: TempDir, path: PathBuf, write: impl FnOnce(&Path, &str)) -> Self {
        let g = running().await;
        let good = g.world.yaml(ROUTES, "");
        write(&path, &good);
        g.gateway.follow(&path, &good);
        Self { g, dir, path, good }
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.path, text).unwrap();
    }

    /// The good configuration with one more route.
    fn with(&self, route: &str) -> String {
        let more = format!("\n  {route}: {{ match: {{ path: /{route} }}, upstream: OPEN, token: strip }}\n");
        self.g.world.yaml(&format!("{ROUTES}{more}"), "")
    }

    async fn serves(&self, path: &str) -> bool {
        self.g.get(path, &self.g.token("ada")).await.status == 200
    }

    async fn serves_at_last(&self, path: &str) {
        for _ in 0..100 {
            // The file is looked at by the clock that is turned here.
            self.g.turn(Duration::from_secs(2)).await;
            if self.serves(path).await {
                return;
            }
        }
        panic!("{path} is never served");
    }

    async fn config(&self) -> Value {
        self.g.status().await["config"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_up_by_itself() {
    let kept = Kept::new().await;
    assert_eq!(kept.g.metric(SUCCESSFUL).await, 1.0);
    let (since, began) = (kept.config().await, kept.g.metric(SUCCESS_AT).await);
    assert_eq!((since["file"].as_str(), since["last_attempt"]["successful"].as_bool()), (kept.path.to_str(), Some(true)));
    assert!(!kept.serves("/more").await && began > 0.0);
    kept.write(kept.with("more"));
    kept.serves_at_last("/more").await;
    let now = kept.config().await;
    assert!(now["loaded_at"].as_u64() > since["loaded_at"].as_u64(), "{now}");
    assert!(kept.g.metric(SUCCESS_AT).await > began);
    // Nobody looks at its time: the same once more is nothing.
    kept.write(kept.with("more"));
    kept.g.turn(Duration::from_secs(9)).await;
    assert_eq!(kept.config().await["loaded_at"], now["loaded_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_link_is_noticed() {
    // As Kubernetes mounts a ConfigMap: the file is a link into `..data`, which is a link to the folder of now.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.yaml");
    let put = |folder: &Path, text: &str| {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("gateway.yaml"), text).unwrap();
    };
    let kept = Kept::at(dir, path, |path, text| {
        let dir = path.parent().unwrap();
        put(&dir.join("..one"), text);
        symlink("..one", dir.join("..data")).unwrap();
        symlink("..data/gateway.yaml", path).unwrap();
    })
    .await;
    assert!(kept.serves("/strip").await && !kept.serves("/more").await);
    put(&kept.dir.path().join("..two"), &kept.with("more"));
    symlink("..two", kept.dir.path().join("..data_tmp")).unwrap();
    fs::rename(kept.dir.path().join("..data_tmp"), kept.dir.path().join("..data")).unwrap();
    fs::remove_dir_all(kept.dir.path().join("..one")).unwrap();
    kept.serves_at_last("/more").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_bad_for_a_while_costs_nothing() {
    let kept = Kept::new().await;
    let whole = kept.with("more");
    for bad in [&whole[..whole.len() / 2], "", "routes: [", "listeners: {}\n"] {
        kept.write(bad);
        for _ in 0..100 {
            kept.g.turn(Duration::from_secs(2)).await;
            if kept.g.metric(SUCCESSFUL).await == 0.0 {
                break;
            }
        }
        assert_eq!(kept.g.metric(SUCCESSFUL).await, 0.0, "{bad}");
        assert!(kept.serves("/strip").await && kept.serves("/orders").await, "{bad}");
        kept.write(&kept.good);
        assert!(matches!(kept.g.gateway.reload().await, Some(Reloaded::Same)), "back to what is in force");
        assert_eq!(kept.g.metric(SUCCESSFUL).await, 1.0);
    }
    fs::remove_file(&kept.path).unwrap();
    assert!(matches!(kept.g.gateway.reload().await, Some(Reloaded::Refused(_))));
    kept.write(whole);
    kept.serves_at_last("/more").await;
    assert_eq!(kept.g.metric(SUCCESSFUL).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missing_is_tried_again_though_the_file_stays_the_same() {
    let kept = Kept::new().await;
    let secret = kept.dir.path().join("secret");
    let text = kept.with("more").replace("client_secret: gateway-secret", &format!("client_secret: {{ file: {} }}", secret.display()));
    kept.write(&text);
    let Some(Reloaded::Refused(why)) = kept.g.gateway.reload().await else { panic!("there is no secret") };
    assert!(why.iter().any(|why| why.contains("secret")), "{why:?}");
    fs::write(&secret, "gateway-secret\n").unwrap();
    kept.serves_at_last("/more").await;
    assert!(kept.serves("/orders").await);
}

/// All files of tests/config/bad, and what may happen to a good one.
fn broken(good: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad");
    let files = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "yaml"));
    let mut all: Vec<_> = files.map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&p).unwrap())).collect();
    all.sort();
    let mut edited = |what: &str, text: String| {
        assert_ne!(text, good, "{what}");
        all.push((what.to_owned(), text.into_bytes()));
    };
    edited("a key misspelt", good.replace("upstream:", "upstraem:"));
    edited("an issuer gone", good.replace("issuers:", "isuers:"));
    edited("a secret gone", good.replace("client_secret: gateway-secret", "client_secret: { file: /nowhere/secret }"));
    edited("a tie", format!("{good}  twin: {{ match: {{ path: /orders }}, upstream: \"http://a:1\", token: strip }}\n"));
    edited("a port out of range", good.replace("main: { address: 127.0.0.1:0 }", "main: { address: 127.0.0.1:70000 }"));
    edited("another machine's address", good.replace("main: { address: 127.0.0.1:0 }", "main: { address: 203.0.113.7:1 }"));
    edited("twice the same", good.replace("metrics:", "metrics: { address: 127.0.0.1:0 }\nmetrics:"));
    edited("a tab", good.replace("\n  orders", "\n\torders"));
    edited("half of it", good[..good.len() / 2].to_owned());
    all.push(("no text".to_owned(), vec![0xff, 0xfe, 0x00]));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_broken_ones_are_all_refused() {
    let kept = Kept::new().await;
    let (token, mut connection) = (kept.g.token("ada"), kept.g.connect().await);
    assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
    let since = kept.config().await["loaded_at"].clone();
    let broken: Vec<_> = broken(&kept.good);
    // What only warns on this machine is no broken one.
    let accepted = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| config::read(text, "x").is_ok());
    let mut refused = 0;
    for (what, text) in broken.iter().filter(|(what, text)| what == "another machine's address" || !accepted(text)) {
        kept.write(text);
        let Some(Reloaded::Refused(why)) = kept.g.gateway.reload().await else { panic!("taken up: {what}") };
        assert!(!why.is_empty() && why.iter().all(|why| !why.is_empty()), "{what}");
        assert_eq!(kept.g.metric(SUCCESSFUL).await, 0.0, "{what}");
        let told = kept.config().await;
        assert_eq!((&told["loaded_at"], &told["last_attempt"]["successful"]), (&since, &Value::Bool(false)), "{what}");
        let errors = told["last_attempt"]["errors"].as_array().unwrap();
        assert!(errors.len() == why.len() && errors.iter().all(|e| e["cause"].is_string()), "{what}: {told}");
        assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200, "{what}");
        refused += 1;
    }
    assert!(refused >= 50, "{refused}");
    assert_eq!(kept.g.world.iam.exchanges(), 1);
    kept.write(kept.with("more"));
    assert!(matches!(kept.g.gateway.reload().await, Some(Reloaded::Changed(_))));
    let told = kept.config().await;
    assert_eq!((kept.g.metric(SUCCESSFUL).await, told["last_attempt"]["errors"].as_array().unwrap().len()), (1.0, 0));
    assert_eq!(connection.get("/orders", Some(&token)).await.unwrap().status, 200);
    assert_eq!(connection.get("/more", Some(&token)).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_have_it_read_and_is_told_what_came_of_it() {
    const TOKEN: &str = "0f-the.admin~token_of+this/test==";
    let more = format!("admin: {{ address: 127.0.0.1:0, token: \"{TOKEN}\" }}");
    let g = World::new().await.gateway(ROUTES, &more).await;
    let ask = async |token: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).unwrap());
        let mut admin = Connection::open(g.gateway.admin_address().unwrap()).await.unwrap();
        let answer = admin.send(Method::POST, "/v1/reload", headers, "".into()).await.unwrap();
        (answer.status.as_u16(), answer.json())
    };
    assert_eq!(ask(TOKEN).await.0, 409, "there is no file");
    let dir = tempfile::tempdir().unwrap();
    let (path, good) = (dir.path().join("gateway.yaml"), g.world.yaml(ROUTES, &more));
    fs::write(&path, &good).unwrap();
    g.gateway.follow(&path, &good);
    let (status, told) = ask(TOKEN).await;
    assert_eq!((status, told["changed"].as_bool(), told["config"]["file"].as_str()), (200, Some(false), path.to_str()));
    fs::write(&path, good.replace("token: strip", "token: strop")).unwrap();
    let (status, told) = ask(TOKEN).await;
    let error = &told["config"]["last_attempt"]["errors"][0];
    assert_eq!((status, told["changed"].as_bool()), (422, Some(false)));
    assert!(error["cause"].as_str().unwrap().contains("strop") && error["place"].as_str().unwrap().contains(':'), "{told}");
    fs::write(&path, good.replace("path: /strip", "path: /bare")).unwrap();
    assert_eq!(ask("another").await.0, 401);
    assert_eq!(g.get("/bare", &g.token("ada")).await.status, 404);
    let (status, told) = ask(TOKEN).await;
    assert_eq!((status, &told["changes"]["routes"]["changed"]), (200, &serde_json::json!(["strip"])));
    assert_eq!(g.get("/bare", &g.token("ada")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_takes_no_other_configuration() {
    let kept = Kept::new().await;
    let gate = cambist::demo::misbehave::Gate::new();
    kept.g.world.open.script(cambist::demo::misbehave::Misbehave::Delay(gate.clone()));
    let (token, mut connection) = (kept.g.token("ada"), kept.g.connect().await);
    kept.write(kept.with("more"));
    let (answer, cut, reloaded) = tokio::join!(
        connection.get("/strip", Some(&token)),
        async {
            gate.reached(1).await;
            kept.g.gateway.end(Duration::from_millis(300), Duration::from_secs(20)).await
        },
        async {
            gate.reached(1).await;
            until("the end has begun", || !kept.g.gateway.ready()).await;
            let reloaded = kept.g.gateway.reload().await;
            gate.open();
            reloaded
        }
    );
    assert_eq!((answer.unwrap().status.as_u16(), cut), (200, 0));
    assert!(matches!(reloaded, Some(Reloaded::Refused(why)) if why[0].contains("shutting down")));
    assert!(tokio::net::TcpStream::connect(kept.g.address()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_no_issuer_that_a_reload_waits_for() {
    let g = World::new().await.gateway(ROUTES, "").await;
    let text = g.world.yaml(ROUTES, "issuers: { main: { url: \"http://127.0.0.1:1/realms/x\", client_id: a, client_secret: b } }");
    let other = config::read(&text, "test.yaml").unwrap().config;
    let (applied, cut) = tokio::join!(g.gateway.apply(other), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        g.gateway.end(Duration::ZERO, Duration::from_secs(1)).await
    });
    assert_eq!(cut, 0);
    assert!(format!("{:#}", applied.unwrap_err()).contains("shutting down"));
}
