//! The sending half of a connection, whichever HTTP it speaks: it puts a request into that protocol's form and sends it. A request
//! comes in HTTP/1.1's form and may have been in the other's before.

use super::http2::Stream;
use super::outgoing::Outgoing;
use bytes::Bytes;
use futures_util::future::Either;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::task::AbortHandle;

pub(super) enum Sender<B: 'static> {
    /// With what ends the task that drives the connection.
    Http1(http1::SendRequest<Outgoing<B>>, AbortHandle),
    Http2(Stream<B>),
}

impl<B> Sender<B> {
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender, _) => sender.is_closed(),
            Self::Http2(stream) => stream.is_closed(),
        }
    }

    pub fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender, _) => sender.is_ready(),
            Self::Http2(stream) => !stream.is_closed(),
        }
    }

    /// Ends what is under way: an HTTP/1.1 connection, or this stream alone.
    pub fn end(&self) {
        // Letting go of the sender alone would leave hyper sending the rest of a request body that nobody waits for.
        if let Self::Http1(_, task) = self {
            task.abort();
        }
    }
}

impl<B> Sender<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// # Errors
    /// With the request where hyper hands it back unsent.
    /// No `async fn`: it would hold the request twice.
    pub fn send(
        &mut self,
        mut request: Request<Outgoing<B>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing<B>>>>> {
        match self {
            Self::Http1(sender, _) => {
                as_http1(&mut request);
                Either::Left(sender.try_send_request(request))
            }
            Self::Http2(stream) => {
                as_http2(&mut request, &stream.shared().scheme, stream.shared().authority.as_ref());
                // Boxed, since unboxed it would make the future of every request as large, whichever protocol it goes in.
                Either::Right(Box::pin(stream.send(request)))
            }
        }
    }
}

/// What HTTP/2 alone passes on goes, and what a first try made of the request is taken back.
fn as_http1<B>(request: &mut Request<Outgoing<B>>)
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    request.headers_mut().remove(TE);
    if request.version() != Version::HTTP_2 {
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority().and_then(|a| HeaderValue::try_from(a.as_str()).ok()) {
        request.headers_mut().insert(HOST, authority);
    }
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// `Host` becomes `:authority`; fields of HTTP/1.1 connections are malformed there (RFC 9113 §8.2.2).
fn as_http2<B>(request: &mut Request<B>, scheme: &Scheme, endpoint: Option<&Authority>) {
    if request.version() == Version::HTTP_2 && !request.headers().contains_key(HOST) {
        return;
    }
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    for name in [TRANSFER_ENCODING, CONNECTION, UPGRADE] {
        request.headers_mut().remove(name);
    }
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    // A caller of HTTP/1.0 may have none.
    parts.authority = authority.or_else(|| endpoint.cloned());
    parts.path_and_query = Some(request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;

    #[test]
    fn a_request_goes_into_one_form_and_back() {
        let mut request = Request::new(Outgoing::new(Empty::<Bytes>::new()));
        *request.uri_mut() = "/a/%2f?b=c".parse().unwrap();
        for (name, value) in [("host", "api.example.com:81"), ("te", "trailers"), ("x-a", "1")] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        as_http2(&mut request, &Scheme::HTTPS, None);
        assert_eq!((request.uri().to_string().as_str(), request.version()), ("https://api.example.com:81/a/%2f?b=c", Version::HTTP_2));
        assert!(!request.headers().contains_key(HOST) && request.headers()[TE] == "trailers");
        as_http1(&mut request);
        assert_eq!((request.uri().to_string().as_str(), request.version()), ("/a/%2f?b=c", Version::HTTP_11));
        assert!(request.headers()[HOST] == "api.example.com:81" && !request.headers().contains_key(TE));
    }
}
