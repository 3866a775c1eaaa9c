//! The demo's own small HTTP client: one HTTP/1.1 connection to a loopback port, requests one after another. It follows no
//! redirect and speaks no TLS; the gateway's own calls go through `issuer` and `upstream`, never through this.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// A connection that is kept for the next request.
pub struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// No answer from loopback takes longer than this, an exchange's deadline included.
const PATIENCE: Duration = Duration::from_secs(10);

impl Connection {
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    /// # Errors
    /// When no whole answer comes in time.
    pub async fn get(&mut self, path: &str, bearer: Option<&str>) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        if let Some(token) = bearer {
            headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?);
        }
        self.send(Method::GET, path, headers, Bytes::new()).await
    }

    /// # Errors
    /// When no whole answer comes in time.
    pub async fn post_form(&mut self, path: &str, fields: &[(&str, &str)], basic: Option<&str>) -> Result<Answer> {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(credentials) = basic {
            headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Basic {credentials}"))?);
        }
        self.send(Method::POST, path, headers, form.into()).await
    }

    /// # Errors
    /// When no whole answer comes in time.
    pub async fn send(&mut self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Result<Answer> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::HOST, HeaderValue::try_from(self.address.to_string())?);
        let answer = async {
            self.sender.ready().await?;
            let (parts, body): (_, hyper::body::Incoming) = Response::into_parts(self.sender.send_request(request).await?);
            anyhow::Ok(Answer { status: parts.status, headers: parts.headers, body: body.collect().await?.to_bytes() })
        };
        tokio::time::timeout(PATIENCE, answer).await.with_context(|| format!("no answer from {} in {PATIENCE:?}", self.address))?
    }
}
