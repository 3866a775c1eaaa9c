//! Back-channel logout: whose session is over at the issuer is refused from then on, cached token or not, and nobody but the
//! issuer can bring that about.

use crate::kit::{ROUTES, Running, World, said};
use cambist::demo::fetch::{Answer, Connection};
use cambist::demo::iam::{CallerToken, OldKeys};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/backchannel-logout";
const MORE: &str = "listeners: { main: { address: 127.0.0.1:0 } }\nlogout: { listeners: [main], clients: [demo-app] }\n";

async fn world() -> Running {
    World::new().await.gateway(ROUTES, MORE).await
}

async fn post(r: &Running, token: &str) -> Answer {
    Connection::open(r.address()).await.unwrap().post_form(PATH, &[("logout_token", token)], None).await.unwrap()
}

/// What Keycloak sends to the login client's URL.
fn logout_token(r: &Running, sub: &str, sid: Option<&str>) -> CallerToken {
    let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let token = r.world.iam.caller(sub).typ(Some("logout+jwt")).audience("demo-app").claim("typ", json!("Logout")).claim("events", events);
    let token = token.without("azp").without("scope").without("preferred_username").expires_in(120);
    match sid {
        Some(sid) => token.claim("sid", json!(sid)),
        None => token.without("sid"),
    }
}

fn refused() -> (u16, String) {
    (401, "invalid_token".to_owned())
}

#[tokio::test]
async fn a_session_that_is_over_is_refused_at_once_and_others_go_on() {
    let r = world().await;
    let (one, two) = (r.world.iam.caller("ada"), r.world.iam.caller("ada"));
    let (first, second) = (one.token().unwrap(), two.token().unwrap());
    for token in [&first, &second] {
        assert_eq!(r.get("/orders", token).await.status, 200);
    }
    let answer = post(&r, &logout_token(&r, "ada", Some(one.sid())).token().unwrap()).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    assert!(answer.body.is_empty());

    let exchanges = r.world.iam.exchanges();
    for path in ["/orders", "/payroll", "/strip", "/pass"] {
        assert_eq!(said(&r.get(path, &first).await), refused(), "{path}");
    }
    assert_eq!(r.get("/orders", &second).await.status, 200);
    assert_eq!(r.get("/orders", &r.token("bob")).await.status, 200);
    assert_eq!(r.world.iam.exchanges(), exchanges + 1, "bob's");
    r.counted("cambist_http_requests_total{code=\"200\",method=\"POST\",route=\"/backchannel-logout\"}", 1.0).await;
}

#[tokio::test]
async fn a_user_who_is_logged_out_everywhere_gets_in_with_a_new_login() {
    let r = world().await;
    let (one, two) = (r.token("ada"), r.world.iam.caller("ada").without("sid").token().unwrap());
    assert_eq!(r.get("/orders", &one).await.status, 200);
    assert_eq!(post(&r, &logout_token(&r, "ada", None).token().unwrap()).await.status, 200);
    for token in [&one, &two] {
        assert_eq!(said(&r.get("/orders", token).await), refused());
    }
    // A login within the second of the logout: by its `iat` it could have come before.
    let same_second = r.token("ada");
    assert_eq!(said(&r.get("/orders", &same_second).await), refused());
    let failure = &r.gateway.failures()[0];
    assert!(failure.cause.contains("logged out") && failure.cure.contains("second of the logout"), "{failure:?}");
    r.turn(Duration::from_secs(1)).await;
    assert_eq!(r.get("/orders", &r.token("ada")).await.status, 200);
    for token in [&one, &same_second] {
        assert_eq!(said(&r.get("/orders", token).await), refused(), "the old ones stay dead");
    }
}

