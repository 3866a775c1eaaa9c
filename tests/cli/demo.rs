//! `demo`, as a newcomer starts it: the tour, the line to paste, a fresh token, and ports that are somebody else's.

use crate::program::{Program, cambist, say};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Command;

/// The first of ports that were free a moment ago: the demo uses six, up to twelve above.
fn base() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let bases = (0..200).map(|n| 20_000 + u16::try_from(std::process::id() % 1500).unwrap() * 20 + n * 20);
    bases.into_iter().find(|b| [0, 1, 2, 3, 11, 12].iter().all(|n| free(b + n))).unwrap()
}

fn demo(port: u16) -> Command {
    let mut command = cambist();
    command.args(["demo", "--port", &port.to_string()]);
    command
}

/// Waits for the line to paste.
async fn stays_up(running: &mut Program) -> String {
    for _ in 0..1500 {
        if let Some(line) = running.out().into_iter().find_map(|l| l.strip_prefix("try").map(|l| l.trim().to_owned())) {
            return line;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no line to paste: {:?} {:?}", running.out(), running.err())
}

/// Ports are tried and used by one test at a time.
static PORTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn once_shows_an_exchange_a_hit_and_a_refusal_with_its_cure() {
    let _one = PORTS.lock().await;
    let port = base();
    let said = say(demo(port).arg("--once"));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let port = port.to_string();
    for part in ["exchanged, ", "from cache, ", "403", "IAM: Requested audience not available: payroll-api", "fix: ", port.as_str()] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}') && !said.out.contains("only-good-in-the-demo"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_told_and_ends_it() {
    let _one = PORTS.lock().await;
    let port = base();
    let taken = TcpListener::bind(("127.0.0.1", port + 11)).unwrap();
    let said = say(demo(port).arg("--once"));
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains(&format!("port {}, for the orders backend", port + 11)) && said.err.contains("--port"), "{}", said.err);
    drop(taken);
    let said = say(cambist().args(["demo", "token", "--port", &port.to_string()]));
    assert!(said.code == 1 && said.out.is_empty() && said.err.contains("no demo is running"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_that_it_prints_works_when_pasted() {
    let _one = PORTS.lock().await;
    let port = base();
    let mut running = Program::spawn(&mut demo(port));
    let line = stays_up(&mut running).await;
    let token = say(cambist().args(["demo", "token", "--port", &port.to_string()]));
    assert_eq!((token.code, token.err.as_str(), token.out.lines().count()), (0, "", 1));
    assert_eq!(token.out.trim().split('.').count(), 3, "a token and nothing else");
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no curl on this machine; the line was not pasted: {line}");
    } else {
        let pasted = say(Command::new("sh").arg("-c").arg(&line));
        assert_eq!(pasted.code, 0, "{line}\n{pasted:?}");
        let answer: serde_json::Value = serde_json::from_str(&pasted.out).unwrap_or_else(|_| panic!("{line}\n{pasted:?}"));
        assert_eq!((answer["token"]["aud"].as_str(), answer["token"]["sub"].as_str()), (Some("orders-api"), Some("alice")));
    }
    running.signal("INT");
    assert_eq!(running.ended().await.code(), Some(0), "Ctrl-C is its proper end");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_like_ctrl_c() {
    let _one = PORTS.lock().await;
    let mut running = Program::spawn(&mut demo(base()));
    stays_up(&mut running).await;
    running.signal("TERM");
    assert_eq!(running.ended().await.code(), Some(0));
}

#[test]
fn a_port_without_room_above_it_is_refused() {
    for args in [&["demo", "--once", "--port", "65524"][..], &["demo", "token", "--port", "65524"], &["demo", "--port", "0"]] {
        let said = say(cambist().args(args));
        assert!(said.code == 2 && said.err.contains("from 1 to 65523"), "{args:?}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_and_a_token_are_data_too() {
    let _one = PORTS.lock().await;
    let port = base();
    let said = say(demo(port).args(["--once", "-o", "json"]));
    assert_eq!((said.code, said.err.as_str(), said.out.lines().count()), (0, "", 1), "{said:?}");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&told["ok"], &told["complaints"], &told["gateway"]),
        (&true.into(), &Value::Array(vec![]), &format!("http://127.0.0.1:{port}").into())
    );
    let status = |step: &str| told[step]["status"].as_u64().unwrap();
    assert_eq!((status("exchanged"), status("from_cache"), status("refused")), (200, 200, 403));
    assert_eq!((told["incoming"]["aud"].as_str(), told["upstream"]["aud"].as_str()), (Some("gateway"), Some("orders-api")), "{told}");
    assert!(told["cure"].is_string() && told["issuer_words"].as_str().unwrap().contains("payroll-api"), "{told}");

    let port = base();
    let mut running = Program::spawn(demo(port).args(["-o", "json"]));
    for _ in 0..1500 {
        if running.log().iter().any(|l| l["try"].is_string()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let token = say(cambist().args(["demo", "token", "-o", "json", "--port", &port.to_string()]));
    let told: Value = serde_json::from_str(&token.out).unwrap_or_else(|_| panic!("{token:?}"));
    assert_eq!(told["token"].as_str().unwrap().split('.').count(), 3);
    running.signal("TERM");
    assert!(running.ended().await.success());
    assert_eq!(running.log().len(), running.out().len(), "every line is JSON: {:?}", running.out());
}
