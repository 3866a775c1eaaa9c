//! The issuer against an IAM over real sockets: keys that come, change and go, and calls that end in every way they can.

mod mutual;
mod protecting;
mod proving;

use super::testing::{Canned, DISCOVERY, Iam, KEYS, Lines, Signer, TOKEN};
use super::*;
use crate::token::Secret;
use serde_json::json;
use std::time::Duration;

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

fn form() -> Form {
    Form::new().with("subject_token", "caller-c4nary-token")
}

/// What the metrics say of `cambist_issuer_up`.
fn up(metrics: &crate::metrics::Metrics) -> bool {
    String::from_utf8(metrics.encode()).unwrap().contains("cambist_issuer_up{issuer=\"main\"} 1")
}

#[tokio::test]
async fn endpoints_and_keys_come_in_and_nothing_is_asked_for_compressed() {
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    let (issuer, metrics) = iam.issuer(&Clock::turned(), |_| ());
    assert!(!issuer.loaded() && issuer.keys().is_none() && iam.count(DISCOVERY) == 0);
    assert_eq!(issuer.post_token(form(), Priority::Caller).await.unwrap_err(), CallError::NoEndpoint);
    issuer.start();
    issuer.start();
    issuer.when_loaded().await;
    assert!(issuer.loaded() && up(&metrics));
    assert_eq!((iam.count(DISCOVERY), iam.count(KEYS)), (1, 1));
    assert!(iam.seen(KEYS)[0].headers.get("accept-encoding").is_none());
    assert!(matches!(issuer.keys().unwrap().find(Some("one"), Algorithm::EdDsa), Found::Key(_)));
    assert!(matches!(issuer.keys().unwrap().find(None, Algorithm::EdDsa), Found::Key(_)));
    assert!(matches!(issuer.keys().unwrap().find(Some("one"), Algorithm::Rs256), Found::Unfit));
    assert!(matches!(issuer.keys().unwrap().find(Some("two"), Algorithm::EdDsa), Found::Unknown));
}

#[tokio::test]
async fn where_the_document_is_not_as_openid_connect_has_it_it_is_looked_for_as_oauth_has_it() {
    const OAUTH: &str = "/.well-known/oauth-authorization-server/realms/a";
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    let at = |path: &str| format!("http://{}{path}", iam.addr);
    iam.answer(DISCOVERY, Canned::text(404, ""));
    iam.answer(OAUTH, Canned::json(200, &json!({"issuer": iam.url, "token_endpoint": at(TOKEN), "jwks_uri": at(KEYS)})));
    let (issuer, _) = iam.issuer(&Clock::turned(), |_| ());
    issuer.start();
    issuer.when_loaded().await;
    assert_eq!((iam.count(DISCOVERY), iam.count(OAUTH), iam.count(KEYS)), (1, 1, 1));
}

#[tokio::test]
async fn only_what_is_not_there_is_looked_for_elsewhere() {
    const OAUTH: &str = "/.well-known/oauth-authorization-server/realms/a";
    for (status, given, asked) in [(404, false, 1), (503, false, 0), (200, false, 0), (404, true, 0)] {
        let iam = Iam::start(&[]).await;
        iam.answer(DISCOVERY, Canned::text(status, "{}"));
        let url = Url::parse(&format!("http://{}{DISCOVERY}", iam.addr)).ok().filter(|_| given);
        let (issuer, _) = iam.issuer(&Clock::turned(), |s| s.discovery_url = url);
        issuer.start();
        eventually("what is wrong is told", || issuer.trouble().is_some()).await;
        assert_eq!((iam.count(DISCOVERY), iam.count(OAUTH)), (1, asked), "{status} {given}");
        let cause = issuer.trouble().unwrap().0.cause.clone();
        assert!(status == 200 || cause.contains(&format!("HTTP {status}")), "{cause}");
    }
}

