//! Routes whose backend gets a token of the gateway's own, routes that take anybody, and what a route requires of a caller.

use crate::kit::{World, said};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::Misbehave;
use http::{Method, StatusCode};
use serde_json::json;

const OWN: &str = "
  own: { match: { path: /own }, upstream: ORDERS, token: client_credentials, audience: orders-api }
  open: { match: { path: /open }, upstream: ORDERS, token: client_credentials, audience: orders-api, callers: anonymous }
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
";

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_token_is_one_for_all_callers() {
    let g = World::new().await.gateway(OWN, "").await;
    for sub in ["ada", "bob", "eve"] {
        let token = g.token(sub);
        assert_eq!(g.get("/own", &token).await.status, 200);
        let seen = g.world.orders.last().unwrap();
        assert_eq!((seen.claim("sub"), seen.claim("aud")), (Some("service-account-gateway"), Some("orders-api")));
        assert_eq!(seen.header("authorization").len(), 1);
        assert!(!format!("{:?}", seen.headers).contains(&token));
    }
    let form = g.world.iam.last(Endpoint::Token).unwrap();
    assert_eq!((form.field("grant_type"), form.field("subject_token"), form.field("scope")), (Some("client_credentials"), None, None));
    assert_eq!(form.field("audience"), Some("orders-api"), "which Keycloak passes over");
    assert_eq!(g.world.iam.requests(Endpoint::Token), 1, "got once, whoever calls");
    assert_eq!(g.world.iam.exchanges(), 0);
    assert_eq!(g.metric("cambist_token_cache_lookups_total{result=\"hit\",route=\"own\"}").await, 2.0);

    // The same audience with a caller's token is another token: neither is handed out for the other.
    assert_eq!(g.get("/orders", &g.token("ada")).await.status, 200);
    assert_eq!(g.world.orders.last().unwrap().claim("sub"), Some("ada"));
    assert_eq!(g.get("/own", &g.token("ada")).await.status, 200);
    assert_eq!(g.world.orders.last().unwrap().claim("sub"), Some("service-account-gateway"));
    assert_eq!(g.world.iam.requests(Endpoint::Token), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_verified_all_the_same_unless_the_route_takes_anybody() {
    let g = World::new().await.gateway(OWN, "").await;
    assert_eq!(said(&g.get_without_token("/own").await), (401, "no_token".into()));
    let forged = g.world.iam.caller("ada").forged().token().unwrap();
    assert_eq!(said(&g.get("/own", &forged).await), (401, "invalid_token".into()));
    assert_eq!((g.world.orders.requests(), g.world.iam.requests(Endpoint::Token)), (0, 0));

    for header in [None, Some("Bearer forged"), Some("Bearer not a token"), Some("Basic YTpi")] {
        let fields: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
        assert_eq!(g.send(Method::GET, "/open", &fields, "").await.status, 200, "{header:?}");
        let seen = g.world.orders.last().unwrap();
        assert_eq!(seen.claim("sub"), Some("service-account-gateway"), "{header:?}");
        assert_eq!(seen.header("authorization").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_is_to_blame_for_what_the_gateway_is_refused() {
    for (status, error) in [(400, "invalid_scope"), (400, "invalid_grant"), (403, "access_denied"), (401, "unauthorized_client")] {
        let g = World::new().await.gateway(OWN, "").await;
        g.world.iam.script(Endpoint::Token, Misbehave::refusal(StatusCode::from_u16(status).unwrap(), error, "No."));
        assert_eq!(said(&g.get("/open", "").await), (500, "misconfigured".into()), "{error}");
        assert_eq!(g.world.orders.requests(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_token_for_another_audience_is_not_used() {
    let g = World::new().await.gateway("\n  own: { upstream: PAYROLL, token: client_credentials, audience: payroll-api }", "").await;
    assert_eq!(said(&g.get("/", &g.token("ada")).await), (502, "bad_issuer_answer".into()));
    assert_eq!(g.world.payroll.requests(), 0);
}

/// As at Auth0: a token of one's own is for the audience that is asked for, and there is none without.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_wants_to_be_told_the_audience_is_told() {
    let routes = "
  payroll: { match: { path: /payroll }, upstream: PAYROLL, token: client_credentials, audience: payroll-api, resource: [\"https://p.example/\"] }
  silent: { match: { path: /silent }, upstream: OPEN, token: client_credentials, expect_audience: payroll-api }
";
    for profile in ["keycloak", "rfc8693"] {
        let world = World::new().await;
        world.iam.addressed(true);
        let issuer = format!("issuers: {{ main: {{ url: IAM, profile: {profile}, client_id: gateway, client_secret: gateway-secret }} }}");
        let g = world.gateway(routes, &issuer).await;
        assert_eq!(g.get("/payroll", &g.token("ada")).await.status, 200, "{profile}: {:?}", g.gateway.failures());
        let form = g.world.iam.last(Endpoint::Token).unwrap();
        assert_eq!((form.field("audience"), form.field("resource")), (Some("payroll-api"), Some("https://p.example/")));
        assert_eq!(g.world.payroll.last().unwrap().claim("aud"), Some("payroll-api"));
        assert_eq!(said(&g.get("/silent", &g.token("ada")).await), (500, "misconfigured".into()));
        let failure = &g.gateway.failures()[0];
        assert!(failure.cure.contains("`audience`") && failure.docs.contains("#issuer-own-token"), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strip_and_passthrough_take_anybody_where_they_say_so() {
    let routes = "
  strip: { match: { path: /strip }, upstream: OPEN, token: strip, callers: anonymous }
  pass: { match: { path: /pass }, upstream: OPEN, token: passthrough, callers: anonymous }
";
    let g = World::new().await.gateway(routes, "").await;
    let forged = g.world.iam.caller("ada").forged().token().unwrap();
    assert_eq!(g.get_without_token("/strip").await.status, 200);
    assert_eq!(g.get("/strip", &forged).await.status, 200);
    assert!(g.world.open.last().unwrap().header("authorization").is_empty(), "taken out unseen");
    assert_eq!(g.get("/pass", &forged).await.status, 200);
    assert_eq!(g.world.open.last().unwrap().header("authorization"), [format!("Bearer {forged}")]);
    assert_eq!(g.get_without_token("/pass").await.status, 200);
    assert_eq!(said(&g.send(Method::GET, "/pass", &[("authorization", "Bearer a b")], "").await), (400, "bad_request".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_verifies_nobody_is_ready_without_its_issuer() {
    let world = World::new().await;
    world.iam.down().await;
    let g = world.gateway_not_ready("\n  open: { upstream: OPEN, token: strip, callers: anonymous }", "");
    assert_eq!(g.probe("/readyz").await.status, 200);
    assert_eq!(g.get_without_token("/").await.status, 200);
    let world = World::new().await;
    world.iam.down().await;
    let g = world.gateway_not_ready("\n  some: { upstream: OPEN, token: strip }", "");
    assert_eq!(g.probe("/readyz").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_requires_of_its_callers() {
    let routes = "
  scoped: { match: { path: /scoped }, upstream: OPEN, token: strip, require: { scopes: [orders, email] } }
  claimed: { match: { path: /claimed }, upstream: OPEN, token: strip, require: { claims: { tenant: [acme, umbrella], level: 3 } } }
  roles: { match: { path: /roles }, upstream: ORDERS, audience: orders-api, require: { scopes: [email], claims: { realm_access.roles: clerk } } }
";
    let g = World::new().await.gateway(routes, "").await;
    let caller = || g.world.iam.caller("ada");
    let as_text = caller().claim("scope", json!("email orders")).token().unwrap();
    let as_list = caller().without("scope").claim("scp", json!(["orders", "email"])).token().unwrap();
    for token in [&as_text, &as_list] {
        assert_eq!(g.get("/scoped", token).await.status, 200);
    }
    let lacks = g.get("/scoped", &caller().claim("scope", json!("orders emails")).token().unwrap()).await;
    assert_eq!(said(&lacks), (403, "insufficient_scope".into()));
    assert_eq!(lacks.headers["www-authenticate"], "Bearer realm=\"cambist\", error=\"insufficient_scope\", scope=\"orders email\"");

    let claims = |tenant, level| caller().claim("tenant", tenant).claim("level", level).token().unwrap();
    for (tenant, level) in [(json!("acme"), json!(3)), (json!(["x", "umbrella"]), json!("3")), (json!("umbrella"), json!([1, 3]))] {
        assert_eq!(g.get("/claimed", &claims(tenant, level)).await.status, 200);
    }
    for (tenant, level) in [(json!("acm"), json!(3)), (json!("acme"), json!(4)), (json!({"acme": 1}), json!(3)), (json!([]), json!(3))] {
        let answer = g.get("/claimed", &claims(tenant, level)).await;
        assert_eq!(said(&answer), (403, "insufficient_scope".into()));
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"cambist\", error=\"insufficient_scope\"", "no claim is told");
    }

    let clerk = caller().claim("realm_access", json!({"roles": ["user", "clerk"]})).token().unwrap();
    assert_eq!(g.get("/roles", &clerk).await.status, 200);
    assert_eq!(said(&g.get("/roles", &caller().token().unwrap()).await), (403, "insufficient_scope".into()));
    assert_eq!(g.world.iam.exchanges(), 1, "who lacks something never reaches the issuer");
    // What was remembered of a token on one route holds on the others.
    assert_eq!(said(&g.get("/scoped", &clerk).await), (403, "insufficient_scope".into()));
}

/// RFC 9470: who may come in after a better sign-in is told which, and is no stranger meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_signed_in_too_weakly_is_told_how_to_sign_in() {
    let require = "require: { scopes: [email], claims: { acr: [gold, platinum] } }";
    let routes = format!("\n  orders: {{ match: {{ path: /orders }}, upstream: ORDERS, audience: orders-api, {require} }}");
    let api = format!(
        "listeners: {{ main: {{ address: \"127.0.0.1:0\" }} }}\nexchange_api: {{ listeners: [main], audiences: {{ orders-api: {{ {require} }} }} }}"
    );
    let g = World::new().await.gateway(&routes, &api).await;
    let token = |acr: &str| g.world.iam.caller("ada").claim("acr", json!(acr)).token().unwrap();
    let challenge = "Bearer realm=\"cambist\", error=\"insufficient_user_authentication\", acr_values=\"gold platinum\"";
    for weak in [token("1"), g.token("ada")] {
        let refused = g.get("/orders", &weak).await;
        assert_eq!(said(&refused), (401, "insufficient_user_authentication".into()));
        assert_eq!(refused.headers["www-authenticate"], challenge);
        let failure = &g.gateway.failures()[0];
        assert!(failure.cause.contains("acr") && failure.docs.ends_with("#insufficient_user_authentication"), "{failure:?}");
        let fields = [("authorization", &*format!("Bearer {weak}")), ("content-type", "application/json")];
        let refused = g.send(Method::POST, "/v1/exchange", &fields, "{\"audience\":\"orders-api\"}").await;
        assert_eq!((said(&refused).0, &refused.headers["www-authenticate"].to_str().unwrap()), (401, &challenge));
    }
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests()), (0, 0));
    assert_eq!(g.get("/orders", &token("gold")).await.status, 200);
    // Scopes come first: no sign-in would bring one.
    let neither = g.world.iam.caller("ada").claim("scope", json!("profile")).token().unwrap();
    assert_eq!(said(&g.get("/orders", &neither).await), (403, "insufficient_scope".into()));
}
