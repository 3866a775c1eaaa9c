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
