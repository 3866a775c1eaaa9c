//! `TokenSwapLayer` where others use it, over real sockets: around the clients that Rust programs have, among tower's own layers, and in
//! a server's stack. Each test says what a program of one's own would have to write, and no more.

mod among_layers;
mod around_clients;
mod around_tonic;
mod before_a_handler;

use cambist::clock::Clock;
use cambist::demo::backend::{Backend, Received, Trust};
use cambist::demo::iam::{Iam, Settings};
use cambist::swap::{Engine, TokenSwapLayer, Tokens};
use cambist::token::{Caller, Secret};
use http::Request;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::error::Error;
use std::net::SocketAddr;

/// Who is behind a request: whom somebody above has put into its extensions.
type Behind = fn(&Parts) -> Option<Caller>;

/// An IAM, a backend that takes tokens for `orders-api` only, and the engine between them.
struct World {
    iam: Iam,
    backend: Backend,
    engine: Engine,
}

impl World {
    async fn start() -> Self {
        let iam = Iam::start(Settings::anywhere()).await.unwrap();
        let backend = Backend::start(anywhere(), "orders-api", Trust::iam(&iam, Clock::real())).unwrap();
        let engine = Engine::at(iam.issuer(), "gateway", Secret::new("gateway-secret")).start().unwrap();
        Self { iam, backend, engine }
    }

    fn layer(&self) -> TokenSwapLayer<Tokens, Behind> {
        self.layer_for("orders-api")
    }

    fn layer_for(&self, audience: &str) -> TokenSwapLayer<Tokens, Behind> {
        self.engine.layer(audience, |parts: &Parts| parts.extensions.get::<Caller>().cloned())
    }

    async fn alice(&self) -> Caller {
        self.engine.verify(&self.iam.caller_token("alice").unwrap()).await.unwrap()
    }

    /// A request to the backend that still bears the token of its caller.
    fn request<B>(&self, caller: &Caller, body: B) -> Request<B> {
        let bearer = format!("Bearer {}", caller.token.expose());
        let request = Request::get(format!("{}/orders/1", self.backend.url())).header(AUTHORIZATION, bearer);
        request.extension(caller.clone()).body(body).unwrap()
    }

    /// What the backend saw last was alice's, for it alone, and without anything of her own token.
    fn saw_alices(&self) -> Received {
        let seen = self.backend.last().expect("nothing came");
        assert_eq!((seen.claim("sub"), seen.claim("aud"), seen.claim("azp")), (Some("alice"), Some("orders-api"), Some("gateway")));
        assert_eq!(seen.header("authorization").len(), 1);
        seen
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The first error of this type, wherever in the chain it stands.
fn within<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |e| (*e).source()).find_map(|e| e.downcast_ref::<E>())
}
