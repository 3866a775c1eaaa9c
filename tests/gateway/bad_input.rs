//! What no route should ever get: malformed requests, several or broken bearers, tokens that are none or not good here. Nothing
//! of it goes upstream, and nothing of it costs the issuer a call.

use crate::kit::{Running, get, request, running};
use crate::wire::{End, Message};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cambist::demo::iam::Endpoint;
use serde_json::json;

const NO_TOKEN: &str = "Bearer realm=\"cambist\"";
const INVALID: &str = "Bearer realm=\"cambist\", error=\"invalid_token\", error_description=\"The token is expired, revoked, malformed or not meant for this gateway\"";

/// What the outside has seen: requests at each backend, and at each of the issuer's endpoints.
fn outside(g: &Running) -> [u64; 6] {
    let (w, iam) = (&g.world, &g.world.iam);
    let asked = |e| iam.requests(e);
    let issuer = [asked(Endpoint::Discovery), asked(Endpoint::Jwks), asked(Endpoint::Token)];
    [w.orders.requests(), w.payroll.requests(), w.open.requests(), issuer[0], issuer[1], issuer[2]]
}

/// The answer to `bytes`, that stayed between the caller and the gateway.
async fn kept_inside(g: &Running, bytes: impl AsRef<[u8]>) -> Message {
    let before = outside(g);
    let mut wire = g.wire().await;
    let answer = wire.ask(bytes.as_ref()).await;
    if answer.status() == 400 {
        assert_eq!(wire.ends().await, End::Closed, "a 400 ends the connection");
    }
    assert_eq!(outside(g), before, "{:?}", String::from_utf8_lossy(bytes.as_ref()));
    answer
}

fn with_authorization(value: &str) -> String {
    format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: {value}\r\n\r\n")
}

