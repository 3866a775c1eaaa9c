//! The main job on a real IAM: a user logs in, a request goes through, and the backend gets a token of its own.

use crate::ask::{ASK, Ask, turn, until};
use crate::server::{Keycloak, claims, header};
use cambist::demo::backend::Backend;
use cambist::demo::fetch::{Answer, Connection};
use http::Method;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_gets_a_token_for_itself_and_the_second_request_is_a_hit() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    let caller = claims(&token);
    assert!(caller["aud"].as_array().unwrap().contains(&json!("gateway")), "what shop-web's user brings");
    let g = k.gateway(&ASK).await;

    let seen = g.passes(&token).await;
    let claim = |name: &str| seen.claim(name);
    assert_eq!((claim("aud"), claim("azp"), claim("scope")), (Some("orders-api"), Some("gateway"), Some("orders")));
    assert_eq!((claim("sub"), claim("sid")), (caller["sub"].as_str(), caller["sid"].as_str()));
    assert_eq!((g.exchanges().await, g.hits().await), (1, 0));

    let again = g.passes(&token).await;
    assert_eq!(again.header("authorization"), seen.header("authorization"));
    assert_eq!((g.exchanges().await, g.hits().await), (1, 1));

    // A session of her own next to it is another caller.
    let other = k.ada().await;
    assert_ne!(g.passes(&other).await.header("authorization"), seen.header("authorization"));
    assert_eq!(g.exchanges().await, 2);

    // Keycloak ends what it issues with the caller's own token: another exchange before that would gain nothing.
    turn(&g.clock, Duration::from_secs(280)).await;
    assert_eq!(g.passes(&token).await.header("authorization"), seen.header("authorization"));
    assert_eq!(g.exchanges().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_client_may_authenticate_in_the_form_too() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    let ask = Ask { issuer: "token_endpoint_auth_method: client_secret_post", ..ASK };
    let g = k.gateway(&ask).await;
    assert_eq!(g.passes(&token).await.claim("aud"), Some("orders-api"));
    let words = (401, "unauthorized_client", "Invalid client or Invalid client credentials");
    k.refuses(&Ask { secret: "wrong", ..ask }, &token, words, (500, "misconfigured")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_signed_by_every_algorithm_pass() {
    let Some(k) = Keycloak::shared().await else { return };
    for (provider, key, value) in
        [("ecdsa-generated", "ecdsaEllipticCurveKey", "P-256"), ("eddsa-generated", "eddsaEllipticCurveKey", "Ed25519")]
    {
        k.add_key(provider, "90", key, value).await;
    }
    let g = k.gateway(&ASK).await;
    for algorithm in ["RS256", "ES256", "PS256", "EdDSA"] {
        let login = k.login_client("gateway", json!({ "access.token.signed.response.alg": algorithm })).await;
        // A key for PS256 comes into being with the first login that needs it: one more that the gateway has to fetch.
        turn(&g.clock, Duration::from_secs(11)).await;
        let token = k.login(&login, "ada").await.access;
        assert_eq!(header(&token)["alg"], algorithm);
        assert_eq!(g.passes(&token).await.claim("sub"), claims(&token)["sub"].as_str(), "{algorithm}");
    }
}

/// The program itself, as an operator starts it, with a file and a secret beside it.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_run_from_a_file() {
    let Some(k) = Keycloak::shared().await else { return };
    let backend = Backend::start(([127, 0, 0, 1], 0).into(), "orders-api", k.trust().await).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (config, secret) = (folder.path().join("cambist.yaml"), folder.path().join("secret"));
    std::fs::write(&secret, "gateway-secret\n").unwrap();
    let text = format!(
        "
listeners: {{ main: {{ address: 127.0.0.1:0 }} }}
metrics: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
issuers:
  main:
    url: {}
    client_id: gateway
    client_secret: {{ file: {} }}
routes:
  orders:
    match: {{ path: /orders }}
    upstream: {}
    audience: orders-api
",
        k.issuer(),
        secret.display(),
        backend.url(),
    );
    std::fs::write(&config, text).unwrap();
    let mut program = Program::start(&config);
    let (listener, metrics) = (program.says("listening", "address"), program.says("started", "metrics"));
    let mut probes = Connection::open(metrics).await.unwrap();
    let mut tries = 0;
    while probes.get("/readyz", None).await.unwrap().status != 200 {
        tries += 1;
        assert!(tries < 500, "never ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let token = k.ada().await;
    let mut caller = Connection::open(listener).await.unwrap();
    let answer: Answer = caller.get("/orders/7", Some(&token)).await.unwrap();
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let seen = backend.last().unwrap();
    assert_eq!((seen.claim("aud"), seen.claim("sub")), (Some("orders-api"), claims(&token)["sub"].as_str()));
    assert_eq!(caller.get("/orders/7", None).await.unwrap().status, 401);
    assert!(program.ended().await, "SIGTERM ends it well");
}

/// `cambist run`, and what it logs. Killed when dropped.
struct Program {
    child: Child,
    log: mpsc::Receiver<Value>,
}

impl Program {
    fn start(config: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
        let mut child = command.args(["run", "--config"]).arg(config).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|l| drop(say.send(serde_json::from_str(&l).unwrap_or_default()))));
        Self { child, log }
    }

    /// An address in the next line of the log that has this message.
    fn says(&self, message: &str, field: &str) -> SocketAddr {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(20)).unwrap();
            if line.to_string().contains(&format!("\"{message}\"")) {
                let found = [&line[field], &line["fields"][field]].into_iter().find_map(Value::as_str);
                return found.unwrap_or_else(|| panic!("no {field}: {line}")).parse().unwrap();
            }
        }
    }

    async fn ended(&mut self) -> bool {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let mut status = None;
        until("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        asked.success() && status.unwrap().success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Keycloak {
    /// Gives the realm one more signing key, and returns the id of what keeps it.
    pub async fn add_key(&self, provider: &str, priority: &str, setting: &str, value: &str) -> String {
        let realm = self.admin(Method::GET, "", Value::Null).await.json()["id"].take();
        let key = json!({
            "name": provider, "providerId": provider, "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm,
            "config": { "priority": [priority], "enabled": ["true"], "active": ["true"], setting: [value] },
        });
        crate::server::created(&self.admin(Method::POST, "/components", key).await)
    }
}
