//! The second table, "Measured on Keycloak 26.7.3", one test a row, in its order. What is about keys of clients and callers (DPoP,
//! private_key_jwt) stands in `proofs.rs`. Where the gateway never sends such a thing, Keycloak is asked directly, so that the
//! table stays true, and the test says what the gateway does instead.

use crate::ask::{ASK, Ask, Running, said, turn, until};
use crate::server::{ACCESS_TOKEN, GRANT, Keycloak, Login, User, assert_refused, claims, granted, header, unique};
use cambist::demo::backend::{Backend, Received};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const INVALID_TOKEN: (u16, &str, &str) = (400, "invalid_request", "Invalid token");
const BASIC: Option<(&str, &str)> = Some(("gateway", "gateway-secret"));

/// Keycloak lists them in an order that differs from one import of the realm to the next.
fn scopes(seen: &Received) -> Vec<&str> {
    let mut all: Vec<&str> = seen.claim("scope").unwrap_or_default().split(' ').collect();
    all.sort_unstable();
    all
}

/// Row 1.
#[tokio::test(flavor = "multi_thread")]
async fn success() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    let answer = k.exchange(&ASK, &token).await.json();
    let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "access_token expires_in issued_token_type not-before-policy refresh_expires_in scope session_state token_type";
    assert_eq!(keys.join(" "), expected);
    assert_eq!((&answer["issued_token_type"], &answer["token_type"]), (&json!(ACCESS_TOKEN), &json!("Bearer")));
    assert_eq!(answer["expires_in"], 300);
    let (raw, caller) = (answer["access_token"].as_str().unwrap(), claims(&token));
    assert_eq!(header(raw)["typ"], "JWT");
    assert_eq!((&claims(raw)["sub"], &claims(raw)["sid"]), (&caller["sub"], &caller["sid"]));

    let one = k.gateway(&ASK).await.passes(&token).await;
    assert_eq!((one.claim("azp"), one.claim("aud")), (Some("gateway"), Some("orders-api")), "one aud is a string");
    assert_eq!((one.claim("sub"), one.claim("sid")), (caller["sub"].as_str(), caller["sid"].as_str()));
    let two = k.gateway(&Ask { audiences: &["orders-api", "stock-api"], ..ASK }).await.passes(&token).await;
    assert_eq!(two.claims.unwrap()["aud"].as_array().unwrap().len(), 2, "several are an array");
}

/// Row 2. The gateway's routes name an audience or something else that makes one.
#[tokio::test(flavor = "multi_thread")]
async fn no_audience_at_all() {
    let Some(k) = Keycloak::shared().await else { return };
    let (ada, bob) = (k.ada().await, k.login("shop-web", "bob").await.access);
    let ask = Ask { audiences: &[], ..ASK };
    let mut of_ada: Vec<String> = serde_json::from_value(granted(&k.exchange(&ask, &ada).await)["aud"].take()).unwrap();
    of_ada.sort();
    assert_eq!(of_ada, ["orders-api", "stock-api"], "the default scopes', and that of her role");
    assert_eq!(granted(&k.exchange(&ask, &bob).await)["aud"], "orders-api");
    let g = k.gateway(&Ask { audiences: &[], scopes: &["orders"], ..ASK }).await;
    assert_eq!(g.passes(&bob).await.claim("aud"), Some("orders-api"));
}

/// Row 3.
#[tokio::test(flavor = "multi_thread")]
async fn audience_of_an_optional_scope() {
    let Some(k) = Keycloak::shared().await else { return };
    let (token, words) = (k.ada().await, (400, "invalid_request", "Requested audience not available: billing-api"));
    let g = k.refuses(&Ask { audiences: &["billing-api"], ..ASK }, &token, words, (403, "target_refused")).await;
    assert!(g.gateway.failures()[0].cure.contains("scopes"), "the cure names what is missing");
    let seen = k.gateway(&Ask { audiences: &["billing-api"], scopes: &["billing"], ..ASK }).await.passes(&token).await;
    assert_eq!((seen.claim("aud"), scopes(&seen)), (Some("billing-api"), vec!["billing", "orders"]));
}