#[tokio::test]
async fn what_is_no_good_logout_token_ends_nothing() {
    let r = world().await;
    let caller = r.world.iam.caller("ada");
    let good = || logout_token(&r, "ada", Some(caller.sid()));
    let now = r.world.clock.unix();
    let event = |value: Value| json!({ "http://schemas.openid.net/event/backchannel-logout": value });
    let bad = [
        ("an access token", r.world.iam.caller("ada")),
        ("forged", good().forged()),
        ("typ JWT", good().typ(Some("JWT"))),
        ("no typ", good().typ(None)),
        ("aud of another client", good().audience("other")),
        ("no aud", good().without("aud")),
        ("of another issuer", good().claim("iss", json!("https://elsewhere.example.com"))),
        ("no iss", good().without("iss")),
        ("no iat", good().without("iat")),
        ("an old iat", good().claim("iat", json!(now - 400))),
        ("an iat to come", good().claim("iat", json!(now + 100))),
        ("expired", good().expires_in(-60)),
        ("exp as text", good().claim("exp", json!("9999999999"))),
        ("no jti", good().without("jti")),
        ("no events", good().without("events")),
        ("other events", good().claim("events", json!({ "urn:x": {} }))),
        ("an event that is no object", good().claim("events", event(json!(true)))),
        ("a nonce", good().claim("nonce", json!("n"))),
        ("a nonce that is null", good().claim("nonce", Value::Null)),
        ("neither sid nor sub", good().without("sid").without("sub")),
        ("a sid of another type", good().claim("sid", json!(["x"]))),
    ];
    for (what, token) in bad {
        let answer = post(&r, &token.token().unwrap()).await;
        assert_eq!(said(&answer), (400, "bad_request".to_owned()), "{what}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    }
    let token = good().token().unwrap();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (headers, body) in [
        (&form[..], format!("logout_token={token}&logout_token={token}")),
        (&form[..], format!("token={token}")),
        (&form[..], String::new()),
        (&[][..], format!("logout_token={token}")),
    ] {
        let answer = r.send(http::Method::POST, PATH, headers, body).await;
        assert_eq!(said(&answer), (400, "bad_request".to_owned()));
    }
    assert_eq!(said(&r.get_without_token(PATH).await), (405, "method_not_allowed".to_owned()));
    assert_eq!(r.get("/orders", &caller.token().unwrap()).await.status, 200, "nobody was logged out");
    assert_eq!(post(&r, &token).await.status, 200);
    assert_eq!(post(&r, &token).await.status, 400, "a replay");
    assert_eq!(said(&r.get("/orders", &caller.token().unwrap()).await), refused());
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_for_a_logout_too() {
    let r = world().await;
    let caller = r.world.iam.caller("ada");
    let before = caller.token().unwrap();
    assert_eq!(r.get("/orders", &before).await.status, 200);
    r.world.iam.rotate(OldKeys::Kept).unwrap();
    assert_eq!(post(&r, &logout_token(&r, "ada", Some(caller.sid())).token().unwrap()).await.status, 200);
    assert_eq!(said(&r.get("/orders", &before).await), refused());
}

#[tokio::test]
async fn the_exchange_api_refuses_them_too() {
    let api = format!("{MORE}exchange_api: {{ listeners: [main], audiences: {{ orders-api: {{}} }} }}\n");
    let r = World::new().await.gateway(ROUTES, &api).await;
    let caller = r.world.iam.caller("ada");
    let bearer = format!("Bearer {}", caller.token().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for (body, status) in [(r#"{"audience":"orders-api"}"#, 200), (r#"{"audience":"nobody-knows"}"#, 403)] {
        assert_eq!(r.send(http::Method::POST, "/v1/exchange", &headers, body).await.status, status);
    }
    assert_eq!(post(&r, &logout_token(&r, "ada", Some(caller.sid())).token().unwrap()).await.status, 200);
    for body in [r#"{"audience":"orders-api"}"#, r#"{"audience":"nobody-knows"}"#] {
        assert_eq!(said(&r.send(http::Method::POST, "/v1/exchange", &headers, body).await), refused());
    }
}

/// Several clients of one realm, or a realm whose tokens are verified in two ways: what the realm ends is over for each of them, and whichever
/// of them can check its word does.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_ends_is_over_under_each_of_its_names() {
    let issuer = |more: &str| format!("{{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret{more} }}");
    let route =
        |name: &str| format!("\n  {name}: {{ match: {{ path: /{name} }}, upstream: ORDERS, issuer: {name}, audience: orders-api }}");
    let names = ["cannot", "asking", "keys", "more"];
    let ways = [", verify: { algorithms: [ES256] }", ", verify: { by: introspection }", "", ""];
    let issuers: String = names.iter().zip(ways).map(|(name, way)| format!("  {name}: {}\n", issuer(way))).collect();
    let routes: String = names.iter().map(|name| route(name)).collect::<String>() + "\n";
    for session in [true, false] {
        let r = World::new().await.gateway(&routes, &format!("{MORE}issuers:\n{issuers}")).await;
        let caller = r.world.iam.caller("ada");
        let token = caller.token().unwrap();
        for path in ["/asking", "/keys", "/more"] {
            crate::kit::served(&r, path, &token).await;
        }
        let said_once = logout_token(&r, "ada", session.then(|| caller.sid())).token().unwrap();
        assert_eq!(post(&r, &said_once).await.status, 200, "{:?}", r.gateway.failures().first());
        for path in ["/asking", "/keys", "/more"] {
            assert_eq!(said(&r.get(path, &token).await), refused(), "{path}, by session: {session}");
        }
        assert_eq!(post(&r, &said_once).await.status, 400, "one jti, however many names");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_logged_out_stays_so_when_the_issuer_gets_another_name() {
    let r = world().await;
    let caller = r.world.iam.caller("ada");
    let (token, over) = (caller.token().unwrap(), logout_token(&r, "ada", Some(caller.sid())).token().unwrap());
    assert_eq!(r.get("/orders", &token).await.status, 200);
    assert_eq!(post(&r, &over).await.status, 200);
    let renamed = "issuers: { keycloak: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret } }\n";
    let text = r.world.yaml(ROUTES, &format!("{MORE}{renamed}"));
    r.gateway.apply(cambist::config::read(&text, "test.yaml").unwrap().config).await.unwrap();
    for path in ["/orders", "/pass"] {
        assert_eq!(said(&r.get(path, &token).await), refused(), "{path}");
        assert_eq!(r.get(path, &r.token("bob")).await.status, 200, "{path}");
    }
    assert_eq!(post(&r, &over).await.status, 400, "a replay");
}