#[tokio::test]
async fn given_endpoints_need_no_discovery() {
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    let at = |path: &str| Url::parse(&format!("http://{}{path}", iam.addr)).ok();
    let (issuer, _) = iam.issuer(&Clock::turned(), |s| {
        s.url = "https://iam.elsewhere.example/realms/a".into();
        (s.token_endpoint, s.jwks_uri) = (at(TOKEN), at(KEYS));
    });
    issuer.start();
    issuer.when_loaded().await;
    assert_eq!((iam.count(DISCOVERY), iam.count(KEYS)), (0, 1));
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_found_when_it_comes() {
    let addr = Iam::start(&[]).await.addr;
    let (issuer, metrics) = {
        let iam = Iam::start(&[]).await;
        iam.issuer(&Clock::real(), |s| s.url = format!("http://{addr}/realms/a").into())
    };
    issuer.start();
    eventually("trouble is told", || issuer.trouble().is_some()).await;
    let trouble = issuer.trouble().unwrap();
    assert!(trouble.0.cause.contains("cannot be reached") && trouble.0.cure.as_ref().unwrap().contains(&addr.to_string()), "{trouble:?}");
    assert!(!issuer.loaded() && !up(&metrics));
    let _iam = Iam::at(&addr.to_string(), &[Signer::ed().jwk("one")]).await;
    issuer.when_loaded().await;
    assert!(issuer.trouble().is_none() && up(&metrics));
}

#[tokio::test]
async fn a_key_set_without_a_usable_key_is_not_taken() {
    let weak = json!({"kty": "RSA", "kid": "weak", "n": testing::b64(&[0xff; 128]), "e": "AQAB"});
    let enc = json!({"kty": "RSA", "kid": "enc", "use": "enc", "alg": "RSA-OAEP", "n": testing::b64(&[0xff; 256]), "e": "AQAB"});
    let odd = json!({"kty": "AKP", "kid": "ml", "alg": "ML-DSA-65", "pub": "AA"});
    let iam = Iam::start(&[weak, enc, odd, json!(7)]).await;
    let (issuer, _) = iam.issuer(&Clock::real(), |_| ());
    issuer.start();
    eventually("trouble is told", || issuer.trouble().is_some()).await;
    let cause = issuer.trouble().unwrap().0.cause.to_string();
    for word in ["without a usable key", "fewer than 2048", "not for signatures", "unknown kind"] {
        assert!(cause.contains(word), "{cause}");
    }
    assert!(!issuer.loaded());
}

#[tokio::test]
async fn an_unknown_kid_fetches_once_and_in_ten_seconds_once() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let clock = Clock::turned();
    let iam = Iam::start(&[old.jwk("old")]).await;
    let issuer = iam.loaded(&clock).await;
    let first = issuer.generation().unwrap();

    let asked: Vec<_> = (0..500).map(|i| issuer.refetch(Some(&format!("forged-{i}")))).collect();
    assert!(futures_util::future::join_all(asked).await.iter().all(|r| *r == Refetched::Fresh));
    assert_eq!(iam.count(KEYS), 2, "one at the start, one for five hundred");
    assert_eq!(issuer.generation(), Some(first), "the same keys keep their generation");

    iam.keys(&[new.jwk("new")]);
    assert_eq!(issuer.refetch(Some("new")).await, Refetched::Fresh);
    assert_eq!(iam.count(KEYS), 2, "not before ten seconds have passed");
    clock.turn(Duration::from_secs(11));
    issuer.refetch(Some("forged-7")).await;
    assert_eq!(iam.count(KEYS), 2, "known to be unknown");
    issuer.refetch(Some("new")).await;
    assert_eq!(iam.count(KEYS), 3);
    assert!(issuer.generation().unwrap() > first, "other keys have another generation");
    assert!(matches!(issuer.keys().unwrap().find(Some("old"), Algorithm::EdDsa), Found::Unknown));

    clock.turn(Duration::from_secs(11));
    iam.answer(KEYS, Canned::text(500, ""));
    assert_eq!(issuer.refetch(Some("other")).await, Refetched::Failed);
    assert_eq!(issuer.refetch(Some("another")).await, Refetched::Failed, "in the window, the last outcome holds");
    assert!(issuer.generation().is_some());
}

#[tokio::test]
async fn keys_are_renewed_and_without_renewal_trusted_for_an_hour() {
    let clock = Clock::turned();
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    let (issuer, metrics) = iam.issuer(&clock, |_| ());
    issuer.start();
    issuer.when_loaded().await;
    let first = issuer.generation();
    clock.turn(Duration::from_secs(601));
    let now = clock.unix();
    let came = |text: &str| text.strip_prefix("cambist_jwks_last_success_timestamp_seconds{issuer=\"main\"} ")?.parse::<u64>().ok();
    // That the request was seen is not enough: the answer must be in before the clock is turned again.
    let renewed = || String::from_utf8(metrics.encode()).unwrap().lines().find_map(came).is_some_and(|at| at >= now);
    eventually("the keys are fetched anew", renewed).await;
    assert_eq!((iam.count(KEYS), issuer.generation()), (2, first));

    for broken in [Canned::text(503, "{}"), Canned::text(200, "{\"keys\":"), Canned::text(200, &"x".repeat(300 * 1024))] {
        let before = issuer.trouble();
        iam.answer(KEYS, broken);
        clock.turn(Duration::from_secs(1000));
        let told = || issuer.trouble().is_some_and(|now| before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &now)));
        eventually("the failure is noticed", told).await;
        assert_eq!(issuer.generation(), first, "a failure takes nothing away");
    }
    clock.turn(Duration::from_secs(1300));
    assert!(issuer.keys().is_none() && issuer.generation().is_none() && issuer.loaded(), "an hour after they were due");
}

#[tokio::test]
async fn a_dropped_issuer_asks_no_more() {
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    let issuer = iam.loaded(&Clock::real()).await;
    let weak = Arc::downgrade(&issuer);
    drop(issuer);
    eventually("it is gone", || weak.strong_count() == 0).await;
}

