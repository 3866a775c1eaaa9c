//! Bytes on the wire: a caller that sends exactly what a test says and reads one answer at a time, and a backend that answers
//! word for word. Both know just enough of HTTP/1.1 to find where a message ends; neither corrects anything.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Nothing on loopback takes longer; whatever does is a test that failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn patiently<T>(what: &str, it: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, it).await.unwrap_or_else(|_| panic!("never came about: {what}"))
}

/// A message as it came.
#[derive(Debug, Default, Clone)]
pub struct Message {
    /// The first line and the fields, without the empty line.
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
    /// It ended where its framing says, not with the connection.
    pub whole: bool,
}

impl Message {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn status(&self) -> u16 {
        self.line().split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|l| l.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    /// The only value of a field; empty where it is not there.
    pub fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands there {} times: {}", all.len(), self.head);
        all.first().copied().unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The status and, where the gateway gave the answer itself, its `code`.
    pub fn said(&self) -> (u16, String) {
        (self.status(), self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

/// One end of a connection.
pub struct Wire {
    pub stream: TcpStream,
    unread: Vec<u8>,
    pub end: Option<End>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new(), end: None }
    }

    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        patiently("bytes are taken", self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request).await;
        self.answer().await
    }

    /// The next answer, interim ones too.
    pub async fn answer(&mut self) -> Message {
        patiently("an answer", self.read(true)).await.unwrap_or_else(|| panic!("the connection ended ({:?}) without an answer", self.end))
    }

    /// The answer to a HEAD.
    pub async fn answer_without_body(&mut self) -> Message {
        let head = patiently("an answer", self.head()).await.unwrap();
        Message { head, whole: true, ..Message::default() }
    }

    /// The head of an answer whose body is read in another way.
    pub async fn stream_head(&mut self) -> Message {
        Message { head: patiently("an answer's head", self.head()).await.unwrap(), ..Message::default() }
    }

    /// The next chunk; empty at the end.
    pub async fn piece(&mut self) -> String {
        let size = patiently("a chunk", self.up_to(b"\r\n")).await.unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap(), 16).unwrap();
        let (piece, whole) = patiently("a chunk's end", self.exactly(size + 2)).await;
        assert!(whole);
        String::from_utf8_lossy(&piece[..size]).into_owned()
    }

    /// Reads to the end of the connection, and fails if a byte of an answer comes before it.
    pub async fn ends(&mut self) -> End {
        while self.end.is_none() {
            patiently("the connection's end", self.more()).await;
        }
        assert!(self.unread.is_empty(), "bytes before the end: {:?}", String::from_utf8_lossy(&self.unread));
        self.end.unwrap()
    }

    async fn more(&mut self) {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await {
            Ok(0) => self.end = Some(End::Closed),
            Ok(n) => self.unread.extend_from_slice(&chunk[..n]),
            Err(_) => self.end = Some(End::Reset),
        }
    }

    async fn up_to(&mut self, what: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(what.len()).position(|w| w == what) {
                let found = self.unread[..at].to_vec();
                self.unread.drain(..at + what.len());
                return Some(found);
            }
            if self.end.is_some() {
                return None;
            }
            self.more().await;
        }
    }

    async fn head(&mut self) -> Option<String> {
        self.up_to(b"\r\n\r\n").await.map(|h| String::from_utf8_lossy(&h).into_owned())
    }

    async fn exactly(&mut self, n: usize) -> (Vec<u8>, bool) {
        while self.unread.len() < n && self.end.is_none() {
            self.more().await;
        }
        let got = self.unread.len().min(n);
        (self.unread.drain(..got).collect(), got == n)
    }

    /// `None`: the connection ended before a head was complete.
    async fn read(&mut self, is_answer: bool) -> Option<Message> {
        let mut message = Message { head: self.head().await?, ..Message::default() };
        let status = message.status();
        let bodiless = is_answer && (status < 200 || status == 204 || status == 304);
        if bodiless {
            message.whole = true;
        } else if message.one("transfer-encoding").eq_ignore_ascii_case("chunked") {
            self.chunks(&mut message).await;
        } else if let Ok(length) = message.one("content-length").parse() {
            (message.body, message.whole) = self.exactly(length).await;
        } else if is_answer {
            (message.body, _) = self.exactly(usize::MAX).await;
            message.whole = self.end == Some(End::Closed);
        } else {
            message.whole = true;
        }
        Some(message)
    }

    async fn chunks(&mut self, message: &mut Message) {
        while let Some(line) = self.up_to(b"\r\n").await {
            let Ok(size) = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16) else { return };
            if size == 0 {
                while let Some(line) = self.up_to(b"\r\n").await {
                    if line.is_empty() {
                        message.whole = true;
                        return;
                    }
                    message.trailers += &format!("{}\n", String::from_utf8_lossy(&line));
                }
                return;
            }
            let (data, whole) = self.exactly(size).await;
            message.body.extend(data);
            if !whole || !self.exactly(2).await.1 {
                return;
            }
        }
    }
}

/// What a [`Puppet`] does when a request has come in.
#[derive(Clone)]
pub enum Act {
    Say(Vec<u8>),
    /// Nothing, until told to go on.
    Wait(Arc<Notify>),
    Reset,
    Close,
}

pub fn say(text: impl AsRef<[u8]>) -> Act {
    Act::Say(text.as_ref().to_vec())
}

/// A backend that does as it is told, word for word, and keeps what it heard.
pub struct Puppet {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Message>>>,
    connections: Arc<Mutex<usize>>,
}

impl Puppet {
    /// `acts` is asked with the path of each request.
    pub async fn start(acts: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), acts).await
    }

    pub async fn at(address: SocketAddr, acts: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let puppet = Self { address: listener.local_addr().unwrap(), heard: Arc::default(), connections: Arc::default() };
        let (heard, connections, acts) = (puppet.heard.clone(), puppet.connections.clone(), Arc::new(acts));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(play(Wire::new(stream), heard.clone(), acts.clone()));
            }
        });
        puppet
    }

    /// Always the same answer.
    pub async fn saying(text: &'static str) -> Self {
        Self::start(move |_| vec![say(text)]).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn heard(&self) -> Vec<Message> {
        self.heard.lock().unwrap().clone()
    }

    pub fn last(&self) -> Message {
        self.heard().pop().expect("nothing was heard")
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn play(mut wire: Wire, heard: Arc<Mutex<Vec<Message>>>, acts: Arc<impl Fn(&str) -> Vec<Act> + Send + Sync>) {
    while let Some(message) = wire.read(false).await {
        let path = message.line().split(' ').nth(1).unwrap_or_default().to_owned();
        heard.lock().unwrap().push(message);
        for act in acts(&path) {
            match act {
                Act::Say(bytes) => {
                    let _ = wire.stream.write_all(&bytes).await;
                }
                Act::Wait(go) => go.notified().await,
                Act::Reset => {
                    let _ = wire.stream.set_zero_linger();
                    return;
                }
                Act::Close => return,
            }
        }
    }
}
