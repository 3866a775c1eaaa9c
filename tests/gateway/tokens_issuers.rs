//! Several issuers: by name or by the token's `iss`, and a token of one never counts at another.

use crate::kit::{Running, World, said};
use cambist::demo::backend::{Backend, Trust};
use cambist::demo::iam::{Client, Iam, Settings};
use serde_json::json;

/// A second realm, with a gateway's client of another name.
async fn second(world: &World) -> Iam {
    let mut settings =
        Settings { clock: world.clock.clone(), realm: "second".into(), gateway_client: "gw-2".into(), ..Settings::anywhere() };
    settings.clients.push(Client::confidential("gw-2", "secret-2").exchanging().reaching("orders-api").reaching("gateway"));
    settings.clients.iter_mut().find(|c| c.id == "demo-app").unwrap().reaches = vec!["gw-2".into(), "gateway".into()];
    Iam::start(settings).await.unwrap()
}

struct Both {
    g: Running,
    second: Iam,
    /// Believes the second realm.
    orders: Backend,
}

async fn both(routes: &str) -> Both {
    let world = World::new().await;
    let second = second(&world).await;
    let anywhere = ([127, 0, 0, 1], 0).into();
    let orders = Backend::start(anywhere, "orders-api", Trust::iam(&second, world.clock.clone())).unwrap();
    let issuers = format!(
        "issuers:\n  first: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret }}\n  \
         second: {{ url: \"{}\", client_id: gw-2, client_secret: secret-2, verify: {{ audiences: [gw-2, gateway] }} }}\n",
        second.issuer()
    );
    let g = world.gateway(&routes.replace("SECOND", &orders.url()), &issuers).await;
    crate::kit::until("both have their keys", || g.gateway.ready()).await;
    Both { g, second, orders }
}

const BY_NAME: &str = "
  first: { match: { path: /first }, upstream: ORDERS, issuer: first, audience: orders-api }
  second: { match: { path: /second }, upstream: SECOND, issuer: second, audience: orders-api }
  any: { match: { path: /any }, upstream: OPEN, issuer: by_token, audience: orders-api }
  pass: { match: { path: /pass }, upstream: OPEN, issuer: by_token, token: passthrough }
";

