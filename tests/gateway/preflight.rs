//! CORS preflights bring no token: a route says whether they pass without one. Whatever else is OPTIONS needs a token as ever.

use crate::kit::{Running, World};
use crate::wire::{Message, Puppet};

const OK: &str = "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://shop.example.com\r\n\r\n";
const ORIGIN: &str = "Origin: https://shop.example.com";

const ROUTES: &str = "
  orders: { match: { path: /orders, methods: [GET, POST] }, upstream: OPEN, audience: orders-api, preflight: forward, token_header: X-Token }
  delete: { match: { path: /orders, methods: [DELETE] }, upstream: OPEN, audience: orders-api }
  any: { match: { path: /any }, upstream: OPEN, token: client_credentials, audience: orders-api, preflight: forward }
  pass: { match: { path: /pass }, upstream: OPEN, token: passthrough, preflight: forward }
  scoped: { match: { path: /scoped }, upstream: OPEN, audience: orders-api, preflight: forward, require: { scopes: [x] }, actor: { header: X-Actor } }
  refuse: { match: { path: /refuse }, upstream: OPEN, audience: orders-api }
";

async fn gateway(backend: &Puppet) -> Running {
    World::new().await.gateway(&ROUTES.replace("OPEN", &format!("\"{}\"", backend.url())), "").await
}

async fn options(g: &Running, path: &str, fields: &[&str]) -> Message {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    g.ask(format!("OPTIONS {path} HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_passes_without_a_token_and_gets_none() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let token = g.token("ada");
    let (header, own) = (format!("X-Token: {token}"), format!("Authorization: Bearer {token}"));
    for (path, method) in
        [("/orders", "GET"), ("/orders/7", "POST"), ("/any", "PATCH"), ("/any", "QUERY"), ("/pass", "GET"), ("/scoped", "GET")]
    {
        for more in [&[][..], &[&header, &own]] {
            let asked = format!("Access-Control-Request-Method: {method}");
            let fields: Vec<&str> = [ORIGIN, &asked, "Access-Control-Request-Headers: authorization"]
                .into_iter()
                .chain(more.iter().map(|s| s.as_str()))
                .collect();
            let answer = options(&g, path, &fields).await;
            assert_eq!(answer.status(), 204, "{path} {method}: {}", answer.text());
            assert_eq!(answer.one("access-control-allow-origin"), "https://shop.example.com");
            let heard = backend.last();
            assert_eq!(heard.line(), format!("OPTIONS {path} HTTP/1.1"));
            assert_eq!((heard.one("origin"), heard.one("access-control-request-method")), ("https://shop.example.com", method));
            assert!(
                heard.all("authorization").is_empty() && heard.all("x-token").is_empty() && !heard.head.contains(&token),
                "{}",
                heard.head
            );
        }
    }
    assert_eq!(g.world.iam.exchanges(), 0, "nobody was asked for a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_preflight_needs_a_token() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let get = "Access-Control-Request-Method: GET";
    for fields in [
        &[][..],
        &[ORIGIN],
        &[get],
        &[ORIGIN, "Access-Control-Request-Method:"],
        &[ORIGIN, "Access-Control-Request-Method: G T"],
        &[ORIGIN, "Access-Control-Request-Method: CONNECT"],
        &[ORIGIN, get, get],
        &[ORIGIN, ORIGIN, get],
        &["Origin:", get],
        &["Origin_: x", get],
        &[ORIGIN, "Access_Control_Request_Method: GET"],
    ] {
        assert_eq!(options(&g, "/any", fields).await.said(), (401, "no_token".into()), "{fields:?}");
    }
    let plain = g.ask(format!("GET /any HTTP/1.1\r\nHost: a\r\n{ORIGIN}\r\n{get}\r\n\r\n")).await;
    assert_eq!(plain.said(), (401, "no_token".into()), "a GET is no preflight");
    assert!(backend.heard().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_that_is_asked_for_chooses_the_route() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    assert_eq!(options(&g, "/orders", &[ORIGIN, "Access-Control-Request-Method: DELETE"]).await.said(), (405, "method_not_allowed".into()));
    assert_eq!(options(&g, "/orders", &[ORIGIN, "Access-Control-Request-Method: PUT"]).await.said(), (405, "method_not_allowed".into()));
    assert_eq!(options(&g, "/refuse", &[ORIGIN, "Access-Control-Request-Method: GET"]).await.said(), (401, "no_token".into()));
    assert_eq!(options(&g, "/nowhere", &[ORIGIN, "Access-Control-Request-Method: GET"]).await.said(), (404, "no_route".into()));
    assert!(backend.heard().is_empty());
}
