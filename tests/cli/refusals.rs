//! The refusals of `docs/errors.md`, brought about as that page says: each row's change to the configuration, one `cambist exchange`,
//! and the issuer's words. A row that is not tried here says why.

use crate::kit::World;
use crate::program::{cambist, file};
use cambist::demo::iam::{Algorithm, Assertions, Client, Endpoint};
use cambist::demo::misbehave::Misbehave;
use http::StatusCode;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::Stdio;
use tempfile::TempDir;

/// What the development IAM cannot bring about, and why: it is told to say the row's words. That a real Keycloak says them is measured in
/// `tests/keycloak/conditions.rs`.
const ELSEWHERE: [(&str, &str); 23] = [
    ("keycloak-secret-method", "a client's attribute"),
    ("keycloak-secret-jwt", "a client's authenticator"),
    ("keycloak-signature-algorithm", "a client's setting"),
    ("keycloak-service-account-disabled", "a user that is disabled"),
    ("keycloak-other-endpoint", "an endpoint that the development IAM has not"),
    ("keycloak-login-page", "an endpoint that the development IAM has not"),
    ("keycloak-sender-constrained", "the gateway's own check refuses such a token first"),
    ("keycloak-public-client", "Keycloak's switch beside a public client"),
    ("keycloak-no-service-account", "every confidential client of the development IAM has an account"),
    ("keycloak-duplicated-parameter", "only with something between"),
    ("keycloak-parameter-required", "only with something between"),
    ("keycloak-unsupported-grant-type", "the development IAM knows the grant"),
    ("keycloak-full", "only under load"),
    ("keycloak-no-realm", "Keycloak's words for a path"),
    ("keycloak-no-endpoint", "Keycloak's words for a path"),
    ("keycloak-wrong-endpoint", "Keycloak's words for a path"),
    ("keycloak-realm-disabled", "a realm's setting"),
    ("keycloak-https-required", "a realm's setting"),
    ("keycloak-dpop-required", "a client's setting"),
    ("keycloak-client-assertion-missing", "a client's setting"),
    ("keycloak-client-id-missing", "a client's setting"),
    ("keycloak-bearer-only", "a client's setting"),
    ("keycloak-wrong-protocol", "a client's setting"),
];

/// How a row is brought about.
struct Trial {
    anchor: &'static str,
    /// What stands in the issuer besides its url, and in the route; and what is added to the command.
    issuer: &'static str,
    route: &'static str,
    args: &'static [&'static str],
    /// What of it the row says, word for word.
    says: &'static [&'static str],
}

const GATEWAY: &str = "client_id: gateway, client_secret: gateway-secret";
const ORDERS: &str = "audience: orders-api";

