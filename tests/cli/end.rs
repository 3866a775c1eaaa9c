//! The end, by a signal: readiness fails first, the delay passes with everything still served, what is under way finishes, and only
//! then the program ends. Nobody's request is lost.

use crate::kit::{ROUTES, World};
use crate::program::{Program, get, get_as};
use cambist::demo::misbehave::{Gate, Misbehave};
use http::StatusCode;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What became of one request of a keep-alive client.
#[derive(Debug, PartialEq)]
enum Sent {
    Answered,
    /// Answered, and told that the connection ends with it.
    Last,
    /// Not a byte came back: the connection was closed between two requests.
    Unheard,
    /// Some came back, but not all.
    Broken(String),
}

/// A client without cleverness: it writes a request and reads its answer, byte for byte.
async fn ask(socket: &mut TcpStream, request: &str) -> Sent {
    if socket.write_all(request.as_bytes()).await.is_err() {
        return Sent::Unheard;
    }
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match socket.read(&mut chunk).await {
            Ok(n @ 1..) => got.extend_from_slice(&chunk[..n]),
            _ if got.is_empty() => return Sent::Unheard,
            _ => return Sent::Broken(String::from_utf8_lossy(&got).into_owned()),
        }
        let text = String::from_utf8_lossy(&got);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.expect("the backend tells the length") {
                let last = head.to_ascii_lowercase().contains("connection: close");
                return match head.starts_with("HTTP/1.1 200") {
                    true if last => Sent::Last,
                    true => Sent::Answered,
                    false => Sent::Broken(text.into_owned()),
                };
            }
        }
    }
}

/// Asks again and again until nobody listens any more. Returns how many requests were answered.
async fn looping(at: SocketAddr, token: String) -> u64 {
    let request = format!("GET /strip HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut answered = 0;
    while let Ok(mut socket) = TcpStream::connect(at).await {
        loop {
            match ask(&mut socket, &request).await {
                Sent::Answered => answered += 1,
                Sent::Last => {
                    answered += 1;
                    break;
                }
                // Readiness has failed, and the delay has passed, with answers in between: nobody is cut off unawares.
                Sent::Unheard => panic!("a connection ended without a word"),
                Sent::Broken(what) => panic!("an answer broke off: {what}"),
            }
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing() {
    let world = World::new().await;
    // Of the two open routes, one echoes what a slow caller streams; the other serves everybody else.
    world.payroll.mirror();
    let routes = format!("{ROUTES}  slow: {{ match: {{ path: /slow }}, upstream: PAYROLL, token: strip }}\n");
    let mut program = Program::in_world(&world, &routes, "shutdown: { delay: 1s, grace: 20s }\nlog: { access: false }").await;
    let (at, metrics) = (program.listener().await, program.metrics().await);
    let token = world.iam.caller_token("ada").unwrap();

    let mut slow = TcpStream::connect(at).await.unwrap();
    let head = format!("POST /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nfirst");
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut streamed = String::new();
    while !streamed.ends_with("first") {
        streamed.push(char::from(slow.read_u8().await.unwrap()));
    }
    let clients: Vec<_> = (0..20).map(|_| tokio::spawn(looping(at, token.clone()))).collect();
    let open = world.open.clone();
    program.until("everybody is busy", async || open.requests() > 200).await;

    program.signal("TERM");
    program.until("readiness fails", async || get(metrics, "/readyz").await.is_some_and(|a| a.status == 503)).await;
    let served = world.open.requests();
    assert_eq!(get_as(at, "/strip", &token).await.status, 200, "not ready, and still there for who has not heard of it");
    assert_eq!(get(metrics, "/livez").await.unwrap().status, StatusCode::OK);
    program.until("new callers are refused", async || TcpStream::connect(at).await.is_err()).await;
    assert!(world.open.requests() > served);

    let mut answered = 1;
    for client in clients {
        answered += client.await.unwrap();
    }
    assert_eq!(answered, world.open.requests(), "what reached the backend was answered");
    assert_eq!(get(metrics, "/livez").await.unwrap().status, StatusCode::OK, "it waits for the slow one");
    slow.write_all(b"after").await.unwrap();
    slow.read_to_string(&mut streamed).await.unwrap();
    assert!(streamed.ends_with("firstafter"), "{streamed}");
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(program.log().iter().any(|l| l["message"] == "ended") && program.err().is_empty());
    assert!(!program.out().join("\n").contains("cut"), "nobody had to be");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_has_an_end() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "shutdown: { delay: 0s, grace: 500ms }").await;
    let (at, token) = (program.listener().await, world.iam.caller_token("ada").unwrap());
    world.open.script_always(Misbehave::Hang);
    let mut socket = TcpStream::connect(at).await.unwrap();
    let request = format!("GET /strip HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let (sent, ()) = tokio::join!(ask(&mut socket, &request), async {
        program.until("it is under way", async || world.open.requests() == 1).await;
        program.signal("TERM");
        assert_eq!(program.ended().await.code(), Some(0));
    });
    assert_eq!(sent, Sent::Unheard);
    let cut = program.log().into_iter().find(|l| l["connections"] == 1).unwrap();
    assert!(cut["message"].as_str().unwrap().contains("shutdown.grace"), "{cut}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let world = World::new().await;
        let mut program = Program::in_world(&world, ROUTES, "shutdown: { delay: 600s, grace: 600s }").await;
        let metrics = program.metrics().await;
        program.signal(first);
        program.until("readiness fails", async || get(metrics, "/readyz").await.is_some_and(|a| a.status == 503)).await;
        program.signal(second);
        assert_eq!(program.ended().await.code(), Some(1), "{first} {second}: not the end that was asked for first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_under_way_is_waited_for() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "shutdown: { delay: 0s, grace: 20s }").await;
    let (at, token, gate) = (program.listener().await, world.iam.caller_token("ada").unwrap(), Gate::new());
    world.iam.script(cambist::demo::iam::Endpoint::Token, Misbehave::Delay(gate.clone()));
    let (answer, ()) = tokio::join!(get_as(at, "/orders", &token), async {
        gate.reached(1).await;
        program.signal("TERM");
        program.until("new callers are refused", async || TcpStream::connect(at).await.is_err()).await;
        gate.open();
    });
    assert_eq!(answer.status, 200);
    assert_eq!(program.ended().await.code(), Some(0));
}