/// Row 4a. The configuration does not even take it.
#[tokio::test(flavor = "multi_thread")]
async fn audience_the_gateway_itself() {
    let Some(k) = Keycloak::shared().await else { return };
    let words = (400, "invalid_request", "Requested audience not available: gateway");
    assert_refused(&k.exchange(&Ask { audiences: &["gateway"], ..ASK }, &k.ada().await).await, words);
    let issuer = format!("issuers: {{ main: {{ url: \"{}\", client_id: gateway, client_secret: x }} }}", k.issuer());
    let text = format!("{issuer}\nroutes: {{ own: {{ upstream: \"http://127.0.0.1:1\", audience: gateway }} }}\n");
    let report = cambist::config::read(&text, "own.yaml").err().unwrap().render(false);
    assert!(report.contains("audience") && report.contains("client_id"), "{report}");
}

/// Row 4b. The gateway asks only where the operator has written that he means it.
#[tokio::test(flavor = "multi_thread")]
async fn audience_the_login_client() {
    let Some(k) = Keycloak::shared().await else { return };
    let (token, words) = (k.ada().await, (400, "invalid_request", "Requested audience not available: shop-web"));
    let ask = Ask { audiences: &["shop-web"], ..ASK };
    let g = k.is_spared(&ask, &token, words, (403, "login_client")).await;
    assert_eq!(g.exchanges().await, 0);
    k.refuses(&Ask { route: "allow_login_client: true", ..ask }, &token, words, (403, "target_refused")).await;
}

/// Row 5a.
#[tokio::test(flavor = "multi_thread")]
async fn audience_twice_the_same() {
    let Some(k) = Keycloak::shared().await else { return };
    let said = k.exchange(&Ask { audiences: &["orders-api", "orders-api"], ..ASK }, &k.ada().await).await;
    assert_eq!(granted(&said)["aud"], "orders-api");
}

/// Row 5b. The gateway sends one `scope`, however many a route has.
#[tokio::test(flavor = "multi_thread")]
async fn scope_sent_twice() {
    let Some(k) = Keycloak::shared().await else { return };
    let (token, ask) = (k.ada().await, Ask { scopes: &["orders"], ..ASK });
    let said = k.exchange_with(&ask, &token, &[("scope", "billing")], &[]).await;
    assert_refused(&said, (400, "invalid_request", "duplicated parameter"));
    let seen = k.gateway(&Ask { scopes: &["orders", "billing"], ..ASK }).await.passes(&token).await;
    assert_eq!(scopes(&seen), ["billing", "orders"]);
}

/// Row 5c.
#[tokio::test(flavor = "multi_thread")]
async fn resource_is_ignored() {
    let Some(k) = Keycloak::shared().await else { return };
    let resources = &["https://orders.example.com/", "https://other.example.com/"];
    let seen = k.gateway(&Ask { resources, ..ASK }).await.passes(&k.ada().await).await;
    assert_eq!(seen.claim("aud"), Some("orders-api"));
}

/// Row 6. The switch is looked at before the client's kind: with it on, see the first table's row 7.
#[tokio::test(flavor = "multi_thread")]
async fn public_requester_with_the_switch_off() {
    let Some(k) = Keycloak::shared().await else { return };
    let client = k.client(json!({ "publicClient": true, "defaultClientScopes": ["basic", "orders"] })).await;
    let words = (400, "invalid_request", "Standard token exchange is not enabled for the requested client");
    let ask = Ask { client: &client, secret: "any", verify: "audiences: [gateway]", ..ASK };
    k.refuses(&ask, &k.ada().await, words, (500, "misconfigured")).await;
}

/// Row 7. Directly: that the gateway insists on `act` is shown in `tokens.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn actor_token_is_ignored_without_a_word() {
    let Some(k) = Keycloak::shared().await else { return };
    let (ada, bob) = (k.ada().await, k.login("shop-web", "bob").await.access);
    let said = k.exchange_with(&ASK, &ada, &[("actor_token", &bob), ("actor_token_type", ACCESS_TOKEN)], &[]).await;
    let issued = granted(&said);
    assert_eq!((&issued["act"], &issued["sub"]), (&Value::Null, &claims(&ada)["sub"]));
}

/// Row 8. Directly: the gateway sends none of them.
#[tokio::test(flavor = "multi_thread")]
async fn requested_subject() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    for (key, text) in [
        ("requested_subject", "Parameter 'requested_subject' is not supported for standard token exchange"),
        ("requested_issuer", "Parameter 'requested_issuer' is not supported for standard token exchange"),
        ("subject_issuer", "Parameter 'subject_issuer' is not supported for standard token exchange"),
    ] {
        assert_refused(&k.exchange_with(&ASK, &token, &[(key, "bob")], &[]).await, (400, "invalid_request", text));
    }
}

