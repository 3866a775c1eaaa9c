//! What is believed of a token that came: whose it is, what it is for, since when, and what it is bound to.

use super::super::answer;
use super::*;
use crate::issuer::ClientAuth;
use crate::tls::Identity;
use crate::token::Secret;

#[tokio::test]
async fn an_issued_jwt_is_for_this_audience_and_this_caller() {
    let s = scene(Profile::Rfc8693).await;
    let now = s.clock.unix();
    let claims = json!({"aud": "orders-api", "sub": "u-1", "exp": now + 300});
    let with = |key: &str, value: Value| {
        let mut c = claims.clone();
        c[key] = value;
        good(&jwt(&c))
    };
    assert!(s.ask(Canned::json(200, &good(&jwt(&claims)))).await.is_ok());
    assert!(s.ask(Canned::json(200, &with("aud", json!(["account", "orders-api"])))).await.is_ok());
    for (body, words) in [
        (with("aud", json!("orders")), "without the audience orders-api"),
        (with("aud", json!(["orders-api-2"])), "without the audience"),
        (with("aud", Value::Null), "without the audience"),
        (with("aud", json!(7)), "aud is neither"),
        (with("sub", json!("service-account-gateway")), "somebody else's"),
        (with("sub", Value::Null), "no sub"),
        (with("exp", json!(now - 1)), "already expired"),
        (with("exp", json!("never")), "exp is not a number"),
        (good("eyJ.eyJ.x"), "looks like a JWT"),
        (with("nbf", json!(now + 60)), "not valid yet (nbf)"),
        (with("nbf", json!("soon")), "nbf is not a number"),
        (with("cnf", json!({"jkt": "c4nary"})), "bound to a key (cnf: jkt)"),
        (with("cnf", json!({"x5t#S256": "c4nary"})), "bound to a certificate (cnf: x5t#S256)"),
        (with("cnf", json!({"jwk": {}})), "bound to a key (cnf)"),
        (with("cnf", json!({})), "bound to a key (cnf)"),
        (with("iss", json!("https://other.example")), "is of the issuer \"https://other.example\""),
        (with("iss", json!(format!("{}/", s.iam.url))), "is of the issuer"),
    ] {
        let cause = s.bad(&body).await;
        assert!(cause.contains(words) && !cause.contains("u-1") && !cause.contains("c4nary"), "{cause} lacks {words}");
    }
    for fine in [with("nbf", json!(now + 20)), with("cnf", Value::Null), with("iss", json!(s.iam.url))] {
        assert!(s.ask(Canned::json(200, &fine)).await.is_ok(), "{fine}");
    }
}

/// Where the token endpoint was given by hand it may be somebody else's, and Entra has several names for itself.
#[tokio::test]
async fn whose_name_is_foreign_is_known_only_where_the_issuer_itself_named_the_endpoint() {
    for (profile, given, ok) in [
        (Profile::Keycloak, false, false),
        (Profile::Keycloak, true, true),
        (Profile::Rfc8693, false, false),
        (Profile::Rfc8693, true, true),
        (Profile::EntraObo, false, true),
    ] {
        let by_hand = |s: &mut crate::issuer::Settings| {
            s.token_endpoint = s.url.replace("/realms/a", TOKEN).parse().ok().filter(|_| given);
        };
        let s = Scene::with(profile, by_hand).await;
        let claims = json!({"aud": "orders-api", "sub": "u-1", "iss": "https://other.example", "exp": s.clock.unix() + 60});
        s.iam.answer(TOKEN, Canned::json(200, &good(&jwt(&claims))));
        let target = Arc::new(s.exchanger.own_target(TargetSettings::default()));
        let end = s.exchange.token(&Asker::Gateway, &target, Ask::ANY).await;
        // A token of one's own may be for anybody who trusts the issuer.
        let caused = end.as_ref().err().and_then(|fault| fault.why()).map(|why| (why.anchor, why.cure.is_some()));
        assert_eq!(caused, (!ok).then_some((Some("issued-foreign"), true)), "{profile:?} {given}: {end:?}");
    }
}

/// Whether the backend's connection shows that certificate is between the two of them: a backend that cares refuses.
#[test]
fn bound_to_a_certificate_is_bound_to_ours_where_we_showed_one() {
    let (cert_file, key_file) = ("tls.crt".into(), "tls.key".into());
    let (certificate, secret) = (ClientAuth::TlsClientAuth(Identity { cert_file, key_file }), ClientAuth::basic(Secret::new("s")));
    let of = |cnf: Value, auth| answer::unbound(json!({ "cnf": cnf }).as_object().unwrap(), auth).is_ok();
    assert!(of(json!({"x5t#S256": "x"}), &certificate) && !of(json!({"x5t#S256": "x"}), &secret));
    for key in [json!({"x5t#S256": "x", "jkt": "y"}), json!({"jkt": "y"}), json!({"x5t#S256": 1}), json!({}), json!([]), json!("x")] {
        assert!(!of(key.clone(), &certificate) && !of(key, &secret));
    }
    assert!(of(Value::Null, &secret));
}

#[tokio::test]
async fn an_opaque_answer_to_a_long_token_could_be_the_gateways_own() {
    for (profile, ok) in [(Profile::Keycloak, false), (Profile::Rfc8693, true)] {
        let s = scene(profile).await;
        let long = s.caller(&"x".repeat(4001));
        s.iam.answer(TOKEN, Canned::json(200, &good("opaque-token")));
        assert_eq!(s.exchange(&long, &s.target()).await.is_ok(), ok);
        assert!(s.exchange(&s.caller(&"x".repeat(4000)), &s.target()).await.is_ok());
        s.iam.answer(TOKEN, Canned::json(200, &good(&jwt(&json!({"aud": "orders-api", "sub": "u-1"})))));
        assert!(s.exchange(&long, &s.target()).await.is_ok(), "a JWT can be checked");
    }
}