fn trial(anchor: &'static str, says: &'static [&'static str]) -> Trial {
    Trial { anchor, issuer: GATEWAY, route: ORDERS, args: &[], says }
}

/// An assertion that somebody else has made; the name of its file is what the row is about.
const BY_ASSERTION: &str = "client_id: gateway, token_endpoint_auth_method: client_assertion, client_assertion_file: ";

fn trials() -> Vec<Trial> {
    let issuer = |anchor, issuer, says| Trial { issuer, ..trial(anchor, says) };
    let route = |anchor, route, says| Trial { route, ..trial(anchor, says) };
    let args = |anchor, args| Trial { args, ..trial(anchor, args) };
    vec![
        trial("keycloak-invalid-token", &["log the user out"]),
        issuer(
            "keycloak-not-in-audience",
            "client_id: gateway, client_secret: gateway-secret, verify: { audiences: [other-api] }",
            &["verify: { audiences: [other-api] }"],
        ),
        args("keycloak-audience-not-available", &["--audience", "payroll-api"]),
        route("keycloak-invalid-scopes", "audience: orders-api, scopes: [nonsense]", &["scopes: [nonsense]"]),
        route("keycloak-missing-consents", "audience: ledger-api, scopes: [ledger]", &["scopes: [ledger]"]),
        issuer(
            "keycloak-switch-off",
            "client_id: no-exchange, client_secret: no-exchange-secret, verify: { audiences: [gateway] }",
            &["client_id: no-exchange", "verify: { audiences: [gateway] }"],
        ),
        args("keycloak-audience-not-found", &["--audience", "no-such-client"]),
        args("keycloak-client-disabled", &["--audience", "retired-api"]),
        issuer(
            "keycloak-signed-jwt-failed",
            "client_id: gateway, token_endpoint_auth_method: private_key_jwt, private_key: { file: other.pem, algorithm: ES256, key_id: gw-1 }",
            &["private_key: { file: other.pem, algorithm: ES256, key_id: gw-1 }"],
        ),
        issuer("keycloak-token-not-active", "old.jwt", &["client_assertion_file: old.jwt"]),
        issuer("keycloak-token-reuse", "once.jwt", &["client_assertion_file: once.jwt", "the command twice"]),
        issuer("keycloak-invalid-audience", "elsewhere.jwt", &["client_assertion_file: elsewhere.jwt"]),
        issuer("keycloak-multiple-audiences", "both.jwt", &["client_assertion_file: both.jwt"]),
        issuer("keycloak-wrong-secret", "client_id: gateway, client_secret: wrong", &["client_secret: wrong"]),
        issuer(
            "keycloak-unknown-client",
            "client_id: nobody, client_secret: gateway-secret, verify: { audiences: [gateway] }",
            &["client_id: nobody", "verify: { audiences: [gateway] }"],
        ),
        Trial {
            issuer: "client_id: demo-app, client_secret: any, verify: { audiences: [gateway] }",
            route: "audience: orders-api, actor: { gateway: true }",
            ..trial("keycloak-public-service-account", &["client_id: demo-app", "actor: { gateway: true }"])
        },
        route(
            "keycloak-requested-token-type",
            "audience: orders-api, requested_token_type: urn:ietf:params:oauth:token-type:jwt",
            &["requested_token_type: urn:ietf:params:oauth:token-type:jwt"],
        ),
        route(
            "keycloak-subject-token-type",
            "audience: orders-api, subject_token_type: urn:ietf:params:oauth:token-type:jwt",
            &["subject_token_type: urn:ietf:params:oauth:token-type:jwt"],
        ),
        route(
            "keycloak-parameter-not-supported",
            "audience: orders-api, extra_params: { requested_subject: bob }",
            &["extra_params: { requested_subject: bob }"],
        ),
        issuer(
            "keycloak-subject-issuer",
            "client_id: gateway, client_secret: gateway-secret, extra_params: { subject_issuer: google }",
            &["extra_params: { subject_issuer: google }"],
        ),
    ]
}

/// A row of the page: its anchor, the issuer's `error: description`, what it becomes, and how to see it.
struct Row {
    anchor: String,
    status: u16,
    words: String,
    code: String,
    see: String,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| <a id=\"keycloak-")).map(|line| {
        let (anchor, rest) = line.split_once("\"></a>").unwrap();
        let cells: Vec<&str> = rest.split(" | ").collect();
        let [words, code, _, _, see] = cells[..] else { panic!("a row has five cells: {line}") };
        let (status, words) = words.split_once(' ').unwrap_or((words, ""));
        Row {
            anchor: format!("keycloak-{anchor}"),
            status: status.parse().unwrap(),
            words: words.replacen("` ", ": ", 1).replace('`', ""),
            code: code.trim_start_matches('[').split(']').next().unwrap().to_owned(),
            see: see.to_owned(),
        }
    });
    rows.collect()
}

/// Files beside the configuration, and a client whose assertions are made with them.
struct Files {
    dir: TempDir,
    jwks: Value,
}

impl Files {
    fn new(world: &World) -> Self {
        let (dir, key) = (TempDir::new().unwrap(), KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
        let signs = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
        let jwk = serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(&signs, Algorithm::ES256).unwrap()).unwrap();
        let Assertions::Own { jwks } = Assertions::by_key(jwk, "gw-1", Algorithm::ES256) else { panic!("its own") };
        let (now, here) = (world.clock.unix(), world.iam.issuer());
        for (name, aud, exp) in [
            ("old.jwt", json!(here), now - 3600),
            ("once.jwt", json!(here), now + 600),
            ("elsewhere.jwt", json!("https://elsewhere.example"), now + 600),
            ("both.jwt", json!([here, "https://elsewhere.example"]), now + 600),
        ] {
            let header = Header { kid: Some("gw-1".into()), ..Header::new(Algorithm::ES256) };
            let claims = json!({ "iss": "gateway", "sub": "gateway", "aud": aud, "exp": exp, "jti": name });
            fs::write(dir.path().join(name), jsonwebtoken::encode(&header, &claims, &signs).unwrap()).unwrap();
        }
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert_ne!(other.der_bytes(), key.der_bytes());
        fs::write(dir.path().join("other.pem"), other.serialize_pem()).unwrap();
        Self { dir, jwks }
    }

