//! On the server's side: the incoming bearer is verified, swapped, and only then is the request handed to what stands below, here a small
//! proxy. What fails is answered as the gateway would answer it.

use super::{World, anywhere, within};
use bytes::Bytes;
use cambist::fault::Fault;
use cambist::swap::{Engine, Error};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use tower::{BoxError, ServiceBuilder, service_fn};

type Body = BoxBody<Bytes, hyper::Error>;

/// Puts the caller where the layer looks for it, or ends the request.
async fn verified(engine: Engine, mut request: Request<Incoming>) -> Result<Request<Incoming>, BoxError> {
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let caller = engine.verify(bearer.ok_or(Fault::NoToken)?).await?;
    request.extensions_mut().insert(caller);
    Ok(request)
}

fn told(error: &BoxError) -> Response<Body> {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    let fault = within::<Fault>(&**error);
    *answer.status_mut() = fault.map_or(StatusCode::BAD_GATEWAY, |fault| fault.row().status);
    if let Some(challenge) = fault.and_then(Fault::challenge) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
    }
    answer
}

/// A server whose stack verifies, swaps, and proxies to the world's backend.
async fn served(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let (address, engine, to) = (listener.local_addr().unwrap(), world.engine.clone(), world.backend.address());
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    let proxy = service_fn(move |mut request: Request<Incoming>| {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        *request.uri_mut() = format!("http://{to}{path}").parse::<Uri>().unwrap();
        let going = client.request(request);
        async move { Ok::<_, BoxError>(going.await?.map(BodyExt::boxed)) }
    });
    let stack = ServiceBuilder::new()
        .then(|came: Result<Response<Body>, BoxError>| async move { Ok::<_, BoxError>(came.unwrap_or_else(|error| told(&error))) })
        .filter_async(move |request| verified(engine.clone(), request))
        .layer(world.layer())
        .service(proxy);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(stack.clone());
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn the_incoming_bearer_is_swapped_before_what_stands_below() {
    let world = World::start().await;
    let (url, http) = (format!("http://{}/orders/1?x=y", served(&world).await), reqwest::Client::new());
    let token = world.iam.caller_token("alice").unwrap();
    for _ in 0..3 {
        let answer = http.post(&url).bearer_auth(&token).body("an order").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let seen = world.saw_alices();
        assert_eq!((&*seen.target, &seen.body[..]), ("/orders/1?x=y", &b"an order"[..]));
        assert!(!seen.header("authorization").iter().any(|value| value.contains(&token)));
    }
    assert_eq!(world.iam.exchanges(), 1);
}

#[tokio::test]
async fn who_brings_no_good_token_is_told_so_and_comes_no_further() {
    let world = World::start().await;
    let (url, http) = (format!("http://{}/", served(&world).await), reqwest::Client::new());
    for request in [http.get(&url), http.get(&url).bearer_auth("forged"), http.get(&url).basic_auth("alice", Some("alice"))] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    }
    let dead = world.iam.caller_token("bob").unwrap();
    world.iam.logout("bob");
    assert_eq!(http.get(&url).bearer_auth(dead).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "the issuer says so");
    assert_eq!(world.backend.requests(), 0);
    world.backend.down().await;
    let late = http.get(&url).bearer_auth(world.iam.caller_token("alice").unwrap()).send().await.unwrap();
    assert_eq!(late.status(), StatusCode::BAD_GATEWAY);
}

#[test]
fn the_layers_error_is_one_like_any_other() {
    fn fits<E: Into<BoxError> + std::error::Error + Send + Sync + 'static>() {}
    fits::<Error>();
}
