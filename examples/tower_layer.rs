//! The exchange in a program of one's own: `TokenSwapLayer` around a reqwest client. It brings an IAM and a backend along, so
//! that `cargo run --example tower_layer` needs nothing installed; neither is meant for anything but showing.

use cambist::clock::Clock;
use cambist::demo::backend::{Backend, Trust};
use cambist::demo::iam::{Iam, Settings};
use cambist::swap::{Engine, Error};
use cambist::token::{Caller, Secret};
use http::{Request, header::AUTHORIZATION};
use std::net::SocketAddr;
use tower::{Layer, Service, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // What is elsewhere in real life: an identity provider, and a backend that takes tokens for `orders-api` only.
    let iam = Iam::start(Settings::anywhere()).await?;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let backend = Backend::start(anywhere, "orders-api", Trust::iam(&iam, Clock::real()))?;

    // The engine: the issuer's keys, exchanges with our client there, and a cache around them.
    let engine = Engine::at(iam.issuer(), "gateway", Secret::new("gateway-secret")).start()?;

    // A client, and the layer around it. Who calls is looked for in the request's extensions.
    let http = reqwest::Client::new();
    let client = service_fn(move |request: Request<String>| {
        let http = http.clone();
        async move { http.execute(request.try_into()?).await }
    });
    let mut client = engine.layer("orders-api", |parts| parts.extensions.get::<Caller>().cloned()).layer(client);

    // A request that still bears the caller's own token.
    let token = iam.caller_token("alice")?;
    let caller = engine.verify(&token).await?;
    for _ in 0..3 {
        let request = Request::get(format!("{}/orders/1", backend.url())).header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = client.ready().await?.call(request.extension(caller.clone()).body(String::new())?).await?;
        println!("the backend answered {}", answer.status());
    }
    for seen in backend.received() {
        let claim = |name| seen.claim(name).unwrap_or("-").to_owned();
        let own = seen.header("authorization").iter().any(|value| value.contains(&token));
        println!(
            "it saw {} {}: sub {}, aud {}, azp {}; the caller's own token: {own}",
            seen.method,
            seen.target,
            claim("sub"),
            claim("aud"),
            claim("azp")
        );
    }
    println!("exchanges at the IAM: {}", iam.exchanges());

    // Without a caller nothing leaves, whatever the request bears.
    let nobody = Request::get(backend.url()).header(AUTHORIZATION, format!("Bearer {token}")).body(String::new())?;
    match client.ready().await?.call(nobody).await {
        Err(Error::NoCaller) => println!("a request without a caller was not sent"),
        other => anyhow::bail!("a request without a caller came to {other:?}"),
    }
    Ok(())
}
