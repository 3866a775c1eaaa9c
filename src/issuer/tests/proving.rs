//! How we prove who we are, as it arrives at the token endpoint; and what of it changes when files change while we run.

use super::super::keys::{Found, Keys};
use super::*;
use crate::issuer::jws::Jws;
use crate::tls::Identity;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SECRET: &str = "gateway-c4nary-secret";

async fn granting() -> Iam {
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    iam.answer(TOKEN, Canned::json(200, &json!({})));
    iam
}

async fn started(iam: &Iam, clock: &Clock, auth: ClientAuth) -> Arc<Issuer> {
    let (issuer, _) = iam.issuer(clock, |s| s.client_auth = auth);
    issuer.start();
    issuer.when_loaded().await;
    issuer
}

async fn posted(iam: &Iam, issuer: &Arc<Issuer>) -> testing::Seen {
    issuer.post_token(form(), Priority::Caller).await.unwrap();
    iam.seen(TOKEN).pop().unwrap()
}

fn basic(seen: &testing::Seen) -> String {
    use base64::Engine;
    let value = seen.headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    String::from_utf8(base64::prelude::BASE64_STANDARD.decode(value).unwrap()).unwrap()
}

/// Puts a file in place as a ConfigMap or Secret volume does: a folder of its own, and a link that is swapped.
fn swap(dir: &Path, name: &str, text: &str) {
    let version = dir.join(format!("..{}", fs::read_dir(dir).unwrap().count()));
    fs::create_dir(&version).unwrap();
    fs::write(version.join(name), text).unwrap();
    let (next, data) = (dir.join("..next"), dir.join("..data"));
    std::os::unix::fs::symlink(&version, &next).unwrap();
    fs::rename(next, &data).unwrap();
    if !dir.join(name).exists() {
        std::os::unix::fs::symlink(data.join(name), dir.join(name)).unwrap();
    }
}

#[tokio::test]
async fn raw_is_for_servers_that_do_not_decode() {
    let iam = granting().await;
    for (encoding, wanted) in [(Encoding::Raw, "gateway:p+%:x"), (Encoding::Form, "gateway:p%2B%25%3Ax")] {
        let secret = Credential::Given(Secret::new("p+%:x"));
        let issuer = started(&iam, &Clock::real(), ClientAuth::ClientSecretBasic { secret, encoding }).await;
        assert_eq!(basic(&posted(&iam, &issuer).await), wanted);
    }
}

#[tokio::test]
async fn each_attempt_has_an_assertion_of_its_own() {
    let iam = granting().await;
    for (signer, algorithm, check) in [
        (Signer::rsa(), SigningAlgorithm::Rs256, Algorithm::Rs256),
        (Signer::rsa(), SigningAlgorithm::Ps256, Algorithm::Ps256),
        (Signer::p256(), SigningAlgorithm::Es256, Algorithm::Es256),
        (Signer::ed(), SigningAlgorithm::EdDsa, Algorithm::EdDsa),
    ] {
        let (key, key_id) = (Credential::Given(Secret::new(signer.pem())), Some("gw-1".to_owned()));
        let clock = Clock::turned();
        let issuer = started(&iam, &clock, ClientAuth::PrivateKeyJwt { key, algorithm, key_id }).await;
        let before = iam.count(TOKEN);
        iam.first(TOKEN, [Canned::text(503, "")]);
        posted(&iam, &issuer).await;
        let seen = iam.seen(TOKEN).split_off(before);
        assert_eq!(seen.len(), 2);
        let published = Keys::read(json!({"keys": [signer.jwk("gw-1")]}).to_string().as_bytes()).unwrap();
        let jtis: Vec<String> = seen.iter().map(|seen| checked(seen, &iam, &published, check, clock.unix())).collect();
        assert_ne!(jtis[0], jtis[1], "a server that takes each jti once would refuse the second attempt");
    }
}

/// The assertion's `jti`, when all else of it is as it must be.
fn checked(seen: &testing::Seen, iam: &Iam, published: &Keys, alg: Algorithm, now: u64) -> String {
    assert_eq!((seen.form("client_id"), seen.form("client_assertion_type")), (vec!["gateway".into()], vec![BEARER.into()]));
    assert!(seen.headers.get("authorization").is_none() && seen.form("client_secret").is_empty());
    let [assertion] = &seen.form("client_assertion")[..] else { panic!("one assertion") };
    let jws = Jws::read(assertion).unwrap();
    assert_eq!((&jws.header["typ"], &jws.header["kid"]), (&json!("client-authentication+jwt"), &json!("gw-1")));
    let Found::Key(key) = published.find(Some("gw-1"), alg) else { panic!("{alg:?}") };
    assert!(key.signed(alg, &jws));
    let claims = &jws.claims;
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&json!("gateway"), &json!("gateway"), &json!(iam.url)));
    let (iat, exp) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!(iat.abs_diff(now) <= 5 && exp == iat + 60, "{iat} {exp} {now}");
    claims["jti"].as_str().unwrap().to_owned()
}

fn ready(sub: &str, mark: &str) -> String {
    format!(
        "{}.{}.{}",
        testing::b64(b"{\"alg\":\"RS256\"}"),
        testing::b64(json!({"sub": sub}).to_string().as_bytes()),
        testing::b64(mark.as_bytes())
    )
}

