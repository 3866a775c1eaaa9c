//! The whole demo around a stand-in for the gateway: that the tour sees what is right, and says what is wrong.

use super::fetch::{Answer, Connection};
use super::iam::{ACCESS_TOKEN, GRANT};
use super::serve::{Body, Broken, Conn, Server, Service, full};
use super::*;
use crate::fault::Why;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Exchanges, and caches if it is told to. On its metrics port it is ready.
struct StandIn {
    ports: Ports,
    caches: bool,
    cache: Mutex<HashMap<String, String>>,
}

impl StandIn {
    async fn answer(&self, path: &str, bearer: String) -> Answer {
        let (port, audience) = match path {
            "/orders" => (self.ports.orders, "orders-api"),
            _ => (self.ports.payroll, "payroll-api"),
        };
        let cached = self.cache.lock().unwrap().get(audience).cloned().filter(|_| self.caches);
        let token = match cached {
            Some(token) => token,
            None => {
                let fields = [
                    ("grant_type", GRANT),
                    ("client_id", "gateway"),
                    ("client_secret", "only-good-in-the-demo"),
                    ("subject_token", &bearer),
                    ("subject_token_type", ACCESS_TOKEN),
                    ("audience", audience),
                ];
                let mut iam = Connection::open(ports::address(self.ports.iam)).await.unwrap();
                let answer = iam.post_form("/realms/demo/protocol/openid-connect/token", &fields, None).await.unwrap();
                if answer.status != 200 {
                    return Answer { status: StatusCode::FORBIDDEN, body: r#"{"code":"target_refused"}"#.into(), ..answer };
                }
                answer.json()["access_token"].as_str().unwrap().to_owned()
            }
        };
        self.cache.lock().unwrap().insert(audience.to_owned(), token.clone());
        Connection::open(ports::address(port)).await.unwrap().get(path, Some(&token)).await.unwrap()
    }
}

impl Service for StandIn {
    fn call(self: Arc<Self>, request: Request<Incoming>, _: Conn) -> BoxFuture<'static, Result<Response<Body>, Broken>> {
        async move {
            let path = request.uri().path().to_owned();
            if path == "/readyz" {
                return Ok(Response::new(full("ok")));
            }
            let bearer = request.headers()["authorization"].to_str().unwrap()["Bearer ".len()..].to_owned();
            let answer = self.answer(&path, bearer).await;
            let mut response = Response::new(full(answer.body));
            *response.status_mut() = answer.status;
            Ok(response)
        }
        .boxed()
    }
}

struct Stood {
    why: Option<Why>,
    _servers: [Server; 2],
}

impl Running for Stood {
    fn last_failure(&self) -> Option<Why> {
        self.why.clone()
    }
}

/// Six ports that were free a moment ago, below those that the system hands out by itself.
async fn free_ports() -> Ports {
    loop {
        let ports = Ports::from_base(rand::random_range(20_000..32_000));
        if ports.check().await.is_ok() {
            return ports;
        }
    }
}

/// Exit code, and what went to stdout (without colours) and stderr.
async fn demo(caches: bool, why: Option<Why>, once: bool) -> (ExitCode, String, String) {
    let ports = free_ports().await;
    let start = |yaml: String| async move {
        assert!(yaml.contains(&format!("url: http://127.0.0.1:{}/realms/demo", ports.iam)), "{yaml}");
        let gateway = Arc::new(StandIn { ports, caches, cache: Mutex::default() });
        let serve = |port| Server::serve(Server::bind(ports::address(port)).unwrap(), gateway.clone()).unwrap();
        let running: Box<dyn Running> = Box::new(Stood { why, _servers: [serve(ports.gateway), serve(ports.metrics)] });
        Ok(running)
    };
    let (mut out, mut err) = (anstream::StripStream::new(Vec::new()), Vec::new());
    let code = run(Options { once, ports, ..Options::default() }, start, &mut out, &mut err, std::future::ready(())).await.unwrap();
    (code, String::from_utf8(out.into_inner()).unwrap(), String::from_utf8(err).unwrap())
}

fn cured() -> Option<Why> {
    Some(Why::new("c").cure("give it a scope").words("invalid_request: Requested audience not available: payroll-api"))
}

#[tokio::test]
async fn a_good_gateway_passes_the_tour() {
    let (code, out, err) = demo(true, cured(), true).await;
    assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""), "{out}");
    for line in [
        "  aud   gateway     orders-api",
        "  azp   demo-app    gateway",
        "GET /orders   200  exchanged, ",
        "GET /orders   200  from cache, ",
        "GET /payroll  403  IAM: Requested audience not available: payroll-api",
        "fix: give it a scope",
        "docs/errors.md#target_refused",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert!(!out.contains("curl") && !out.contains('\x1b'), "{out}");
}

#[tokio::test]
async fn it_stays_up_and_says_what_to_try() {
    let (code, out, err) = demo(true, cured(), false).await;
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(out.contains("curl -H \"Authorization: Bearer $(") && err.contains("Ctrl-C"), "{out}{err}");
}

#[tokio::test]
async fn a_gateway_that_does_not_cache_or_explain_fails_it() {
    let (code, _, err) = demo(false, None, true).await;
    assert_eq!(code, ExitCode::FAILURE);
    for complaint in ["should come from the cache; exchanges so far: 10", "should find the IAM's words", "should find the cure"] {
        assert!(err.contains(complaint), "{err}");
    }
}
