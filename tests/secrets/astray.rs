//! Tokens where they do not belong: callers put them into paths, queries, cookies, headers of their own making and messages that
//! are none. Nothing of that is the gateway's to show.

use crate::raw2;
use crate::stage::Stage;
use http::Method;

pub async fn everywhere(stage: &Stage<'_>) {
    let (good, astray) = (stage.token("C4nSubject"), stage.token("C4nSubject"));
    let bearer = format!("Bearer {good}");
    let auth = ("authorization", bearer.as_str());
    let (query, cookie) = (format!("/orders?access_token={astray}"), format!("session={astray}; a=b"));
    for route in ["/strip", "/pass", "/orders", "/payroll", "/nowhere", "/dead"] {
        stage.send(Method::GET, &format!("{route}?access_token={astray}"), &[auth, ("cookie", &cookie)], "").await;
        stage.send(Method::GET, &format!("{route}/{astray}"), &[auth], "").await;
        stage.send(Method::POST, route, &[auth, ("x-access-token", &astray)], format!("access_token={astray}")).await;
    }
    for value in [format!("Token {astray}"), format!("bearer {astray} {astray}"), format!("Bearer,{astray}"), astray.clone()] {
        stage.send(Method::GET, &query, &[("authorization", &value)], "").await;
    }
    let forwarded = [auth, ("x-forwarded-access-token", astray.as_str()), ("proxy-authorization", bearer.as_str()), ("dpop", &astray)];
    stage.send(Method::GET, "/orders", &forwarded, "").await;
    stage.send(Method::POST, "/orders", &[auth, ("content-type", "application/grpc"), ("traceparent", &astray)], "").await;
    malformed(stage, &astray).await;
    raw2::over_http2(stage, &astray).await;
}

/// What hyper refuses, or the stack at first sight.
async fn malformed(stage: &Stage<'_>, astray: &str) {
    let host = "C4nHostOfTheCaller7f3a";
    stage.aviary.plant("a host that a caller made up", host);
    for (what, request) in [
        ("a broken header line", format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization Bearer {astray}\r\n\r\n")),
        ("a control byte in a header", format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {astray}\u{1}\r\n\r\n")),
        ("a bad version", format!("GET /{astray} HTTP/9.9\r\nHost: a\r\n\r\n")),
        ("a bad length", format!("POST /strip HTTP/1.1\r\nHost: a\r\nContent-Length: {astray}\r\n\r\n")),
        ("a bad coding", format!("POST /strip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {astray}\r\n\r\n")),
        (
            "a bad chunk",
            format!("POST /strip HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {astray}\r\nTransfer-Encoding: chunked\r\n\r\n{astray}\r\n"),
        ),
        ("a made-up host", format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")),
        ("a password in the target", format!("GET http://user:{astray}@a/orders HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a token for a method", format!("{astray} /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("CONNECT", format!("CONNECT {host}:443 HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a fragment", format!("GET /orders#access_token={astray} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (
            "a path with a control character",
            format!("GET /orders/%00{astray} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {astray}\r\n\r\n"),
        ),
        ("half a head", format!("GET /orders?access_token={astray} HTTP/1.1\r\nAuthorization: Bearer {astray}")),
        (
            "a half-sent body",
            format!("POST /strip HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {astray}\r\nContent-Length: 9000\r\n\r\n{astray}"),
        ),
    ] {
        stage.raw(what, request).await;
    }
}
