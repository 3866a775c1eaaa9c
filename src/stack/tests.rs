use super::answer;
use super::journal::Journal;
use crate::fault::{Why, samples};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Version};
use http_body_util::BodyExt;

fn journal(version: Version, content_type: &str) -> Journal {
    let request = Request::builder().version(version).header(CONTENT_TYPE, content_type).body(()).unwrap();
    let from = super::journal::From { client: std::net::Ipv4Addr::LOCALHOST.into(), tls: false };
    Journal::new(&request.into_parts().0, from, None)
}

fn why() -> Why {
    Why::new("c4nary-cause").cure("c4nary-cure").words("c4nary-words")
}

#[tokio::test]
async fn every_fault_is_answered_as_the_table_says() {
    for fault in samples(why()) {
        let (row, journal) = (fault.row(), journal(Version::HTTP_11, "application/json"));
        let answer = answer::to(&fault, &journal);
        assert_eq!(answer.status(), row.status);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(answer.headers().contains_key(WWW_AUTHENTICATE), fault.challenge().is_some());
        assert_eq!(answer.headers().contains_key(CONNECTION), fault.closes());
        if matches!(row.status.as_u16(), 429 | 503) {
            let after: u64 = answer.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&after));
        }
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some(row.code), Some(u64::from(row.status.as_u16()))));
        assert_eq!(problem["trace_id"], journal.trace().to_string());
        assert_eq!(problem.as_object().unwrap().len(), 6);
        assert!(!String::from_utf8_lossy(&body).contains("c4nary"), "what the operator is told stays with the operator");
    }
}

#[tokio::test]
async fn grpc_callers_get_their_own_kind_of_answer() {
    for fault in samples(why()) {
        let answer = answer::to(&fault, &journal(Version::HTTP_2, "application/grpc+proto"));
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], fault.row().grpc.to_string());
        assert!(answer.headers()["grpc-message"].to_str().unwrap().bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'%'));
        let challenge = answer.headers().get(WWW_AUTHENTICATE).map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(challenge, fault.challenge(), "what the caller has to do is told there, too");
        assert!(!answer.headers().contains_key(CONNECTION), "HTTP/2 knows no Connection field");
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}
