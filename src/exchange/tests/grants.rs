//! Each grant's form, whose token may be asked for with it, and what of its answer is believed.

use super::*;
use crate::token::{ACCESS_TOKEN, Actor, Grant};
use futures_util::future::join_all;
use http::HeaderName;

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn wanted() -> TargetSettings {
    TargetSettings { audiences: vec!["orders-api".into()], expect_audiences: vec!["orders-api".into()], ..TargetSettings::default() }
}

impl Scene {
    async fn get(&self, asker: &Asker, target: Target) -> Result<Granted, Fault> {
        self.exchange.token(asker, &Arc::new(target), Ask::ANY).await
    }
}

#[tokio::test]
async fn the_gateways_own_token_is_asked_for_as_the_profile_has_it() {
    let issued = json!({"access_token": "own", "token_type": "Bearer", "expires_in": 60});
    let (one, two) = (&["orders-api"][..], &["orders-api", "billing-api"][..]);
    let rows = [
        (Profile::Keycloak, one, one),
        // Keycloak takes no parameter twice there, and its scopes decide.
        (Profile::Keycloak, two, &[]),
        (Profile::Rfc8693, one, one),
        (Profile::Rfc8693, two, two),
        // Entra's scopes say what for.
        (Profile::EntraObo, one, &[]),
    ];
    for (profile, wanted, sent) in rows {
        let s = scene(profile).await;
        s.iam.answer(TOKEN, Canned::json(200, &issued));
        let list = |of: &[&str], before: &str| of.iter().map(|name| format!("{before}{name}")).collect::<Vec<_>>();
        let settings = TargetSettings {
            audiences: list(wanted, ""),
            scopes: vec!["a".into()],
            resources: list(wanted, "https://"),
            ..TargetSettings::default()
        };
        let target = s.exchanger.own_target(settings.clone());
        assert_eq!(target.grant, Grant::ClientCredentials);
        // Whoever asks: a caller has no part in it.
        for asker in [Asker::Gateway, Asker::Caller(s.caller(BEARER))] {
            assert_eq!(s.get(&asker, s.exchanger.own_target(settings.clone())).await.unwrap().token.expose(), "own");
        }
        let seen = s.iam.seen(TOKEN).pop().unwrap();
        assert_eq!((seen.form("grant_type"), seen.form("scope")), (list(&["client_credentials"], ""), list(&["a"], "")));
        assert_eq!((seen.form("audience"), seen.form("resource")), (list(sent, ""), list(sent, "https://")), "{profile:?} {wanted:?}");
        assert!(seen.form("subject_token").is_empty() && !seen.body.contains(BEARER));
    }
}

#[tokio::test]
async fn an_own_token_must_be_for_the_audience_and_may_be_anybodys() {
    let s = scene(Profile::Keycloak).await;
    let now = s.clock.unix();
    let mut answer = json!({"token_type": "Bearer", "expires_in": 60});
    for (claims, good) in [
        (json!({"aud": "orders-api", "sub": "service-account", "exp": now + 60}), true),
        (json!({"aud": "orders-api", "exp": now + 60}), true),
        (json!({"aud": "stock-api", "sub": "service-account", "exp": now + 60}), false),
    ] {
        answer["access_token"] = json!(jwt(&claims));
        s.iam.answer(TOKEN, Canned::json(200, &answer));
        assert_eq!(s.get(&Asker::Gateway, s.exchanger.own_target(wanted())).await.is_ok(), good, "{claims}");
    }
    answer["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:id_token");
    s.iam.answer(TOKEN, Canned::json(200, &answer));
    assert_eq!(s.get(&Asker::Gateway, s.exchanger.own_target(wanted())).await.unwrap_err().code(), "bad_issuer_answer");
}

#[tokio::test]
async fn types_are_sent_as_written_and_what_comes_is_of_the_type_asked_for() {
    let s = scene(Profile::Rfc8693).await;
    let target = || {
        let settings = TargetSettings { subject_token_type: "https://acme.example/t".into(), requested_token_type: JWT.into(), ..wanted() };
        s.exchanger.target(settings)
    };
    let caller = Asker::Caller(s.caller(BEARER));
    for (kind, good) in [(JWT, true), (ACCESS_TOKEN, false)] {
        s.iam.answer(TOKEN, Canned::json(200, &changed("issued_token_type", json!(kind))));
        assert_eq!(s.get(&caller, target()).await.is_ok(), good, "{kind}");
    }
    let seen = s.iam.seen(TOKEN).pop().unwrap();
    assert_eq!(
        (seen.form("subject_token_type"), seen.form("requested_token_type")),
        (vec!["https://acme.example/t".to_owned()], vec![JWT.to_owned()])
    );
}

