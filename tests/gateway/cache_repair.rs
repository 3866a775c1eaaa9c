//! An upstream's 401 on a cached token: one newer token, one more try, and nothing that could do harm is tried.

use crate::kit::{Running, World, until};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use futures_util::future::join_all;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method, StatusCode};
use tokio::io::AsyncWriteExt;

const ROUTES: &str = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }
  any: { match: { path: /any }, upstream: ORDERS, audience: orders-api, force_update: { on_upstream_401: any } }
  off: { match: { path: /off }, upstream: ORDERS, audience: orders-api, force_update: { on_upstream_401: off } }
";

async fn world() -> Running {
    World::new().await.gateway(ROUTES, "").await
}

/// A 401 that says that the token is no good.
fn refused() -> Misbehave {
    let challenge = "Bearer realm=\"orders\", error=\"invalid_token\", error_description=\"revoked, sorry\"";
    Misbehave::status(StatusCode::UNAUTHORIZED).with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// A caller who holds a cached token that the backend does not take, once it has read the whole request.
async fn holding_a_bad_token(g: &Running) -> String {
    let token = g.token("ada");
    g.world.iam.script(Endpoint::Token, Misbehave::claim("iss", None));
    assert_eq!(g.get("/any", &token).await.status, 401, "this one was fresh: a newer one would be no better");
    assert_eq!(g.world.iam.exchanges(), 1);
    token
}

async fn post(g: &Running, path: &str, token: &str, body: &'static str) -> u16 {
    let answer = g.send(Method::POST, path, &[("authorization", &format!("Bearer {token}"))], body).await;
    answer.status.as_u16()
}

fn forced(result: &str) -> String {
    format!("cambist_forced_updates_total{{cause=\"upstream_401\",result=\"{result}\"}}")
}

async fn passed(g: &Running, route: &str) -> f64 {
    g.metric(&format!("cambist_upstream_unauthorized_total{{route=\"{route}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_401s_on_one_token_cost_one_exchange_and_nobody_sees_them() {
    let g = world().await;
    let (token, gate) = (g.token("ada"), Gate::new());
    assert_eq!(g.get("/orders", &token).await.status, 200);
    for _ in 0..50 {
        g.world.orders.script(refused());
    }
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let all = join_all((0..50).map(|_| g.get("/orders", &token)));
    let opener = async {
        // Only when the last of them is refused may the first be tried again.
        until("all have been refused", || g.world.orders.requests() == 51).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(all, opener);
    assert!(answers.iter().all(|a| a.status == 200));
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests()), (2, 101));
    assert_eq!((g.metric(&forced("success")).await, passed(&g, "orders").await), (50.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_body_is_sent_again_whole() {
    let g = world().await;
    let token = holding_a_bad_token(&g).await;
    assert_eq!(post(&g, "/any", &token, "the whole of it").await, 200);
    let seen = g.world.orders.received();
    let bodies: Vec<_> = seen.iter().map(|r| r.body.clone()).collect();
    assert_eq!(bodies[1..], ["the whole of it", "the whole of it"]);
    assert_eq!((seen[2].method.as_str(), seen[2].target.as_str()), ("POST", "/any"));
    assert_eq!(seen[2].header("authorization").len(), 1);
    let apart = |r: &cambist::demo::backend::Received| {
        let mut headers = r.headers.clone();
        headers.retain(|(name, _)| name != "authorization");
        headers.sort();
        headers
    };
    assert_eq!(apart(&seen[1]), apart(&seen[2]), "nothing but the token has changed");
    assert_eq!(g.world.iam.exchanges(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_sent_again_too() {
    let g = world().await;
    let token = holding_a_bad_token(&g).await;
    let head = format!("POST /any HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = g.ask(format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(g.world.orders.last().unwrap().body, "abcde");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_is_kept_passes_with_its_401() {
    let g = World::new().await.gateway(ROUTES, "limits: { replay_body: 10B }").await;
    let token = holding_a_bad_token(&g).await;
    assert_eq!(post(&g, "/any", &token, "more than ten bytes").await, 401);
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests(), passed(&g, "any").await), (1, 2, 2.0));
    assert_eq!(post(&g, "/any", &token, "ten bytes!").await, 200);
    let small = World::new().await.gateway(ROUTES, "limits: { replay_total: 3B }").await;
    let token = holding_a_bad_token(&small).await;
    assert_eq!(post(&small, "/any", &token, "four").await, 401);
    assert_eq!(post(&small, "/any", &token, "two").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_before_the_bodys_end_is_not_answered_with_half_a_body() {
    let g = world().await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.world.orders.script(refused());
    let mut wire = g.wire().await;
    let head = format!("POST /orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nhalf");
    wire.stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(wire.answer().await.status(), 401);
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests(), passed(&g, "orders").await), (1, 2, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_never_tried_a_third_time() {
    let g = world().await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.world.orders.script_always(refused());
    let answer = g.get("/orders", &token).await;
    assert_eq!((answer.status.as_u16(), answer.headers.get_all(WWW_AUTHENTICATE).iter().count()), (401, 1));
    assert_eq!((g.world.iam.exchanges(), g.world.orders.requests()), (2, 3));
    // The newest there is has been refused a moment ago: nothing newer is to be had yet.
    for more in 1..=5 {
        assert_eq!(g.get("/orders", &token).await.status, 401);
        assert_eq!((g.world.iam.exchanges(), g.world.orders.requests()), (2, 3 + more));
    }
    assert_eq!((passed(&g, "orders").await, g.metric(&forced("failed")).await), (6.0, 5.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_newer_token_the_upstreams_answer_passes() {
    let g = world().await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders", &token).await.status, 200);
    g.world.orders.script(refused());
    g.world.iam.script(Endpoint::Token, Misbehave::status(StatusCode::INTERNAL_SERVER_ERROR));
    let answer = g.get("/orders", &token).await;
    assert_eq!(answer.status, 401);
    assert!(answer.headers[WWW_AUTHENTICATE].to_str().unwrap().contains("revoked, sorry"), "the upstream's own");
    assert_eq!((passed(&g, "orders").await, g.metric(&forced("failed")).await), (1.0, 1.0));
    assert_eq!(g.get("/orders", &token).await.status, 200, "what was held is held");
}

#[tokio::test(flavor = "multi_thread")]
async fn which_401_counts_is_the_routes_to_say() {
    let plain = || Misbehave::status(StatusCode::UNAUTHORIZED);
    for (path, misbehave, status) in [
        ("/orders", refused(), 200),
        ("/orders", plain(), 401),
        ("/orders", Misbehave::status(StatusCode::FORBIDDEN), 403),
        ("/any", plain(), 200),
        ("/off", refused(), 401),
    ] {
        let g = world().await;
        let token = g.token("ada");
        assert_eq!(g.get(path, &token).await.status, 200);
        g.world.orders.script(misbehave.clone());
        assert_eq!(g.get(path, &token).await.status.as_u16(), status, "{path} {misbehave:?}");
        assert_eq!(g.world.iam.exchanges(), if status == 200 { 2 } else { 1 });
    }
}
