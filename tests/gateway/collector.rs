//! A collector on loopback: takes spans over OTLP/HTTP, decodes them, and keeps them with every byte that came.

use crate::kit::until;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Collector {
    pub address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    heads: Vec<String>,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    resource: BTreeMap<String, String>,
}

/// A span as a test reads it.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty: it is a root.
    pub parent: String,
    pub name: String,
    /// 1: internal, 2: server, 3: client.
    pub kind: i32,
    pub began: u64,
    pub ended: u64,
    pub is_error: bool,
    pub attributes: BTreeMap<String, String>,
}

impl Span {
    pub fn says(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("-", String::as_str)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn plain(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |kv: &KeyValue| match kv.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(n)) => n.to_string(),
        Some(any_value::Value::BoolValue(b)) => b.to_string(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    attributes.iter().map(|kv| (kv.key.clone(), value(kv))).collect()
}

impl Heard {
    fn take(&mut self, head: String, body: &[u8]) {
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(body);
        self.heads.push(head);
        for of_resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            self.resource = plain(&of_resource.resource.unwrap().attributes);
            self.spans.extend(of_resource.scope_spans.iter().flat_map(|scope| &scope.spans).map(|span| Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name.clone(),
                kind: span.kind,
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
                attributes: plain(&span.attributes),
            }));
        }
    }
}

impl Collector {
    pub async fn start() -> Self {
        Self::answering("200 OK").await
    }

    /// Takes what comes and says this of it. An empty one: it says nothing, ever.
    pub async fn answering(status: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::<Mutex<Heard>>::default());
        let its = heard.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, its.clone(), status));
            }
        });
        Self { address, heard, task }
    }

    /// The section that sends everything here.
    pub fn yaml(&self, sample: &str) -> String {
        format!("tracing: {{ otlp_endpoint: \"http://{}\", sample: {sample} }}\n", self.address)
    }

    pub fn spans(&self) -> Vec<Span> {
        self.heard.lock().unwrap().spans.clone()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.heard.lock().unwrap().bytes.clone()
    }

    pub fn heads(&self) -> Vec<String> {
        self.heard.lock().unwrap().heads.clone()
    }

    pub fn resource(&self) -> BTreeMap<String, String> {
        self.heard.lock().unwrap().resource.clone()
    }

    /// The spans of a trace, once its request has ended and `more` are there beside it.
    pub async fn trace(&self, trace: &str, more: usize) -> Vec<Span> {
        let of_trace = || self.spans().into_iter().filter(|s| s.trace == trace).collect::<Vec<_>>();
        until("the spans have come", || of_trace().iter().any(|s| s.kind == 2) && of_trace().len() > more).await;
        of_trace()
    }

    /// The whole of the only trace that there is.
    pub async fn only(&self, more: usize) -> Vec<Span> {
        until("a span has come", || !self.spans().is_empty()).await;
        let trace = self.spans()[0].trace.clone();
        self.trace(&trace, more).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The one of this name.
pub fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut named = spans.iter().filter(|s| s.name == name);
    match (named.next(), named.next()) {
        (Some(only), None) => only,
        (found, _) => panic!("{} spans named {name} in {spans:#?}", if found.is_some() { "several" } else { "no" }),
    }
}

async fn serve(mut stream: TcpStream, heard: Arc<Mutex<Heard>>, status: &'static str) {
    let mut held = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut held).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(held[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap()));
        let length: usize = length.expect("a batch of known length");
        while held.len() < end + length {
            if stream.read_buf(&mut held).await.unwrap_or(0) == 0 {
                return;
            }
        }
        if status.is_empty() {
            return std::future::pending().await;
        }
        heard.lock().unwrap().take(head, &held[end..end + length]);
        held.drain(..end + length);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
