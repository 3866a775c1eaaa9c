//! Rows of both tables that need keys of our own: DPoP (RFC 9449), and client assertions (private_key_jwt), which the gateway
//! does not send in this version.

use crate::ask::{ASK, Ask};
use crate::server::{ACCESS_TOKEN, GRANT, Keycloak, assert_refused, claims, granted, unique};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use cambist::demo::fetch::Answer;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// An ES256 key, and what it signs.
struct Proof {
    key: EncodingKey,
    public: Jwk,
}

impl Proof {
    fn new() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        Self { key, public }
    }

    /// A DPoP proof for one POST to the token endpoint.
    fn dpop(&self, k: &Keycloak) -> String {
        let header = Header { typ: Some("dpop+jwt".into()), jwk: Some(self.public.clone()), ..Header::new(Algorithm::ES256) };
        let claims = json!({ "htm": "POST", "htu": k.token_endpoint(), "iat": now(), "jti": unique("proof") });
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }

    fn assertion(&self, typ: &str, claims: &Value) -> String {
        let header = Header { typ: Some(typ.into()), kid: Some("ours".into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

fn now() -> u64 {
    cambist::clock::Clock::real().unix()
}

/// Measured, row 18. Directly: the gateway sends no proof, and would not inject a token that is no Bearer.
#[tokio::test(flavor = "multi_thread")]
async fn dpop_proof_on_the_exchange() {
    let Some(k) = Keycloak::shared().await else { return };
    let said = k.exchange_with(&ASK, &k.ada().await, &[], &[("dpop", &Proof::new().dpop(&k))]).await;
    assert_eq!(said.json()["token_type"], "DPoP", "{:?}", said.body);
    assert!(granted(&said)["cnf"]["jkt"].is_string(), "bound to the key of whoever exchanged it");
}

/// Measured, row 19.
#[tokio::test(flavor = "multi_thread")]
async fn dpop_bound_subject() {
    let Some(k) = Keycloak::shared().await else { return };
    let proof = Proof::new();
    let login = k.login_with("shop-web", "ada", &[("dpop", &proof.dpop(&k))]).await;
    assert_eq!((&*login.token_type, claims(&login.access)["cnf"]["jkt"].is_string()), ("DPoP", true));
    let text = "Sender-constrained token exchange rejected as the token was not issued for the requesting client";
    let words = (400, "invalid_request", text);
    assert_refused(&k.exchange_with(&ASK, &login.access, &[], &[("dpop", &proof.dpop(&k))]).await, words);
    k.is_spared(&ASK, &login.access, words, (401, "invalid_token")).await;
}

/// A client that authenticates by assertions, a caller's token that it may exchange, and the claims of a good assertion.
struct ByAssertion {
    k: Keycloak,
    proof: Proof,
    client: String,
    token: String,
}

impl ByAssertion {
    async fn new() -> Option<Self> {
        let k = Keycloak::shared().await?;
        let proof = Proof::new();
        let mut jwk = serde_json::to_value(&proof.public).unwrap();
        jwk.as_object_mut().unwrap().extend([("kid".into(), json!("ours")), ("use".into(), json!("sig")), ("alg".into(), json!("ES256"))]);
        let settings = json!({
            "publicClient": false, "clientAuthenticatorType": "client-jwt", "defaultClientScopes": ["basic", "orders"],
            "attributes": {
                "standard.token.exchange.enabled": "true", "use.jwks.string": "true",
                "jwks.string": json!({ "keys": [jwk] }).to_string(),
            },
        });
        let client = k.client(settings).await;
        let login = k.login_client(&client, json!({})).await;
        let token = k.login(&login, "ada").await.access;
        Some(Self { k, proof, client, token })
    }

    /// Good claims, with `aud` as given.
    fn claims(&self, aud: Value) -> Value {
        json!({ "iss": self.client, "sub": self.client, "aud": aud, "jti": unique("jti"), "iat": now(), "exp": now() + 60 })
    }

    async fn exchange(&self, assertion: &str) -> Answer {
        let fields = [
            ("grant_type", GRANT),
            ("subject_token", &*self.token),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", "orders-api"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ];
        self.k.ask_token(&fields, None).await
    }
}

/// Conditions, row 11; measured, row 17, second half. Directly.
#[tokio::test(flavor = "multi_thread")]
async fn bad_or_replayed_assertion() {
    let Some(it) = ByAssertion::new().await else { return };
    let issuer = json!(it.k.issuer());
    let once = it.proof.assertion("JWT", &it.claims(issuer.clone()));
    assert_eq!(it.exchange(&once).await.status, 200);
    assert_refused(&it.exchange(&once).await, (400, "invalid_client", "Token reuse detected"));

    let mut late = it.claims(issuer.clone());
    late["iat"] = json!(now() - 200);
    late["exp"] = json!(now() - 100);
    for (claims, text) in [
        (it.claims(json!([issuer, it.k.token_endpoint()])), "Multiple audiences not allowed"),
        (it.claims(json!("https://elsewhere.example.com/")), "Invalid token audience"),
        (late, "Token is not active"),
    ] {
        assert_refused(&it.exchange(&it.proof.assertion("JWT", &claims)).await, (400, "invalid_client", text));
    }
}

/// Measured, row 17, first half. Directly.
#[tokio::test(flavor = "multi_thread")]
async fn private_key_jwt() {
    let Some(it) = ByAssertion::new().await else { return };
    let issuer = it.k.issuer();
    for (typ, aud) in [
        ("JWT", json!(issuer)),
        ("client-authentication+jwt", json!(issuer)),
        ("JWT", json!(it.k.token_endpoint())),
        ("JWT", json!([issuer])),
    ] {
        let said = it.exchange(&it.proof.assertion(typ, &it.claims(aud.clone()))).await;
        assert_eq!(granted(&said)["azp"], it.client, "{typ} {aud}");
    }
    let mut long = it.claims(json!(issuer));
    long["exp"] = json!(now() + 590);
    assert_eq!(it.exchange(&it.proof.assertion("JWT", &long)).await.status, 200, "up to ten minutes");
    // A gateway that brings a secret to such a client, which is the operator's mistake.
    let ask = Ask { client: &it.client, secret: "none", ..ASK };
    let words = (400, "invalid_client", "Parameter client_assertion_type is missing");
    it.k.refuses(&ask, &it.token, words, (500, "misconfigured")).await;
}
