//! One plain HTTP/1.1 request to a gateway's metrics or admin listener: for verbs that ask a running one. It speaks to nobody else, and
//! waits for no answer longer than a moment.

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// For a whole conversation.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// More than any answer of ours.
const LONGEST: usize = 8 * 1024 * 1024;

pub(super) struct Answer {
    pub status: u16,
    pub body: String,
}

/// Where an admin listener is: it speaks clear text only.
#[derive(Clone, Debug)]
pub(super) struct Url {
    authority: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let good = authority.parse::<http::uri::Authority>().is_ok_and(|a| a.port().is_some() && !authority.contains('@'));
        if !good {
            return Err("write the admin listener's address, as in `http://127.0.0.1:9901`".to_owned());
        }
        Ok(Self { authority: authority.to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

pub(super) fn get(url: &Url, target: &str) -> anyhow::Result<Answer> {
    send(url, &format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.authority))
}

pub(super) fn post(url: &Url, target: &str, token: &str, body: &Value) -> anyhow::Result<Answer> {
    if !crate::token::is_b64token(token.as_bytes()) {
        bail!("the admin token cannot be sent: it holds a character that no bearer token has");
    }
    let body = Zeroizing::new(body.to_string());
    let head = format!("POST {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n", url.authority);
    send(url, &Zeroizing::new(format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", body.len(), *body)))
}

fn send(url: &Url, request: &str) -> anyhow::Result<Answer> {
    let at = url.authority.to_socket_addrs().with_context(|| format!("cannot find {}", url.authority))?.next();
    let at = at.ok_or_else(|| anyhow!("{} has no address", url.authority))?;
    let text = exchange(at, request).map_err(|error| told(at, error))?;
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    Ok(Answer { status: status.with_context(|| format!("{at} does not speak HTTP"))?, body })
}

/// What went wrong, for people.
pub(super) fn told(at: SocketAddr, error: io::Error) -> anyhow::Error {
    match error.kind() {
        // A read that waits too long has another kind on each system.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => anyhow!("{at} did not answer within {PATIENCE:?}"),
        ErrorKind::ConnectionRefused => anyhow!(error).context(format!("nothing answers at {at}")),
        _ => anyhow!(error).context(format!("no answer from {at}")),
    }
}

/// All that comes back until the other side closes.
pub(super) fn exchange(at: SocketAddr, request: &str) -> io::Result<String> {
    let end = Instant::now() + PATIENCE;
    let left = || Some(end.saturating_duration_since(Instant::now())).filter(|d| !d.is_zero()).ok_or(ErrorKind::TimedOut);
    let mut socket = TcpStream::connect_timeout(&at, left()?)?;
    socket.set_write_timeout(Some(left()?))?;
    socket.write_all(request.as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while answer.len() < LONGEST {
        socket.set_read_timeout(Some(left()?))?;
        match socket.read(&mut piece)? {
            0 => break,
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
