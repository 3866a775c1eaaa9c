//! Sessions that end at a real Keycloak: told to the gateway by back-channel logout, or found out by a forced update. Each test has
//! a user and a login client of its own, so that nobody else is logged out.

use crate::ask::{ASK, Ask, Running, said};
use crate::server::{Keycloak, User};
use cambist::demo::fetch::{Answer, Connection};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use std::time::Duration;

const INVALID_TOKEN: (u16, &str, &str) = (400, "invalid_request", "Invalid token");
const FORCE: &str = "force_update: { header: X-Token-Force-Update, trusted_from: [127.0.0.0/8] }";

/// A gateway that is told of logouts, and a login client that has Keycloak tell it.
async fn told(k: &Keycloak, more: &str) -> (Running, String) {
    let top = format!("logout: {{ listeners: [main], path: /backchannel-logout{more} }}");
    let g = k.gateway(&Ask { top: &top, ..ASK }).await;
    let url = format!("http://{}/backchannel-logout", g.address());
    let attributes = json!({ "backchannel.logout.url": url, "backchannel.logout.session.required": "true" });
    (g, k.login_client("gateway", attributes).await)
}

/// Keycloak tells it while it answers the admin, or soon after: a second it may take.
async fn until_refused(g: &Running, token: &str) {
    for _ in 0..100 {
        if g.get(token).await.status == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still let in: {:?}", g.gateway.failures().first());
}

async fn user_with(k: &Keycloak, login: &str) -> (User, String) {
    let user = k.user().await;
    let token = k.login(login, &user.name).await.access;
    (user, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_admin_logs_out_is_refused_within_a_second_cached_token_or_not() {
    let Some(k) = Keycloak::shared().await else { return };
    let (g, login) = told(&k, "").await;
    let ((user, token), (_, other)) = (user_with(&k, &login).await, user_with(&k, &login).await);
    for token in [&token, &other] {
        g.passes(token).await;
        g.passes(token).await;
    }
    assert_eq!((g.exchanges().await, g.hits().await, g.held().await), (2, 2, 2));

    k.end_sessions_of(&user).await;
    until_refused(&g, &token).await;
    g.refuses_by_itself(&token, (401, "invalid_token")).await;
    assert_eq!(g.held().await, 1, "the other user's");
    g.passes(&other).await;
    assert_eq!(g.exchanges().await, 2, "and that one is as warm as before");
    g.passes(&k.login(&login, &user.name).await.access).await;
}

/// Two sessions of one user: one of them ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_takes_no_other_with_it() {
    let Some(k) = Keycloak::shared().await else { return };
    let (g, login) = told(&k, "").await;
    let (user, first) = user_with(&k, &login).await;
    let second = k.login(&login, &user.name).await.access;
    for token in [&first, &second] {
        g.passes(token).await;
    }
    let sid = crate::server::claims(&first)["sid"].as_str().unwrap().to_owned();
    k.admin(Method::DELETE, &format!("/sessions/{sid}"), serde_json::Value::Null).await;
    until_refused(&g, &first).await;
    g.passes(&second).await;
    assert_eq!(g.exchanges().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_for_a_client_that_is_not_listed_ends_nothing() {
    let Some(k) = Keycloak::shared().await else { return };
    let (g, login) = told(&k, ", clients: [shop-web]").await;
    let (user, token) = user_with(&k, &login).await;
    g.passes(&token).await;
    k.end_sessions_of(&user).await;
    crate::ask::until("the logout has come", || !g.gateway.failures().is_empty()).await;
    let failure = &g.gateway.failures()[0];
    assert!(failure.cause.contains("logout.clients") && failure.status == 400, "{failure:?}");
    g.passes(&token).await;
}

/// Nobody told the gateway, but whoever doubts the cached token finds out: Keycloak refuses the dead subject, and what was held of
/// it goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_forced_update_finds_out_that_the_session_is_over() {
    let Some(k) = Keycloak::shared().await else { return };
    let g = k.gateway(&Ask { top: FORCE, ..ASK }).await;
    let (user, token) = user_with(&k, "shop-web").await;
    g.passes(&token).await;
    k.end_sessions_of(&user).await;
    g.passes(&token).await;
    assert_eq!((g.exchanges().await, g.held().await), (1, 1), "from the cache: nobody told the gateway");

    let before = g.backend.requests();
    let forced = g.get_with(&token, &[("x-token-force-update", "true")]).await;
    assert_eq!(said(&forced), (401, "invalid_token".into()));
    assert!(forced.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer realm=\"cambist\", error=\"invalid_token\""));
    assert_eq!((g.exchanges().await, g.held().await, g.backend.requests()), (2, 0, before), "the cached token is gone");
    g.refused(&token, (401, "invalid_token")).await;
    assert_eq!(g.exchanges().await, 2, "remembered: Keycloak is not asked about a dead token again and again");
    crate::ask::turn(&g.clock, Duration::from_secs(31)).await;
    g.refuses(&token, INVALID_TOKEN, (401, "invalid_token")).await;
}

/// The same by the exchange API.
#[tokio::test(flavor = "multi_thread")]
async fn a_forced_update_by_the_exchange_api_finds_out_too() {
    let Some(k) = Keycloak::shared().await else { return };
    let g = k.gateway(&Ask { top: "exchange_api: { listeners: [main], audiences: { orders-api: {} } }", ..ASK }).await;
    let (user, token) = user_with(&k, "shop-web").await;
    let ask = async |force: bool| -> Answer {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        let body = json!({ "audience": "orders-api", "force_update": force }).to_string();
        Connection::open(g.address()).await.unwrap().send(Method::POST, "/v1/exchange", headers, body.into()).await.unwrap()
    };
    let first = ask(false).await.json()["token"].clone();
    assert_eq!(crate::server::claims(first.as_str().unwrap())["aud"], "orders-api");
    k.end_sessions_of(&user).await;
    assert_eq!(ask(false).await.json()["token"], first);
    assert_eq!((said(&ask(true).await), g.held().await), ((401, "invalid_token".into()), 0));
    assert_eq!(said(&ask(false).await), (401, "invalid_token".into()));
    g.refused(&token, (401, "invalid_token")).await;
}
