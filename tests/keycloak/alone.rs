//! What happens to the whole server while the gateway runs: keys rotated, a realm's not-before, a queue that is full, a server
//! that is stopped and started. Each of these tests has the server to itself and leaves it as it was.

use crate::ask::{ASK, Ask, Running, said, turn, until};
use crate::server::{Keycloak, assert_refused, header};
use cambist::clock::Clock;
use cambist::demo::backend::Backend;
use cambist::demo::fetch::Connection;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

const INVALID_TOKEN: (u16, &str, &str) = (400, "invalid_request", "Invalid token");

/// Has `restore` done, also where `body` panics: other tests come after this one.
pub async fn then(body: impl Future<Output = ()>, restore: impl Future<Output = ()>) {
    let outcome = AssertUnwindSafe(body).catch_unwind().await;
    restore.await;
    outcome.unwrap_or_else(|panic| resume_unwind(panic));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotated_while_it_runs() {
    let Some(k) = Keycloak::alone().await else { return };
    let g = k.gateway(&Ask { verify: "jwks_refresh: 60s", ..ASK }).await;
    let [cached, second, third] = [k.ada().await, k.ada().await, k.ada().await];
    g.passes(&cached).await;

    let (old, keys) = (k.key_of(&cached).await, k.keys().await);
    let rotated = async {
        k.add_key("rsa-generated", "200", "algorithm", "RS256").await;
        let new = k.ada().await;
        assert_ne!(header(&new)["kid"], header(&cached)["kid"]);
        g.passes(&new).await;
        k.set_key(&old, false, true).await;
        g.passes(&second).await;

        k.set_key(&old, false, false).await;
        g.refuses(&third, INVALID_TOKEN, (401, "invalid_token")).await;
        g.passes(&cached).await;
        turn(&g.clock, Duration::from_secs(61)).await;
        until_refused(&g, &cached).await;
        g.refuses_by_itself(&cached, (401, "invalid_token")).await;
        g.passes(&new).await;
    };
    then(rotated, async {
        k.set_key(&old, true, true).await;
        k.keep_keys(&keys).await;
    })
    .await;
}

/// What protects the issuer from callers with invented `kid`s costs a second rotation up to ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn keys_rotated_twice_in_ten_seconds() {
    let Some(k) = Keycloak::alone().await else { return };
    let g = k.gateway(&ASK).await;
    let keys = k.keys().await;
    let rotated = async {
        k.add_key("rsa-generated", "200", "algorithm", "RS256").await;
        g.passes(&k.ada().await).await;
        k.add_key("rsa-generated", "300", "algorithm", "RS256").await;
        let newest = k.ada().await;
        g.refuses_by_itself(&newest, (401, "invalid_token")).await;
        turn(&g.clock, Duration::from_secs(11)).await;
        g.passes(&newest).await;
    };
    then(rotated, k.keep_keys(&keys)).await;
}

