//! What routes may ask of a real Keycloak besides the plain exchange: the gateway's own tokens, actors, introspection, lightweight
//! tokens, fewer scopes, several audiences, two realms.

use crate::ask::{ASK, Ask, said, until};
use crate::server::{Keycloak, assert_refused, claims, unique};
use cambist::app::Gateway;
use cambist::clock::Clock;
use cambist::config;
use cambist::demo::backend::Backend;
use cambist::demo::fetch::Connection;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::time::Duration;

impl Keycloak {
    /// A gateway's client that may also have tokens of its own.
    async fn with_account(&self) -> String {
        let settings = json!({
            "secret": "secret", "publicClient": false, "serviceAccountsEnabled": true,
            "attributes": { "standard.token.exchange.enabled": "true" },
            "defaultClientScopes": ["basic", "orders"], "optionalClientScopes": ["billing"],
        });
        self.client(settings).await
    }
}

/// 26.7.3 ignores an actor's token without a word. We asked for a delegation, and would hand on an impersonation.
#[tokio::test(flavor = "multi_thread")]
async fn a_delegation_that_keycloak_ignores_is_refused() {
    let Some(k) = Keycloak::shared().await else { return };
    let (ada, bob) = (k.ada().await, k.login("shop-web", "bob").await.access);
    let g = k.gateway(&Ask { route: "actor: { header: X-Actor-Token }", ..ASK }).await;
    assert_eq!(said(&g.get_with(&ada, &[("x-actor-token", &bob)]).await), (502, "bad_issuer_answer".into()));
    let failure = &g.gateway.failures()[0];
    assert!(failure.cause.contains("(act)") && failure.cure.contains("actor_token"), "{failure:?}");
    assert_eq!(said(&g.get(&ada).await), (400, "bad_request".into()), "and without an actor it is no delegation");

    let client = k.with_account().await;
    let login = k.login_client(&client, json!({})).await;
    let token = k.login(&login, "ada").await.access;
    let g = k.gateway(&Ask { client: &client, secret: "secret", route: "actor: { gateway: true }", ..ASK }).await;
    assert_eq!(said(&g.get(&token).await), (502, "bad_issuer_answer".into()));
    assert_eq!(g.backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_gateways_own() {
    let Some(k) = Keycloak::shared().await else { return };
    let client = k.with_account().await;
    let login = k.login_client(&client, json!({})).await;
    let ask = Ask { client: &client, secret: "secret", route: "token: client_credentials", ..ASK };
    let g = k.gateway(&ask).await;
    let mut sent = Vec::new();
    for user in ["ada", "bob"] {
        let token = k.login(&login, user).await.access;
        let seen = g.passes(&token).await;
        assert_eq!((seen.claim("azp"), seen.claim("aud")), (Some(&*client), Some("orders-api")));
        assert_ne!(seen.claim("sub"), claims(&token)["sub"].as_str(), "nobody's");
        sent.push(seen.header("authorization")[0].to_owned());
    }
    assert_eq!(sent[0], sent[1], "one for all callers");
    assert_eq!(g.exchanges().await, 1);
    assert_eq!(said(&g.get("forged").await), (401, "invalid_token".into()), "callers are verified all the same");

    // By scope: another audience, and several.
    let billing = Ask { audiences: &["orders-api", "billing-api"], scopes: &["billing"], ..ask };
    let seen = k.gateway(&billing).await.passes(&k.login(&login, "ada").await.access).await;
    let mut aud: Vec<String> = serde_json::from_value(seen.claims.unwrap()["aud"].take()).unwrap();
    aud.sort();
    assert_eq!(aud, ["billing-api", "orders-api"]);
    // What its scopes do not add is not there, and the answer is not used.
    let g = k.gateway(&Ask { audiences: &["payroll-api"], ..ask }).await;
    assert_eq!(said(&g.get(&k.login(&login, "ada").await.access).await), (502, "bad_issuer_answer".into()));

    // The ordinary gateway's client has no account: that is our own affair, whoever calls.
    let words = (401, "unauthorized_client", "Client not enabled to retrieve service account");
    let fields = [("grant_type", "client_credentials")];
    assert_refused(&k.ask_token(&fields, Some(("gateway", "gateway-secret"))).await, words);
    let g = k.gateway(&Ask { route: "token: client_credentials", ..ASK }).await;
    g.refuses(&k.ada().await, words, (500, "misconfigured")).await;
    assert!(g.gateway.failures()[0].cure.contains("Service accounts roles"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_about() {
    let Some(k) = Keycloak::shared().await else { return };
    let g = k.gateway(&Ask { verify: "by: introspection", ..ASK }).await;
    let user = k.user().await;
    let token = k.login("shop-web", &user.name).await.access;
    assert_eq!(g.passes(&token).await.claim("sub"), Some(&*user.id));
    assert_eq!(g.passes(&token).await.claim("sub"), Some(&*user.id));
    assert_eq!((g.exchanges().await, g.hits().await), (1, 1));
    // Without the gateway in aud, Keycloak says of any token that it is not active.
    g.refuses_by_itself(&k.login("plain-web", "ada").await.access, (401, "invalid_token")).await;
    g.refuses_by_itself("opaque-and-made-up", (401, "invalid_token")).await;
    // A logout is noticed within the half minute, although signature and expiry are as good as before.
    k.end_sessions_of(&user).await;
    g.clock.turn(Duration::from_secs(31));
    g.refuses_by_itself(&token, (401, "invalid_token")).await;

    let wrong = k.gateway(&Ask { secret: "wrong", verify: "by: introspection", ..ASK }).await;
    assert_eq!(said(&wrong.get(&k.ada().await).await), (500, "misconfigured".into()), "no caller is told to log in again");
}

/// A lightweight token says next to nothing of itself; Keycloak says the rest to those who ask. When it exchanges one it looks at
/// the token alone, though: `aud` has to stand in it.
#[tokio::test(flavor = "multi_thread")]
async fn lightweight_tokens_need_to_be_asked_about() {
    let Some(k) = Keycloak::shared().await else { return };
    let lightweight = json!({ "client.use.lightweight.access.token.enabled": "true" });
    let login = k.login_client("gateway", lightweight.clone()).await;
    let token = k.login(&login, "ada").await.access;
    let told = k.introspect(&token, "gateway", "gateway-secret").await;
    assert_eq!((&told["active"], &claims(&token)["aud"]), (&json!(true), &Value::Null), "{told}");
    k.gateway(&ASK).await.refuses_by_itself(&token, (401, "invalid_token")).await;
    let strip = k.gateway(&Ask { audiences: &[], route: "token: strip", verify: "by: introspection", ..ASK }).await;
    assert_eq!(strip.get(&token).await.status, 200);
    let ask = Ask { verify: "by: introspection", ..ASK };
    let words = (403, "access_denied", "Client is not within the token audience");
    k.refuses(&ask, &token, words, (403, "target_refused")).await;

    let mapper = json!({
        "name": "aud", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {
            "included.client.audience": "gateway", "access.token.claim": "true", "introspection.token.claim": "true",
            "lightweight.claim": "true",
        },
    });
    let settings = json!({
        "publicClient": true, "directAccessGrantsEnabled": true, "attributes": lightweight,
        "defaultClientScopes": ["basic"], "protocolMappers": [mapper],
    });
    let login = k.client(settings).await;
    let token = k.login(&login, "ada").await.access;
    let told = k.introspect(&token, "gateway", "gateway-secret").await;
    let seen = k.gateway(&ask).await.passes(&token).await;
    assert_eq!((seen.claim("sub"), seen.claim("aud")), (told["sub"].as_str(), Some("orders-api")));
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_what_the_route_asks_for_and_not_what_the_caller_has() {
    let Some(k) = Keycloak::shared().await else { return };
    let token = k.ada().await;
    for (scopes, audiences, scope) in [
        (&[][..], &["orders-api"][..], "orders"),
        (&["billing"], &["billing-api"], "billing orders"),
        (&["orders"], &["orders-api"], "orders"),
    ] {
        let seen = k.gateway(&Ask { scopes, audiences, ..ASK }).await.passes(&token).await;
        // Their order is Keycloak's own matter, and not the same after every import.
        let mut granted: Vec<_> = seen.claim("scope").unwrap_or_default().split(' ').collect();
        granted.sort_unstable();
        assert_eq!((granted.join(" ").as_str(), seen.claim("aud")), (scope, Some(audiences[0])));
    }
    let both = k.gateway(&Ask { scopes: &["billing"], audiences: &["orders-api", "billing-api"], ..ASK }).await.passes(&token).await;
    assert_eq!(both.claims.unwrap()["aud"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_requires_what_keycloak_puts_into_tokens() {
    let Some(k) = Keycloak::shared().await else { return };
    let login = k.login_client("gateway", json!({})).await;
    let token = k.login(&login, "ada").await.access;
    let scope = claims(&token)["scope"].as_str().unwrap_or_default().to_owned();
    let g = k.gateway(&Ask { route: &format!("require: {{ claims: {{ azp: [{login}] }} }}"), ..ASK }).await;
    g.passes(&token).await;
    let answer = g.get(&k.ada().await).await;
    assert_eq!(said(&answer), (403, "insufficient_scope".into()));
    let g = k.gateway(&Ask { route: "require: { scopes: [no-such-scope] }", ..ASK }).await;
    let answer = g.get(&token).await;
    assert_eq!(said(&answer), (403, "insufficient_scope".into()), "{scope}");
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"cambist\", error=\"insufficient_scope\", scope=\"no-such-scope\"");
}

/// Another realm on the same server, alike but for its name: its users are others, and so are its tokens.
async fn second_realm(k: &Keycloak) -> String {
    let realm = unique("second");
    let mut file: Value = serde_json::from_str(include_str!("realm.json")).unwrap();
    file["realm"] = json!(realm);
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    headers.insert(AUTHORIZATION, format!("Bearer {}", k.master_token().await).parse().unwrap());
    // Its keys take their time on a busy machine: longer than a caller of these tests waits for an answer.
    if let Ok(said) = k.raw(Method::POST, "/admin/realms", headers, file.to_string()).await {
        assert_eq!(said.status, 201, "{:?}", said.body);
    }
    for _ in 0..60 {
        let discovery = format!("/realms/{realm}/.well-known/openid-configuration");
        if k.raw(Method::GET, &discovery, HeaderMap::new(), String::new()).await.is_ok_and(|said| said.status == 200) {
            return realm;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("the second realm never came")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_realm_of_the_token_is_asked() {
    let Some(k) = Keycloak::shared().await else { return };
    let realm = second_realm(&k).await;
    let second = k.issuer().replace("/realms/cambist", &format!("/realms/{realm}"));
    let backend = Backend::open(([127, 0, 0, 1], 0).into(), None).unwrap();
    let text = format!(
        "
listeners: {{ main: {{ address: 127.0.0.1:0 }} }}
metrics: {{ address: 127.0.0.1:0 }}
issuers:
  one: {{ url: \"{}\", client_id: gateway, client_secret: gateway-secret, timeouts: {{ connect: 2s, total: 9s }} }}
  two: {{ url: \"{second}\", client_id: gateway, client_secret: gateway-secret, timeouts: {{ connect: 2s, total: 9s }} }}
routes:
  it: {{ upstream: \"{}\", issuer: by_token, audience: orders-api }}
",
        k.issuer(),
        backend.url()
    );
    let loaded = config::read(&text, "two.yaml").unwrap_or_else(|report| panic!("{}", report.render(false)));
    let gateway = Gateway::start(loaded.config, Clock::turned()).unwrap();
    until("the gateway is ready", || gateway.ready()).await;
    let at = gateway.listener("main").unwrap();
    let get = async |token: &str| Connection::open(at).await.unwrap().get("/", Some(token)).await.unwrap();

    let fields = [("grant_type", "password"), ("client_id", "shop-web"), ("username", "ada"), ("password", "ada-password")];
    let login = k.raw_form(&format!("/realms/{realm}/protocol/openid-connect/token"), &fields).await.json();
    let (one, two) = (k.ada().await, login["access_token"].as_str().unwrap().to_owned());
    for (token, issuer) in [(&one, k.issuer()), (&two, second.clone()), (&one, k.issuer())] {
        let mut answer = get(token).await;
        for _ in 0..200 {
            // The other realm's keys may still be on their way.
            if answer.status == 503 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                answer = get(token).await;
            }
        }
        assert_eq!(answer.status, 200, "{:?}", gateway.failures());
        let sent = backend.last().unwrap().header("authorization")[0].trim_start_matches("Bearer ").to_owned();
        let issued = claims(&sent);
        assert_eq!((issued["iss"].as_str(), &issued["sub"]), (Some(&*issuer), &claims(token)["sub"]));
        assert_eq!(issued["aud"], "orders-api");
    }
    assert_eq!(get(&k.master_token().await).await.status, 401, "a third realm is none of ours");
}