/// Row 9. Directly: the gateway asks for access tokens alone.
#[tokio::test(flavor = "multi_thread")]
async fn requested_token_type_unsupported() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    for kind in ["jwt", "refresh_token", "saml2"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let said = k.exchange_with(&ASK, &token, &[("requested_token_type", &kind)], &[]).await;
        assert_refused(&said, (400, "invalid_request", "requested_token_type unsupported"));
    }
    assert_eq!(k.exchange_with(&ASK, &token, &[("requested_token_type", ACCESS_TOKEN)], &[]).await.status, 200);
}

/// Row 10. Directly. What comes is no access token, and `token_type` says so: the gateway would not inject it.
#[tokio::test(flavor = "multi_thread")]
async fn requested_token_type_id_token() {
    let Some(k) = Keycloak::shared().await else { return };
    let kind = "urn:ietf:params:oauth:token-type:id_token";
    let said = k.exchange_with(&ASK, &k.ada().await, &[("requested_token_type", kind)], &[]).await;
    assert_eq!((&said.json()["token_type"], &said.json()["issued_token_type"]), (&json!("N_A"), &json!(kind)));
    assert_eq!((&granted(&said)["aud"], &granted(&said)["typ"]), (&json!("gateway"), &json!("ID")));
}

/// Row 11. Directly: the gateway always sends both.
#[tokio::test(flavor = "multi_thread")]
async fn no_subject_token_or_type() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    let (grant, subject, kind) = (("grant_type", GRANT), ("subject_token", &*token), ("subject_token_type", ACCESS_TOKEN));
    let no_type = "Parameter 'subject_token_type' required for standard token exchange";
    assert_refused(&k.ask_token(&[grant, subject], BASIC).await, (400, "invalid_request", no_type));
    let no_token = "Parameter 'subject_token' required for standard token exchange";
    assert_refused(&k.ask_token(&[grant, kind], BASIC).await, (400, "invalid_request", no_token));
}

/// Row 12 repeats the first table's row 1, test by test: `conditions::subject_*`. Left is a subject of the wrong type.
#[tokio::test(flavor = "multi_thread")]
async fn subject_token_type_other_than_access_token() {
    let Some(k) = Keycloak::shared().await else { return };
    let Login { access, refresh, .. } = k.login("shop-web", "ada").await;
    for (token, kind) in [(access, "jwt"), (refresh, "refresh_token")] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let said = k.ask_token(&[("grant_type", GRANT), ("subject_token", &token), ("subject_token_type", &kind)], BASIC).await;
        assert_refused(&said, (400, "invalid_request", "Parameter 'subject_token' supports access tokens only"));
    }
}

/// Row 13.
#[tokio::test(flavor = "multi_thread")]
async fn large_subject_tokens() {
    let Some(k) = Keycloak::shared().await else { return };
    let login = k.login_client("gateway", json!({})).await;
    let id = k.admin(Method::GET, &format!("/clients?clientId={login}"), Value::Null).await.json()[0]["id"].as_str().unwrap().to_owned();
    let g = k.gateway(&ASK).await;
    for more_than in [3_000, 5_500, 8_500] {
        // A claim of 2,000 characters is one of 2,667 in the token.
        let mapper = json!({
            "name": unique("pad"), "protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-claim-mapper",
            "config": { "claim.name": unique("pad"), "claim.value": "x".repeat(2000), "jsonType.label": "String", "access.token.claim": "true" },
        });
        k.admin(Method::POST, &format!("/clients/{id}/protocol-mappers/models"), mapper).await;
        let token = k.login(&login, "ada").await.access;
        assert!(token.len() > more_than, "{}", token.len());
        assert_eq!(g.passes(&token).await.claim("sub"), claims(&token)["sub"].as_str());
    }
}

/// Row 14. The gateway's own cap is what keeps it honest: a token's cached exchange ends with the token.
#[tokio::test(flavor = "multi_thread")]
async fn lifetime_of_the_exchanged_token() {
    let Some(k) = Keycloak::shared().await else { return };
    let client = k.gateway_client(json!({ "access.token.lifespan": "20" })).await;
    let login = k.login_client(&client, json!({})).await;
    let ask = Ask { client: &client, secret: "secret", ..ASK };
    assert_eq!(k.exchange(&ask, &k.login(&login, "ada").await.access).await.json()["expires_in"], 20, "the gateway's client's lifespan");

    // Before the login: on a busy machine a gateway's start may take longer than that token lives.
    let g = k.gateway(&ASK).await;
    let brief = k.login("brief-web", "ada").await.access;
    let seen = g.passes(&brief).await.claims.unwrap();
    let lives = |c: &Value| c["exp"].as_u64().unwrap() - c["iat"].as_u64().unwrap();
    assert_eq!((lives(&claims(&brief)), lives(&Value::Object(seen))), (5, 300), "Keycloak does not look at the subject's end");
    turn(&g.clock, Duration::from_secs(5 + 30)).await;
    g.refuses_by_itself(&brief, (401, "invalid_token")).await;
}