#[tokio::test]
async fn the_client_says_who_it_is_in_one_way_only() {
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    iam.answer(TOKEN, Canned::json(200, &json!({})));
    for basic in [true, false] {
        let (issuer, _) = iam.issuer(&Clock::real(), |s| {
            s.client_id = "gate:way".into();
            let secret = Secret::new("p+%:ä ");
            s.client_auth = if basic { ClientAuth::basic(secret) } else { ClientAuth::post(secret) };
        });
        issuer.start();
        issuer.when_loaded().await;
        issuer.post_token(form(), Priority::Caller).await.unwrap();
        let seen = iam.seen(TOKEN).pop().unwrap();
        assert_eq!(seen.form("subject_token"), ["caller-c4nary-token"]);
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
        let authorization = seen.headers.get("authorization").map(|v| v.to_str().unwrap());
        if basic {
            // gate%3Away:p%2B%25%3A%C3%A4+
            assert_eq!(authorization, Some("Basic Z2F0ZSUzQXdheTpwJTJCJTI1JTNBJUMzJUE0Kw=="));
            assert!(seen.form("client_id").is_empty() && seen.form("client_secret").is_empty());
        } else {
            assert_eq!(authorization, None);
            assert_eq!((seen.form("client_id"), seen.form("client_secret")), (vec!["gate:way".into()], vec!["p+%:ä ".into()]));
        }
    }
}

#[tokio::test]
async fn every_end_of_a_call_has_a_name() {
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    let (issuer, metrics) = iam.issuer(&Clock::real(), |s| s.timeouts.total = Duration::from_millis(400));
    issuer.start();
    issuer.when_loaded().await;

    iam.answer(TOKEN, Canned::json(400, &json!({"error": "invalid_request"})).header("retry-after", "7"));
    let reply = issuer.post_token(form(), Priority::Caller).await.unwrap();
    assert_eq!((reply.status, reply.retry_after, up(&metrics)), (400, Some(Duration::from_secs(7)), true), "a refusal is an answer");

    iam.answer(TOKEN, Canned::text(302, "").header("location", &format!("http://{}{KEYS}", iam.addr)));
    assert_eq!(issuer.post_token(form(), Priority::Caller).await.unwrap().status, 302);
    assert_eq!((iam.count(KEYS), up(&metrics)), (1, false), "followed nowhere");

    iam.answer(TOKEN, Canned::text(200, &"x".repeat(client::MAX_ANSWER + 1)));
    assert_eq!(issuer.post_token(form(), Priority::Caller).await.unwrap_err(), CallError::TooLarge(64 * 1024));
    iam.answer(TOKEN, Canned::text(200, &format!("\"{}\"", "x".repeat(client::MAX_ANSWER - 2))));
    assert_eq!(issuer.post_token(form(), Priority::Caller).await.unwrap().body.len(), client::MAX_ANSWER);
    assert!(up(&metrics));

    iam.answer(TOKEN, Canned { cut: true, ..Canned::default() });
    assert!(matches!(issuer.post_token(form(), Priority::Caller).await, Err(CallError::Broken(_))));
    iam.answer(TOKEN, Canned { delay: Duration::from_secs(60), ..Canned::text(200, "{}") });
    assert_eq!(issuer.post_token(form(), Priority::Caller).await.unwrap_err(), CallError::Timeout);
    assert!(!up(&metrics));

    drop(iam);
    let mut end = issuer.post_token(form(), Priority::Caller).await.unwrap_err();
    if matches!(end, CallError::Broken(_)) {
        end = issuer.post_token(form(), Priority::Caller).await.unwrap_err(); // a pooled connection may have died under the first
    }
    assert!(matches!(&end, CallError::Unreachable(words) if !words.contains("http://")), "{end:?}");
}

#[tokio::test]
async fn nothing_secret_is_logged_even_at_trace() {
    let (lines, _guard) = Lines::kept();
    let iam = Iam::start(&[Signer::ed().jwk("one")]).await;
    iam.answer(TOKEN, Canned::json(200, &json!({"access_token": "issued-c4nary-token"})));
    for post in [true, false] {
        let (issuer, _) = iam.issuer(&Clock::real(), |s| {
            if post {
                s.client_auth = ClientAuth::post(Secret::new("gateway-c4nary-secret"));
            }
        });
        issuer.start();
        issuer.when_loaded().await;
        let reply = issuer.post_token(form(), Priority::Caller).await.unwrap();
        tracing::info!(?reply, ?issuer, settings = ?issuer.settings(), "seen");
    }
    let text = lines.text();
    // Z2F0ZXdheTpn… is what `gateway:gateway-c4nary-secret` looks like in Basic.
    assert!(text.contains("seen") && text.contains("TRACE"), "the log is kept");
    for canary in ["c4nary", "Z2F0ZXdheTpn"] {
        let at = text.find(canary);
        assert!(at.is_none(), "{}", &text[at.unwrap_or(0).saturating_sub(300)..][..400.min(text.len())]);
    }
}
