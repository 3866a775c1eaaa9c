//! Around a tonic channel: gRPC over HTTP/2, without generated code, as generated clients call it.

use super::{World, anywhere, within};
use bytes::{Buf, BufMut, Bytes};
use cambist::fault::Fault;
use futures_util::stream;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::Layer;

/// Messages are bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A gRPC service that answers with the message it was sent, and keeps the `Authorization` of each call.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<String>>>);

impl Echo {
    async fn start(&self) -> SocketAddr {
        let (listener, this) = (tokio::net::TcpListener::bind(anywhere()).await.unwrap(), self.clone());
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                let answer = hyper::service::service_fn(move |request| this.clone().answer(request));
                tokio::spawn(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer));
            }
        });
        address
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
        let bearers = request.headers().get_all(header::AUTHORIZATION).iter().map(|v| v.to_str().unwrap().to_owned());
        self.0.lock().unwrap().extend(bearers);
        let message = request.into_body().collect().await.unwrap().to_bytes();
        let ok = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), header::HeaderValue::from_static("0"))]);
        let body = StreamBody::new(stream::iter([Ok(Frame::data(message)), Ok(Frame::trailers(ok))]));
        Ok(Response::builder().header(header::CONTENT_TYPE, "application/grpc").body(body).unwrap())
    }
}

/// One call, as a generated client makes it, for whoever stands in the request's extensions.
async fn call<C>(channel: C, request: tonic::Request<Bytes>) -> Result<Bytes, Status>
where
    C: GrpcService<tonic::body::Body>,
    C::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<tower::BoxError> + Send,
{
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|e| Status::from_error(e.into()))?;
    client.unary(request, PathAndQuery::from_static("/orders.Orders/Get"), Plain).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn each_call_bears_a_token_for_the_service() {
    let (world, echo) = (World::start().await, Echo::default());
    let channel = Endpoint::from_shared(format!("http://{}", echo.start().await)).unwrap().connect_lazy();
    let (alice, channel) = (world.alice().await, world.layer().layer(channel));
    for _ in 0..3 {
        let mut request = tonic::Request::new(Bytes::from_static(b"order 1"));
        request.metadata_mut().insert("authorization", format!("Bearer {}", alice.token.expose()).parse().unwrap());
        request.extensions_mut().insert(alice.clone());
        assert_eq!(call(channel.clone(), request).await.unwrap(), "order 1");
    }
    let bearers = echo.0.lock().unwrap().clone();
    assert_eq!((bearers.len(), world.iam.exchanges()), (3, 1));
    for bearer in bearers {
        let claims = world.iam.keys().verified(bearer.strip_prefix("Bearer ").unwrap()).unwrap();
        assert_eq!((claims["sub"].as_str(), claims["aud"].as_str()), (Some("alice"), Some("orders-api")));
    }
}

#[tokio::test]
async fn a_call_without_a_token_fails_with_the_reason_in_it() {
    let (world, echo) = (World::start().await, Echo::default());
    let channel = Endpoint::from_shared(format!("http://{}", echo.start().await)).unwrap().connect_lazy();
    let mut request = tonic::Request::new(Bytes::new());
    request.extensions_mut().insert(world.alice().await);
    let status = call(world.layer_for("payroll-api").layer(channel), request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(matches!(within(&status), Some(Fault::TargetRefused(_))), "{status:?}");
    assert!(echo.0.lock().unwrap().is_empty());
}
