//! The first table of Keycloak's refusals, one test a row, in its order: "Keycloak condition | HTTP | error | description".

use crate::ask::{ASK, Ask};
use crate::server::{Keycloak, User, assert_refused, claims};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const INVALID_TOKEN: (u16, &str, &str) = (400, "invalid_request", "Invalid token");

/// Row 1a. The gateway's skew lets the token pass for half a minute more, so Keycloak's refusal is really met.
#[tokio::test(flavor = "multi_thread")]
async fn subject_expired() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.login("brief-web", "ada").await.access;
    let exp = Duration::from_secs(claims(&token)["exp"].as_u64().unwrap() + 2);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    tokio::time::sleep(exp.saturating_sub(now)).await;
    k.refuses(&ASK, &token, INVALID_TOKEN, (401, "invalid_token")).await;
    k.is_spared(&Ask { verify: "clock_skew: 0s", ..ASK }, &token, INVALID_TOKEN, (401, "invalid_token")).await;
}

/// Row 1b. No bad token leaves the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn subject_bad() {
    let Some(k) = Keycloak::shared().await else { return };
    let login = k.login("shop-web", "ada").await;
    let [header, payload, signature]: [&str; 3] = login.access.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut other = claims(&login.access);
    other["sub"] = json!("somebody-else");
    let g = k.gateway(&ASK).await;
    for (what, bad) in [
        ("garbage", "garbage".to_owned()),
        ("another signature", format!("{header}.{payload}.{}AAAA", &signature[..signature.len() - 4])),
        ("another payload", format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(other.to_string()))),
        ("a refresh token", login.refresh),
    ] {
        eprintln!("{what}");
        assert_refused(&k.exchange(&ASK, &bad).await, INVALID_TOKEN);
        g.refuses_by_itself(&bad, (401, "invalid_token")).await;
    }
    assert_refused(&k.exchange(&ASK, "").await, INVALID_TOKEN);
}

