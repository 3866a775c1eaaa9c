use super::*;
use crate::clock::Clock;
use crate::fault::invalid_token;
use crate::token::{AccessToken, Ask, Asker, Digest, Grant, Source, Subject, TargetSettings};
use futures_util::future::{Either, FutureExt, ready};
use http::Response;
use std::sync::Mutex;
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};

/// Answers at once, later, or not at all.
#[derive(Clone)]
enum Fake {
    Hit,
    Miss,
    Refuses,
}

impl TokenSource for Fake {
    fn token(&self, _: &Asker, _: &Arc<Target>, _: Ask) -> Answer {
        let token = AccessToken::new("exchanged").unwrap();
        let (source, lifetime) = (Source::Hit, Duration::from_secs(1));
        let granted = Granted { token, source, generation: 1, expires_at: 1, lifetime, by_issuer: lifetime, not_before: 0 };
        match self {
            Self::Hit => Either::Left(ready(Ok(granted))),
            Self::Miss => Either::Right(
                async move {
                    tokio::task::yield_now().await;
                    Ok(granted)
                }
                .boxed(),
            ),
            Self::Refuses => Either::Left(ready(Err(invalid_token("dead")))),
        }
    }
}

fn target(allow_login_client: bool) -> Arc<Target> {
    let audiences = vec!["orders-api".to_owned()];
    let settings = TargetSettings { expect_audiences: audiences.clone(), audiences, allow_login_client, ..TargetSettings::default() };
    Arc::new(Target { issuer: "main".into(), grant: Grant::TokenExchange, settings, digest: Digest::of(b"target") })
}

fn of(azp: &str) -> Caller {
    let (clock_skew, expires_at) = (Duration::ZERO, u64::MAX);
    let subject = Subject {
        issuer: "main".into(),
        sub: "alice".into(),
        sid: None,
        azp: Some(azp.into()),
        scopes: vec![],
        claims: vec![],
        issued_at: 0,
        expires_at,
        clock_skew,
    };
    caller("callers-own", subject).unwrap()
}

/// What came through: the values of `Authorization`, and whether they are marked.
type Sent = Arc<Mutex<Vec<Vec<(String, bool)>>>>;

/// A service that is ready once for each call, fails where it is told to, and whose future is not `Send`.
#[derive(Clone)]
struct Backend {
    sent: Sent,
    fails: bool,
}

impl<B> Service<Request<B>> for Backend {
    type Response = Response<()>;
    type Error = String;
    type Future = futures_util::future::LocalBoxFuture<'static, Result<Response<()>, String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let values = request.headers().get_all(AUTHORIZATION).iter().map(|v| (v.to_str().unwrap().to_owned(), v.is_sensitive()));
        self.sent.lock().unwrap().push(values.collect());
        let outcome = if self.fails { Err("broken off".to_owned()) } else { Ok(Response::new(())) };
        async move { outcome }.boxed_local()
    }
}

async fn through(tokens: Fake, who: Option<Caller>, fails: bool) -> (Result<(), Error>, Vec<Vec<(String, bool)>>) {
    let sent = Sent::default();
    let layer = TokenSwapLayer::new(tokens, target(false), move |parts: &Parts| {
        assert_eq!(parts.headers.get_all(AUTHORIZATION).iter().count(), 2, "it sees the request as it came");
        who.clone()
    });
    let mut service = layer.layer(Backend { sent: sent.clone(), fails });
    let request = Request::get("/").header(AUTHORIZATION, "Bearer callers-own").header(AUTHORIZATION, "Basic eA==").body("any").unwrap();
    let outcome = ServiceExt::<Request<&str>>::ready(&mut service).await.unwrap().call(request).await.map(drop);
    let sent = sent.lock().unwrap().clone();
    (outcome, sent)
}

#[tokio::test]
async fn exactly_one_authorization_leaves_and_it_is_the_exchanged_one() {
    for tokens in [Fake::Hit, Fake::Miss] {
        let (outcome, sent) = through(tokens, Some(of("app")), false).await;
        assert!(outcome.is_ok());
        assert_eq!(sent, [[("Bearer exchanged".to_owned(), true)]]);
    }
}

#[tokio::test]
async fn nothing_is_sent_where_there_is_no_token_to_send() {
    let (outcome, sent) = through(Fake::Hit, None, false).await;
    assert!(matches!(outcome, Err(Error::NoCaller)) && sent.is_empty());
    let (outcome, sent) = through(Fake::Refuses, Some(of("app")), false).await;
    assert!(matches!(outcome, Err(Error::Fault(Fault::InvalidToken(_)))) && sent.is_empty());
    let (outcome, sent) = through(Fake::Hit, Some(of("orders-api")), false).await;
    assert!(matches!(outcome, Err(Error::Fault(Fault::LoginClient(_)))) && sent.is_empty());
}

#[tokio::test]
async fn what_the_service_below_says_is_handed_on() {
    let (outcome, sent) = through(Fake::Miss, Some(of("app")), true).await;
    assert!(matches!(outcome, Err(Error::Inner(e)) if e.to_string() == "broken off") && sent.len() == 1);
}

#[tokio::test]
async fn a_vouched_caller_is_the_one_of_the_token() {
    use base64::Engine as _;
    let b64 = |s: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(s);
    let jwt = |claims: &str| format!("{}.{}.c2ln", b64(r#"{"alg":"RS256"}"#.to_owned()), b64(claims.to_owned()));
    let engine = Engine::at("http://127.0.0.1:1/realms/x", "gateway", crate::token::Secret::new("s")).clock(Clock::turned());
    let engine = engine.start().unwrap();
    let good = r#"{"iss":"http://127.0.0.1:1/realms/x","sub":"alice","azp":"app","exp":99,"scope":"a b"}"#;
    let subject = engine.vouched(&jwt(good)).unwrap().subject;
    assert_eq!((&*subject.sub, subject.azp.as_deref(), subject.scopes.len(), subject.expires_at), ("alice", Some("app"), 2, 99));
    for bad in [good.replace("realms/x", "realms/y"), good.replace("\"exp\":99,", ""), good.replace("alice", "")] {
        assert!(matches!(engine.vouched(&jwt(&bad)), Err(Fault::InvalidToken(_))), "{bad}");
    }
    assert!(engine.vouched("opaque").is_err());
    assert!(caller("two words", (*subject).clone()).is_err());
}

#[tokio::test]
async fn a_callers_token_that_stands_elsewhere_too_is_not_sent() {
    for (uri, name, value) in [
        ("/", "x-auth-request-access-token", "callers-own"),
        ("/", "cookie", "a=1; session=callers%2Down"),
        ("/?access_token=callers-own", "x-tenant", "a"),
        ("/callers%252Down/x", "x-tenant", "a"),
    ] {
        let sent = Sent::default();
        let layer = TokenSwapLayer::new(Fake::Hit, target(false), |_: &Parts| Some(of("app")));
        let mut service = layer.layer(Backend { sent: sent.clone(), fails: false });
        let request = Request::get(uri).header(AUTHORIZATION, "Bearer callers-own").header(name, value).body("any").unwrap();
        let outcome = ServiceExt::<Request<&str>>::ready(&mut service).await.unwrap().call(request).await;
        assert!(matches!(outcome, Err(Error::Fault(Fault::BadRequest(_)))), "{uri} {name}: {value}");
        assert!(sent.lock().unwrap().is_empty(), "{uri} {name}: {value}");
    }
}
