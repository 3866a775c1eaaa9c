//! Every way to forge a token, each refused with its reason and without a call to the issuer; every algorithm accepted; and
//! what is remembered, for how long.

use super::*;
use crate::issuer::testing::{Canned, Iam, KEYS, Signer, b64};
use futures_util::FutureExt;
use http::HeaderValue;
use serde_json::{Value, json};
use std::sync::LazyLock;

static RSA: LazyLock<Signer> = LazyLock::new(Signer::rsa);

struct Scene {
    iam: Iam,
    clock: Clock,
    verifier: Arc<Verifier>,
}

fn settings() -> Settings {
    use Algorithm as A;
    Settings {
        audiences: vec!["gateway".into(), "gateway-2".into()],
        algorithms: vec![A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512, A::Es256, A::Es384, A::EdDsa],
        clock_skew: Duration::from_secs(30),
        strict_at_jwt: false,
        by: By::Jwks,
        keep: vec![],
    }
}

async fn scene_with(keys: &[Value], settings: Settings) -> Scene {
    let (iam, clock) = (Iam::start(keys).await, Clock::turned());
    let issuer = iam.loaded(&clock).await;
    let verifier = Verifier::new(settings, issuer, clock.clone(), 100);
    Scene { iam, clock, verifier }
}

async fn scene() -> Scene {
    scene_with(&[RSA.jwk("rsa")], settings()).await
}

impl Scene {
    fn claims(&self) -> Value {
        let now = self.clock.unix();
        json!({
            "iss": self.iam.url, "sub": "u-1", "aud": ["gateway", "account"], "exp": now + 300, "iat": now, "nbf": now, "typ": "Bearer",
            "azp": "web", "sid": "s-1", "scope": "openid orders.read"
        })
    }

    /// A good token but for what `change` does to header and claims.
    fn token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let (mut header, mut claims) = (json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"}), self.claims());
        change(&mut header, &mut claims);
        RSA.token(&header, &claims)
    }

    async fn verify(&self, token: &str) -> Result<Caller, Fault> {
        self.verifier.verify(bearer(token)).await
    }