/// Row 1c, and every way there is for a session to go.
#[tokio::test(flavor = "multi_thread")]
async fn subject_session_gone_by_the_users_logout() {
    let Some(k) = Keycloak::shared().await else { return };
    let login = k.login("shop-web", "ada").await;
    let g = k.gateway(&ASK).await;
    k.logout("shop-web", &login.refresh).await;
    assert_refused(&k.exchange(&ASK, &login.access).await, INVALID_TOKEN);
    g.refuses(&login.access, INVALID_TOKEN, (401, "invalid_token")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subject_session_gone_by_the_admins_hand() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    let session = claims(&token)["sid"].as_str().unwrap().to_owned();
    k.admin(Method::DELETE, &format!("/sessions/{session}"), Value::Null).await;
    k.refuses(&ASK, &token, INVALID_TOKEN, (401, "invalid_token")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subject_revoked() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    k.revoke("shop-web", &token).await;
    k.refuses(&ASK, &token, INVALID_TOKEN, (401, "invalid_token")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subject_user_disabled() {
    let Some(k) = Keycloak::shared().await else { return };
    let User { id, name } = k.user().await;
    let token = k.login("shop-web", &name).await.access;
    k.admin(Method::PUT, &format!("/users/{id}"), json!({ "enabled": false })).await;
    k.refuses(&ASK, &token, INVALID_TOKEN, (401, "invalid_token")).await;
}

/// Row 1d. `iss` tells the gateway before Keycloak would.
#[tokio::test(flavor = "multi_thread")]
async fn subject_of_the_wrong_realm() {
    let Some(k) = Keycloak::shared().await else { return };
    k.is_spared(&ASK, &k.master_token().await, INVALID_TOKEN, (401, "invalid_token")).await;
}

/// Row 2. Whoever lets tokens in that are meant for others meets it; by default the gateway sends them away itself.
#[tokio::test(flavor = "multi_thread")]
async fn requester_not_in_aud() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.login("plain-web", "ada").await.access;
    let words = (403, "access_denied", "Client is not within the token audience");
    k.refuses(&Ask { verify: "audiences: [orders-api]", ..ASK }, &token, words, (403, "target_refused")).await;
    k.is_spared(&ASK, &token, words, (401, "invalid_token")).await;
}

/// Row 3.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_audience() {
    let Some(k) = Keycloak::shared().await else { return };
    let (token, words) = (k.ada().await, (400, "invalid_client", "Audience not found"));
    k.refuses(&Ask { audiences: &["no-such-api"], ..ASK }, &token, words, (500, "misconfigured")).await;
    k.refuses(&Ask { audiences: &["orders-api", "no-such-api"], ..ASK }, &token, words, (500, "misconfigured")).await;
}

/// Row 4.
#[tokio::test(flavor = "multi_thread")]
async fn audience_client_disabled() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (400, "invalid_client", "Client disabled");
    k.refuses(&Ask { audiences: &["closed-api"], ..ASK }, &k.ada().await, words, (500, "misconfigured")).await;
}

/// Row 5a. Of several audiences only the one out of reach is named.
#[tokio::test(flavor = "multi_thread")]
async fn audience_not_reachable_by_scopes() {
    let Some(k) = Keycloak::shared().await else { return };
    let (token, words) = (k.ada().await, (400, "invalid_request", "Requested audience not available: payroll-api"));
    k.refuses(&Ask { audiences: &["payroll-api"], ..ASK }, &token, words, (403, "target_refused")).await;
    k.refuses(&Ask { audiences: &["orders-api", "payroll-api"], ..ASK }, &token, words, (403, "target_refused")).await;
}

/// Row 5b. What one user reaches another does not: it is the caller who is refused, not the route.
#[tokio::test(flavor = "multi_thread")]
async fn audience_not_reachable_by_roles() {
    let Some(k) = Keycloak::shared().await else { return };
    let (ada, bob) = (k.ada().await, k.login("shop-web", "bob").await.access);
    let words = (400, "invalid_request", "Requested audience not available: stock-api");
    let g = k.refuses(&Ask { audiences: &["stock-api"], ..ASK }, &bob, words, (403, "target_refused")).await;
    assert_eq!(g.passes(&ada).await.claim("aud"), Some("stock-api"));
    g.refuses(&bob, words, (403, "target_refused")).await;
}

/// Row 6.
#[tokio::test(flavor = "multi_thread")]
async fn switch_off() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (400, "invalid_request", "Standard token exchange is not enabled for the requested client");
    let ask = Ask { client: "switched-off", secret: "switched-off-secret", ..ASK };
    let g = k.refuses(&ask, &k.ada().await, words, (500, "misconfigured")).await;
    assert!(g.gateway.failures()[0].cure.contains("Standard token exchange"));
}

/// Row 7: with the switch on. With it off, the measured table's row 6.
#[tokio::test(flavor = "multi_thread")]
async fn public_requester() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (400, "invalid_client", "Public client is not allowed to exchange token");
    k.refuses(&Ask { client: "public-gw", secret: "any", ..ASK }, &k.ada().await, words, (500, "misconfigured")).await;
}

/// Row 8a. Keycloak names all that was asked for, not only what is wrong with it.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_scope() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    for (scopes, text) in [
        (&["nope"][..], "Invalid scopes: nope"),
        (&["billing", "nope"], "Invalid scopes: billing nope"),
        // The realm has it, the gateway's client does not.
        (&["for-gateway"], "Invalid scopes: for-gateway"),
    ] {
        k.refuses(&Ask { scopes, ..ASK }, &token, (400, "invalid_scope", text), (403, "target_refused")).await;
    }
}

/// Row 8b.
#[tokio::test(flavor = "multi_thread")]
async fn consent_missing() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (400, "invalid_scope", "Missing consents for Token Exchange in client consent-gw");
    let ask = Ask { client: "consent-gw", secret: "consent-secret", ..ASK };
    k.refuses(&ask, &k.ada().await, words, (403, "target_refused")).await;
}

/// Row 9. It is the operator who is wrong: no caller may be told to log in again.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_secret() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (401, "unauthorized_client", "Invalid client or Invalid client credentials");
    let g = k.refuses(&Ask { secret: "n0t-the-one", ..ASK }, &k.ada().await, words, (500, "misconfigured")).await;
    let failure = &g.gateway.failures()[0];
    assert!(failure.cure.contains("client_secret"), "{failure:?}");
    assert!(!format!("{failure:?}").contains("n0t-the-one"), "the secret is not shown, wrong as it is");
}

