//! The cases of HTTP/1, each on a connection of its own.

use super::stage::Stage;
use super::{Case, play_all};
use crate::kit::until;
use crate::wire::{Message, Wire};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_http_1_comes_out_as_it_should() {
    play_all("http1", 150, play).await;
}

async fn play(stage: &Stage, case: &Case) {
    let before = stage.backend.count();
    let mut wire = stage.g.wire().await;
    let mut unsent = Vec::new();
    for (mark, text) in &case.steps {
        match (&**mark, &**text) {
            // What most requests have.
            (">", "@") => unsent.extend(stage.bytes("Host: api.example.com\\r\\nAuthorization: Bearer ${ada}\\r\\n")),
            (">", _) => unsent.extend([stage.bytes(text), b"\r\n".to_vec()].concat()),
            (">>", _) => unsent.extend(stage.bytes(text)),
            (_, "heard") => {
                flush(&mut wire, &mut unsent).await;
                until("the backend hears of it", || stage.backend.count() > before).await;
            }
            (_, status @ ("100" | "101")) => {
                flush(&mut wire, &mut unsent).await;
                assert_eq!(wire.answer().await.status().to_string(), status);
            }
            (_, "end") => {
                flush(&mut wire, &mut unsent).await;
                let _ = wire.stream.shutdown().await;
            }
            _ => panic!("no such step: {mark} {text}"),
        }
    }
    flush(&mut wire, &mut unsent).await;
    let outcome = case.outcome.join(" ");
    let mut open = true;
    for wanted in outcome.split(' ') {
        match wanted {
            "closed" => {
                wire.ends().await;
                open = false;
            }
            // What comes of it is the tunnel's matter.
            "left" => open = false,
            "head" => assert_eq!(wire.answer_without_body().await.status(), 200),
            _ => answered(&wire.answer().await, wanted),
        }
    }
    if open {
        stage.canary(&mut wire, "on the same connection").await;
    }
    stage.canary(&mut stage.g.wire().await, "on a fresh connection").await;
    stage.has_seen(case, before, 1 + usize::from(open)).await;
}

/// `400`: with the gateway's own words; `400bare`: the parser's, without any.
fn answered(answer: &Message, wanted: &str) {
    let status: u16 = wanted.trim_end_matches("bare").parse().unwrap();
    assert_eq!(answer.status(), status, "the answer: {} {}", answer.head, answer.text());
    if wanted.ends_with("bare") {
        assert!(answer.body.is_empty());
    } else if status == 400 {
        assert_eq!(answer.json()["code"], "bad_request", "{} {}", answer.head, answer.text());
        assert_eq!(answer.one("connection"), "close");
    }
}

/// Where the other side has closed already, what comes back tells why.
async fn flush(wire: &mut Wire, unsent: &mut Vec<u8>) {
    let _ = wire.stream.write_all(unsent).await;
    unsent.clear();
}
