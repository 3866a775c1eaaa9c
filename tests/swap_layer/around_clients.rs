//! Around an HTTP client: hyper's, and reqwest's.

use super::{World, within};
use bytes::Bytes;
use cambist::fault::Fault;
use cambist::swap::Error;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

#[tokio::test]
async fn of_hyper() {
    let world = World::start().await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut client = world.layer().layer(client);
    let alice = world.alice().await;
    for _ in 0..3 {
        let answer = client.ready().await.unwrap().call(world.request(&alice, Full::from("x"))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        world.saw_alices();
    }
    assert_eq!(world.iam.exchanges(), 1);
}

#[tokio::test]
async fn of_reqwest() {
    let world = World::start().await;
    let http = reqwest::Client::new();
    let client = service_fn(move |request: Request<String>| {
        let http = http.clone();
        async move { http.execute(request.try_into()?).await }
    });
    let client = world.layer().layer(client);
    let answer = client.oneshot(world.request(&world.alice().await, String::new())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    world.saw_alices();
}

#[tokio::test]
async fn what_fails_says_where_and_no_request_is_sent_without_a_token() {
    let world = World::start().await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let alice = world.alice().await;
    let (good, bad) = (world.layer().layer(client.clone()), world.layer_for("payroll-api").layer(client));
    // Kept in a box, as programs keep their clients: the error has to be one like any other.
    let boxed = |client| BoxCloneService::<_, _, BoxError>::new(ServiceExt::<Request<Full<Bytes>>>::map_err(client, BoxError::from));
    let refused = boxed(bad).oneshot(world.request(&alice, Full::default())).await.unwrap_err();
    assert!(matches!(refused.downcast_ref(), Some(Error::Fault(_))), "{refused}");
    assert!(matches!(within(&*refused), Some(Fault::TargetRefused(_))), "{refused:?}");

    let mut nobodys = world.request(&alice, Full::default());
    nobodys.extensions_mut().clear();
    let refused = boxed(good.clone()).oneshot(nobodys).await.unwrap_err();
    assert!(matches!(refused.downcast_ref(), Some(Error::NoCaller)), "{refused}");
    assert_eq!(world.backend.requests(), 0);

    world.backend.down().await;
    let failed = boxed(good).oneshot(world.request(&alice, Full::default())).await.unwrap_err();
    assert!(matches!(failed.downcast_ref(), Some(Error::Inner(_))), "{failed}");
    let io = within::<std::io::Error>(&*failed).expect("the socket's own word is in the chain");
    assert_eq!(io.kind(), std::io::ErrorKind::ConnectionRefused);
}
