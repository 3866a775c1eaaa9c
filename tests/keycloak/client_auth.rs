//! The gateway's own proofs before Keycloak: assertions that it signs, with each algorithm, each time anew; and what Keycloak says
//! to a wrong one. Keys are made for each run, so that none is in the tree.

use crate::ask::{ASK, Ask, Running};
use crate::server::{Keycloak, unique};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cambist::clock::Clock;
use cambist::demo::iam::{self, Iam};
use http::Method;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The public half of a fresh key, whose private half is in the file.
fn key(algorithm: Algorithm, file: &Path) -> Value {
    let kind = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => &PKCS_RSA_SHA256,
        Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
        _ => &PKCS_ED25519,
    };
    let pair = KeyPair::generate_for(kind).unwrap();
    let (pem, raw) = (pair.serialize_pem(), pair.public_key_raw());
    fs::write(file, &pem).unwrap();
    let b64 = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let mut jwk = match algorithm {
        Algorithm::ES256 => json!({ "kty": "EC", "crv": "P-256", "x": b64(&raw[1..33]), "y": b64(&raw[33..]) }),
        Algorithm::EdDSA => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(raw) }),
        _ => json!(Jwk::from_encoding_key(&EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), algorithm).unwrap()),
    };
    for (name, value) in [("kid", "gw-1".to_owned()), ("use", "sig".to_owned()), ("alg", format!("{algorithm:?}"))] {
        jwk[name] = json!(value);
    }
    jwk
}

struct Signing {
    g: Running,
    k: Keycloak,
    login: String,
    _dir: TempDir,
}

impl Signing {
    /// A gateway that signs with a fresh key, and a client of Keycloak that has its public half; unless the file is changed then.
    async fn new(algorithm: Algorithm, then: impl FnOnce(&Path)) -> Option<Self> {
        let k = Keycloak::shared().await?;
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("key.pem");
        let client = k
            .client(json!({
                "publicClient": false, "clientAuthenticatorType": "client-jwt", "defaultClientScopes": ["basic", "orders"],
                "attributes": {
                    "standard.token.exchange.enabled": "true", "use.jwks.string": "true",
                    "jwks.string": json!({ "keys": [key(algorithm, &file)] }).to_string(),
                },
            }))
            .await;
        let login = k.login_client(&client, json!({})).await;
        then(&file);
        let issuer = format!(
            "token_endpoint_auth_method: private_key_jwt, private_key: {{ file: {}, algorithm: {algorithm:?}, key_id: gw-1 }}",
            file.display()
        );
        let g = k.gateway(&Ask { client: &client, secret: "", issuer: &issuer, ..ASK }).await;
        Some(Self { g, k, login, _dir: dir })
    }

    async fn token(&self, user: &str) -> String {
        self.k.login(&self.login, user).await.access
    }
}

/// Two exchanges with each: were an assertion used twice, Keycloak would say "Token reuse detected".
async fn signs(algorithm: Algorithm) {
    let Some(it) = Signing::new(algorithm, |_| ()).await else { return };
    for user in ["ada", "bob"] {
        let seen = it.g.passes(&it.token(user).await).await;
        assert_eq!(seen.claim("aud"), Some("orders-api"));
    }
    assert_eq!(it.g.exchanges().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_with_rs256() {
    signs(Algorithm::RS256).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_with_ps256() {
    signs(Algorithm::PS256).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_with_es256() {
    signs(Algorithm::ES256).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_with_eddsa() {
    signs(Algorithm::EdDSA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_with_another_key() {
    let Some(it) = Signing::new(Algorithm::ES256, |file| drop(key(Algorithm::ES256, file))).await else { return };
    let token = it.token("ada").await;
    let words = "Client authentication with signed JWT failed: Signature on JWT token failed validation";
    it.g.refuses(&token, (400, "invalid_client", words), (500, "misconfigured")).await;
}

/// As Kubernetes does it: somebody whom Keycloak trusts has signed who we are, and put it into a file, which is read again when it
/// changes. The same assertion goes with every exchange, since nobody makes a new one for each.
#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_that_somebody_else_has_signed() {
    let Some(k) = Keycloak::shared().await else { return };
    let cluster = Iam::start(iam::Settings { clock: Clock::real(), ..iam::Settings::anywhere() }).await.unwrap();
    let (alias, account) = (unique("cluster"), "system:serviceaccount:shop:gateway");
    let provider = json!({
        "alias": alias, "providerId": "oidc", "enabled": true, "hideOnLogin": true,
        "config": {
            "issuer": cluster.issuer(), "useJwksUrl": "true", "jwksUrl": cluster.jwks_uri(), "validateSignature": "true",
            "authorizationUrl": cluster.url(), "tokenUrl": cluster.token_endpoint(), "clientId": "keycloak", "clientSecret": "none",
            "supportsClientAssertions": "true", "supportsClientAssertionReuse": "true",
        },
    });
    // An earlier run may have been given the same port; of two with one issuer, Keycloak would take either.
    let all = k.admin(Method::GET, "/identity-provider/instances", Value::Null).await.json();
    for stale in all.as_array().unwrap().iter().filter(|p| p["config"]["issuer"] == cluster.issuer()) {
        k.admin(Method::DELETE, &format!("/identity-provider/instances/{}", stale["alias"].as_str().unwrap()), Value::Null).await;
    }
    k.admin(Method::POST, "/identity-provider/instances", provider).await;
    let client = k
        .client(json!({
            "publicClient": false, "clientAuthenticatorType": "federated-jwt", "defaultClientScopes": ["basic", "orders"],
            "attributes": {
                "standard.token.exchange.enabled": "true", "jwt.credential.issuer": alias, "jwt.credential.sub": account,
            },
        }))
        .await;
    let login = k.login_client(&client, json!({})).await;

    let dir = TempDir::new().unwrap();
    let file = dir.path().join("assertion");
    let signed = |sub: &str| cluster.caller(sub).audience(&k.issuer()).typ(None).without("typ").without("azp").token().unwrap();
    fs::write(&file, signed(account)).unwrap();
    let issuer = format!("token_endpoint_auth_method: client_assertion, client_assertion_file: {}", file.display());
    let ask = Ask { client: &client, secret: "", issuer: &issuer, ..ASK };
    let g = k.gateway(&ask).await;
    for user in ["ada", "bob"] {
        let seen = g.passes(&k.login(&login, user).await.access).await;
        assert_eq!((seen.claim("aud"), seen.claim("azp")), (Some("orders-api"), Some(&*client)));
    }
    assert_eq!(g.exchanges().await, 2);

    // Another account of the same cluster is not this client.
    fs::write(&file, signed("system:serviceaccount:shop:other")).unwrap();
    let g = k.gateway(&ask).await;
    g.refused(&k.login(&login, "ada").await.access, (500, "misconfigured")).await;
}
