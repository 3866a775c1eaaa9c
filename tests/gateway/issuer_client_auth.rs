//! How the gateway proves to the issuer who it is, seen through the gateway: keys, ready assertions, secrets in files that change.
//! The IAM checks each proof as Keycloak does.

use crate::kit::{ROUTES, Running, World, said};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cambist::demo::iam::{Algorithm, Assertions, Client, Endpoint};
use cambist::demo::misbehave::Misbehave;
use http::StatusCode;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// A private key in a file, and its public half.
struct Key {
    dir: TempDir,
    pem: String,
    public: Value,
}

impl Key {
    fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => &PKCS_RSA_SHA256,
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            _ => &PKCS_ED25519,
        };
        let pair = KeyPair::generate_for(kind).unwrap();
        let (dir, pem, raw) = (TempDir::new().unwrap(), pair.serialize_pem(), pair.public_key_raw());
        fs::write(dir.path().join("key.pem"), &pem).unwrap();
        let public = match algorithm {
            Algorithm::ES256 => json!({ "kty": "EC", "crv": "P-256", "x": b64(&raw[1..33]), "y": b64(&raw[33..]) }),
            Algorithm::EdDSA => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(raw) }),
            _ => json!(Jwk::from_encoding_key(&EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), algorithm).unwrap()),
        };
        Self { dir, pem, public }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

fn b64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A gateway whose issuer has these keys, in a realm whose client `gateway` is changed.
async fn gateway(issuer: &str, edit: impl FnOnce(&mut Client)) -> Running {
    let world = World::new().await;
    world.iam.edit_client("gateway", edit);
    world.gateway(ROUTES, &format!("issuers: {{ main: {{ url: \"IAM\", client_id: gateway, {issuer} }} }}")).await
}