fn problem(answer: &Message, status: u16, code: &str) {
    assert_eq!(answer.said(), (status, code.to_owned()), "{}", answer.head);
    assert_eq!(answer.one("content-type"), "application/problem+json");
    assert_eq!(answer.one("cache-control"), "no-store");
    assert_eq!(answer.json()["status"], status);
    assert_eq!(answer.json()["trace_id"].as_str().map(str::len), Some(32));
    for told in ["type", "title", "detail"] {
        assert!(answer.json()[told].is_string(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bearer_the_challenge_is_bare() {
    let g = running().await;
    for value in ["Basic YTpi", "Bearerabc", "Token abc", "DPoP abc", "Negotiate", "abc", "", "bear abc", "=", "Bearer\tabc"] {
        let answer = kept_inside(&g, with_authorization(value)).await;
        problem(&answer, 401, "no_token");
        assert_eq!(answer.one("www-authenticate"), NO_TOKEN, "{value:?}");
    }
    let answer = kept_inside(&g, "GET /orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
    problem(&answer, 401, "no_token");
    assert_eq!(answer.one("www-authenticate"), NO_TOKEN);
    assert_eq!(answer.one("connection"), "", "nothing is wrong with the connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_bearer_is_400() {
    let g = running().await;
    let token = g.token("ada");
    let long = format!("Bearer {}", "a".repeat(17 * 1024));
    let (two, spaced) = (format!("Bearer {token}, Bearer {token}"), format!("Bearer {token} x"));
    let bad = ["Bearer", "bearer ", "Bearer a,b", "Bearer a b", "Bearer \"abc\"", "Bearer a=b", "Bearer =", "Bearer {}", "Bearer \u{e4}"];
    for value in bad.into_iter().chain([&*long, &*two, &*spaced]) {
        problem(&kept_inside(&g, with_authorization(value)).await, 400, "bad_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_that_is_merely_spelt_oddly_is_good() {
    let g = running().await;
    for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer   "] {
        let answer = g.ask(with_authorization(&format!("{scheme}{}", g.token("ada")))).await;
        assert_eq!(answer.status(), 200, "{scheme:?}");
        assert_eq!(g.world.orders.last().unwrap().claim("aud"), Some("orders-api"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_authorizations_are_400_wherever_they_lead() {
    let g = running().await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    for other in [
        format!("Authorization: Bearer {bob}"),
        "authorization: Basic YTpi".into(),
        "AUTHORIZATION:".into(),
        format!("Authorization: Bearer {ada}"),
    ] {
        for path in ["/orders", "/strip", "/pass", "/nowhere"] {
            problem(&kept_inside(&g, get(path, &ada, &[&other])).await, 400, "bad_request");
        }
    }
}

fn spoilt_tokens(g: &Running) -> Vec<(&'static str, String)> {
    let (iam, now) = (&g.world.iam, i64::try_from(g.world.clock.unix()).unwrap());
    let ada = || iam.caller("ada");
    let good = g.token("ada");
    let parts: Vec<&str> = good.split('.').collect();
    let encoded = |v: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
    let kid = iam.keys().kid(cambist::demo::iam::Algorithm::RS256);
    let key = encoded(json!({ "alg": "HS256", "typ": "JWT", "kid": kid }));
    let mut flipped = good.clone().into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let none = |alg: &str| format!("{}.{}.", encoded(json!({ "alg": alg, "typ": "JWT" })), parts[1]);
    vec![
        ("no JWT", "abc".into()),
        ("dots alone", "..".into()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("a JWE", format!("{good}.x.y")),
        ("no JSON", "YWJj.YWJj.YWJj".into()),
        ("padded", format!("{good}==")),
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("no alg", format!("{}.{}.{}", encoded(json!({ "typ": "JWT" })), parts[1], parts[2])),
        ("HS256", format!("{key}.{}.{}", parts[1], parts[2])),
        ("crit", format!("{}.{}.{}", encoded(json!({ "alg": "RS256", "kid": kid, "crit": ["x"] })), parts[1], parts[2])),
        ("without its signature", format!("{}.{}.", parts[0], parts[1])),
        ("another signature", String::from_utf8(flipped).unwrap()),
        ("other claims", format!("{}.{}.{}", parts[0], encoded(json!({ "sub": "root" })), parts[2])),
        ("forged", ada().forged().token().unwrap()),
        ("expired", ada().expires_in(-31).token().unwrap()),
        ("expired long ago", ada().claim("exp", json!(1)).token().unwrap()),
        ("no exp", ada().without("exp").token().unwrap()),
        ("exp is text", ada().claim("exp", json!((now + 300).to_string())).token().unwrap()),
        ("exp is null", ada().claim("exp", json!(null)).token().unwrap()),
        ("nbf to come", ada().claim("nbf", json!(now + 60)).token().unwrap()),
        ("nbf is text", ada().claim("nbf", json!("0")).token().unwrap()),
        ("another audience", ada().audience("orders-api").token().unwrap()),
        ("no audience", ada().without("aud").token().unwrap()),
        ("audience is a number", ada().claim("aud", json!(1)).token().unwrap()),
        ("audience with a blank", ada().audience("gateway ").token().unwrap()),
        ("another issuer", ada().claim("iss", json!("https://iam.example.com/realms/demo")).token().unwrap()),
        ("issuer with a slash", ada().claim("iss", json!(format!("{}/", iam.issuer()))).token().unwrap()),
        ("no issuer", ada().without("iss").token().unwrap()),
        ("no subject", ada().without("sub").token().unwrap()),
        ("bound to a key", ada().claim("cnf", json!({ "jkt": "x" })).token().unwrap()),
        ("bound to nothing", ada().claim("cnf", json!(null)).token().unwrap()),
        ("an ID token", ada().claim("typ", json!("ID")).token().unwrap()),
        ("a logout token", ada().typ(Some("logout+jwt")).token().unwrap()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_here_is_401_and_costs_the_issuer_nothing() {
    let g = running().await;
    for (what, token) in spoilt_tokens(&g) {
        for path in ["/orders", "/strip", "/pass"] {
            let answer = kept_inside(&g, get(path, &token, &[])).await;
            assert_eq!(answer.said(), (401, "invalid_token".into()), "{what} at {path}");
            problem(&answer, 401, "invalid_token");
            assert_eq!(answer.one("www-authenticate"), INVALID, "{what}: the reason is for the operator");
        }
    }
    let failures = g.gateway.failures();
    assert!(failures.iter().all(|f| !f.cause.is_empty()), "the operator is told each cause");
    assert!(failures.iter().any(|f| f.cause.contains("cnf")), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_may_differ_by_the_skew() {
    let g = running().await;
    let (iam, now) = (&g.world.iam, i64::try_from(g.world.clock.unix()).unwrap());
    for token in [iam.caller("a").claim("nbf", json!(now + 20)).token(), iam.caller("b").expires_in(-20).token()] {
        assert_eq!(g.get("/strip", &token.unwrap()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_missing_doubled_or_malformed_is_400() {
    let g = running().await;
    let token = g.token("ada");
    let send = |line: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|h| format!("{h}\r\n")).collect();
        format!("{line}\r\n{hosts}Authorization: Bearer {token}\r\n\r\n")
    };
    let origin = "GET /orders HTTP/1.1";
    let bad = [
        vec![],
        vec!["Host: a", "Host: a"],
        vec!["Host: a", "host: b"],
        vec!["Host: a", "Host:"],
        vec!["Host:"],
        vec!["Host: a b"],
        vec!["Host: a,b"],
        vec!["Host: a/b"],
        vec!["Host: http://a"],
        vec!["Host: user@a"],
        vec!["Host: user:pw@a:80"],
        vec!["Host: a:http"],
        vec!["Host: a:99999"],
        vec!["Host: a:80:80"],
        vec!["Host: a:-1"],
        vec!["Host: :80"],
        vec!["Host: a..b"],
        vec!["Host: .a"],
        vec!["Host: ."],
        vec!["Host: [::1"],
        vec!["Host: [::g]"],
        vec!["Host: ::1"],
        vec!["Host: a?b"],
        vec!["Host: a#b"],
        vec!["Host: a%2eb"],
        vec!["Host: a\\b"],
        vec!["Host: a\u{e4}b"],
    ];
    for hosts in bad {
        problem(&kept_inside(&g, send(origin, &hosts)).await, 400, "bad_request");
    }
    for (target, hosts) in [
        ("http://user@a/orders", vec!["Host: a"]),
        ("http://user:pw@a/orders", vec!["Host: user:pw@a"]),
        ("http://a:99/orders", vec![]),
        ("http://a/orders", vec!["Host: a", "Host: a"]),
        ("http://a/orders", vec!["Host: a b"]),
        ("http://a..b/orders", vec!["Host: a..b"]),
        ("ftp://a/orders", vec!["Host: a"]),
    ] {
        let answer = kept_inside(&g, send(&format!("GET {target} HTTP/1.1"), &hosts)).await;
        assert_eq!(answer.said(), (400, "bad_request".into()), "{target} {hosts:?}");
    }
    assert_eq!(g.ask(send("GET /orders HTTP/1.0", &[])).await.status(), 200, "HTTP/1.0 had no Host");
    problem(&kept_inside(&g, send("GET /orders HTTP/1.0", &["Host: a", "Host: b"])).await, 400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_doubtful_framing_is_400() {
    let g = running().await;
    let token = g.token("ada");
    let framings: [&[&str]; 19] = [
        &["Transfer-Encoding: identity"],
        &["Transfer-Encoding: gzip, chunked"],
        &["Transfer-Encoding: identity, chunked"],
        &["Transfer-Encoding: chunked, identity"],
        &["Transfer-Encoding: chunked, chunked"],
        &["Transfer-Encoding: ,chunked"],
        &["Transfer-Encoding: chunked,"],
        &["Transfer-Encoding: chunked;a=b"],
        &["Transfer-Encoding: \"chunked\""],
        &["Transfer-Encoding: xchunked"],
        &["Transfer-Encoding:"],
        &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
        &["Content-Length: 5", "Content-Length: 6"],
        &["Content-Length: 5, 5"],
        &["Content-Length: +5"],
        &["Content-Length: -5"],
        &["Content-Length: 0x5"],
        &["Content-Length: 99999999999999999999"],
    ];
    for framing in framings {
        let bytes = request("POST /orders HTTP/1.1", &token, framing) + "5\r\nhello\r\n0\r\n\r\n";
        problem(&kept_inside(&g, bytes).await, 400, "bad_request");
    }
    let old = request("POST /orders HTTP/1.0", &token, &["Transfer-Encoding: chunked"]) + "5\r\nhello\r\n0\r\n\r\n";
    problem(&kept_inside(&g, old).await, 400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_none_is_400_and_counted() {
    let g = running().await;
    let heads = [
        "hello\r\n\r\n",
        "GET /orders\r\n\r\n",
        "GET  /orders HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /orders HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /orders HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /orders HTTP/9.9\r\nHost: a\r\n\r\n",
        "GET /orders http/1.1\r\nHost: a\r\n\r\n",
        "G(T /orders HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /orders HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /orders HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /orders HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET /orders HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET /orders HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        "GET /orders HTTP/1.1\r\nHost: a\r\nX-\u{1}: x\r\n\r\n",
        "GET /orders HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "GET /orders HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    ];
    for head in heads {
        problem(&kept_inside(&g, head).await, 400, "bad_request");
    }
    g.counted("cambist_malformed_requests_total", heads.len() as f64).await;
}
