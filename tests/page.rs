//! The status page in a real Chromium: that it shows what the status says, that nothing anybody writes becomes code or goes anywhere,
//! that it fits a telephone and needs no mouse. The browser's story is `page/run.mjs`; here is the gateway that it looks at.
//!
//! It takes `chromium` (or `CAMBIST_CHROMIUM`), `node` and `npm ci --prefix tests/page`; where one of them is missing it says so and is
//! skipped, unless `CAMBIST_REQUIRE_CHROMIUM` is set. Screenshots are left in `target/page`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "page/cases.rs"]
mod cases;
#[allow(dead_code, reason = "the kit is the gateway tests'; this story needs a part of it")]
#[path = "gateway/kit.rs"]
mod kit;
#[allow(dead_code, reason = "the kit speaks it; this binary hardly does")]
#[path = "gateway/wire.rs"]
mod wire;

use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::Misbehave;
use http::StatusCode;
use kit::{Running, World};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const ADMIN_TOKEN: &str = "of-the-operator";
const ROUTES: &str = "
  orders: { match: { path: /orders, methods: [GET, POST] }, upstream: ORDERS, audience: orders-api }
  orders-export: { match: { path: { exact: /orders/export } }, upstream: ORDERS, audience: orders-api, require: { scopes: [export] } }
  payroll: { match: { hosts: [payroll.example.com, \"*.payroll.example.com\"], path: /payroll }, upstream: PAYROLL, audience: payroll-api }
  payroll-anywhere: { match: { path: /payroll }, upstream: PAYROLL, audience: payroll-api }
  health: { match: { path: /strip }, upstream: OPEN, token: strip, callers: anonymous }
  pass: { match: { path: /pass, headers: { x-tenant: acme } }, upstream: OPEN, token: passthrough }
";
/// What an issuer may say.
const HOSTILE: &str =
    "<img src=x onerror=\"window.pwned=1\"></script><script>window.pwned=2</script> \u{202e}desrever\u{2066} \u{1b}[31mred\u{1b}[0m";

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_in_a_real_browser() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(chromium) = found(here) else { return };
    let running = gateway().await;
    let cases = cases::judged(&running).await;
    traffic(&running).await;
    let shots = here.join("target/page");
    std::fs::create_dir_all(&shots).unwrap();
    // On disk: it is more than a process's environment may hold.
    let written = shots.join("cases.json");
    std::fs::write(&written, cases.to_string()).unwrap();
    let admin = running.gateway.admin_address().unwrap();
    let story = Command::new("node")
        .arg(here.join("tests/page/run.mjs"))
        .env("PAGE_URL", format!("http://{admin}"))
        .env("PAGE_CHROMIUM", chromium)
        .env("PAGE_SHOTS", &shots)
        .env("PAGE_TOKEN", running.token("ada"))
        .env("PAGE_CASES", &written)
        .env("PAGE_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdin(Stdio::null())
        .spawn();
    let mut story = story.unwrap();
    // The callers go on while it is looked at.
    let token = running.token("bob");
    let ended = loop {
        if let Some(ended) = story.try_wait().unwrap() {
            break ended;
        }
        running.get("/orders", &token).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    std::fs::remove_file(&written).unwrap();
    assert!(ended.success(), "the story in the browser has failed; see above, and the pictures in {}", shots.display());
}

/// The browser, where all is there that it takes.
fn found(here: &Path) -> Option<PathBuf> {
    let on_path = |name: &str| std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|file| file.is_file());
    let chromium = std::env::var_os("CAMBIST_CHROMIUM").map(PathBuf::from).or_else(|| on_path("chromium"));
    let missing = match (&chromium, on_path("node"), here.join("tests/page/node_modules/playwright-core").is_dir()) {
        (None, ..) => "chromium (apt-get install chromium)",
        (_, None, _) => "node (apt-get install nodejs npm)",
        (.., false) => "playwright-core (npm ci --prefix tests/page)",
        _ => return chromium,
    };
    assert!(std::env::var_os("CAMBIST_REQUIRE_CHROMIUM").is_none(), "missing: {missing}");
    eprintln!("SKIPPED: the status page was not looked at in a browser; missing: {missing}");
    None
}

async fn gateway() -> Running {
    let more = format!(
        "admin: {{ address: 127.0.0.1:0, token: {ADMIN_TOKEN} }}\ncache: {{ max_entries: 1000 }}
exchange_api: {{ listeners: [main], audiences: {{ other-api: {{}} }} }}"
    );
    World::new().await.gateway(&format!("{ROUTES}{}", cases::ROUTE.trim_start_matches('\n')), &more).await
}

/// A few minutes of callers, with a bit of everything.
async fn traffic(g: &Running) {
    for minute in 0..18_u32 {
        let token = g.token(&format!("caller-{}", minute % 5));
        for n in 0..(6 + (minute * 7) % 23) {
            assert_eq!(g.get("/orders", &token).await.status, 200);
            if n % 4 == 0 {
                g.get("/strip", &token).await;
            }
        }
        if minute % 3 == 0 {
            g.get_without_token("/orders").await;
            assert_eq!(g.get("/payroll", &token).await.status, 403);
            g.get("/nothing/here", &token).await;
        }
        g.turn(Duration::from_secs(10)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let hostile = Misbehave::refusal(StatusCode::BAD_REQUEST, "invalid_target", HOSTILE);
    g.world.iam.script(Endpoint::Token, hostile);
    assert!(!g.get("/orders", &g.token("eve")).await.status.is_success());
}