    /// The same with whole paths.
    fn found(&self, yaml: &str) -> String {
        let at = |text: &str, name: &str| text.replace(name, &self.dir.path().join(name).display().to_string());
        ["old.jwt", "once.jwt", "elsewhere.jwt", "both.jwt", "other.pem"].iter().fold(yaml.to_owned(), |text, name| at(&text, name))
    }
}

fn exchanged(world: &World, trial: &Trial, files: &Files, token: &str) -> String {
    let issuer = if trial.issuer.ends_with(".jwt") { format!("{BY_ASSERTION}{}", trial.issuer) } else { trial.issuer.to_owned() };
    let routes = format!("\n  orders: {{ match: {{ path: /orders }}, upstream: ORDERS, {} }}\n", trial.route);
    let text = world.yaml(&routes, &files.found(&format!("issuers: {{ main: {{ url: \"IAM\", {issuer} }} }}")));
    for says in trial.says.iter().filter(|says| says.contains(": ")) {
        assert!(text.contains(&files.found(says)), "{}: nothing of `{says}` in\n{text}", trial.anchor);
    }
    let config = file(&text);
    let mut command = cambist();
    command.arg("exchange").arg("--config").arg(&config.path).args(["--route", "orders"]).args(trial.args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The caller that a row is about, in a realm as it says.
fn prepared(world: &World, trial: &Trial, files: &Files) -> String {
    let by_assertion = trial.issuer.ends_with(".jwt") || trial.issuer.contains("private_key");
    let assertions = by_assertion.then(|| Assertions::Own { jwks: files.jwks.clone() });
    world.iam.edit_client("gateway", |client| {
        client.secret = assertions.is_none().then(|| "gateway-secret".to_owned());
        client.assertions = assertions;
    });
    let caller = world.iam.caller("ada");
    match trial.anchor {
        "keycloak-not-in-audience" => caller.audience("other-api").token().unwrap(),
        "keycloak-invalid-token" => {
            world.iam.logout(caller.sid());
            caller.token().unwrap()
        }
        _ => caller.token().unwrap(),
    }
}

impl Row {
    /// The words as they stand on the page, without what stands there for a name of the reader's.
    fn said(&self) -> &str {
        self.words.split('…').next().unwrap().trim_end_matches('X').trim_end()
    }

    fn answer(&self) -> Misbehave {
        let words = self.words.replace("'…'", "'subject_token'");
        let (error, description) = words.split_once(": ").unwrap_or((&words, ""));
        Misbehave::refusal(StatusCode::from_u16(self.status).unwrap(), error, description)
    }
}

fn as_the_page_says(row: &Row, told: &str) {
    let words = row.said();
    assert!(words.is_empty() || told.contains(&format!("issuer  {words}")), "{}: `{words}` is not in\n{told}", row.anchor);
    assert!(told.contains(&format!("code    {} (HTTP ", row.code)), "{}: {told}", row.anchor);
    assert!(told.contains("  cure    ") && told.ends_with(&format!("docs/errors.md#{}\n", row.anchor)), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_the_page_comes_about_as_the_page_says() {
    let world = World::with(|settings| settings.clients.push(Client::confidential("other-api", "secret"))).await;
    let (files, trials) = (Files::new(&world), trials());
    for row in rows() {
        let tried = trials.iter().find(|trial| trial.anchor == row.anchor);
        let Some(trial) = tried else {
            let told = ELSEWHERE.iter().any(|(anchor, _)| *anchor == row.anchor);
            assert!(told, "{} is neither tried nor said to be beyond the development IAM", row.anchor);
            // What has no words is asked again at once, and answered then.
            if row.words.is_empty() {
                continue;
            }
            // Left as another row wanted it.
            let trial = trial("keycloak-full", &[]);
            let token = prepared(&world, &trial, &files);
            world.iam.script(Endpoint::Token, row.answer());
            as_the_page_says(&row, &exchanged(&world, &trial, &files, &token));
            continue;
        };
        for says in trial.says {
            assert!(row.see.contains(says), "{}: the page does not say `{says}`: {}", row.anchor, row.see);
        }
        let token = prepared(&world, trial, &files);
        let mut told = exchanged(&world, trial, &files, &token);
        if row.see.contains("the command twice") {
            assert!(told.contains("exchanged: good for"), "{}: {told}", row.anchor);
            told = exchanged(&world, trial, &files, &token);
        }
        as_the_page_says(&row, &told);
    }
    for anchor in trials.iter().map(|t| t.anchor).chain(ELSEWHERE.map(|(anchor, _)| anchor)) {
        assert!(rows().iter().any(|row| row.anchor == anchor), "the page has no row {anchor}");
    }
}
