//! Among tower's own layers, in one `ServiceBuilder`: buffer, timeout and retry, above it and below.

use super::{World, within};
use bytes::Bytes;
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use cambist::fault::Fault;
use cambist::swap::Error;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::future::{Ready, ready};
use std::time::Duration;
use tower::retry::Policy;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

const LONG: Duration = Duration::from_secs(60);

/// Once more where the backend has failed; never where there was no token.
#[derive(Clone)]
struct Again(u32);

impl Policy<Request<Full<Bytes>>, Response<Incoming>, Error> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<Full<Bytes>>, came: &mut Result<Response<Incoming>, Error>) -> Option<Ready<()>> {
        let failed = match came {
            Ok(answer) => answer.status().is_server_error(),
            Err(e) => matches!(e, Error::Inner(_)),
        };
        self.0 = self.0.checked_sub(1).filter(|_| failed)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

/// A whole stack; `patience` is how long it waits for everything together, `below` for each attempt.
fn stack(
    world: &World,
    audience: &str,
    [patience, below]: [Duration; 2],
) -> impl Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error = BoxError> + Clone + use<> {
    ServiceBuilder::new()
        .buffer(8)
        .timeout(patience)
        .retry(Again(1))
        .layer(world.layer_for(audience))
        .buffer(8)
        .timeout(below)
        .service(Client::builder(TokioExecutor::new()).build_http())
}

#[tokio::test]
async fn a_retry_above_asks_again_with_the_token_that_is_held() {
    let world = World::start().await;
    let mut client = stack(&world, "orders-api", [LONG, LONG]);
    let alice = world.alice().await;
    for bad in [Misbehave::Reset, Misbehave::status(StatusCode::BAD_GATEWAY)] {
        world.backend.script(bad);
        let answer = client.ready().await.unwrap().call(world.request(&alice, Full::default())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        world.saw_alices();
    }
    assert_eq!((world.iam.exchanges(), world.backend.requests()), (1, 4));
}

#[tokio::test]
async fn many_at_once_share_the_exchange() {
    let world = World::start().await;
    let client = stack(&world, "orders-api", [LONG, LONG]);
    let alice = world.alice().await;
    let calls = (0..50).map(|_| client.clone().oneshot(world.request(&alice, Full::default())));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|a| a.status() == StatusCode::OK)), "{answers:?}");
    assert_eq!((world.iam.exchanges(), world.backend.requests()), (1, 50));
}

#[tokio::test]
async fn a_refusal_is_neither_tried_again_nor_sent_and_comes_out_on_top() {
    let world = World::start().await;
    let refused =
        stack(&world, "payroll-api", [LONG, LONG]).oneshot(world.request(&world.alice().await, Full::default())).await.unwrap_err();
    assert!(matches!(within(&*refused), Some(Error::Fault(Fault::TargetRefused(_)))), "{refused:?}");
    assert_eq!((world.iam.exchanges(), world.backend.requests()), (1, 0));
}

#[tokio::test]
async fn a_timeout_above_ends_the_wait_for_a_token_and_one_below_the_wait_for_the_backend() {
    let world = World::start().await;
    let (alice, gate) = (world.alice().await, Gate::default());
    world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let hasty = stack(&world, "orders-api", [Duration::from_millis(50), LONG]);
    let late = hasty.oneshot(world.request(&alice, Full::default())).await.unwrap_err();
    assert!(late.is::<Elapsed>() && world.backend.requests() == 0, "{late:?}");
    // The exchange outlives whoever began it: the next has it without another.
    gate.open();
    let answer = stack(&world, "orders-api", [LONG, LONG]).oneshot(world.request(&alice, Full::default())).await.unwrap();
    assert_eq!((answer.status(), world.iam.exchanges()), (StatusCode::OK, 1));

    world.backend.script_always(Misbehave::Hang);
    let below = stack(&world, "orders-api", [LONG, Duration::from_millis(50)]);
    let late = below.oneshot(world.request(&alice, Full::default())).await.unwrap_err();
    assert!(within::<Elapsed>(&*late).is_some() && within::<Error>(&*late).is_some(), "{late:?}");
}
