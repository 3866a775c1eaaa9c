//! Clients and servers of another house on both sides of the gateway: gRPC by grpcio, WebSocket by `websockets`. What they check stands
//! in tests/clients. Where Python or the packages of its requirements.txt are missing that is said, and a failure only with
//! `CAMBIST_REQUIRE_CLIENTS=1`; `CAMBIST_CLIENTS_PYTHON` names the Python that has them.

use crate::certs::Authority;
use crate::kit::{Running, World};
use crate::wire::Puppet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Whether what a test needs has to be there.
pub fn required() -> bool {
    std::env::var_os("CAMBIST_REQUIRE_CLIENTS").is_some_and(|v| v != "0")
}

fn python(script: &str) -> Command {
    let python = std::env::var_os("CAMBIST_CLIENTS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    // They go to loopback, whatever proxy there is.
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.stdin(Stdio::null());
    command
}

/// Whether this Python has `module`. Where it has not, that is said.
fn has(module: &str) -> bool {
    let python = std::env::var_os("CAMBIST_CLIENTS_PYTHON").unwrap_or_else(|| "python3".into());
    let tried = Command::new(python).args(["-c", &format!("import {module}")]).output();
    if tried.as_ref().is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(!required(), "no Python with {module}: pip install -r tests/clients/requirements.txt, and CAMBIST_CLIENTS_PYTHON ({tried:?})");
    eprintln!("SKIPPED: no Python with {module} (pip install -r tests/clients/requirements.txt)");
    false
}

/// A server of tests/clients, until it is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(script: &str, certificate: &[String]) -> Self {
        let mut child = python(script).args(certificate).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{script} told no port: {line:?}"));
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end, which has to be a good one.
fn run(script: &str, g: &Running, ca: Option<String>) {
    let mut command = python(script);
    command.args([g.address().to_string(), g.token("ada")]).args(ca);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (why, failures) = (String::from_utf8_lossy(&output.stderr), g.gateway.failures());
    assert!(output.status.success(), "{script}: {why}\nafter:\n{said}\nthe gateway: {failures:?}");
    assert!(said.lines().count() > 10, "it has seen nothing: {said}");
}

/// A port where nobody is.
fn nobody() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What an HTTP/1.1 backend answers that knows gRPC's messages, and trailers.
const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n\
                   7\r\n\0\0\0\0\x02hi\r\n0\r\ngrpc-status: 0\r\nx-one: 1\r\n\r\n";

async fn grpc_gateway(server: &Server, tls: Option<&Authority>) -> Running {
    let one = Puppet::saying(ONE).await;
    let (port, one, gone) = (server.port, one.url(), nobody());
    let routes = format!(
        "
  echo: {{ match: {{ path: /test.Echo }}, upstream: echo, audience: orders-api }}
  gone: {{ match: {{ path: /no.Backend }}, upstream: \"http://127.0.0.1:{gone}\", audience: orders-api }}
  ours: {{ match: {{ path: /not.Ours }}, upstream: echo, audience: payroll-api }}
  one: {{ match: {{ path: /one.Echo }}, upstream: \"{one}\", audience: orders-api }}
  wrong: {{ match: {{ path: /wrong.Protocol }}, upstream: wrong, audience: orders-api }}
"
    );
    let more = match tls {
        None => format!(
            "upstreams: {{ echo: {{ endpoints: [\"http://127.0.0.1:{port}\"], protocol: http2 }}, wrong: {{ endpoints: [\"http://127.0.0.1:{port}\"] }} }}\n"
        ),
        Some(ca) => {
            let stock = format!("endpoints: [\"https://127.0.0.1:{port}\"], tls: {{ ca_file: {}, server_name: api.test }}", ca.ca_file());
            let listener = ca.listener(&["api.test"], "", "");
            format!("{listener}upstreams: {{ echo: {{ {stock} }}, wrong: {{ {stock}, protocol: http1 }} }}\n")
        }
    };
    World::new().await.gateway(&routes, &more).await
}

fn files(ca: &Authority) -> [String; 2] {
    ["crt", "key"].map(|end| ca.file(&format!("api.test.{end}")).display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_calls_grpcio_in_clear_text() {
    if !has("grpc") {
        return;
    }
    let server = Server::start("grpc_server.py", &[]);
    let g = grpc_gateway(&server, None).await;
    run("grpc_client.py", &g, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_calls_grpcio_under_tls_on_both_sides() {
    if !has("grpc") {
        return;
    }
    let ca = Authority::new();
    ca.put("api.test", &["api.test"]);
    let server = Server::start("grpc_server.py", &files(&ca));
    let g = grpc_gateway(&server, Some(&ca)).await;
    run("grpc_client.py", &g, Some(ca.ca_file()));
}

async fn websocket_gateway(server: &Server, tls: Option<&Authority>) -> Running {
    let (port, gone) = (server.port, nobody());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let trust = tls.map_or_else(String::new, |ca| format!(", tls: {{ ca_file: {}, server_name: api.test }}", ca.ca_file()));
    let routes = format!(
        "
  ws: {{ match: {{ path: /ws }}, upstream: ws, audience: orders-api, websocket: true }}
  gone: {{ match: {{ path: /gone }}, upstream: \"http://127.0.0.1:{gone}\", audience: orders-api, websocket: true }}
"
    );
    let listener = tls.map_or_else(String::new, |ca| ca.listener(&["api.test"], "", ""));
    let more = format!("{listener}upstreams: {{ ws: {{ endpoints: [\"{scheme}://127.0.0.1:{port}\"]{trust} }} }}\n");
    World::new().await.gateway(&routes, &more).await
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_talks_to_websockets_in_clear_text() {
    if !has("websockets") {
        return;
    }
    let server = Server::start("websocket_server.py", &[]);
    let g = websocket_gateway(&server, None).await;
    run("websocket_client.py", &g, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_talks_to_websockets_under_tls_on_both_sides() {
    if !has("websockets") {
        return;
    }
    let ca = Authority::new();
    ca.put("api.test", &["api.test"]);
    let server = Server::start("websocket_server.py", &files(&ca));
    let g = websocket_gateway(&server, Some(&ca)).await;
    run("websocket_client.py", &g, Some(ca.ca_file()));
}
