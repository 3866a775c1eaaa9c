//! curl, as people have it: over TLS, with a certificate, behind a load balancer. Where it is not installed, that is said and
//! nothing is tested; with `CAMBIST_REQUIRE_CLIENTS=1` that is a failure.

use crate::certs::Authority;
use crate::kit::{ROUTES, World};
use std::net::SocketAddr;
use std::process::Command;

/// What curl of this machine says of itself; `None`, with a word, where there is none.
fn curl() -> Option<String> {
    match Command::new("curl").arg("--version").output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(_) => {
            assert!(!crate::real_python::required(), "curl is not installed");
            eprintln!("SKIPPED: curl is not installed");
            None
        }
    }
}

/// Status and HTTP version, and the body.
fn get(at: SocketAddr, url: &str, token: &str, more: &[&str]) -> (String, serde_json::Value) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--write-out", "\n%{http_code} %{http_version}"]);
    command.args(["--resolve", &format!("api.test:{}:127.0.0.1", at.port()), "--header", &format!("Authorization: Bearer {token}")]);
    let output = command.args(more).arg(url).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, said) = text.rsplit_once('\n').unwrap();
    (said.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_both_versions_in_clear_text_and_under_tls() {
    let Some(about) = curl() else { return };
    let ca = Authority::new();
    ca.put("api.test", &["api.test"]);
    let listeners = ca.listener(&["api.test"], "", "").replace("} }\n", "}, plain: { address: 127.0.0.1:0 } }\n");
    let g = World::new().await.gateway(ROUTES, &listeners).await;
    let (sealed, plain) = (g.address(), g.gateway.listener("plain").unwrap());
    let (token, trusted) = (g.token("ada"), ca.ca_file());
    let secure = format!("https://api.test:{}/orders", sealed.port());
    let clear = format!("http://api.test:{}/orders", plain.port());
    assert_eq!(get(sealed, &secure, &token, &["--cacert", &trusted, "--http1.1"]).0, "200 1.1");
    assert_eq!(get(plain, &clear, &token, &[]).0, "200 1.1");
    assert_eq!(get(sealed, &secure, &token, &["--http1.1"]).0, "000 0", "it does not trust us");
    if about.contains("HTTP2") {
        assert_eq!(get(sealed, &secure, &token, &["--cacert", &trusted, "--http2"]).0, "200 2");
        assert_eq!(get(plain, &clear, &token, &["--http2-prior-knowledge"]).0, "200 2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_its_certificate() {
    let Some(_) = curl() else { return };
    let ca = Authority::new();
    ca.put("api.test", &["api.test"]);
    ca.put("client", &["client.test"]);
    let g = World::new().await.gateway(ROUTES, &ca.listener(&["api.test"], &format!(", client_ca_file: {}", ca.ca_file()), "")).await;
    let (token, trusted) = (g.token("ada"), ca.ca_file());
    let url = format!("https://api.test:{}/orders", g.address().port());
    let (cert, key) = (ca.file("client.crt").display().to_string(), ca.file("client.key").display().to_string());
    assert_eq!(get(g.address(), &url, &token, &["--cacert", &trusted, "--http1.1", "--cert", &cert, "--key", &key]).0, "200 1.1");
    assert!(!get(g.address(), &url, &token, &["--cacert", &trusted, "--http1.1"]).0.starts_with("200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_plays_the_load_balancer() {
    let Some(_) = curl() else { return };
    let listeners = "listeners: { main: { address: 127.0.0.1:0, proxy_protocol: true, trusted_proxies: [127.0.0.1] } }\n";
    let g = World::new().await.gateway(ROUTES, listeners).await;
    let url = format!("http://api.test:{}/orders", g.address().port());
    let (said, seen) = get(g.address(), &url, &g.token("ada"), &["--haproxy-protocol"]);
    assert_eq!(said, "200 1.1", "{seen}");
    assert!(!get(g.address(), &url, &g.token("ada"), &[]).0.starts_with("200"));
}
