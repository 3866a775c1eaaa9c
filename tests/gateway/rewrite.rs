//! What a route rewrites: the prefix it matched is cut off letter by letter, and what is left is read as every path is; another
//! `Host` goes upstream, and the caller's is still told.

use crate::kit::{Running, World, get, request};
use crate::wire::{Message, Puppet};
use cambist::demo::misbehave::Misbehave;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn stripping(backend: &Puppet) -> Running {
    let routes = format!(
        "
  orders: {{ match: {{ path: /orders }}, upstream: \"{0}\", token: strip, rewrite: {{ strip_prefix: /orders }} }}
  exact: {{ match: {{ path: {{ exact: /exact }} }}, upstream: \"{0}\", token: strip, rewrite: {{ strip_prefix: /exact }} }}
  deep: {{ match: {{ path: /Api/v1 }}, upstream: \"{0}\", token: strip, rewrite: {{ strip_prefix: /Api/v1 }} }}
  files: {{ match: {{ path: /files }}, upstream: \"{0}\", token: strip, paths: as_written, rewrite: {{ strip_prefix: /files }} }}
",
        backend.url()
    );
    World::new().await.gateway(&routes, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prefix_is_cut_off_and_the_rest_goes_on_as_it_is() {
    let backend = Puppet::saying(OK).await;
    let g = stripping(&backend).await;
    let token = g.token("ada");
    for (asked, heard) in [
        ("/orders", "/"),
        ("/orders/", "/"),
        ("/orders?a=b", "/?a=b"),
        ("/orders/?", "/?"),
        ("/orders/7/items", "/7/items"),
        ("/orders/7?next=/orders/8&x=%2f", "/7?next=/orders/8&x=%2f"),
        ("/orders/orders/7", "/orders/7"),
        ("/orders/A%20b", "/A%20b"),
        ("/orders/a//b", "/a//b"),
        ("/orders/a%2Fb", "/a%2Fb"),
        ("/exact", "/"),
        ("/exact?a", "/?a"),
        ("/Api/v1/x", "/x"),
        ("/files/x%2fy", "/x%2fy"),
        ("/files//x", "//x"),
    ] {
        let answer = g.ask(get(asked, &token, &[])).await;
        assert_eq!(answer.said(), (200, String::new()), "{asked}");
        assert_eq!(backend.last().line(), format!("GET {heard} HTTP/1.1"), "{asked}");
    }
    let absolute = request("GET http://api.example.com/orders/7 HTTP/1.1", &token, &[]);
    assert_eq!(g.ask(absolute).await.status(), 200);
    assert_eq!(backend.last().line(), "GET /7 HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_cannot_become_another_thing() {
    let backend = Puppet::saying(OK).await;
    let g = stripping(&backend).await;
    let token = g.token("ada");
    for asked in [
        "/orders//",
        "/orders//x",
        "/orders//evil.example.com/x",
        "/orders//../x",
        "/orders/..%2f",
        "/orders/..",
        "/orders/%2e%2e/x",
        "/orders/%2fx",
        "/orders/%252fx",
        "/orders/%5cx",
        "/orders/;a/x",
        "/orders/%3fx",
        "/ORDERS/x",
        "/%6frders/x",
        "/orders%2fx",
        "//orders/x",
        "/orders;a/x",
        "/api/v1/x",
        "/files/../x",
    ] {
        let answer = g.ask(get(asked, &token, &[])).await;
        assert!(matches!(answer.status(), 400 | 404), "{asked}: {}", answer.head);
    }
    assert_eq!(g.ask(get("/ordersx", &token, &[])).await.said(), (404, "no_route".into()), "a prefix is whole segments");
    assert!(backend.heard().is_empty(), "{:?}", backend.heard());
}

/// A 401 that says that the token is no good.
fn refused() -> Misbehave {
    Misbehave::status(StatusCode::UNAUTHORIZED).with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
}

/// What a backend hears where the route says `host:` so.
async fn with_host(host: &str) -> (Message, String) {
    let backend = Puppet::saying(OK).await;
    let g = crate::kit::before(&backend.url(), &format!(", rewrite: {{ host: {host} }}"), "").await;
    assert_eq!(g.ask(get("/x", &g.token("ada"), &[])).await.status(), 200);
    (backend.last(), backend.address.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_sees_the_host_that_the_route_says() {
    let (heard, _) = with_host("preserve").await;
    assert_eq!(heard.one("host"), "api.example.com");
    let (heard, address) = with_host("upstream").await;
    assert_eq!(heard.one("host"), address);
    assert_eq!(heard.one("x-forwarded-host"), "api.example.com", "what the caller asked for is still told");
    assert!(heard.one("forwarded").contains("host=\"api.example.com\""));
    let (heard, _) = with_host("orders.internal").await;
    assert_eq!(heard.one("host"), "orders.internal");
    assert_eq!(heard.one("x-forwarded-host"), "api.example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_request_is_rewritten_once() {
    let routes = "
  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api, rewrite: { strip_prefix: /orders, host: orders.internal } }
";
    let g = World::new().await.gateway(routes, "").await;
    let token = g.token("ada");
    assert_eq!(g.get("/orders/orders/7?a=b", &token).await.status, 200);
    g.world.orders.script(refused());
    assert_eq!(g.get("/orders/orders/7?a=b", &token).await.status, 200);
    let seen = g.world.orders.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.header("host").as_slice()), ("/orders/7?a=b", &["orders.internal"][..]));
    assert_eq!(g.world.orders.requests(), 3, "the second came twice");
}