async fn signing(algorithm: Algorithm) -> (Running, Key) {
    let key = Key::new(algorithm);
    let assertions = Assertions::by_key(key.public.clone(), "gw-1", algorithm);
    let issuer = format!(
        "token_endpoint_auth_method: private_key_jwt, private_key: {{ file: {}, algorithm: {algorithm:?}, key_id: gw-1 }}",
        key.path("key.pem")
    );
    let g = gateway(&issuer, |client| (client.secret, client.assertions) = (None, Some(assertions))).await;
    (g, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_assertion_opens_the_door_each_time_anew() {
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
        let (g, _key) = signing(algorithm).await;
        for sub in ["ada", "bob"] {
            assert_eq!(g.get("/orders", &g.token(sub)).await.status, 200, "{algorithm:?} {:?}", g.gateway.failures().first());
        }
        let seen = g.world.iam.last(Endpoint::Token).unwrap();
        assert_eq!((seen.field("client_secret"), seen.header("authorization")), (None, None));
        assert_eq!(g.world.orders.last().unwrap().claim("azp"), Some("gateway"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_brings_an_assertion_of_its_own() {
    let (g, _key) = signing(Algorithm::ES256).await;
    g.world.iam.script(Endpoint::Token, Misbehave::Lost(StatusCode::SERVICE_UNAVAILABLE));
    // The IAM has taken the first one's jti: the same again would be a replay.
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200, "{:?}", g.gateway.failures().first());
    assert_eq!(g.world.iam.requests(Endpoint::Token), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_issuer_does_not_know_is_our_mistake() {
    let (g, _key) = signing(Algorithm::ES256).await;
    let other = Assertions::by_key(Key::new(Algorithm::ES256).public, "gw-1", Algorithm::ES256);
    g.world.iam.edit_client("gateway", |client| client.assertions = Some(other));
    assert_eq!(said(&g.get("/orders", &g.token("ada")).await), (500, "misconfigured".into()));
    let failure = &g.gateway.failures()[0];
    assert!(failure.cure.contains("token_endpoint_auth_method"), "{failure:?}");
    assert_eq!(g.world.iam.requests(Endpoint::Token), 2, "the file is as it was: the other typ is all that is tried");
    assert_eq!(said(&g.get("/orders", &g.token("bob")).await), (500, "misconfigured".into()));
    assert_eq!(g.world.iam.requests(Endpoint::Token), 3, "and not again for every caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_in_the_file_is_used_without_a_restart() {
    let (g, key) = signing(Algorithm::ES256).await;
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200);
    let new = Key::new(Algorithm::ES256);
    let assertions = Assertions::by_key(new.public.clone(), "gw-1", Algorithm::ES256);
    g.world.iam.edit_client("gateway", |client| client.assertions = Some(assertions));
    fs::copy(new.path("key.pem"), key.path("key.pem")).unwrap();
    assert_eq!(g.get("/orders", &g.token("bob")).await.status, 200, "{:?}", g.gateway.failures().first());
    assert_eq!(g.world.iam.requests(Endpoint::Token), 3, "the old one was refused, and then the file was looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_while_it_runs() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, "gateway-secret\n").unwrap();
    let g = gateway(&format!("client_secret: {{ file: {} }}", file.display()), |_| ()).await;
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200);

    fs::write(&file, "rotated\n").unwrap();
    g.world.iam.edit_client("gateway", |client| client.secret = Some("rotated".to_owned()));
    assert_eq!(g.get("/orders", &g.token("bob")).await.status, 200, "{:?}", g.gateway.failures().first());
    assert_eq!((g.world.iam.requests(Endpoint::Token), g.gateway.failures().len()), (3, 0));

    fs::write(&file, "").unwrap();
    g.turn(std::time::Duration::from_secs(6)).await;
    assert_eq!(g.get("/orders", &g.token("eve")).await.status, 200, "an empty file takes nothing away");
    assert_eq!(g.world.iam.requests(Endpoint::Token), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_vouches_for_the_gateway_and_renews_its_word() {
    let (cluster, subject) = (Key::new(Algorithm::ES256), "system:serviceaccount:shop:cambist");
    let world = World::new().await;
    let Assertions::Own { jwks } = Assertions::by_key(cluster.public.clone(), "cluster", Algorithm::ES256) else { panic!("its own") };
    world.iam.edit_client("gateway", |client| {
        (client.secret, client.assertions) = (None, Some(Assertions::Of { jwks, subject: subject.to_owned() }));
    });
    let (clock, issuer) = (world.clock.clone(), world.iam.issuer().to_owned());
    let write = || {
        let header = Header { kid: Some("cluster".into()), ..Header::new(Algorithm::ES256) };
        let claims = json!({ "iss": "https://kubernetes.default.svc", "sub": subject, "aud": [issuer], "exp": clock.unix() + 600 });
        let signs = EncodingKey::from_ec_pem(cluster.pem.as_bytes()).unwrap();
        fs::write(cluster.path("token"), jsonwebtoken::encode(&header, &claims, &signs).unwrap()).unwrap();
    };
    write();
    let file = cluster.path("token");
    let issuer = format!(
        "issuers: {{ main: {{ url: \"IAM\", client_id: gateway, token_endpoint_auth_method: client_assertion, client_assertion_file: {file} }} }}"
    );
    let g = world.gateway(ROUTES, &issuer).await;
    for sub in ["ada", "bob"] {
        assert_eq!(g.get("/orders", &g.token(sub)).await.status, 200, "{:?}", g.gateway.failures().first());
    }
    assert_eq!(g.world.iam.last(Endpoint::Token).unwrap().field("client_id"), None);

    g.turn(std::time::Duration::from_secs(601)).await;
    assert_eq!(said(&g.get("/orders", &g.token("ada")).await), (500, "misconfigured".into()));
    assert!(g.gateway.failures()[0].cure.contains("renewed"));
    write();
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200, "{:?}", g.gateway.failures().first());
}

/// The assertion that came last: its `typ` and its `jti`.
fn last_assertion(g: &Running) -> (String, String) {
    let seen = g.world.iam.last(Endpoint::Token).unwrap();
    let part = |n: usize| {
        let text = seen.field("client_assertion").unwrap().split('.').nth(n).unwrap().to_owned();
        serde_json::from_slice::<Value>(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&part(0)["typ"]), text(&part(1)["jti"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_knows_the_older_typ_alone_is_found_out_once() {
    let (g, _key) = signing(Algorithm::ES256).await;
    g.world.iam.edit_client("gateway", |client| client.assertion_typ = Some("JWT"));
    let mut jtis = std::collections::BTreeSet::new();
    for n in 0..4 {
        assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200, "{:?}", g.gateway.failures().first());
        let (typ, jti) = last_assertion(&g);
        assert_eq!((typ.as_str(), jtis.insert(jti)), ("JWT", true));
        assert_eq!(g.world.iam.requests(Endpoint::Token), n + 2, "the newer one was tried at first, and never again");
    }
    // An issuer that has been renewed wants the newer one.
    g.world.iam.edit_client("gateway", |client| client.assertion_typ = Some("client-authentication+jwt"));
    g.turn(std::time::Duration::from_secs(61)).await;
    for n in 0..2 {
        assert_eq!(g.get("/orders", &g.token("bob")).await.status, 200, "{:?}", g.gateway.failures().first());
        assert_eq!((&*last_assertion(&g).0, g.world.iam.requests(Endpoint::Token)), ("client-authentication+jwt", n + 7));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_come_first_are_all_served_by_the_one_who_finds_it_out() {
    let (g, _key) = signing(Algorithm::ES256).await;
    g.world.iam.edit_client("gateway", |client| client.assertion_typ = Some("JWT"));
    let tokens: Vec<String> = (0..10).map(|i| g.token(&format!("user-{i}"))).collect();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| g.get("/orders", token))).await;
    assert!(answers.iter().all(|a| a.status == 200), "{:?}", g.gateway.failures().first());
    assert!((11..=20).contains(&g.world.iam.requests(Endpoint::Token)), "{}", g.world.iam.requests(Endpoint::Token));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_neither_is_tried_in_both_ways_once_a_minute() {
    let (g, _key) = signing(Algorithm::ES256).await;
    g.world.iam.edit_client("gateway", |client| client.assertion_typ = Some("neither"));
    for wanted in [2, 3, 4] {
        assert_eq!(said(&g.get("/orders", &g.token("ada")).await), (500, "misconfigured".into()));
        assert_eq!(g.world.iam.requests(Endpoint::Token), wanted);
        assert_eq!(last_assertion(&g).0 == "JWT", wanted == 2);
    }
    g.turn(std::time::Duration::from_secs(61)).await;
    assert_eq!(said(&g.get("/orders", &g.token("ada")).await), (500, "misconfigured".into()));
    assert_eq!(g.world.iam.requests(Endpoint::Token), 6);
}