/// Row 10a.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_client() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (401, "invalid_client", "Invalid client or Invalid client credentials");
    let ask = Ask { client: "nobody", secret: "x", verify: "audiences: [gateway]", ..ASK };
    k.refuses(&ask, &k.ada().await, words, (500, "misconfigured")).await;
}

/// Row 10b.
#[tokio::test(flavor = "multi_thread")]
async fn disabled_client() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (401, "invalid_client", "Invalid client or Invalid client credentials");
    let ask = Ask { client: "disabled-gw", secret: "disabled-secret", verify: "audiences: [gateway]", ..ASK };
    k.refuses(&ask, &k.ada().await, words, (500, "misconfigured")).await;
}

/// What the table has not: settings of the gateway's client that fit a gateway which fetches bearer tokens with a secret no more.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_gateways_client() {
    let Some(k) = Keycloak::shared().await else { return };
    let verify = "audiences: [gateway]";
    for (settings, words) in [
        (json!({ "clientAuthenticatorType": "client-jwt" }), "Parameter client_assertion_type is missing"),
        (json!({ "clientAuthenticatorType": "client-x509" }), "Missing client_id parameter"),
        (json!({ "bearerOnly": true }), "Bearer-only not allowed"),
        (json!({ "protocol": "saml" }), "Wrong client protocol."),
    ] {
        let mut client = json!({
            "secret": "secret", "publicClient": false, "attributes": { "standard.token.exchange.enabled": "true" },
        });
        client.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let client = k.client(client).await;
        let ask = Ask { client: &client, secret: "secret", verify, ..ASK };
        let g = k.refuses(&ask, &k.ada().await, (400, "invalid_client", words), (500, "misconfigured")).await;
        assert!(g.gateway.failures()[0].docs.contains("#keycloak-"), "{words}");
    }
    let bound = k.gateway_client(json!({ "dpop.bound.access.tokens": "true" })).await;
    let ask = Ask { client: &bound, secret: "secret", verify, ..ASK };
    k.refuses(&ask, &k.ada().await, (400, "invalid_request", "DPoP proof is missing"), (500, "misconfigured")).await;

    let light = k.gateway_client(json!({ "client.use.lightweight.access.token.enabled": "true" })).await;
    let web = k.login_client(&light, json!({})).await;
    let token = k.login(&web, "ada").await.access;
    let words = (400, "invalid_request", "Requested audience not available: orders-api");
    let g = k.refuses(&Ask { client: &light, secret: "secret", ..ASK }, &token, words, (403, "target_refused")).await;
    assert!(g.gateway.failures()[0].cure.contains("lightweight"));
}

/// A `token_endpoint` that is none.
#[tokio::test(flavor = "multi_thread")]
async fn token_endpoint_misspelt() {
    let Some(k) = Keycloak::shared().await else { return };
    let (token, issuer) = (k.ada().await, k.issuer());
    let root = issuer.split("/realms/").next().unwrap();
    for (at, words, code) in [
        (format!("{root}/nope"), "Unable to find matching target resource method", "misconfigured"),
        (format!("{issuer}/protocol/openid-connect/certs"), "HTTP 405 Method Not Allowed", "misconfigured"),
        (format!("{issuer}-nope/protocol/openid-connect/token"), "Realm does not exist", "misconfigured"),
        (format!("{issuer}/protocol/openid-connect/logout"), "", "bad_issuer_answer"),
    ] {
        let g = k.gateway(&Ask { issuer: &format!("token_endpoint: \"{at}\""), ..ASK }).await;
        g.refused(&token, (if words.is_empty() { 502 } else { 500 }, code)).await;
        let failure = &g.gateway.failures()[0];
        assert_eq!(failure.issuer_words.as_deref().unwrap_or_default(), words);
        assert!(words.is_empty() || failure.cure.contains("correct"), "{failure:?}");
    }
}
