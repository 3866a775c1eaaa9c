//! Every row of the fault table that can come about, brought about over sockets: by callers, by the IAM, by backends, by too much
//! of something, and by the end.

use crate::canary::Aviary;
use crate::stage::{Given, Stage};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::{Method, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Returns the codes that came.
pub async fn drive(aviary: &Aviary) -> BTreeSet<String> {
    let stage = Stage::with(
        aviary,
        Given::Inline,
        "limits: { max_in_flight: 2, uri_bytes: 1KiB, header_bytes: 8KiB }\n\
        listeners: { main: { address: 127.0.0.1:0 }, egress: { address: 127.0.0.1:0, mode: outbound, unmatched: strip } }",
    )
    .await;
    let mut codes = BTreeSet::new();
    assert_eq!(stage.get("/orders", &stage.token("C4nSubject")).await.0, 200);
    assert_eq!(stage.get("/pass", &stage.token("C4nSubject")).await.0, 200);
    codes.extend(of_callers(&stage).await);
    codes.insert(of_the_proxy(&stage).await);
    codes.extend(of_the_iam(&stage).await);
    codes.extend(of_backends(&stage).await);
    codes.insert(of_too_much(&stage).await);
    stage.look_around().await;
    // The last moments are short, and a busy machine may sleep through them: three gateways may try.
    let mut told = of_the_end(stage).await;
    for _ in 0..2 {
        told = told || of_the_end(Stage::new(aviary, Given::Inline).await).await;
    }
    assert!(told, "nobody was told that the gateway is shutting down");
    codes.insert("draining".to_owned());
    codes
}

async fn of_callers(stage: &Stage<'_>) -> Vec<String> {
    let (iam, good) = (&stage.running.world.iam, stage.token("C4nSubject"));
    assert_eq!(stage.get("/seldom", &good).await.0, 200);
    let bearer = format!("Bearer {good}");
    let auth = [("authorization", bearer.as_str())];
    let long = format!("/orders?{}", "x".repeat(2000));
    let many = "x".repeat(9000);
    let mut codes = Vec::new();
    for (method, path, headers, body, wanted) in [
        (Method::GET, "/orders", vec![auth[0], auth[0]], 0, "bad_request"),
        (Method::GET, "/orders", vec![("authorization", "Basic QzRuQmFzaWNPZlRoZUNhbGxlcjdmM2E6eA==")], 0, "no_token"),
        (Method::GET, "/nowhere", vec![auth[0]], 0, "no_route"),
        (Method::GET, "/posts", vec![auth[0]], 0, "method_not_allowed"),
        (Method::GET, "/own", vec![auth[0]], 0, "login_client"),
        (Method::GET, "/payroll", vec![auth[0]], 0, "target_refused"),
        (Method::POST, "/small", vec![auth[0]], 2000, "body_too_large"),
        (Method::GET, &long, vec![auth[0]], 0, "uri_too_long"),
        (Method::GET, "/seldom", vec![auth[0]], 0, "rate_limited"),
        (Method::GET, "/orders", vec![auth[0], ("x-much", &many)], 0, "headers_too_large"),
    ] {
        let (_, code) = stage.send(method, path, &headers, vec![b'x'; body]).await;
        assert_eq!(code, wanted);
        codes.push(code);
    }
    stage.aviary.plant("a caller's Basic credentials", "C4nBasicOfTheCaller7f3a");
    for token in [
        iam.caller("C4nSubject").expires_in(-100),
        iam.caller("C4nSubject").forged(),
        iam.caller("C4nSubject").kid("C4nKidOfNobody"),
        iam.caller("C4nSubject").audience("somebody-else"),
        iam.caller("C4nSubject").claim("iss", "https://other.example".into()),
    ] {
        let (_, code) = stage.get("/orders", &stage.planted(token)).await;
        assert_eq!(code, "invalid_token");
        codes.push(code);
    }
    codes
}

/// A token for a host, for a password, and where tokens belong.
async fn of_the_proxy(stage: &Stage<'_>) -> String {
    let token = "C4nTokenForAHost7f3a";
    stage.aviary.plant("a token for a host", token);
    let mut code = String::new();
    for line in [format!("GET http://{token}.invalid/"), format!("CONNECT {token}@{token}:443"), "CONNECT a:443".to_owned()] {
        let mut caller = TcpStream::connect(stage.running.gateway.listener("egress").unwrap()).await.unwrap();
        let asked = format!("{line} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        caller.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        stage.aviary.saw("a proxy's answer", answer.clone());
        let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap_or_default();
        code = body["code"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(code, "no_tunnel");
    code
}

async fn of_the_iam(stage: &Stage<'_>) -> Vec<String> {
    let iam = &stage.running.world.iam;
    let mut codes = Vec::new();
    let refusal = |status: u16, error, words| Misbehave::refusal(StatusCode::from_u16(status).unwrap(), error, words);
    for (misbehave, wanted) in [
        (refusal(400, "invalid_request", "Invalid token"), "invalid_token"),
        (refusal(401, "unauthorized_client", "Invalid client or Invalid client credentials"), "misconfigured"),
        (refusal(400, "unsupported_grant_type", "Unsupported grant_type"), "misconfigured"),
        (refusal(500, "server_error", "Internal"), "bad_issuer_answer"),
        (Misbehave::status(StatusCode::SERVICE_UNAVAILABLE), "issuer_unavailable"),
        (Misbehave::Hang, "issuer_timeout"),
    ] {
        iam.script(Endpoint::Token, misbehave);
        let (_, code) = stage.get("/orders", &stage.token("C4nSubject")).await;
        assert_eq!(code, wanted);
        if wanted == "misconfigured" {
            // Remembered for a while, and for everybody.
            stage.running.turn(Duration::from_secs(11)).await;
        }
        codes.push(code);
    }
    iam.down().await;
    let (_, code) = stage.get("/orders", &stage.token("C4nSubject")).await;
    assert_eq!(code, "issuer_unavailable");
    iam.up().unwrap();
    codes
}

async fn of_backends(stage: &Stage<'_>) -> Vec<String> {
    let (orders, token) = (&stage.running.world.orders, stage.token("C4nSubject"));
    let mut codes = vec![stage.get("/dead", &token).await.1, stage.get("/tls", &token).await.1];
    assert_eq!(codes, ["upstream_unreachable", "upstream_unreachable"]);
    orders.script(Misbehave::Reset);
    // What changes something is not sent a second time.
    codes.push(stage.send(Method::POST, "/orders", &[("authorization", &format!("Bearer {token}"))], "").await.1);
    orders.script(Misbehave::Hang);
    let before = orders.requests();
    let (answer, ()) = tokio::join!(stage.get("/orders", &token), async {
        while orders.requests() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.running.turn(Duration::from_secs(31)).await;
    });
    codes.push(answer.1);
    assert_eq!(codes[2..], ["upstream_error", "upstream_timeout"]);
    codes
}

/// Two requests wait at a gate, and a third is one too many.
async fn of_too_much(stage: &Stage<'_>) -> String {
    let (open, token, gate) = (&stage.running.world.open, stage.token("C4nSubject"), Gate::new());
    open.script(Misbehave::Delay(gate.clone()));
    open.script(Misbehave::Delay(gate.clone()));
    let third = async {
        gate.reached(2).await;
        let (_, code) = stage.get("/strip", &token).await;
        gate.open();
        code
    };
    let (one, two, code) = tokio::join!(stage.get("/strip", &token), stage.get("/strip", &token), third);
    assert_eq!((one.0, two.0, code.as_str()), (200, 200, "overloaded"));
    code
}

/// A drain that nears its end tells whoever still comes to go elsewhere. Callers who were accepted before, and had begun to
/// speak, finish their requests one after another until one of them hears it.
async fn of_the_end(stage: Stage<'_>) -> bool {
    let token = stage.token("C4nSubject");
    let head = format!("GET /strip HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    let mut callers = Vec::new();
    for _ in 0..150 {
        let mut caller = TcpStream::connect(stage.running.address()).await.unwrap();
        caller.write_all(head.as_bytes()).await.unwrap();
        callers.push(caller);
    }
    let (aviary, running) = (stage.aviary, Arc::new(stage.running));
    let ending = running.clone();
    let end = tokio::spawn(async move { ending.gateway.end(Duration::ZERO, Duration::from_secs(4)).await });
    for mut caller in callers {
        let mut answer = String::new();
        if caller.write_all(b"\r\n").await.is_err() || caller.read_to_string(&mut answer).await.is_err() {
            break;
        }
        aviary.saw("the answer to a request near the end", answer.clone());
        if answer.contains("\"draining\"") {
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            end.abort();
            return true;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    false
}