/// Keys of the second issuer come in by themselves; the first request of the second may be too early.
async fn settled(b: &Both) {
    for _ in 0..100 {
        if b.g.get("/pass", &b.second.caller_token("probe").unwrap()).await.status == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the second issuer's keys never came");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_has_its_issuer_and_takes_no_others_tokens() {
    let b = both(BY_NAME).await;
    settled(&b).await;
    let (one, two) = (b.g.token("ada"), b.second.caller_token("ada").unwrap());
    assert_eq!(b.g.get("/first", &one).await.status, 200);
    assert_eq!(b.g.get("/second", &two).await.status, 200);
    assert_eq!((b.g.world.orders.requests(), b.orders.requests()), (1, 1));
    assert_eq!(said(&b.g.get("/first", &two).await), (401, "invalid_token".into()));
    assert_eq!(said(&b.g.get("/second", &one).await), (401, "invalid_token".into()));
    assert_eq!((b.g.world.iam.exchanges(), b.second.exchanges()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_iss_chooses_and_the_chosen_issuer_verifies() {
    let b = both(BY_NAME).await;
    settled(&b).await;
    let (one, two) = (b.g.token("ada"), b.second.caller_token("ada").unwrap());
    for _ in 0..2 {
        for (token, iam) in [(&one, &b.g.world.iam), (&two, &b.second)] {
            assert_eq!(b.g.get("/any", token).await.status, 200, "{:?}", b.g.gateway.failures());
            let seen = b.g.world.open.last().unwrap();
            let sent = seen.header("authorization")[0].strip_prefix("Bearer ").unwrap();
            let claims = iam.keys().verified(sent).unwrap();
            assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some(iam.issuer()), Some("ada")), "issued by its own");
        }
    }
    assert_eq!((b.g.world.iam.exchanges(), b.second.exchanges()), (1, 1), "one each, and the others were cached");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_word_about_itself_opens_no_door() {
    let b = both(BY_NAME).await;
    settled(&b).await;
    let before = (b.g.world.iam.exchanges(), b.second.exchanges());
    let first = || b.g.world.iam.caller("ada");
    let bad = [
        // Signed by the first and said to be the second's; and the other way about.
        first().claim("iss", json!(b.second.issuer())).token().unwrap(),
        b.second.caller("ada").claim("iss", json!(b.g.world.iam.issuer())).token().unwrap(),
        first().claim("iss", json!("https://elsewhere.example")).token().unwrap(),
        first().claim("iss", json!([b.second.issuer()])).token().unwrap(),
        first().without("iss").token().unwrap(),
        first().forged().token().unwrap(),
        // Good for a client of the second that the first does not name.
        first().audience("gw-2").token().unwrap(),
        "opaque".to_owned(),
    ];
    for token in &bad {
        assert_eq!(said(&b.g.get("/any", token).await), (401, "invalid_token".into()), "{:?}", b.g.gateway.failures()[0]);
        assert_eq!(said(&b.g.get("/any", token).await), (401, "invalid_token".into()), "nor a second time");
    }
    assert_eq!((b.g.world.iam.exchanges(), b.second.exchanges()), before);
}

/// Two issuers that are asked about every token.
fn both_asked(second: &Iam) -> String {
    format!(
        "issuers:\n  first: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret, verify: {{ by: introspection }} }}\n  \
         second: {{ url: \"{}\", client_id: gw-2, client_secret: secret-2, verify: {{ by: introspection }} }}\n",
        second.issuer()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_opaque_token_at_two_issuers_is_two_callers() {
    let world = World::new().await;
    let second = second(&world).await;
    let issuers = both_asked(&second);
    let routes = "
  first: { match: { path: /first }, upstream: OPEN, issuer: first, audience: orders-api }
  second: { match: { path: /second }, upstream: OPEN, issuer: second, audience: orders-api }
";
    let g = world.gateway(routes, &issuers).await;
    // One name for two tokens: each issuer knows it as somebody else.
    let name = g.world.iam.opaque(&g.world.iam.caller("ada")).unwrap();
    second.opaque_as(&name, &second.caller("bob")).unwrap();
    let sub = |iam: &Iam| {
        let seen = g.world.open.last().unwrap();
        let sent = seen.header("authorization")[0].strip_prefix("Bearer ").unwrap().to_owned();
        iam.keys().verified(&sent).unwrap()["sub"].as_str().unwrap().to_owned()
    };
    for _ in 0..2 {
        let mut answer = g.get("/second", &name).await;
        for _ in 0..100 {
            if answer.status == 503 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                answer = g.get("/second", &name).await;
            }
        }
        assert_eq!(answer.status, 200, "{:?}", g.gateway.failures());
        assert_eq!(sub(&second), "bob");
        assert_eq!(g.get("/first", &name).await.status, 200);
        assert_eq!(sub(&g.world.iam), "ada");
    }
    assert_eq!((g.world.iam.exchanges(), second.exchanges()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_names_no_issuer_goes_to_none_whatever_ran_before() {
    let world = World::new().await;
    let second = second(&world).await;
    let issuers = both_asked(&second);
    let routes = "
  any: { match: { path: /any }, upstream: OPEN, issuer: by_token, audience: orders-api }
  first: { match: { path: /first }, upstream: OPEN, issuer: first, audience: orders-api }
";
    let g = world.gateway(routes, &issuers).await;
    let caller = g.world.iam.caller("ada");
    let (name, said_whose) = (g.world.iam.opaque(&caller).unwrap(), caller.token().unwrap());
    crate::kit::served(&g, "/first", &said_whose).await;
    for _ in 0..2 {
        assert_eq!(said(&g.get("/any", &name).await), (401, "invalid_token".into()));
        assert_eq!(g.get("/first", &name).await.status, 200);
    }
    assert_eq!(g.get("/any", &said_whose).await.status, 200);
}
