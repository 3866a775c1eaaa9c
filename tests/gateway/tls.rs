//! TLS on listeners: which certificate answers whom, whose certificates are wanted, what is spoken, and files that change.

use crate::certs::{Authority, Caller};
use crate::kit::{ROUTES, Running, World, until};
use crate::wire::patiently;
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn started(authority: &Authority, names: &[&str], more: &str) -> Running {
    World::new().await.gateway(ROUTES, &authority.listener(names, more, "")).await
}

/// An authority with `names` certificates, each for the name it is put under.
fn authority(names: &[&str]) -> Authority {
    let authority = Authority::new();
    for name in names {
        authority.put(name, &[name, &format!("*.{name}")]);
    }
    authority
}

async fn gone(g: &Running) {
    g.counted("cambist_http_requests_in_flight{listener=\"main\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let ca = Authority::new();
    let first = ca.put("first", &["first.test", "127.0.0.1"]).certificate;
    let wild = ca.put("wild", &["*.shop.test"]).certificate;
    let exact = ca.put("exact", &["api.shop.test", "shop.test"]).certificate;
    let g = started(&ca, &["first", "wild", "exact"], "").await;
    for (name, wanted) in [
        ("first.test", &first),
        ("127.0.0.1", &first),
        ("www.shop.test", &wild),
        ("WWW.SHOP.TEST", &wild),
        ("api.shop.test", &exact),
        ("shop.test", &exact),
    ] {
        let sealed = ca.caller().connect(g.address(), name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(sealed.shown(), *wanted, "{name}");
        assert_eq!(sealed.get(name, "/orders", &g.token("ada")).await.unwrap().0, 200, "{name}");
    }
    assert!(ca.caller().connect(g.address(), "unheard.of").await.is_err(), "the first is shown, and it is for another name");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_on_is_spoken() {
    let ca = authority(&["api.test"]);
    let g = started(&ca, &["api.test"], "").await;
    let token = g.token("ada");
    let connect = |alpn: &'static [&'static str]| {
        let caller = ca.caller().speaking(alpn);
        let at = g.address();
        async move { caller.connect(at, "api.test").await.unwrap() }
    };
    let both = connect(&["http/1.1", "h2"]).await;
    assert_eq!(both.agreed(), Some(&b"h2"[..]), "the better of two");
    assert_eq!(both.get2("api.test", "/orders", &token).await.unwrap().0, 200);
    let one = connect(&["http/1.1"]).await;
    assert_eq!(one.agreed(), Some(&b"http/1.1"[..]));
    assert_eq!(one.get("api.test", "/orders", &token).await.unwrap().0, 200);
    let none = connect(&[]).await;
    assert_eq!(none.agreed(), None);
    assert_eq!(none.get("api.test", "/orders", &token).await.unwrap().0, 200);
    assert!(ca.caller().speaking(&["spdy/3"]).connect(g.address(), "api.test").await.is_err());

    // Neither is taken for the other, whatever was agreed.
    let mut bent = connect(&["h2"]).await.0;
    bent.write_all(b"GET /orders HTTP/1.1\r\nHost: api.test\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = patiently("the end", bent.read_to_end(&mut heard)).await;
    assert!(!heard.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&heard));
    let mut bent = connect(&["http/1.1"]).await.0;
    bent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = patiently("the end", bent.read_to_end(&mut heard)).await;
    assert!(heard.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&heard));
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_text_and_tls_are_not_mistaken_for_each_other() {
    let ca = authority(&["api.test"]);
    let g = started(&ca, &["api.test"], "").await;
    let mut wire = g.wire().await;
    wire.send("GET /orders HTTP/1.1\r\nHost: api.test\r\n\r\n").await;
    let mut heard = Vec::new();
    let _ = patiently("the end", wire.stream.read_to_end(&mut heard)).await;
    assert!(!heard.starts_with(b"HTTP/"), "a TLS alert or nothing: {}", String::from_utf8_lossy(&heard));
    g.counted("cambist_connections_refused_total{listener=\"main\",reason=\"tls_handshake\"}", 1.0).await;
    assert_eq!(
        ca.caller().connect(g.address(), "api.test").await.unwrap().get("api.test", "/orders", &g.token("ada")).await.unwrap().0,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_certificate_is_misdirected() {
    let ca = authority(&["one.test", "two.test"]);
    let g = started(&ca, &["one.test", "two.test"], "").await;
    let token = g.token("ada");
    let said = |(status, body): (u16, serde_json::Value)| (status, body["code"].as_str().unwrap_or_default().to_owned());
    let connect = |name: &'static str| {
        let (caller, at) = (ca.caller().speaking(&["h2", "http/1.1"]), g.address());
        async move { caller.connect(at, name).await.unwrap() }
    };
    for (asked, host, status) in [
        ("one.test", "one.test", 200),
        ("one.test", "a.one.test:8443", 200),
        ("one.test", "unheard.of", 200),
        ("one.test", "two.test", 421),
        ("one.test", "TWO.test.", 421),
        ("one.test", "x.two.test", 421),
        ("two.test", "one.test", 421),
        ("two.test", "unheard.of", 421),
        ("two.test", "b.two.test", 200),
    ] {
        let answer = said(connect(asked).await.get2(host, "/orders", &token).await.unwrap());
        let code = if status == 421 { "misdirected" } else { "" };
        assert_eq!(answer, (status, code.to_owned()), "{asked} was asked for, and {host} meant");
    }
    let caller = ca.caller();
    let answer = caller.connect(g.address(), "one.test").await.unwrap().get("two.test", "/orders", &token).await.unwrap();
    assert_eq!(said(answer), (421, "misdirected".into()), "over HTTP/1.1, too");
    assert_eq!(g.metric("cambist_rejections_total{reason=\"misdirected\",route=\"unmatched\"}").await, 6.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_hears_that_the_caller_came_in_over_https() {
    let ca = authority(&["api.test"]);
    let g = started(&ca, &["api.test"], "").await;
    let sealed = ca.caller().connect(g.address(), "api.test").await.unwrap();
    let (_, seen) = sealed.get("api.test", "/orders", &g.token("ada")).await.unwrap();
    let text = seen.to_string();
    assert!(text.contains(r#"["x-forwarded-proto","https"]"#) && text.contains(";proto=https\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_head_guard_refuses_is_answered_under_tls_too() {
    let ca = authority(&["api.test"]);
    let g = started(&ca, &["api.test"], "").await;
    for bad in [
        "GET /orders HTTP/1.1\nHost: api.test\n\n",
        "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut sealed = ca.caller().connect(g.address(), "api.test").await.unwrap().0;
        sealed.write_all(bad.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        patiently("the end", sealed.read_to_end(&mut heard)).await.expect("a clean end of TLS: nothing was cut off");
        let text = String::from_utf8(heard).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("\"code\":\"bad_request\"") && text.ends_with('}'), "{text}");
    }
    assert_eq!(g.metric("cambist_malformed_requests_total").await, 2.0);
}

/// Whether a request is answered: a caller whose certificate is refused learns of it only after the handshake (TLS 1.3).
async fn let_in(g: &Running, caller: &Caller) -> bool {
    let token = g.token("ada");
    match caller.connect(g.address(), "api.test").await {
        Ok(sealed) => sealed.get("api.test", "/orders", &token).await.is_ok_and(|(status, _)| status == 200),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_show_certificates_where_they_must() {
    let (ca, strangers) = (authority(&["api.test"]), Authority::new());
    let (known, unknown) = (ca.leaf(&["client.test"]), strangers.leaf(&["client.test"]));
    for (more, without) in [("", false), (", client_certificate: required", false), (", client_certificate: optional", true)] {
        let g = started(&ca, &["api.test"], &format!(", client_ca_file: {}{more}", ca.ca_file())).await;
        assert!(let_in(&g, &ca.caller().showing(&known)).await, "{more}");
        assert!(!let_in(&g, &ca.caller().showing(&unknown)).await, "{more}: a certificate of strangers is worse than none");
        assert_eq!(let_in(&g, &ca.caller()).await, without, "{more}");
        let refused = if without { 1.0 } else { 2.0 };
        g.counted("cambist_connections_refused_total{listener=\"main\",reason=\"tls_handshake\"}", refused).await;
    }
    let g = started(&ca, &["api.test"], "").await;
    assert!(let_in(&g, &ca.caller().showing(&unknown)).await, "nobody asks for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_version_is_1_2_or_as_written() {
    let ca = authority(&["api.test"]);
    static OLD: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    let old = OLD;
    let g = started(&ca, &["api.test"], "").await;
    assert!(let_in(&g, &ca.caller().only(old)).await && let_in(&g, &ca.caller()).await);
    let g = started(&ca, &["api.test"], ", min_version: \"1.3\"").await;
    assert!(!let_in(&g, &ca.caller().only(old)).await && let_in(&g, &ca.caller()).await);
}

/// Time for the files to be looked at.
async fn looked(g: &Running) {
    g.turn(Duration::from_secs(11)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_hold_for_new_connections_and_broken_ones_change_nothing() {
    let ca = Authority::new();
    ca.put_leaf("other", ca.leaf_until(&["other.test"], 2090));
    let old = ca.put_leaf("api.test", ca.leaf_until(&["api.test"], 2080)).certificate;
    let g = started(&ca, &["other", "api.test"], "").await;
    let expiry = "cambist_tls_certificate_expiry_timestamp_seconds{listener=\"main\"}";
    let year = |y: f64| ((y - 1970.0) * 365.2425 * 86_400.0, 2.0 * 86_400.0);
    let expires = |at: f64, y: f64| (at - year(y).0).abs() < year(y).1;
    assert!(expires(g.metric(expiry).await, 2080.0), "the first that is over");
    let caller = ca.caller();
    let mut before = caller.connect(g.address(), "api.test").await.unwrap().http1().await;
    let token = g.token("ada");
    let request = || {
        let request = http::Request::get("/orders").header("host", "api.test").header("authorization", format!("Bearer {token}"));
        request.body(http_body_util::Full::<bytes::Bytes>::default()).unwrap()
    };
    assert_eq!(before.send_request(request()).await.unwrap().status(), 200);

    fs::write(ca.file("api.test.key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    looked(&g).await;
    assert_eq!(caller.connect(g.address(), "api.test").await.unwrap().shown(), old);
    fs::remove_file(ca.file("api.test.crt")).unwrap();
    looked(&g).await;
    assert_eq!(caller.connect(g.address(), "api.test").await.unwrap().shown(), old);
    assert!(expires(g.metric(expiry).await, 2080.0));

    let new = ca.put_leaf("api.test", ca.leaf_until(&["api.test"], 2085)).certificate;
    looked(&g).await;
    let mut shown = caller.connect(g.address(), "api.test").await.unwrap().shown();
    for _ in 0..50 {
        if shown == new {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        shown = caller.connect(g.address(), "api.test").await.unwrap().shown();
    }
    assert_eq!(shown, new);
    assert!(expires(g.metric(expiry).await, 2085.0));
    before.ready().await.unwrap();
    assert_eq!(before.send_request(request()).await.unwrap().status(), 200, "who was in before goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_of_callers_may_change_too_and_a_broken_pair_keeps_it_from_nothing() {
    let (ca, next) = (authority(&["api.test"]), Authority::new());
    let (old, new) = (ca.leaf(&["client.test"]), next.leaf(&["client.test"]));
    let g = started(&ca, &["api.test"], &format!(", client_ca_file: {}", next.ca_file())).await;
    assert!(let_in(&g, &ca.caller().showing(&new)).await && !let_in(&g, &ca.caller().showing(&old)).await);
    fs::write(ca.file("api.test.key"), "half of a new pair").unwrap();
    fs::copy(ca.ca_file(), next.ca_file()).unwrap();
    looked(&g).await;
    let mut changed = false;
    for _ in 0..50 {
        changed = let_in(&g, &ca.caller().showing(&old)).await;
        if changed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(changed && !let_in(&g, &ca.caller().showing(&new)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_certificates_each_is_renewed_by_itself() {
    let ca = authority(&["one.test", "two.test", "three.test"]);
    let g = started(&ca, &["one.test", "two.test", "three.test"], "").await;
    let caller = ca.caller();
    let shown = async |name: &str| caller.connect(g.address(), name).await.unwrap().shown();
    let old = [shown("one.test").await, shown("two.test").await];
    fs::remove_file(ca.file("one.test.crt")).unwrap();
    let new = ["two.test", "three.test"].map(|name| ca.put_leaf(name, ca.leaf_until(&[name], 2085)).certificate);
    looked(&g).await;
    for _ in 0..50 {
        if shown("three.test").await == new[1] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        [shown("one.test").await, shown("two.test").await, shown("three.test").await],
        [old[0].clone(), new[0].clone(), new[1].clone()]
    );
    assert_ne!(old[1], new[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_as_long_as_a_head_and_no_longer() {
    let ca = authority(&["api.test"]);
    let g = started(&ca, &["api.test"], "").await;
    let (mut silent, mut begun, mut drips) = (g.wire().await, g.wire().await, g.wire().await);
    begun.send([22, 3, 1, 2, 0, 1, 0]).await;
    let shaken = ca.caller().connect(g.address(), "api.test").await.unwrap();
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    for byte in &hello[..3] {
        drips.send([*byte]).await;
        g.turn(Duration::from_secs(2)).await;
    }
    let (_, body) = shaken.get("api.test", "/orders", &g.token("ada")).await.expect("it has time left");
    assert!(body["token"].is_object());
    g.turn(Duration::from_secs(5)).await;
    for wire in [&mut silent, &mut begun, &mut drips] {
        wire.ends().await;
    }
    gone(&g).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_loses_nothing_under_tls() {
    let ca = authority(&["api.test"]);
    let g = started(&ca, &["api.test"], "").await;
    let token = g.token("ada");
    let idle = ca.caller().connect(g.address(), "api.test").await.unwrap();
    let (held, at) = (ca.caller().connect(g.address(), "api.test").await.unwrap(), g.address());
    assert_eq!(held.get("api.test", "/orders", &token).await.unwrap().0, 200);
    let cut = patiently("the drain", g.gateway.end(Duration::ZERO, Duration::from_secs(5))).await;
    assert_eq!(cut, 0);
    drop(idle);
    until("nobody listens any more", || std::net::TcpStream::connect(at).is_err()).await;
}