#[tokio::test]
async fn a_ready_assertion_speaks_for_itself_and_is_read_again_when_it_is_refused() {
    let (iam, dir) = (granting().await, TempDir::new().unwrap());
    let (old, new) = (ready("system:serviceaccount:shop:gateway", "old"), ready("system:serviceaccount:shop:gateway", "new"));
    swap(dir.path(), "token", &old);
    let issuer = started(&iam, &Clock::turned(), ClientAuth::ClientAssertion { file: dir.path().join("token") }).await;
    let seen = posted(&iam, &issuer).await;
    assert_eq!((seen.form("client_assertion"), seen.form("client_assertion_type")), (vec![old], vec![BEARER.into()]));
    assert!(seen.form("client_id").is_empty());

    let refusal = Canned::json(400, &json!({"error": "invalid_client", "error_description": "Token is not active"}));
    iam.first(TOKEN, [refusal.clone()]);
    assert_eq!(issuer.post_token(form(), Priority::Caller).await.unwrap().status, 400);
    assert_eq!(iam.count(TOKEN), 2, "the file is as it was: asking again would bring the same answer");

    swap(dir.path(), "token", &new);
    iam.first(TOKEN, [refusal.clone(), refusal]);
    assert_eq!(issuer.post_token(form(), Priority::Caller).await.unwrap().status, 400);
    assert_eq!(iam.count(TOKEN), 4, "once more with the new one, and not a third time");
    assert_eq!(posted(&iam, &issuer).await.form("client_assertion"), [new]);
}

#[tokio::test]
async fn an_svid_is_announced_as_one() {
    let (iam, dir) = (granting().await, TempDir::new().unwrap());
    let file = dir.path().join("svid");
    fs::write(&file, ready("spiffe://shop.example/gateway", "x") + "\n").unwrap();
    let issuer = started(&iam, &Clock::real(), ClientAuth::ClientAssertion { file }).await;
    assert_eq!(posted(&iam, &issuer).await.form("client_assertion_type"), ["urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"]);
}

#[tokio::test]
async fn a_changed_secret_is_used_and_a_broken_one_is_told_once() {
    let (lines, _guard) = Lines::kept();
    let (iam, dir, clock) = (granting().await, TempDir::new().unwrap(), Clock::turned());
    swap(dir.path(), "secret", "one-c4nary\n");
    let secret = Credential::File(dir.path().join("secret"));
    let issuer = started(&iam, &clock, ClientAuth::ClientSecretBasic { secret, encoding: Encoding::Form }).await;
    assert_eq!(basic(&posted(&iam, &issuer).await), "gateway:one-c4nary");

    swap(dir.path(), "secret", "two-c4nary\n");
    clock.turn(Duration::from_secs(6));
    eventually("the new one is in use", || lines.text().contains("is used as it is now")).await;
    assert_eq!(basic(&posted(&iam, &issuer).await), "gateway:two-c4nary");
    assert_eq!(issuer.cleaned("no two-c4nary here"), "no [removed] here");

    swap(dir.path(), "secret", "\n");
    for _ in 0..3 {
        clock.turn(Duration::from_secs(6));
        eventually("it is told", || lines.text().contains("what was there before stays in use")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(basic(&posted(&iam, &issuer).await), "gateway:two-c4nary");
    let text = lines.text();
    assert_eq!(text.matches("what was there before stays in use").count(), 1, "{text}");
    assert!(!text.contains("c4nary"), "{text}");

    swap(dir.path(), "secret", "two-c4nary");
    clock.turn(Duration::from_secs(6));
    eventually("the file is good again", || lines.text().matches("is used as it is now").count() == 2).await;
}

#[tokio::test]
async fn a_secret_that_was_changed_a_moment_ago_costs_one_more_attempt_and_no_caller() {
    let (iam, dir) = (granting().await, TempDir::new().unwrap());
    let file = dir.path().join("secret");
    fs::write(&file, "one").unwrap();
    let issuer = started(&iam, &Clock::turned(), ClientAuth::ClientSecretPost { secret: Credential::File(file.clone()) }).await;
    fs::write(&file, "two").unwrap();
    iam.first(TOKEN, [Canned::json(401, &json!({"error": "unauthorized_client"}))]);
    assert_eq!(posted(&iam, &issuer).await.form("client_secret"), ["two"]);
    assert_eq!(iam.count(TOKEN), 2);
}

#[tokio::test]
async fn what_cannot_be_read_at_the_start_is_no_issuer() {
    let (iam, dir) = (granting().await, TempDir::new().unwrap());
    let (none, key) = (dir.path().join("none"), dir.path().join("key"));
    fs::write(&key, Signer::p256().pem()).unwrap();
    for (auth, said) in [
        (ClientAuth::ClientSecretPost { secret: Credential::File(none.clone()) }, "the client secret"),
        (ClientAuth::ClientAssertion { file: none.clone() }, "the client assertion"),
        (ClientAuth::ClientAssertion { file: key.clone() }, "it holds no JWT"),
        (
            ClientAuth::PrivateKeyJwt { key: Credential::File(key.clone()), algorithm: SigningAlgorithm::Rs256, key_id: None },
            "RS256 wants an RSA key",
        ),
        (ClientAuth::TlsClientAuth(Identity { cert_file: key.clone(), key_file: key }), "no PEM certificate"),
    ] {
        let mut settings = testing::settings(&iam.url);
        settings.client_auth = auth;
        let metrics = crate::metrics::Metrics::new().issuer("main");
        let why = Issuer::new(settings, Clock::real(), metrics, Handle::current()).unwrap_err().to_string();
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn settings_print_no_secret() {
    let given = || Credential::Given(Secret::new(SECRET));
    for auth in [
        ClientAuth::basic(Secret::new(SECRET)),
        ClientAuth::post(Secret::new(SECRET)),
        ClientAuth::PrivateKeyJwt { key: given(), algorithm: SigningAlgorithm::Es256, key_id: None },
    ] {
        assert!(!format!("{auth:?}").contains("c4nary"));
    }
}
