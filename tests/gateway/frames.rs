//! HTTP/2 by hand: frames that no well-behaved client sends, on a raw connection. It knows just enough of the protocol to write
//! them and to count what comes back.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A string of HPACK, without Huffman.
fn text(out: &mut Vec<u8>, text: &str) {
    let length = text.len();
    if length < 127 {
        out.push(length as u8);
    } else {
        out.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend(text.as_bytes());
}

/// A field that is not remembered.
pub fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    text(out, name);
    text(out, value);
}

/// A field that is remembered, as the newest of the dynamic table (index 62).
pub fn remembered(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0x40);
    text(out, name);
    text(out, value);
}

/// The pseudo-fields of a request, and its token.
pub fn head(method: &str, path: &str, token: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in [(":method", method), (":scheme", "http"), (":authority", "api.example.com"), (":path", path)] {
        field(&mut out, name, value);
    }
    field(&mut out, "authorization", &format!("Bearer {token}"));
    out
}

/// A connection that has said the preface.
pub struct Raw {
    pub stream: TcpStream,
    unread: Vec<u8>,
    pub over: bool,
}

/// A frame that came: its kind, flags, stream and payload.
pub type Came = (u8, u8, u32, Vec<u8>);

impl Raw {
    pub async fn open(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self { stream, unread: Vec::new(), over: false };
        raw.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat()).await;
        raw
    }

    /// The other side of one: the preface is heard, and our SETTINGS and the word that theirs have come are said.
    pub async fn accept(mut stream: TcpStream) -> Self {
        stream.read_exact(&mut [0; 24]).await.unwrap();
        let mut raw = Self { stream, unread: Vec::new(), over: false };
        raw.send(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()).await;
        raw
    }

    /// Sends as much as is taken; `false` once the other side takes no more.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(Duration::from_secs(2), self.stream.write_all(bytes)).await;
        self.over |= matches!(sent, Ok(Err(_)));
        matches!(sent, Ok(Ok(())))
    }

    /// What has come; waits a little for more where nothing has.
    pub async fn came(&mut self) -> Vec<Came> {
        let mut chunk = vec![0; 64 * 1024];
        match tokio::time::timeout(Duration::from_millis(200), self.stream.read(&mut chunk)).await {
            Ok(Ok(n)) if n > 0 => self.unread.extend_from_slice(&chunk[..n]),
            Ok(_) => self.over = true,
            Err(_) => {}
        }
        let mut frames = Vec::new();
        while let Some(fixed) = self.unread.first_chunk::<9>() {
            let length = u32::from_be_bytes([0, fixed[0], fixed[1], fixed[2]]) as usize;
            let (kind, flags) = (fixed[3], fixed[4]);
            let stream = u32::from_be_bytes([fixed[5], fixed[6], fixed[7], fixed[8]]);
            if self.unread.len() < 9 + length {
                break;
            }
            let payload = self.unread[9..9 + length].to_vec();
            self.unread.drain(..9 + length);
            frames.push((kind, flags, stream, payload));
        }
        frames
    }

    /// Whether a frame like this comes before the connection ends or falls silent for good.
    pub async fn hears(&mut self, like: impl Fn(&Came) -> bool) -> bool {
        for _ in 0..50 {
            if self.came().await.iter().any(&like) {
                return true;
            }
            if self.over {
                return false;
            }
        }
        false
    }
}
