//! Exchanges over real sockets: what is asked, what of the answer is believed, how long it lives, and every way to fail.

mod counted;
mod grants;
mod issued;
mod makers;

use super::*;
use crate::issuer::testing::{Canned, Iam, Lines, Signer, TOKEN, b64};
use crate::metrics::Metrics;
use crate::token::{Caller, Granted, Source, Subject, SubjectToken, TargetSettings};
use http::HeaderValue;
use serde_json::{Value, json};
use std::time::Duration;

const BEARER: &str = "caller-c4nary-token";
const URN: &str = "urn:ietf:params:oauth:token-type:access_token";

struct Scene {
    iam: Iam,
    clock: Clock,
    exchange: Exchange,
    exchanger: Arc<Exchanger>,
    metrics: Arc<Metrics>,
}

async fn scene(profile: Profile) -> Scene {
    Scene::with(profile, |s| s.timeouts.total = Duration::from_millis(500)).await
}

impl Scene {
    async fn with(profile: Profile, change: impl FnOnce(&mut crate::issuer::Settings)) -> Self {
        let (iam, clock) = (Iam::start(&[Signer::ed().jwk("one")]).await, Clock::turned());
        let (issuer, metrics) = iam.issuer(&clock, change);
        issuer.start();
        issuer.when_loaded().await;
        let exchanger = Arc::new(Exchanger::new(Settings { profile, extra_params: vec![] }, issuer, metrics.issuer("main")));
        let exchange = Exchange::new(clock.clone());
        exchange.add([&exchanger]);
        Self { iam, clock, exchange, exchanger, metrics }
    }

    /// Another one of the same name, whose issuer has not been asked for anything.
    fn exchanger(&self) -> Arc<Exchanger> {
        let (issuer, metrics) = self.iam.issuer(&self.clock, |_| ());
        Arc::new(Exchanger::new(Settings { profile: Profile::Keycloak, extra_params: vec![] }, issuer, metrics.issuer("main")))
    }

    fn target(&self) -> Arc<Target> {
        self.target_of(&self.exchanger)
    }

    fn target_of(&self, exchanger: &Exchanger) -> Arc<Target> {
        let audiences = vec!["orders-api".to_owned()];
        let expect_audiences = audiences.clone();
        let max_ttl = Duration::from_secs(600);
        Arc::new(exchanger.target(TargetSettings { audiences, expect_audiences, max_ttl, ..TargetSettings::default() }))
    }

    fn caller(&self, token: &str) -> Caller {
        let header = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let token = SubjectToken::from_authorization(&header).unwrap().unwrap();
        let subject = Subject {
            issuer: "main".into(),
            sub: "u-1".into(),
            sid: None,
            azp: Some("web".into()),
            scopes: vec![],
            claims: vec![],
            issued_at: 0,
            expires_at: self.clock.unix() + 1000,
            clock_skew: Duration::from_secs(30),
        };
        Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None }
    }

    async fn exchange(&self, caller: &Caller, target: &Arc<Target>) -> Result<Granted, Fault> {
        self.exchange.token(&Asker::Caller(caller.clone()), target, Ask::ANY).await
    }

    async fn ask(&self, canned: Canned) -> Result<Granted, Fault> {
        self.iam.answer(TOKEN, canned);
        self.exchange(&self.caller(BEARER), &self.target()).await
    }

    /// The reason that an answer is not trusted for.
    async fn bad(&self, body: &Value) -> String {
        match self.ask(Canned::json(200, body)).await {
            Err(Fault::BadIssuerAnswer(why)) => why.0.cause.to_string(),
            other => panic!("{body}: {other:?}"),
        }
    }
}