/// Neither says anything about the caller, and neither is remembered against one.
#[tokio::test(flavor = "multi_thread")]
async fn a_realm_that_is_switched_off_or_wants_https() {
    let Some(k) = Keycloak::alone().await else { return };
    for (off, on, words) in [
        (json!({ "enabled": false }), json!({ "enabled": true }), (403, "access_denied", "Realm not enabled")),
        (json!({ "sslRequired": "all" }), json!({ "sslRequired": "none" }), (403, "invalid_request", "HTTPS required")),
    ] {
        let (token, g) = (k.ada().await, k.gateway(&ASK).await);
        k.admin(Method::PUT, "", off).await;
        let refused = async {
            assert_refused(&k.exchange(&ASK, &token).await, words);
            g.refuses(&token, words, (500, "misconfigured")).await;
        };
        then(refused, async {
            k.admin(Method::PUT, "", on).await;
        })
        .await;
        g.passes(&token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_not_before_of_the_realm_kills_what_is_older() {
    let Some(k) = Keycloak::alone().await else { return };
    let (token, g) = (k.ada().await, k.gateway(&ASK).await);
    k.admin(Method::PUT, "", json!({ "notBefore": Clock::real().unix() + 1 })).await;
    let refused = async {
        assert_refused(&k.exchange(&ASK, &token).await, INVALID_TOKEN);
        g.refuses(&token, INVALID_TOKEN, (401, "invalid_token")).await;
    };
    then(refused, async { drop(k.admin(Method::PUT, "", json!({ "notBefore": 0 })).await) }).await;
    // A dead token is remembered as such for refused_ttl.
    turn(&g.clock, Duration::from_secs(31)).await;
    g.passes(&token).await;
}

/// The first table's row 12: a server that takes one request at a time and lets one more wait.
#[tokio::test(flavor = "multi_thread")]
async fn queue_full() {
    let Some(k) = Keycloak::alone().await else { return };
    let g = k.gateway(&ASK).await;
    let mut callers = Vec::new();
    for _ in 0..20 {
        callers.push(k.ada().await);
    }
    k.stop().await;
    let throttled = async {
        k.start(&[("KC_HTTP_MAX_QUEUED_REQUESTS", "1"), ("KC_HTTP_POOL_MAX_THREADS", "1")]).await;
        let direct = join_all(callers.iter().cycle().take(40).map(|token| k.exchange(&ASK, token))).await;
        let full: Vec<_> = direct.iter().filter(|a| a.status != 200).collect();
        assert!(!full.is_empty());
        for answer in full {
            assert_eq!((answer.status.as_u16(), &*answer.body), (503, &b""[..]));
            assert!(!answer.headers.contains_key("retry-after") && !answer.headers.contains_key("content-type"));
        }
        let answers = join_all(callers.iter().map(|token| g.get(token))).await;
        let refused: Vec<_> = answers.iter().filter(|a| a.status != 200).collect();
        assert!(!refused.is_empty());
        for answer in &refused {
            assert_eq!(said(answer), (503, "issuer_unavailable".into()), "{:?}", g.gateway.failures()[0]);
            assert!(answer.headers.contains_key("retry-after"));
        }
        assert_eq!(g.backend.requests(), (answers.len() - refused.len()) as u64);
    };
    then(throttled, async {
        k.stop().await;
        k.start(&[]).await;
    })
    .await;
    g.passes(&k.ada().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_started_again() {
    let Some(k) = Keycloak::alone().await else { return };
    let g = k.gateway(&ASK).await;
    let (cached, new) = (k.ada().await, k.ada().await);
    g.passes(&cached).await;
    let backend = Backend::open(([127, 0, 0, 1], 0).into(), Some(k.trust().await)).unwrap();
    k.stop().await;
    let late = k.gateway_before(&ASK, backend);
    let down = async {
        g.passes(&cached).await;
        assert_eq!(g.hits().await, 1, "who was here before goes on");
        is_told_to_come_again(&g, &new).await;
        assert!(g.gateway.ready(), "it still serves those whom it knows");

        assert_eq!(readyz(&late).await, 503);
        is_told_to_come_again(&late, &new).await;
        assert!(!late.gateway.ready());
        assert_eq!(late.exchanges().await, 0, "nobody can be verified without keys");
    };
    then(down, k.start(&[])).await;

    assert_eq!(g.passes(&new).await.claim("aud"), Some("orders-api"));
    until("the gateway that started too early is ready", || late.gateway.ready()).await;
    assert_eq!(readyz(&late).await, 200);
    assert_eq!(late.passes(&new).await.claim("aud"), Some("orders-api"));
    late.passes(&k.ada().await).await;
}

async fn is_told_to_come_again(g: &Running, token: &str) {
    g.refused(token, (503, "issuer_unavailable")).await;
    let after: u64 = g.get(token).await.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    let failure = &g.gateway.failures()[0];
    assert!(failure.cause.contains("cannot be reached"), "{failure:?}");
    assert!(!failure.cure.is_empty() && failure.issuer_words.is_none(), "{failure:?}");
}

async fn readyz(g: &Running) -> u16 {
    let mut probes = Connection::open(g.gateway.metrics_address()).await.unwrap();
    probes.get("/readyz", None).await.unwrap().status.as_u16()
}

async fn until_refused(g: &Running, token: &str) {
    for _ in 0..100 {
        if g.get(token).await.status == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the withdrawn key is still believed in");
}

impl Keycloak {
    /// The id of what keeps the key that signed a token.
    async fn key_of(&self, token: &str) -> String {
        let kid = header(token)["kid"].take();
        let keys = self.admin(Method::GET, "/keys", Value::Null).await.json();
        let key = keys["keys"].as_array().unwrap().iter().find(|k| k["kid"] == kid).unwrap();
        key["providerId"].as_str().unwrap().to_owned()
    }

    /// An active key signs, an enabled one is published and believed.
    async fn set_key(&self, id: &str, active: bool, enabled: bool) {
        let path = format!("/components/{id}");
        let mut key = self.admin(Method::GET, &path, Value::Null).await.json();
        key["config"]["active"] = json!([active.to_string()]);
        key["config"]["enabled"] = json!([enabled.to_string()]);
        self.admin(Method::PUT, &path, key).await;
    }

    /// The ids of what keeps the realm's keys.
    async fn keys(&self) -> Vec<String> {
        let all = self.admin(Method::GET, "/components?type=org.keycloak.keys.KeyProvider", Value::Null).await.json();
        all.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Deletes all others.
    async fn keep_keys(&self, kept: &[String]) {
        for id in self.keys().await.iter().filter(|id| !kept.contains(id)) {
            self.admin(Method::DELETE, &format!("/components/{id}"), Value::Null).await;
        }
    }
}
