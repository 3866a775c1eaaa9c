//! What of a message's head ends at the gateway, what is replaced, and what goes on; and that the one token upstream is the one that
//! the gateway put in.

use crate::kit::{before, get, request, running, said};
use crate::wire::{Message, Puppet, say};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a backend hears of a request with these fields.
async fn passed_on(fields: &[&str]) -> Message {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), "", "").await;
    let token = g.token("ada");
    let answer = g.ask(get("/x", &token, fields)).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let heard = backend.last();
    assert!(!heard.head.contains(&token), "the caller's token went upstream: {}", heard.head);
    assert!(heard.one("authorization").starts_with("Bearer ey"), "{}", heard.head);
    heard
}

/// What a caller gets of an answer.
async fn passed_back(answer: &'static str, fields: &[&str]) -> Message {
    let backend = Puppet::saying(answer).await;
    let g = before(&backend.url(), "", "").await;
    g.ask(get("/x", &g.token("ada"), fields)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_fields_go_on_as_they_are() {
    let fields = [
        "X-Tenant: acme",
        "Accept: text/html, */*;q=0.1",
        "X-Twice: 1",
        "X-Twice: 2",
        "X-Empty:",
        "my_header: 1",
        "my.header: 2",
        "X-Utf8: \u{e4}",
        "User-Agent: t",
        "If-None-Match: \"a\"",
        "Range: bytes=0-1",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    let heard = passed_on(&fields).await;
    for field in fields {
        let (name, value) = field.split_once(':').unwrap();
        assert!(heard.all(name).contains(&value.trim()), "{field} is missing: {}", heard.head);
    }
    assert_eq!(heard.all("x-twice"), ["1", "2"], "in their order");
    assert_eq!(heard.one("host"), "api.example.com");
    assert_eq!(heard.line(), "GET /x HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_at_this_hop_ends_here() {
    let heard = passed_on(&[
        "Connection: keep-alive, X-Mine",
        "Connection: X-Too",
        "X-Mine: 1",
        "X-Too: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic YTpi",
        "Proxy-Authenticate: Basic",
        "TE: trailers",
        "Trailer: x-sum",
        "Upgrade: websocket",
        "Expect: 100-continue",
    ])
    .await;
    for gone in
        "connection x-mine x-too keep-alive proxy-connection proxy-authorization proxy-authenticate te trailer upgrade expect".split(' ')
    {
        assert!(heard.all(gone).is_empty(), "{gone} went on: {}", heard.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_cannot_name_away_what_the_gateway_sets() {
    let heard = passed_on(&[
        "Connection: authorization, host, x-forwarded-for, x-forwarded-host, x-forwarded-proto, forwarded, via, content-length",
        "Connection: Authorization",
        "Content-Length: 0",
    ])
    .await;
    assert_eq!(heard.one("host"), "api.example.com");
    assert_eq!(heard.one("x-forwarded-for"), "127.0.0.1");
    assert!(heard.one("via").starts_with("1.1 cambist-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_keeps_its_framing_whatever_connection_names() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), "", "").await;
    for named in ["content-length", "transfer-encoding", "cookie"] {
        let fields = [&format!("Connection: {named}"), "Content-Length: 5", "Cookie: a=b"];
        assert_eq!(g.ask(request("POST /x HTTP/1.1", &g.token("ada"), &fields) + "hello").await.status(), 200);
        assert_eq!(backend.last().text(), "hello");
    }
    assert!(backend.last().all("cookie").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_say_of_themselves_is_replaced_by_what_is_true() {
    let hearsay = [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 7.7.7.7",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Proto: https",
        "Forwarded: for=6.6.6.6;host=evil;proto=https",
    ];
    let heard = passed_on(&hearsay).await;
    assert_eq!(heard.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(heard.one("x-forwarded-host"), "api.example.com");
    assert_eq!(heard.one("x-forwarded-proto"), "http");
    assert_eq!(heard.one("forwarded"), "for=127.0.0.1;host=\"api.example.com\";proto=http");
    let names = "X-Forwarded-Port X-Forwarded-Server X-Forwarded-Prefix X-Forwarded-Uri X-Forwarded-Method X-Forwarded-User X-Forwarded-Email \
                 X-Forwarded-Groups X-Forwarded-Preferred-Username X-Forwarded-Access-Token X-Auth-Request-Access-Token X-Real-IP X-Original-URL \
                 X-Original-URI X-Original-Host X-Rewrite-URL DPoP";
    let fields: Vec<String> = names.split_whitespace().map(|n| format!("{n}: x")).collect();
    let heard = passed_on(&fields.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in names.split_whitespace() {
        assert!(heard.all(name).is_empty(), "{name} went on: {}", heard.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_what_the_gateway_owns_are_dropped() {
    let aliases = "Authorization_ authorization. _Authorization Proxy_Authorization x_forwarded_for X-Forwarded_For x.forwarded.for X_Real_IP \
                   X_Forwarded_Access_Token X_Original_URL host_ Via_ content_length transfer_encoding Transfer.Encoding proxy_connection keep_alive dpop_";
    let fields: Vec<String> = aliases.split_whitespace().map(|n| format!("{n}: Bearer stolen")).collect();
    let heard = passed_on(&fields.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(!heard.head.contains("stolen"), "{}", heard.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_authorization_field_is_ours_and_holds_the_exchanged_token() {
    let g = running().await;
    let token = g.token("ada");
    assert_eq!(g.ask(get("/orders", &token, &["X-Token: what the caller likes"])).await.status(), 200);
    let seen = g.world.orders.last().unwrap();
    assert_eq!(seen.header("authorization").len(), 1);
    assert_eq!((seen.claim("aud"), seen.header("x-token")), (Some("orders-api"), vec!["what the caller likes"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn via_is_appended_both_ways_and_a_loop_is_refused() {
    let heard = passed_on(&["Via: 1.0 fred, 1.1 p.example.net", "Via: 1.1 jane"]).await;
    let hops = heard.all("via").join(", ");
    let ours = hops.strip_prefix("1.0 fred, 1.1 p.example.net, 1.1 jane, 1.1 ").unwrap();
    assert!(ours.starts_with("cambist-"), "{hops}");
    for (line, seen) in [("HTTP/1.1 200 OK", "1.1"), ("HTTP/1.0 200 OK", "1.0")] {
        let answer: &'static str = format!("{line}\r\nVia: 1.1 back\r\nContent-Length: 0\r\n\r\n").leak();
        let back = passed_back(answer, &[]).await;
        assert_eq!(back.all("via").join(", "), format!("1.1 back, {seen} {ours}"));
    }
    for via in [format!("1.1 {ours}"), format!("1.1 a, 1.1 {ours} (a comment), 1.1 b"), format!("1.1 a,2 {ours}")] {
        let backend = Puppet::saying(OK).await;
        let g = before(&backend.url(), "", "").await;
        let refused = g.ask(get("/x", &g.token("ada"), &[&format!("Via: {via}")])).await;
        assert_eq!(refused.said(), (400, "bad_request".into()), "{via}");
        assert!(backend.heard().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_cookie_fields_become_one() {
    let heard = passed_on(&["Cookie: a=1", "Accept: x", "Cookie: b=2; c=3", "Cookie: d=\"4\""]).await;
    assert_eq!(heard.one("cookie"), "a=1; b=2; c=3; d=\"4\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_caller_is_served_and_told_apart() {
    let backend = Puppet::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let g = before(&backend.url(), "", "").await;
    let mut wire = g.wire().await;
    let answer = wire.ask(request("GET /x HTTP/1.0", &g.token("ada"), &[])).await;
    assert_eq!((answer.status(), answer.text()), (200, "ok".into()));
    assert!(answer.all("transfer-encoding").is_empty() && answer.whole, "HTTP/1.0 knows no chunks: {}", answer.head);
    assert!(backend.last().one("via").starts_with("1.0 cambist-"));
    assert_eq!(backend.last().line(), "GET /x HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answers_own_hop_ends_here_and_the_rest_passes() {
    let answer = "HTTP/1.1 418 I'm a teapot\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
                  Upgrade: h2c\r\nTrailer: x-sum\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: s\r\nX-Raw: \u{e4}\r\nContent-Length: 2\r\n\r\nok";
    let back = passed_back(answer, &[]).await;
    assert_eq!((back.status(), back.text()), (418, "ok".into()));
    for gone in ["connection", "x-hop", "keep-alive", "proxy-authenticate", "upgrade", "trailer"] {
        assert!(back.all(gone).is_empty(), "{gone} passed: {}", back.head);
    }
    assert_eq!(back.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((back.one("server"), back.one("x-raw")), ("s", "\u{e4}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_an_answer_pass_to_callers_that_asked_and_carry_no_identity() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, authorization, set-cookie, x_forwarded_for\r\n\r\n\
                          2\r\nok\r\n0\r\nX-Sum: 1\r\nAuthorization: Bearer x\r\nSet-Cookie: a=b\r\nX_Forwarded_For: 1\r\n\r\n";
    let asked = passed_back(ANSWER, &["TE: trailers", "Connection: TE"]).await;
    assert_eq!((asked.text(), asked.trailers.to_lowercase()), ("ok".into(), "x-sum: 1\n".into()), "{}", asked.head);
    let not_asked = passed_back(ANSWER, &[]).await;
    assert_eq!((not_asked.text(), &*not_asked.trailers, not_asked.whole), ("ok".into(), "", true));
    assert!(not_asked.all("trailer").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_request_are_dropped() {
    let backend = Puppet::start(|_| vec![say(OK)]).await;
    let g = before(&backend.url(), "", "").await;
    let token = g.token("ada");
    let head = request("POST /x HTTP/1.1", &token, &["Transfer-Encoding: chunked", "TE: trailers", "Trailer: authorization, x-sum"]);
    let answer = g.ask(head + "5\r\nhello\r\n0\r\nAuthorization: Bearer stolen\r\nX-Sum: 1\r\n\r\n").await;
    assert_eq!(answer.status(), 200);
    let heard = backend.last();
    assert_eq!((heard.text(), heard.whole, &*heard.trailers), ("hello".into(), true, ""));
    assert!(heard.all("trailer").is_empty() && !heard.head.contains("stolen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_100_comes_before_the_request_is_let_through() {
    let backend = Puppet::saying(OK).await;
    let g = before(&backend.url(), "", "").await;
    let fields = ["Content-Length: 5", "Expect: 100-continue"];
    let mut refused = g.wire().await;
    let answer = refused.ask(request("POST /x HTTP/1.1", &g.world.iam.caller("ada").forged().token().unwrap(), &fields)).await;
    assert_eq!(answer.said(), (401, "invalid_token".into()), "the final answer, and no 100 before it");
    refused.ends().await;
    assert!(backend.heard().is_empty());

    let mut wire = g.wire().await;
    let head = request("POST /x HTTP/1.1", &g.token("ada"), &fields);
    assert_eq!(wire.ask(head).await.status(), 100);
    assert_eq!(g.world.iam.exchanges(), 1, "let through by now");
    let answer = wire.ask("hello").await;
    assert_eq!((answer.status(), backend.last().text()), (200, "hello".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_callers_token_does_not_slip_through() {
    let g = running().await;
    let token = g.token("ada");
    let (auth, cookie) = (format!("Bearer {token}"), format!("theme=dark; access_token={token}"));
    let ask = async |path: &str, more: &[(&str, &str)]| {
        let fields: Vec<_> = [("authorization", auth.as_str())].into_iter().chain(more.iter().copied()).collect();
        said(&g.send(http::Method::GET, path, &fields, "").await)
    };
    for path in ["/orders", "/strip"] {
        for more in [("x-auth-token", token.as_str()), ("cookie", &cookie)] {
            assert_eq!(ask(path, &[more]).await, (400, "bad_request".into()), "{path} {}", more.0);
        }
        assert_eq!(ask(&format!("{path}?access_token={token}"), &[]).await, (400, "bad_request".into()));
    }
    assert_eq!((g.world.orders.requests(), g.world.open.requests(), g.world.iam.exchanges()), (0, 0, 0));
    assert_eq!(ask("/pass", &[("x-auth-token", &token)]).await.0, 200, "where the token goes on anyway, so does its copy");
}
