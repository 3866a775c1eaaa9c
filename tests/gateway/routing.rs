//! Which route a request takes: by host, path, method and header, on which listener; and what is said where there is none.

use crate::kit::{Running, World, request, running, said};
use crate::wire::{Puppet, Wire, say};
use std::fmt::Write;

/// A gateway whose routes lead to backends that answer with the route's name. `routes`: names, and what stands in `match`.
async fn signposts(routes: &[(&str, &str)], more: &str) -> (Running, Vec<Puppet>) {
    let (mut text, mut backends) = (String::new(), Vec::new());
    for (name, rule) in routes {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        let backend = Puppet::start(move |_| vec![say(&answer)]).await;
        write!(text, "\n  {name}: {{ match: {{ {rule} }}, upstream: \"{}\", token: strip }}", backend.url()).unwrap();
        backends.push(backend);
    }
    (World::new().await.gateway(&text, more).await, backends)
}

/// The route that a request took, or the code that it got.
async fn taken(g: &Running, line: &str, host: &str, fields: &[&str]) -> String {
    let request = request(line, &g.token("ada"), fields).replace("api.example.com", host);
    let answer = g.ask(request).await;
    if answer.status() == 200 { answer.text() } else { answer.said().1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_route_wins_whatever_the_order() {
    let routes = [
        ("rest", ""),
        ("tenant", "path: /orders, headers: { x-tenant: acme }"),
        ("star", "hosts: [\"*.example.com\"]"),
        ("orders", "path: /orders"),
        ("posted", "path: /orders, methods: [POST]"),
        ("deeper", "path: /orders/archive"),
        ("one", "path: { exact: /orders/archive }"),
        ("named", "hosts: [api.example.com]"),
        ("below", "hosts: [\"*.deep.example.com\"]"),
    ];
    let (g, _backends) = signposts(&routes, "").await;
    let cases = [
        ("GET /", "other.org", vec![], "rest"),
        ("GET /x", "api.example.com", vec![], "named"),
        ("GET /orders", "api.example.com", vec![], "named"),
        ("GET /x", "www.example.com", vec![], "star"),
        ("GET /x", "a.deep.example.com", vec![], "below"),
        ("GET /x", "example.com", vec![], "rest"),
        ("GET /orders", "other.org", vec![], "orders"),
        ("GET /orders/", "other.org", vec![], "orders"),
        ("GET /orders/7/x", "other.org", vec![], "orders"),
        ("POST /orders/7", "other.org", vec![], "posted"),
        ("GET /orders", "other.org", vec!["X-Tenant: acme"], "tenant"),
        ("GET /orders", "other.org", vec!["X-Tenant: acmes"], "orders"),
        ("GET /orders", "other.org", vec!["X-Tenant: acme", "X-Tenant: acme"], "bad_request"),
        ("GET /orders/archive", "other.org", vec![], "one"),
        ("GET /orders/archive/", "other.org", vec![], "deeper"),
        ("GET /orders/archive/1", "other.org", vec![], "deeper"),
        ("GET /ordersx", "other.org", vec![], "rest"),
    ];
    for (what, host, fields, wanted) in cases {
        assert_eq!(taken(&g, &format!("{what} HTTP/1.1"), host, &fields).await, wanted, "{what} at {host} {fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_read_without_case_port_and_trailing_dot() {
    let (g, backends) = signposts(&[("named", "hosts: [api.example.com]"), ("six", "hosts: [\"[::1]\"]")], "").await;
    for (host, sent) in [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("api.example.com:80", "api.example.com"),
        ("api.example.com:8443", "api.example.com:8443"),
        ("Api.example.com.:1", "api.example.com:1"),
    ] {
        assert_eq!(taken(&g, "GET / HTTP/1.1", host, &[]).await, "named", "{host}");
        assert_eq!(backends[0].last().one("host"), sent, "it goes on as it was looked up, with a port that is not the scheme's own");
    }
    assert_eq!(taken(&g, "GET / HTTP/1.1", "[::1]:8080", &[]).await, "six");
    assert_eq!(taken(&g, "GET / HTTP/1.1", "other.example.com", &[]).await, "no_route");
    assert_eq!(taken(&g, "GET http://API.example.com:80/ HTTP/1.1", "other.org", &[]).await, "named", "the absolute form wins");
    assert_eq!(backends[0].last().one("host"), "api.example.com", "and replaces what Host said");
    assert_eq!(backends[0].last().line(), "GET / HTTP/1.1");
    assert_eq!(taken(&g, "GET http://api.example.com?x=1 HTTP/1.1", "api.example.com", &[]).await, "named");
    assert_eq!(backends[0].last().line(), "GET /?x=1 HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_is_404_and_the_wrong_method_405_with_allow() {
    let (g, backends) = signposts(&[("read", "path: /r, methods: [GET, HEAD]"), ("write", "path: /r, methods: [PUT]")], "").await;
    let token = g.token("ada");
    assert_eq!(g.ask(request("GET / HTTP/1.1", &token, &[])).await.said(), (404, "no_route".into()));
    let refused = g.ask(request("DELETE /r HTTP/1.1", &token, &[])).await;
    assert_eq!(refused.said(), (405, "method_not_allowed".into()));
    let mut allow: Vec<_> = refused.one("allow").split(", ").collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "PUT"]);
    assert_eq!(taken(&g, "PUT /r HTTP/1.1", "x", &["Content-Length: 0"]).await, "write");
    assert_eq!(backends[0].heard().len(), 0);
    assert_eq!(said(&g.get_without_token("/nowhere").await), (404, "no_route".into()), "before anybody asks for a token");
    assert_eq!(g.metric("cambist_rejections_total{reason=\"no_route\",route=\"unmatched\"}").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_and_trace_are_taken_by_no_route() {
    let (g, backends) = signposts(&[("all", "")], "").await;
    let token = g.token("ada");
    for line in ["CONNECT api.example.com:443 HTTP/1.1", "TRACE / HTTP/1.1"] {
        for fields in [&[][..], &["Connection: Upgrade", "Upgrade: websocket"]] {
            let refused = g.ask(request(line, &token, fields)).await;
            assert_eq!(refused.said(), (405, "method_not_allowed".into()), "{line} {fields:?}");
            assert_eq!(refused.all("allow").len(), 1, "{line}: Allow, if an empty one");
        }
    }
    assert!(backends[0].heard().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_be_for_one_listener_alone() {
    let routes = "
  inside: { match: { path: /inside }, listeners: [internal], upstream: OPEN, token: strip }
  both: { match: { path: /both }, upstream: OPEN, token: strip }
";
    let more = "listeners: { main: { address: 127.0.0.1:0 }, internal: { address: \"[::1]:0\" } }";
    let g = World::new().await.gateway(routes, more).await;
    let token = g.token("ada");
    let mut internal = Wire::open(g.gateway.listener("internal").unwrap()).await;
    assert_eq!(internal.ask(request("GET /inside HTTP/1.1", &token, &[])).await.status(), 200);
    assert_eq!(internal.ask(request("GET /both HTTP/1.1", &token, &[])).await.status(), 200);
    assert_eq!(g.ask(request("GET /inside HTTP/1.1", &token, &[])).await.said(), (404, "no_route".into()));
    assert_eq!(g.ask(request("GET /both HTTP/1.1", &token, &[])).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_never_read_for_routing_and_goes_on_as_it_is() {
    let g = running().await;
    let token = g.token("ada");
    for query in ["?path=/payroll", "?/../payroll", "?a=%2e%2e&b=%00&c=%zz&d=\\x", "?", "??", "?x=//;.."] {
        let answer = g.ask(request(&format!("GET /orders{query} HTTP/1.1"), &token, &[])).await;
        assert_eq!(answer.status(), 200, "{query}: {}", answer.text());
        assert_eq!(g.world.orders.last().unwrap().target, format!("/orders{query}"));
    }
    assert_eq!(g.ask(request("GET /?/orders HTTP/1.1", &token, &[])).await.said(), (404, "no_route".into()));
    assert_eq!(g.world.payroll.requests(), 0);
}
