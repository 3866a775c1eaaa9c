//! Who may do what on the admin listener: looking is free for whoever names it rightly, anything else takes the admin token, and
//! no other site's page may ask for either.

use crate::kit::{ROUTES, Running, World};
use cambist::demo::fetch::Answer;
use cambist::demo::fetch::Connection;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

const TOKEN: &str = "0f-the.admin~token_of+this/test==";

async fn with(admin: &str) -> Running {
    World::new().await.gateway(ROUTES, &format!("admin: {{ address: 127.0.0.1:0, {admin} }}")).await
}

async fn send(r: &Running, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let mut connection = Connection::open(r.gateway.admin_address().unwrap()).await.unwrap();
    connection.send(method, path, map, "".into()).await.unwrap()
}

/// The status and the text.
async fn told(r: &Running, method: Method, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = send(r, method, path, headers).await;
    (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_in_the_configuration_nothing_can_be_done_and_the_answer_says_how() {
    let r = with("hosts: [localhost]").await;
    for authorization in [&[][..], &[("authorization", "Bearer any")]] {
        let (status, text) = told(&r, Method::DELETE, "/v1/tokens?all", authorization).await;
        assert_eq!(status, 403);
        assert!(text.contains("admin: { token: { file: ") && text.contains("Authorization: Bearer"), "{text}");
    }
    assert_eq!(told(&r, Method::GET, "/v1/status", &[]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_something_takes_the_token() {
    let r = with(&format!("token: \"{TOKEN}\"")).await;
    let right = format!("Bearer {TOKEN}");
    let short = &right[..right.len() - 3];
    for wrong in [&[][..], &[("authorization", short)], &[("authorization", &right), ("authorization", &right)], &[("x-token", TOKEN)]] {
        for (method, path) in [(Method::DELETE, "/v1/tokens?all"), (Method::POST, "/v1/nothing"), (Method::OPTIONS, "/v1/tokens")] {
            let answer = send(&r, method, path, wrong).await;
            assert_eq!(answer.status, 401, "{wrong:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"cambist admin\"");
            assert_eq!(answer.headers["cache-control"], "no-store");
            assert!(!String::from_utf8_lossy(&answer.body).contains(TOKEN));
        }
    }
    let right = [("authorization", right.as_str())];
    assert_eq!(told(&r, Method::DELETE, "/v1/tokens?all", &right).await, (200, r#"{"held":0,"under_way":0}"#.to_owned()));
    assert_eq!(told(&r, Method::POST, "/v1/nothing", &right).await.0, 404);
    for (path, method, allow) in [("/v1/tokens", Method::POST, "DELETE"), ("/v1/status", Method::DELETE, "GET, HEAD")] {
        let answer = send(&r, method, path, &right).await;
        assert_eq!((answer.status.as_u16(), answer.headers["allow"].to_str().unwrap()), (405, allow));
    }
    // To look takes none, and a wrong one is no harm.
    assert_eq!(told(&r, Method::GET, "/v1/status", &[("authorization", "Bearer wrong")]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_file_is_changed_while_the_gateway_runs() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "the-first\n").unwrap();
    let r = with(&format!("token: {{ file: {} }}", file.path().display())).await;
    let may = async |token: &str| send(&r, Method::DELETE, "/v1/tokens?all", &[("authorization", &format!("Bearer {token}"))]).await.status;
    assert_eq!((may("the-first").await.as_u16(), may("the-second").await.as_u16()), (200, 401));
    std::fs::write(&file, "the-second\n").unwrap();
    assert_eq!((may("the-first").await.as_u16(), may("the-second").await.as_u16()), (401, 200));
    std::fs::write(&file, "").unwrap();
    assert_eq!(may("the-second").await, 200, "what was good stays in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_and_the_pages_of_other_sites_are_refused_with_the_token_too() {
    let r = with(&format!("token: \"{TOKEN}\", hosts: [cambist.internal]")).await;
    let (at, bearer) = (r.gateway.admin_address().unwrap(), format!("Bearer {TOKEN}"));
    let ask = async |line: &str, host: &str, more: &str| {
        let mut wire = crate::wire::Wire::open(at).await;
        wire.ask(format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\n{more}\r\n")).await.status()
    };
    for line in ["GET /v1/status", "DELETE /v1/tokens?all"] {
        assert_eq!(ask(line, "cambist.internal:9901", "").await, 200, "{line}");
        assert_eq!(ask(line, &at.to_string(), "").await, 200, "{line}");
        for host in ["localhost", "evil.example", "cambist.internal.evil.example"] {
            assert_eq!(ask(line, host, "").await, 421, "{line} {host}");
        }
        assert_eq!(ask(line, "cambist.internal", "Host: cambist.internal\r\n").await, 421, "two are none");
        assert_eq!(ask(line, "cambist.internal", "Origin: http://cambist.internal\r\n").await, 200, "a page of its own");
        for origin in
            ["http://evil.example", "null", "http://cambist.internal:3000", "http://cambist.internal\r\nOrigin: http://evil.example"]
        {
            assert_eq!(ask(line, "cambist.internal", &format!("Origin: {origin}\r\n")).await, 403, "{line} {origin}");
        }
    }
    let absolute = format!("GET http://{at}/v1/status");
    assert_eq!((ask(&absolute, &at.to_string(), "").await, ask(&absolute, "evil.example", "").await), (200, 421));
}