/// Row 15. Where nobody tells the gateway (`logout.rs`), it goes on until the cached token's end.
#[tokio::test(flavor = "multi_thread")]
async fn admin_logs_the_user_out() {
    let Some(k) = Keycloak::shared().await else { return };
    let user = k.user().await;
    let token = k.login("shop-web", &user.name).await.access;
    let issued = k.exchange(&ASK, &token).await.json()["access_token"].as_str().unwrap().to_owned();
    let g = k.gateway(&ASK).await;
    g.passes(&token).await;
    assert_eq!(k.introspect(&issued, "orders-api", "orders-secret").await["active"], true);

    k.end_sessions_of(&user).await;
    assert_eq!(k.introspect(&issued, "orders-api", "orders-secret").await["active"], false);
    assert_refused(&k.exchange(&ASK, &token).await, INVALID_TOKEN);
    g.passes(&token).await;
    assert_eq!(g.hits().await, 1, "from the cache, until its end");
    g.turn_past_the_cached_token().await;
    g.refuses(&token, INVALID_TOKEN, (401, "invalid_token")).await;
}

/// Row 16. Directly: this is what the gateway is sent in `logout.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn back_channel_logout_goes_to_the_login_client() {
    let Some(k) = Keycloak::shared().await else { return };
    let open = || Backend::open(([127, 0, 0, 1], 0).into(), None).unwrap();
    let (to_gateway, to_login) = (open(), open());
    let url = |b: &Backend| json!({ "backchannel.logout.url": b.url(), "backchannel.logout.session.required": "true" });
    let client = k.gateway_client(url(&to_gateway)).await;
    let login = k.login_client(&client, url(&to_login)).await;
    let user: User = k.user().await;
    let token = k.login(&login, &user.name).await.access;
    assert_eq!(k.exchange(&Ask { client: &client, secret: "secret", ..ASK }, &token).await.status, 200);
    k.end_sessions_of(&user).await;
    until("the logout token arrives", || to_login.requests() == 1).await;

    let form = String::from_utf8(to_login.last().unwrap().body.to_vec()).unwrap();
    let logout = form.strip_prefix("logout_token=").unwrap();
    assert_eq!(header(logout)["typ"], "logout+jwt");
    let (told, caller) = (claims(logout), claims(&token));
    assert_eq!((&told["aud"], &told["sub"], &told["sid"]), (&json!(login), &caller["sub"], &caller["sid"]));
    for key in ["iss", "iat", "exp", "jti", "events"] {
        assert!(!told[key].is_null(), "{key}: {told}");
    }
    assert_eq!(to_gateway.requests(), 0, "an exchange leaves no client session behind");
}

/// Row 20.
#[tokio::test(flavor = "multi_thread")]
async fn introspection_by_those_in_aud_alone() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    let issued = k.exchange(&ASK, &token).await.json()["access_token"].as_str().unwrap().to_owned();
    for (client, secret, active) in
        [("orders-api", "orders-secret", true), ("payroll-api", "payroll-secret", false), ("gateway", "gateway-secret", false)]
    {
        assert_eq!(k.introspect(&issued, client, secret).await["active"], active, "{client}");
    }
    assert_eq!(k.introspect(&token, "gateway", "gateway-secret").await["active"], true);
}

/// Row 21. An encryption key beside the others: no token signed with it is taken, but it must not spoil the set either.
#[tokio::test(flavor = "multi_thread")]
async fn realm_keys() {
    let Some(k) = Keycloak::shared().await else { return };
    let certs = k.certs().await;
    assert_eq!(certs.headers["cache-control"], "no-cache");
    let keys = certs.json()["keys"].take();
    let has = |usage: &str, alg: &str| keys.as_array().unwrap().iter().any(|k| k["use"] == usage && k["alg"] == alg);
    assert!(has("enc", "RSA-OAEP") && has("sig", "RS256"), "{keys}");
    let g: Running = k.gateway(&ASK).await;
    assert_eq!(said(&g.get("not.a.token").await), (401, "invalid_token".into()));
    g.passes(&k.ada().await).await;
}