    /// The reason that a token is refused for.
    async fn refusal(&self, token: &str) -> Why {
        match self.verify(token).await {
            Err(Fault::InvalidToken(why)) => {
                assert!(!format!("{why:?}").contains(token), "the token stands in the log");
                why.0.clone()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn bearer(token: &str) -> SubjectToken {
    SubjectToken::from_authorization(&HeaderValue::try_from(format!("Bearer {token}")).unwrap()).unwrap().unwrap()
}

#[tokio::test]
async fn a_good_token_is_a_caller() {
    let s = scene().await;
    let caller = s.verify(&s.token(|_, _| ())).await.unwrap();
    let subject = &caller.subject;
    assert_eq!((&*subject.sub, subject.sid.as_deref(), subject.azp.as_deref()), ("u-1", Some("s-1"), Some("web")));
    assert_eq!(subject.scopes, ["openid".into(), "orders.read".into()]);
    assert_eq!((&*subject.issuer, subject.clock_skew), ("main", Duration::from_secs(30)));
    assert!(subject.expires_at > s.clock.unix());

    let changed = s.token(|_, c| {
        let c = c.as_object_mut().unwrap();
        c.remove("azp");
        c.remove("scope");
        c.extend(json!({"client_id": "cli", "scp": ["a", "b c"], "aud": "gateway-2"}).as_object().unwrap().clone());
    });
    let caller = s.verify(&changed).await.unwrap();
    assert_eq!(caller.subject.azp.as_deref(), Some("cli"));
    assert_eq!(caller.subject.scopes, ["a".into(), "b".into(), "c".into()]);
    for typ in [json!("at+jwt"), json!("application/at+jwt"), json!("AT+JWT"), Value::Null] {
        assert!(s.verify(&s.token(|h, _| h["typ"] = typ)).await.is_ok());
    }
}

#[tokio::test]
async fn every_algorithm_of_the_list_and_only_with_its_own_key() {
    let (p256, p384, ed) = (Signer::p256(), Signer::p384(), Signer::ed());
    let mut only_ps = RSA.jwk("only-ps256");
    only_ps["alg"] = json!("PS256");
    let s = scene_with(&[RSA.jwk("rsa"), p256.jwk("p256"), p384.jwk("p384"), ed.jwk("ed"), only_ps], settings()).await;
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|alg| (&*RSA, alg, "rsa"));
    for (signer, alg, kid) in rsa.into_iter().chain([(&p256, "ES256", "p256"), (&p384, "ES384", "p384"), (&ed, "EdDSA", "ed")]) {
        let token = signer.token(&json!({"alg": alg, "kid": kid}), &s.claims());
        assert!(s.verify(&token).await.is_ok(), "{alg}");
        let other = if kid == "rsa" { "ed" } else { "rsa" };
        let crossed = signer.token(&json!({"alg": alg, "kid": other}), &s.claims());
        assert!(s.verify(&crossed).await.is_err(), "{alg} with the key {other}");
    }
    assert!(s.verify(&RSA.token(&json!({"alg": "PS256", "kid": "only-ps256"}), &s.claims())).await.is_ok());
    assert!(s.refusal(&RSA.token(&json!({"alg": "RS256", "kid": "only-ps256"}), &s.claims())).await.cause.contains("no single key"));
    // Without kid: one key fits ES256, two fit PS256.
    assert!(s.verify(&p256.token(&json!({"alg": "ES256"}), &s.claims())).await.is_ok());
    assert!(s.refusal(&RSA.token(&json!({"alg": "PS256"}), &s.claims())).await.cause.contains("no single key"));
    assert_eq!(s.iam.count(KEYS), 1);
}

#[tokio::test]
async fn algorithms_outside_the_list_are_refused() {
    let s = scene_with(&[RSA.jwk("rsa")], Settings { algorithms: vec![Algorithm::Ps256], ..settings() }).await;
    for alg in ["RS256", "PS384", "none", "None", "HS256", "ES256K", "", "RSA-OAEP"] {
        let why = s.refusal(&s.token(|h, _| h["alg"] = json!(alg))).await;
        assert!(why.cause.contains("verify.algorithms"), "{why:?}");
    }
    assert!(s.verify(&s.token(|h, _| h["alg"] = json!("PS256"))).await.is_ok());
}

#[tokio::test]
async fn forged_signatures_are_refused() {
    let s = scene().await;
    let good = s.token(|_, _| ());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let claims = |change: fn(&mut Value)| {
        let mut c = s.claims();
        change(&mut c);
        b64(c.to_string().as_bytes())
    };
    let header = b64(br#"{"alg":"RS256","kid":"rsa"}"#);
    let none = b64(br#"{"alg":"none"}"#);
    // The public key, in the forms in which it is published, as the secret of HS256.
    let jwk = RSA.jwk("rsa").to_string();
    let hs = format!("{}.{}", b64(br#"{"alg":"HS256","kid":"rsa"}"#), claims(|_| ()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, jwk.as_bytes());
    let mac = aws_lc_rs::hmac::sign(&key, hs.as_bytes());
    let forged = [
        format!("{none}.{}.", claims(|_| ())),
        format!("{none}.{}.{signature}", claims(|_| ())),
        format!("{hs}.{}", b64(mac.as_ref())),
        format!("{signed}."),
        format!("{signed}.{}", b64(&[0; 256])),
        format!("{header}.{}.{signature}", claims(|c| c["sub"] = json!("admin"))),
        Signer::rsa().token(&json!({"alg": "RS256", "kid": "rsa"}), &s.claims()),
        good.replace('.', ".."),
        format!("{good}.x"),
        format!("{signed}.{signature}="),
        "opaque-token".into(),
        good.split_once('.').unwrap().1.into(),
    ];
    for token in &forged {
        s.refusal(token).await;
    }
    assert_eq!(s.iam.count(KEYS), 1, "a forged token costs the issuer nothing");
    assert!(s.verify(&good).await.is_ok());
}

#[tokio::test]
async fn forged_headers_and_claims_are_refused() {
    let s = scene().await;
    let now = s.clock.unix();
    let claim = |key: &'static str, value: Value| s.token(move |_, c| c[key] = value);
    let without = |key: &'static str| s.token(move |_, c| drop(c.as_object_mut().unwrap().remove(key)));
    let header = |key: &'static str, value: Value| s.token(move |h, _| h[key] = value);
    let cases = [
        (claim("exp", json!(now - 31)), "expired 31 s ago"),
        (claim("exp", json!((now + 300).to_string())), "exp is not a number"),
        (claim("exp", Value::Null), "exp is not a number"),
        (without("exp"), "has no exp"),
        (claim("exp", json!(-5)), "expired"),
        (claim("nbf", json!(now + 60)), "not valid yet"),
        (claim("nbf", json!("0")), "nbf is not a number"),
        (claim("iat", json!([1])), "iat is not a number"),
        (claim("iss", json!("https://iam.example/realms/b")), "is of the issuer"),
        (claim("iss", json!(format!("{}/", s.iam.url))), "is of the issuer"),
        (claim("iss", json!([s.iam.url])), "iss is not a string"),
        (without("iss"), "has no iss"),
        (claim("aud", json!("orders-api")), "gateway or gateway-2 must stand in aud"),
        (claim("aud", json!([])), "has no audience"),
        (claim("aud", json!({"gateway": 1})), "aud is neither"),
        (claim("aud", json!(["gateway", 1])), "aud holds something"),
        (without("aud"), "has no audience"),
        (without("sub"), "has no sub"),
        (claim("sub", json!("")), "has no sub"),
        (claim("sub", json!(17)), "sub is not a string"),
        (claim("azp", json!(["web"])), "azp is not a string"),
        (claim("typ", json!("ID")), "not an access token"),
        (claim("typ", json!("Refresh")), "not an access token"),
        (claim("typ", json!("Offline")), "not an access token"),
        (claim("typ", json!("Logout")), "not an access token"),
        (claim("cnf", json!({"jkt": "x"})), "(cnf)"),
        (claim("cnf", Value::Null), "(cnf)"),
        (header("typ", json!("logout+jwt")), "no access token"),
        (header("typ", json!("dpop+jwt")), "no access token"),
        (header("typ", json!("secevent+jwt")), "no access token"),
        (header("typ", json!(1)), "typ is not a string"),
        (header("crit", json!(["b64"])), "crit"),
        (header("crit", json!([])), "crit"),
        (header("kid", json!(1)), "kid is not a string"),
        (header("alg", Value::Null), "names no signature algorithm"),
    ];
    for (token, words) in cases {
        let why = s.refusal(&token).await;
        assert!(why.cause.contains(words), "{why:?} lacks {words}");
    }
    assert!(s.refusal(&claim("aud", json!("x"))).await.cure.unwrap().contains("Audience"));
    let mut twice = s.claims().to_string();
    twice.insert_str(1, r#""sub":"admin","#);
    let twice = format!("{}.{}", b64(br#"{"alg":"RS256","kid":"rsa"}"#), b64(twice.as_bytes()));
    let twice = format!("{twice}.{}", b64(&RSA.sign("RS256", twice.as_bytes())));
    assert!(s.refusal(&twice).await.cause.contains("twice"));
    assert!(s.verify(&s.token(|_, c| c["exp"] = json!(now - 10))).await.is_ok(), "within the skew");
    assert_eq!(s.iam.count(KEYS), 1);
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_not_looked_at() {
    let (s, mine) = (scene().await, Signer::rsa());
    let evil = format!("http://{}/evil", s.iam.addr);
    let header = json!({"alg": "RS256", "kid": "rsa", "jwk": mine.jwk("rsa"), "jku": evil, "x5u": evil});
    s.refusal(&mine.token(&header, &s.claims())).await;
    assert_eq!(s.iam.count("/evil"), 0);
}

#[tokio::test]
async fn strict_takes_rfc_9068_only() {
    let s = scene_with(&[RSA.jwk("rsa")], Settings { strict_at_jwt: true, ..settings() }).await;
    assert!(s.verify(&s.token(|h, _| h["typ"] = json!("at+jwt"))).await.is_ok());
    for typ in [json!("JWT"), Value::Null] {
        assert!(s.refusal(&s.token(|h, _| h["typ"] = typ)).await.cure.unwrap().contains("rfc9068"));
    }
}

#[tokio::test]
async fn what_was_verified_is_remembered_until_it_expires() {
    let s = scene().await;
    let token = s.token(|_, _| ());
    assert!(s.verify(&token).await.is_ok());
    assert_eq!(s.verifier.remembered.len(), 1);
    let again = s.verifier.verify(bearer(&token));
    assert!(matches!(again, Either::Left(_)));
    assert!(again.now_or_never().unwrap().is_ok());
    s.clock.turn(Duration::from_secs(329));
    assert!(s.verify(&token).await.is_ok(), "the skew counts for the remembered too");
    s.clock.turn(Duration::from_secs(2));
    assert!(s.refusal(&token).await.cause.contains("expired"));
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let s = scene().await;
    for i in 0..120 {
        s.verify(&s.token(|_, c| c["sub"] = json!(format!("u-{i}")))).await.unwrap();
    }
    assert_eq!(s.verifier.remembered.len(), 100);
}

#[tokio::test]
async fn a_new_key_is_fetched_and_a_withdrawn_one_stops_counting_at_once() {
    let (s, new) = (scene().await, Signer::p256());
    let old = s.token(|_, _| ());
    assert!(s.verify(&old).await.is_ok());
    s.iam.keys(&[new.jwk("new")]);
    let fresh = new.token(&json!({"alg": "ES256", "kid": "new"}), &s.claims());
    let waits = s.verifier.verify(bearer(&fresh));
    assert!(matches!(waits, Either::Right(_)));
    assert!(waits.await.is_ok());
    assert_eq!(s.iam.count(KEYS), 2);
    assert!(s.refusal(&old).await.cause.contains("does not publish"), "remembered, but by a key that is gone");
}

#[tokio::test]
async fn a_key_without_a_name_may_be_replaced_too() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let nameless = |signer: &Signer| {
        let mut jwk = signer.jwk("");
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let s = scene_with(&[nameless(&old)], settings()).await;
    s.iam.keys(&[nameless(&new)]);
    assert!(s.verify(&new.token(&json!({"alg": "EdDSA"}), &s.claims())).await.is_ok());
}

#[tokio::test]
async fn many_unknown_kids_are_two_fetches_at_most_and_refusals() {
    let s = scene().await;
    let tokens: Vec<_> = (0..500).map(|i| s.token(|h, _| h["kid"] = json!(format!("forged-{i}")))).collect();
    for end in futures_util::future::join_all(tokens.iter().map(|t| s.verify(t))).await {
        assert!(matches!(end, Err(Fault::InvalidToken(_))), "{end:?}");
    }
    assert!(s.iam.count(KEYS) <= 2);
}

#[tokio::test]
async fn without_keys_nobody_is_sent_away_to_log_in() {
    let s = scene().await;
    s.iam.answer(KEYS, Canned::text(500, ""));
    let end = s.verify(&s.token(|h, _| h["kid"] = json!("newer"))).await;
    assert!(matches!(&end, Err(Fault::IssuerUnavailable { why, .. }) if why.0.cause.contains("HTTP 500")), "{end:?}");

    let (never, _) = s.iam.issuer(&s.clock, |_| ());
    let verifier = Verifier::new(settings(), never, s.clock.clone(), 10);
    let end = verifier.verify(bearer(&s.token(|_, _| ()))).now_or_never().unwrap();
    assert!(matches!(end, Err(Fault::IssuerUnavailable { .. })), "{end:?}");
}