#[tokio::test]
async fn whoever_has_not_what_it_takes_is_a_mistake_of_ours_and_the_issuer_is_not_asked() {
    let s = scene(Profile::Keycloak).await;
    let header = Actor::Header(HeaderName::from_static("x-actor-token"));
    let acted = || s.exchanger.target(TargetSettings { actor: header.clone(), ..wanted() });
    let caller = s.caller(BEARER);
    let mut foreign = s.caller("foreign");
    foreign.subject = Arc::new(Subject { issuer: "other".into(), ..(*foreign.subject).clone() });
    assert_eq!(s.get(&Asker::Gateway, s.exchanger.target(wanted())).await.unwrap_err().code(), "misconfigured");
    assert_eq!(s.get(&Asker::Caller(caller.clone()), acted()).await.unwrap_err().code(), "misconfigured");
    assert_eq!(s.get(&Asker::Delegate { caller, actor: foreign }, acted()).await.unwrap_err().code(), "misconfigured");
    assert_eq!(s.iam.count(TOKEN), 0);
}

#[tokio::test]
async fn many_who_need_the_gateways_own_token_have_it_got_once_and_fail_as_one() {
    let s = scene(Profile::Keycloak).await;
    let target = Arc::new(s.exchanger.target(TargetSettings { actor: Actor::Gateway, ..wanted() }));
    let callers: Vec<Asker> = (0..20).map(|i| Asker::Caller(s.caller(&format!("caller-{i}")))).collect();
    let all = || join_all(callers.iter().map(|asker| s.exchange.token(asker, &target, Ask::ANY)));
    let slow = Canned { delay: Duration::from_millis(50), ..Canned::text(401, "") };
    s.iam.answer(TOKEN, slow);
    assert!(all().await.iter().all(|end| end.as_ref().unwrap_err().code() == "misconfigured"));
    assert_eq!(s.iam.count(TOKEN), 1);
    s.iam.first(TOKEN, [Canned::json(200, &good("own"))]);
    s.iam.answer(TOKEN, Canned::json(200, &good("opaque")));
    assert!(all().await.iter().all(Result::is_ok));
    let seen = s.iam.seen(TOKEN);
    assert_eq!(seen.len(), 1 + 1 + 20);
    assert_eq!(seen[21].form("actor_token"), ["own"]);
}

#[tokio::test]
async fn whatever_shapes_an_answer_makes_another_target() {
    let s = scene(Profile::Keycloak).await;
    let params = |all: &[(&str, &str)]| all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let header = |name| Actor::Header(HeaderName::from_static(name));
    let of = |settings| s.exchanger.target(settings).digest;
    let all = [
        of(wanted()),
        s.exchanger.own_target(wanted()).digest,
        of(TargetSettings { actor: Actor::Gateway, ..wanted() }),
        of(TargetSettings { actor: header("a"), ..wanted() }),
        of(TargetSettings { subject_token_type: JWT.into(), ..wanted() }),
        of(TargetSettings { requested_token_type: JWT.into(), ..wanted() }),
        of(TargetSettings { extra_params: params(&[("a", "b")]), ..wanted() }),
        of(TargetSettings { extra_params: params(&[("a", "c")]), ..wanted() }),
        of(TargetSettings { extra_params: params(&[("ab", "")]), ..wanted() }),
    ];
    for (i, one) in all.iter().enumerate() {
        assert!(all.iter().enumerate().all(|(j, other)| (one == other) == (i == j)), "{i}");
    }
    assert_eq!(all[3], of(TargetSettings { actor: header("b"), ..wanted() }), "what the header is called shapes nothing");
    let either_way = [&[("a", "1"), ("b", "2")][..], &[("b", "2"), ("a", "1")]];
    let [one, other] = either_way.map(|all| of(TargetSettings { extra_params: params(all), ..wanted() }));
    assert_eq!(one, other);

    let (issuer, metrics) = s.iam.issuer(&s.clock, |_| ());
    let settings = Settings { profile: Profile::Keycloak, extra_params: params(&[("a", "b"), ("t", "u")]) };
    let exchanger = Exchanger::new(settings, issuer, metrics.issuer("main"));
    let target = exchanger.target(TargetSettings { extra_params: params(&[("a", "own")]), ..wanted() });
    assert_eq!(target.settings.extra_params, params(&[("a", "own"), ("t", "u")]), "the target's own win");
}

#[tokio::test]
async fn a_ready_assertion_goes_with_our_name_to_entra_alone() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("token");
    let part = |value: serde_json::Value| crate::issuer::testing::b64(value.to_string().as_bytes());
    std::fs::write(&file, format!("{}.{}.eHg", part(json!({"alg": "RS256"})), part(json!({"sub": "workload"})))).unwrap();
    for (profile, named) in [(Profile::EntraObo, vec!["gateway".to_owned()]), (Profile::Keycloak, vec![])] {
        let s = Scene::with(profile, |s| s.client_auth = crate::issuer::ClientAuth::ClientAssertion { file: file.clone() }).await;
        s.iam.answer(TOKEN, Canned::text(400, ""));
        let _ = s.exchange.token(&Asker::Caller(s.caller("t")), &s.target(), Ask::ANY).await;
        let seen = &s.iam.seen(TOKEN)[0];
        assert_eq!((seen.form("client_id"), seen.form("client_assertion").len()), (named, 1));
    }
}
