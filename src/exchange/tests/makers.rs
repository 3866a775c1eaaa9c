//! Which exchanger a target goes to, when there are several whose issuers have one name.

use super::*;

#[tokio::test]
async fn a_target_is_exchanged_by_who_made_it_as_long_as_anybody_needs_it() {
    let s = scene(Profile::Keycloak).await;
    let (old, newer) = (s.target(), s.exchanger());
    s.iam.answer(TOKEN, Canned::json(200, &good("t")));
    s.exchange.add([&newer]);
    let newest = s.target_of(&newer);
    assert!(s.exchange(&s.caller(BEARER), &old).await.is_ok());
    let end = s.exchange(&s.caller(BEARER), &newest).await;
    assert!(matches!(end, Err(Fault::IssuerUnavailable { .. })), "it has no endpoint yet: {end:?}");
    drop(newer);
    assert_eq!(s.exchange(&s.caller(BEARER), &newest).await.unwrap_err().code(), "misconfigured");
    assert!(s.exchange(&s.caller(BEARER), &old).await.is_ok());
}
