//! Too much of something: forged tokens, unknown keys, callers without end. What costs the gateway's issuer or its memory is
//! bounded, and nobody gets anybody else's token meanwhile.

use crate::kit::{ROUTES, Running, World, running, said};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::demo::fetch::{Answer, Connection};
use cambist::demo::iam::{Client, Endpoint, Iam};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

/// All of `requests` (path and token), 32 at a time; every answer is looked at.
async fn all(g: &Running, requests: impl IntoIterator<Item = (String, String)>, look: impl Fn(&str, &str, Answer)) {
    let address = g.address();
    let ask = |(path, token): (String, String)| async move {
        let answer = Connection::open(address).await.unwrap().get(&path, Some(&token)).await.unwrap();
        (path, token, answer)
    };
    stream::iter(requests)
        .map(ask)
        .buffer_unordered(32)
        .for_each(|(path, token, answer)| {
            look(&path, &token, answer);
            std::future::ready(())
        })
        .await;
}

/// `token` with other claims and the same signature.
fn forged(token: &str, n: usize) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["jti"] = json!(n);
    [parts[0], &URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]].join(".")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_forged_tokens_cost_the_issuer_nothing() {
    let g = running().await;
    let (token, before) = (g.token("ada"), g.world.iam.requests(Endpoint::Jwks));
    all(&g, (0..2000).map(|n| ("/orders".to_owned(), forged(&token, n))), |_, _, answer| {
        assert_eq!(said(&answer), (401, "invalid_token".into()));
    })
    .await;
    assert_eq!((g.world.iam.requests(Endpoint::Token), g.world.iam.requests(Endpoint::Jwks)), (0, before));
    assert_eq!(g.world.orders.requests(), 0);
    assert_eq!(g.get("/orders", &token).await.status, 200, "the genuine one is none the worse");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_unknown_keys_are_asked_for_twice_at_most() {
    let g = running().await;
    let before = g.world.iam.requests(Endpoint::Jwks);
    let unknown = |n| g.world.iam.caller("ada").kid(&format!("nobody-{n}")).token().unwrap();
    all(&g, (0..500).map(|n| ("/orders".to_owned(), unknown(n))), |_, _, answer| {
        assert_eq!(said(&answer), (401, "invalid_token".into()));
    })
    .await;
    let fetched = g.world.iam.requests(Endpoint::Jwks) - before;
    assert!((1..=2).contains(&fetched), "{fetched} fetches");
    assert_eq!((g.world.iam.requests(Endpoint::Token), g.world.orders.requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_end_stay_within_the_bound() {
    let g = World::new().await.gateway(ROUTES, "cache: { max_entries: 40 }").await;
    let tokens: Vec<String> = (0..200).map(|n| g.token(&format!("caller-{n}"))).collect();
    all(&g, tokens.into_iter().map(|t| ("/orders".to_owned(), t)), |_, _, answer| assert_eq!(answer.status, 200)).await;
    let entries = g.metric("cambist_token_cache_entries").await;
    assert!((1.0..=40.0).contains(&entries), "{entries} entries");
    assert_eq!(g.metric("cambist_token_cache_capacity_entries").await, 40.0);
    assert_eq!(g.metric("cambist_token_cache_evictions_total{cause=\"size\"}").await, 200.0 - entries);
    let cache = &g.status().await["cache"];
    assert_eq!((&cache["entries"], &cache["max_entries"]), (&json!(entries as u64), &json!(40)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_anybody_elses_token_whatever_the_cache_throws_out() {
    let routes =
        format!("{ROUTES}  billing: {{ match: {{ path: /billing }}, upstream: OPEN, audience: billing-api, scopes: [billing] }}\n");
    let g = World::new().await.gateway(&routes, "cache: { max_entries: 7 }").await;
    let callers: Vec<(String, String)> = (0..20).map(|n| (format!("caller-{n}"), g.token(&format!("caller-{n}")))).collect();
    let mixed = (0..600).map(|n| {
        let (_, token) = &callers[n * 7 % 20];
        ((if n % 3 == 0 { "/billing" } else { "/orders" }).to_owned(), token.clone())
    });
    all(&g, mixed, |path, token, answer| {
        let (who, _) = callers.iter().find(|(_, t)| t == token).unwrap();
        let seen = &answer.json()["token"];
        let audience = if path == "/billing" { "billing-api" } else { "orders-api" };
        assert_eq!((seen["sub"].as_str(), seen["aud"].as_str()), (Some(who.as_str()), Some(audience)), "{path}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_issuer_is_nothing_at_another() {
    let world = World::new().await;
    let other =
        Iam::start(cambist::demo::iam::Settings { clock: world.clock.clone(), ..cambist::demo::iam::Settings::anywhere() }).await.unwrap();
    let issuers = format!(
        "issuers:\n  one: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret }}\n  \
         two: {{ url: \"{}\", client_id: gateway, client_secret: gateway-secret }}\n",
        other.issuer()
    );
    let routes = "
  one: { match: { path: /one }, upstream: OPEN, audience: orders-api, issuer: one }
  two: { match: { path: /two }, upstream: OPEN, audience: orders-api, issuer: two }
";
    let g = world.gateway_not_ready(routes, &issuers);
    let (ones, twos) = (g.token("ada"), other.caller_token("ada").unwrap());
    for (path, token) in [("/one", &ones), ("/two", &twos)] {
        while g.get(path, token).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    let exchanged = (g.world.iam.exchanges(), other.exchanges());
    for _ in 0..2 {
        assert_eq!(said(&g.get("/two", &ones).await), (401, "invalid_token".into()), "verified and cached, but at the other");
        assert_eq!(said(&g.get("/one", &twos).await), (401, "invalid_token".into()));
        assert_eq!((g.get("/one", &ones).await.status.as_u16(), g.get("/two", &twos).await.status.as_u16()), (200, 200));
    }
    assert_eq!((g.world.iam.exchanges(), other.exchanges()), exchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_at_one_issuer_share_no_exchanged_token() {
    let world = World::with(|s| s.clients.push(Client::confidential("second", "second-secret").exchanging().reaching("orders-api"))).await;
    let issuers = "issuers:
  one: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret }
  two: { url: \"IAM\", client_id: second, client_secret: second-secret, verify: { audiences: [gateway, second] } }
";
    let routes = "
  one: { match: { path: /one }, upstream: OPEN, audience: orders-api, issuer: one }
  two: { match: { path: /two }, upstream: OPEN, audience: orders-api, issuer: two }
";
    let g = world.gateway(routes, issuers).await;
    let token = g.world.iam.caller("ada").claim("aud", json!(["gateway", "second"])).token().unwrap();
    for (path, client) in [("/one", "gateway"), ("/two", "second"), ("/one", "gateway"), ("/two", "second")] {
        let mut answer = g.get(path, &token).await;
        while said(&answer) == (503, "issuer_unavailable".into()) {
            // Ready means that one of the issuers is.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            answer = g.get(path, &token).await;
        }
        assert_eq!(answer.json()["token"]["azp"], client, "{path}");
    }
    assert_eq!(g.world.iam.exchanges(), 2);
}