fn jwt(claims: &Value) -> String {
    format!("{}.{}.{}", b64(br#"{"alg":"RS256","typ":"JWT"}"#), b64(claims.to_string().as_bytes()), b64(b"signature"))
}

fn good(token: &str) -> Value {
    json!({"access_token": token, "token_type": "Bearer", "issued_token_type": URN, "expires_in": 300})
}

fn changed(key: &str, value: Value) -> Value {
    let mut body = good("opaque-token");
    body[key] = value;
    body
}

fn secs(life: Duration) -> u64 {
    life.as_secs()
}

#[tokio::test]
async fn the_request_says_everything_once_and_audiences_each() {
    let s = scene(Profile::Keycloak).await;
    let list = |items: &[&str]| items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>();
    let target = s.exchanger.target(TargetSettings {
        audiences: list(&["orders-api", "stock api"]),
        scopes: list(&["orders.read", "stock"]),
        resources: list(&["https://a.example/?x=1&y", "https://b.example/"]),
        ..TargetSettings::default()
    });
    s.iam.answer(TOKEN, Canned::json(200, &good("opaque-token")));
    let granted = s.exchange(&s.caller(BEARER), &Arc::new(target)).await.unwrap();
    assert_eq!((granted.token.expose(), granted.source), ("opaque-token", Source::Miss));
    let seen = s.iam.seen(TOKEN).pop().unwrap();
    for (name, values) in [
        ("grant_type", list(&["urn:ietf:params:oauth:grant-type:token-exchange"])),
        ("subject_token", list(&[BEARER])),
        ("subject_token_type", list(&[URN])),
        ("requested_token_type", list(&[URN])),
        ("audience", list(&["orders-api", "stock api"])),
        ("resource", list(&["https://a.example/?x=1&y", "https://b.example/"])),
        ("scope", list(&["orders.read stock"])),
        ("actor_token", vec![]),
        ("client_secret", vec![]),
    ] {
        assert_eq!(seen.form(name), values, "{name}");
    }
    let text = String::from_utf8(s.metrics.encode()).unwrap();
    for line in [
        r#"cambist_token_exchanges_total{audience="orders-api stock api",issuer="main",result="success"} 1"#,
        r#"cambist_token_exchanges_total{audience="orders-api stock api",issuer="main",result="denied"} 0"#,
        r#"cambist_token_exchanges_in_flight{issuer="main"} 0"#,
        r#"cambist_issued_token_lifetime_seconds_count{issuer="main"} 1"#,
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[tokio::test]
async fn the_login_client_is_no_audience() {
    let s = scene(Profile::Keycloak).await;
    s.iam.answer(TOKEN, Canned::json(200, &good("opaque-token")));
    let target = |allow_login_client| {
        let audiences = vec!["a".into(), "web".into()];
        Arc::new(s.exchanger.target(TargetSettings { audiences, allow_login_client, ..TargetSettings::default() }))
    };
    let caller = s.caller(BEARER);
    let Fault::LoginClient(why) = s.exchange(&caller, &target(false)).await.unwrap_err() else { panic!("another fault") };
    assert!(why.0.cause.contains("(azp ") && why.0.cure.is_some());
    assert_eq!(s.iam.count(TOKEN), 0);
    assert!(target(false).permits(&caller.subject).is_err() && target(true).permits(&caller.subject).is_ok());
    assert!(s.exchange(&caller, &target(true)).await.is_ok());
}

#[tokio::test]
async fn a_token_goes_to_its_own_issuer_only() {
    let s = scene(Profile::Keycloak).await;
    let mut caller = s.caller(BEARER);
    caller.subject = Arc::new(Subject { issuer: "other".into(), ..(*caller.subject).clone() });
    assert_eq!(s.exchange(&caller, &s.target()).await.unwrap_err().code(), "misconfigured");
    // One that was never added has the same name, and is another's all the same.
    let other = s.exchanger();
    assert_eq!(s.exchange(&s.caller(BEARER), &s.target_of(&other)).await.unwrap_err().code(), "misconfigured");
    assert_eq!(s.iam.count(TOKEN), 0);
}

#[tokio::test]
async fn answers_that_are_not_what_was_asked_for() {
    let s = scene(Profile::Keycloak).await;
    let cases = [
        (changed("token_type", json!("DPoP")), "token_type \"DPoP\""),
        (changed("token_type", json!("N_A")), "token_type \"N_A\""),
        (changed("token_type", Value::Null), "token_type none"),
        (changed("token_type", json!(1)), "token_type is not a string"),
        (changed("issued_token_type", json!("urn:ietf:params:oauth:token-type:id_token")), "issued_token_type"),
        (changed("issued_token_type", Value::Null), "issued_token_type none"),
        (changed("token_type", json!("c4nary-token-in-its-place")), "token_type that is none"),
        (changed("issued_token_type", json!("c4nary-token-in-its-place")), "issued_token_type that is none"),
        (changed("access_token", Value::Null), "no access_token"),
        (changed("access_token", json!("")), "b64token"),
        (changed("access_token", json!("a b")), "b64token"),
        (changed("access_token", json!("a\r\nX: y")), "b64token"),
        (changed("access_token", json!("x".repeat(16 * 1024 + 1))), "16 KiB"),
        (changed("expires_in", json!(0)), "expires_in 0"),
        (changed("expires_in", json!(-103)), "expires_in -103"),
        (changed("expires_in", json!("300")), "expires_in is not a number"),
        (json!([]), "no object"),
    ];
    for (body, words) in cases {
        let cause = s.bad(&body).await;
        assert!(cause.contains(words) && !cause.contains("c4nary"), "{cause} lacks {words}");
    }
    for text in ["", "<html>", "{\"access_token\":\"x\"", r#"{"access_token":"x","access_token":"y"}"#, &"x".repeat(65 * 1024)] {
        let end = s.ask(Canned::text(200, text)).await;
        assert!(matches!(end, Err(Fault::BadIssuerAnswer(_))), "{end:?}");
    }
    assert!(s.ask(Canned::json(200, &changed("token_type", json!("bearer")))).await.is_ok());
}

#[tokio::test]
async fn the_life_is_the_least_of_all_that_bound_it() {
    let s = scene(Profile::Keycloak).await;
    let exp = |left: u64| jwt(&json!({"aud": "orders-api", "sub": "u-1", "exp": s.clock.unix() + left}));
    let unsaid = |token: &str| {
        let mut body = good(token);
        body.as_object_mut().unwrap().remove("expires_in");
        body
    };
    let near = |got: u64, want: u64| assert!((want - 1..=want).contains(&got), "{got} is not {want}");
    let life = async |body: &Value| secs(s.ask(Canned::json(200, body)).await.unwrap().lifetime);
    near(life(&good("opaque-token")).await, 300);
    near(life(&good(&exp(200))).await, 200);
    near(life(&good(&exp(400))).await, 300);
    near(life(&unsaid(&exp(200))).await, 200);
    near(life(&unsaid("opaque-token")).await, 60);
    near(life(&changed("expires_in", json!(9999))).await, 600);

    // The caller's own token, with the skew, ends every life.
    let mut caller = s.caller(BEARER);
    caller.subject = Arc::new(Subject { expires_at: s.clock.unix() + 40, ..(*caller.subject).clone() });
    s.iam.answer(TOKEN, Canned::json(200, &good("opaque-token")));
    near(secs(s.exchange(&caller, &s.target()).await.unwrap().lifetime), 70);
    s.clock.turn(Duration::from_secs(71));
    let end = s.exchange(&caller, &s.target()).await;
    assert!(matches!(end, Err(Fault::InvalidToken(_))), "{end:?}");

    // Counted from sending: what the answer took is gone from the life.
    let before = s.clock.millis();
    let slow = Canned { delay: Duration::from_millis(200), ..Canned::json(200, &good("opaque-token")) };
    let granted = s.ask(slow).await.unwrap();
    assert!(granted.expires_at < before + 300_000 + 150, "{} {before}", granted.expires_at);
}

#[tokio::test]
async fn generations_grow() {
    let s = scene(Profile::Keycloak).await;
    let first = s.ask(Canned::json(200, &good("a"))).await.unwrap().generation;
    assert!(s.ask(Canned::json(200, &good("b"))).await.unwrap().generation > first);
    assert!(crate::token::next_generation() > first);
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_unavailable() {
    let s = scene(Profile::Keycloak).await;
    let exchanger = s.exchanger();
    s.exchange.add([&exchanger]);
    let end = s.exchange(&s.caller(BEARER), &s.target_of(&exchanger)).await;
    assert!(matches!(end, Err(Fault::IssuerUnavailable { .. })), "{end:?}");
}

#[tokio::test]
async fn no_token_is_logged_or_told_whatever_the_issuer_echoes() {
    let (lines, _guard) = Lines::kept();
    let s = scene(Profile::Keycloak).await;
    let long = format!("eyJ{}.c4nary.{}", "a".repeat(60), "b".repeat(60));
    let echo = json!({"error": "invalid_request", "error_description": format!("Invalid token {long} gateway-c4nary-secret")});
    for canned in
        [Canned::json(400, &echo), Canned::json(200, &good("issued-c4nary-token")), Canned::json(200, &changed("token_type", json!("x")))]
    {
        s.iam.answer(TOKEN, canned);
        let end = s.exchange(&s.caller(&long), &s.target()).await;
        tracing::info!(?end, exchange = ?s.exchange, exchanger = ?s.exchanger, "seen");
    }
    let text = lines.text();
    assert!(text.contains("Invalid token [removed] [removed]"));
    assert!(!text.contains("c4nary"), "{}", &text[text.find("c4nary").unwrap_or(0).saturating_sub(200)..]);
}

/// Opaque tokens are short and look like words: what was sent is known, and is taken out for what it is.
#[tokio::test]
async fn nor_is_a_short_one_that_was_sent_or_came() {
    let s = scene(Profile::Rfc8693).await;
    let actor =
        TargetSettings { actor: crate::token::Actor::Header(http::HeaderName::from_static("x-actor-token")), ..TargetSettings::default() };
    let asker = Asker::Delegate { caller: s.caller("c4nary-42"), actor: s.caller("k7") };
    let target = Arc::new(s.exchanger.target(actor));
    let said = |text: &str| json!({"error": "invalid_request", "error_description": text});
    let echo = |end: Result<Granted, Fault>| end.unwrap_err().why().map(|why| (why.cause.to_string(), why.issuer_words.clone())).unwrap();
    for (words, left) in [
        ("Token c4nary-42 (actor k7) is not known", "invalid_request: Token [removed] (actor [removed]) is not known"),
        ("subject_token=c4nary-42&actor_token=k7, k77", "invalid_request: subject_token=[removed]&actor_token=[removed], k77"),
        ("xc4nary-42x", "invalid_request: x[removed]x"),
        ("sent: YzRuYXJ5LTQy", "[removed]"),
    ] {
        s.iam.answer(TOKEN, Canned::json(400, &said(words)));
        assert_eq!(echo(s.exchange.token(&asker, &target, Ask::ANY).await).1.as_deref(), Some(left));
    }
    // Mixed up in an answer that is not to be trusted.
    let mixed = [
        json!({"access_token": "issued-1", "token_type": "c4nary-42"}),
        json!({"access_token": "issued-1", "token_type": "issued-1"}),
        json!({"access_token": "issued-1", "token_type": "Bearer", "issued_token_type": "k7"}),
    ];
    for body in mixed {
        s.iam.answer(TOKEN, Canned::json(200, &body));
        let (cause, _) = echo(s.exchange.token(&asker, &target, Ask::ANY).await);
        assert!(cause.contains("[removed]") && !["c4nary", "k7", "issued-1"].iter().any(|t| cause.contains(t)), "{cause}");
    }
}

#[tokio::test]
async fn targets_that_mean_the_same_have_the_same_digest_and_no_others() {
    let s = scene(Profile::Keycloak).await;
    let of = |a: &[&str], sc: &[&str], r: &[&str], e: &[&str], ttl: u64, allow: bool| {
        let own = |l: &[&str]| l.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>();
        let settings = TargetSettings {
            audiences: own(a),
            scopes: own(sc),
            resources: own(r),
            expect_audiences: own(e),
            max_ttl: Duration::from_secs(ttl),
            allow_login_client: allow,
            ..TargetSettings::default()
        };
        s.exchanger.target(settings).digest
    };
    let all = [
        of(&["a"], &[], &[], &["a"], 60, false),
        of(&["a", "a"], &[], &[], &[], 60, false),
        of(&["a"], &["a"], &[], &[], 60, false),
        of(&["a"], &[], &["a"], &[], 60, false),
        of(&["a"], &[], &[], &["b"], 60, false),
        of(&["a"], &[], &[], &["a"], 61, false),
        of(&["a"], &[], &[], &["a"], 60, true),
        of(&["b"], &[], &[], &["a"], 60, false),
        of(&[], &["a"], &[], &["a"], 60, false),
    ];
    for (i, one) in all.iter().enumerate() {
        for (j, other) in all.iter().enumerate() {
            assert_eq!(one == other, i == j, "{i} {j}");
        }
    }
    let other = |change: fn(&mut crate::issuer::Settings), profile| {
        let (issuer, metrics) = s.iam.issuer(&s.clock, change);
        let exchanger = Exchanger::new(Settings { profile, extra_params: vec![] }, issuer, metrics.issuer("main"));
        let (audiences, max_ttl) = (vec!["a".to_owned()], Duration::from_secs(60));
        let expect_audiences = audiences.clone();
        exchanger.target(TargetSettings { audiences, expect_audiences, max_ttl, ..TargetSettings::default() }).digest
    };
    assert_eq!(other(|s| s.timeouts.total = Duration::from_secs(9), Profile::Keycloak), all[0], "kept over a reload");
    assert_ne!(other(|s| s.client_id = "other".into(), Profile::Keycloak), all[0]);
    assert_ne!(other(|s| s.url = "https://iam.example/b".into(), Profile::Keycloak), all[0]);
    assert_ne!(other(|_| (), Profile::Rfc8693), all[0]);
}
