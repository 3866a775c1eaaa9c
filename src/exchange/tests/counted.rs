//! What exchanges leave in the metrics where it is not plain: alerts are made of it.

use super::*;
use crate::issuer::Protection;

#[tokio::test]
async fn a_renewal_that_was_put_off_is_no_exchange() {
    let s = Scene::with(Profile::Keycloak, |i| {
        i.protection = Protection { max_in_flight: 1, ..Protection::default() };
        i.timeouts.total = Duration::from_secs(60);
    })
    .await;
    s.iam.answer(TOKEN, Canned { delay: Duration::from_millis(600), ..Canned::json(200, &good("opaque-token")) });
    let (caller, target) = (s.caller(BEARER), s.target());
    let first = tokio::spawn(s.exchange.token(&Asker::Caller(caller.clone()), &target, Ask::ANY));
    while s.iam.count(TOKEN) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let renewal = Ask { urgency: Urgency::Renewal, ..Ask::ANY };
    let put_off = s.exchange.token(&Asker::Caller(caller), &target, renewal).await;
    assert_eq!((put_off.unwrap_err().code(), first.is_finished()), ("issuer_unavailable", false));
    assert!(first.await.unwrap().is_ok());
    let text = String::from_utf8(s.metrics.encode()).unwrap();
    for line in [
        r#"cambist_token_exchanges_total{audience="orders-api",issuer="main",result="success"} 1"#,
        r#"cambist_token_exchanges_total{audience="orders-api",issuer="main",result="unavailable"} 0"#,
        r#"cambist_token_exchange_duration_seconds_count{issuer="main"} 1"#,
        r#"cambist_token_exchanges_in_flight{issuer="main"} 0"#,
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[tokio::test]
async fn every_way_to_fail_has_its_fault_and_its_count() {
    let s = scene(Profile::Keycloak).await;
    let error = |status, error: &str, words: &str| Canned::json(status, &json!({"error": error, "error_description": words}));
    let cases = [
        (error(400, "invalid_request", "Invalid token"), "invalid_token", "denied"),
        (error(403, "access_denied", "Client is not within the token audience"), "target_refused", "denied"),
        (error(401, "unauthorized_client", "Invalid client or Invalid client credentials"), "misconfigured", "misconfigured"),
        (Canned::text(503, "").header("retry-after", "3"), "issuer_unavailable", "unavailable"),
        (Canned::text(500, "oops"), "bad_issuer_answer", "bad_answer"),
        (Canned::text(307, "").header("location", "/elsewhere"), "bad_issuer_answer", "bad_answer"),
        (Canned { cut: true, ..Canned::default() }, "bad_issuer_answer", "bad_answer"),
        (Canned { delay: Duration::from_secs(60), ..Canned::text(200, "{}") }, "issuer_timeout", "timeout"),
    ];
    for (canned, code, result) in cases {
        let line = format!(r#"cambist_token_exchanges_total{{audience="orders-api",issuer="main",result="{result}"}} "#);
        let count = || {
            let text = String::from_utf8(s.metrics.encode()).unwrap();
            text.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |n| n.parse::<u64>().unwrap())
        };
        let before = count();
        let fault = s.ask(canned).await.unwrap_err();
        assert_eq!((fault.code(), count()), (code, before + 1));
        assert!(!fault.why().unwrap().cause.is_empty());
        // What it asked for with Retry-After is over.
        s.clock.turn(Duration::from_secs(3));
    }
    assert_eq!(s.iam.count("/elsewhere"), 0);
    s.iam.stop();
    let mut code = "";
    for _ in 0..2 {
        // A pooled connection may die under the first.
        code = s.exchange(&s.caller(BEARER), &s.target()).await.unwrap_err().code();
    }
    assert_eq!(code, "issuer_unavailable");
}
