//! A backend that keeps every byte it is sent, and knows just enough of HTTP/1.1 to answer. What it answers is in the path.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The request line and the fields, each without its line end.
    pub lines: Vec<Vec<u8>>,
    /// Where it is chunked, without the chunks' framing.
    pub body: Vec<u8>,
    pub trailers: Vec<Vec<u8>>,
    /// It ended where its framing says.
    pub whole: bool,
    /// What came on the connection after it had switched.
    pub behind: Vec<u8>,
    pub raw: Vec<u8>,
}

#[derive(Clone)]
pub struct Recorder {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Recorder {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let recorder = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = recorder.heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Incoming { stream, unread: Vec::new() }, heard.clone()));
            }
        });
        recorder
    }

    pub fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    pub fn since(&self, before: usize) -> Vec<Heard> {
        self.heard.lock().unwrap()[before..].to_vec()
    }
}

struct Incoming {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Incoming {
    async fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        let n = self.stream.read(&mut chunk).await.unwrap_or(0);
        self.unread.extend_from_slice(&chunk[..n]);
        n > 0
    }

    async fn line(&mut self, raw: &mut Vec<u8>) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                raw.extend_from_slice(&self.unread[..at + 2]);
                let line = self.unread[..at].to_vec();
                self.unread.drain(..at + 2);
                return Some(line);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, n: usize, raw: &mut Vec<u8>) -> (Vec<u8>, bool) {
        while self.unread.len() < n && self.more().await {}
        let got: Vec<u8> = self.unread.drain(..self.unread.len().min(n)).collect();
        raw.extend_from_slice(&got);
        let whole = got.len() == n;
        (got, whole)
    }

    async fn lines(&mut self, raw: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        loop {
            match self.line(raw).await? {
                line if line.is_empty() => return Some(lines),
                line => lines.push(line),
            }
        }
    }

    async fn body(&mut self, heard: &mut Heard) {
        let value = |name: &str| heard.lines.iter().skip(1).find_map(|line| value_of(line, name));
        if value("transfer-encoding").is_some() {
            heard.whole = self.chunks(heard).await.is_some();
        } else {
            let length = value("content-length").map_or(0, |v| v.parse().unwrap());
            (heard.body, heard.whole) = self.exactly(length, &mut heard.raw).await;
        }
    }

    async fn chunks(&mut self, heard: &mut Heard) -> Option<()> {
        loop {
            let size = self.line(&mut heard.raw).await?;
            let size = usize::from_str_radix(std::str::from_utf8(&size).ok()?, 16).ok()?;
            if size == 0 {
                heard.trailers = self.lines(&mut heard.raw).await?;
                return Some(());
            }
            let (data, whole) = self.exactly(size, &mut heard.raw).await;
            heard.body.extend(data);
            (whole && self.line(&mut heard.raw).await? == b"").then_some(())?;
        }
    }
}

fn value_of(line: &[u8], name: &str) -> Option<String> {
    let (found, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
}

async fn serve(mut incoming: Incoming, all: Arc<Mutex<Vec<Heard>>>) {
    loop {
        let mut heard = Heard::default();
        let Some(lines) = incoming.lines(&mut heard.raw).await else { return };
        heard.lines = lines;
        // From now on it counts, whatever becomes of its body.
        let at = {
            let mut all = all.lock().unwrap();
            all.push(heard.clone());
            all.len() - 1
        };
        incoming.body(&mut heard).await;
        let line = String::from_utf8_lossy(&heard.lines[0]).into_owned();
        let switches = line.contains("/ws/yes") || line.contains("/unasked");
        all.lock().unwrap()[at] = heard;
        let answer = if switches {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        } else if line.starts_with("HEAD ") {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        };
        if incoming.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if switches {
            loop {
                all.lock().unwrap()[at].behind.append(&mut incoming.unread);
                if !incoming.more().await {
                    return;
                }
            }
        }
    }
}
