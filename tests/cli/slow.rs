//! A crowd of callers who take their time, before the real program with the limits that it has by itself: silent ones, heads and bodies
//! that drip, those who read nothing, in both versions of HTTP. All are gone in half a minute of real time, and whoever is not slow is
//! served meanwhile. `CAMBIST_SLOW_CLIENTS` says how many they are.

use crate::frames::{self, END_HEADERS, END_STREAM, RST_STREAM, SETTINGS, field, frame};
use crate::kit::{ROUTES, World};
use crate::load::number;
use crate::program::{Program, get_as};
use cambist::demo::misbehave::Misbehave;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// By default limits, `header_timeout` is 10 s, and a rate is judged every 20 s.
const PROMISED: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Silent,
    Head,
    Body,
    Reader,
    SilentInHttp2,
    HeadInHttp2,
    BodyInHttp2,
    ReaderInHttp2,
}

const KINDS: [Slow; 8] =
    [Slow::Silent, Slow::Head, Slow::Body, Slow::Reader, Slow::SilentInHttp2, Slow::HeadInHttp2, Slow::BodyInHttp2, Slow::ReaderInHttp2];

impl Slow {
    /// One of the crowd. Readers are fewer: each fills all buffers on its way, with megabytes that this machine has to move.
    fn nth(n: usize) -> Self {
        if n % 4 == 3 {
            KINDS[n / 4 % KINDS.len()]
        } else {
            [Self::Silent, Self::Head, Self::Body, Self::SilentInHttp2, Self::HeadInHttp2, Self::BodyInHttp2][n % 6]
        }
    }

    fn reads_nothing(self) -> bool {
        matches!(self, Self::Reader | Self::ReaderInHttp2)
    }

    fn begins(self, token: &str) -> Vec<u8> {
        let preface = || [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat();
        let head = |method, path, more: &[(&str, &str)]| {
            let mut head = frames::head(method, path, token);
            more.iter().for_each(|(name, value)| field(&mut head, name, value));
            head
        };
        let posted = "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nAuthorization: Bearer";
        match self {
            Self::Silent => Vec::new(),
            Self::Head => b"GET /orders HTTP/1.1\r\nHost: a\r\nX-Long: ".to_vec(),
            Self::Body => format!("{posted} {token}\r\n\r\n").into_bytes(),
            Self::Reader => format!("GET /huge HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes(),
            Self::SilentInHttp2 => preface(),
            Self::HeadInHttp2 => [preface(), frame(frames::HEADERS, END_STREAM, 1, &head("GET", "/orders", &[]))].concat(),
            Self::BodyInHttp2 => {
                let head = head("POST", "/sink", &[("content-length", "100000")]);
                [preface(), frame(frames::HEADERS, END_HEADERS, 1, &head)].concat()
            }
            Self::ReaderInHttp2 => [preface(), frame(frames::HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/huge", &[]))].concat(),
        }
    }

    /// What it says every second.
    fn drips(self) -> Vec<u8> {
        match self {
            Self::Head | Self::Body => b"x".to_vec(),
            Self::HeadInHttp2 => {
                let mut head = Vec::new();
                field(&mut head, "x-more", "y");
                frame(frames::CONTINUATION, 0, 1, &head)
            }
            Self::BodyInHttp2 => frame(frames::DATA, 0, 1, b"x"),
            _ => Vec::new(),
        }
    }
}

/// Whether it is over: the connection, or the one stream of it that was ever opened.
async fn over(stream: &TcpStream, kind: Slow, heard: &mut Vec<u8>) -> bool {
    if kind.reads_nothing() {
        return stream.take_error().unwrap().is_some();
    }
    let mut chunk = [0; 4096];
    loop {
        match stream.try_read(&mut chunk) {
            Ok(0) => return true,
            Ok(n) => heard.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(_) => return true,
        }
    }
    // An answer to the stream, or its reset.
    let mut rest = &heard[..];
    while kind == Slow::BodyInHttp2 && rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        if matches!(rest[3], frames::HEADERS | RST_STREAM) {
            return true;
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    false
}

/// Is slow for as long as it is let; how long that was.
async fn dawdle(kind: Slow, at: SocketAddr, token: Arc<str>) -> Duration {
    let socket = TcpSocket::new_v4().unwrap();
    if kind.reads_nothing() {
        socket.set_recv_buffer_size(8 * 1024).unwrap();
    }
    let mut stream = socket.connect(at).await.unwrap();
    let (began, mut heard) = (Instant::now(), Vec::new());
    stream.write_all(&kind.begins(&token)).await.unwrap();
    let drip = kind.drips();
    for n in 1..240 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        if over(&stream, kind, &mut heard).await || (n % 4 == 0 && stream.write_all(&drip).await.is_err()) {
            return began.elapsed();
        }
    }
    panic!("{kind:?} is not ended after {:?}: it heard {} bytes", began.elapsed(), heard.len());
}

/// The first line of the answer to one who asks what the crowd asks, at the same upstream, and goes when it begins.
async fn begun(at: SocketAddr, token: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(&Slow::Reader.begins(token)).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line
}

/// Asks again and again until it is told to stop: how often, and the longest wait.
async fn canary(at: SocketAddr, token: Arc<str>, stop: Arc<AtomicBool>) -> (usize, Duration) {
    let (mut served, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        assert_eq!(get_as(at, "/orders", &token).await.status, 200);
        assert_eq!(begun(at, &token).await, "HTTP/1.1 200 OK\r\n");
        (served, longest) = (served + 1, longest.max(began.elapsed()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (served, longest)
}

/// A reader who is slow but not as slow as all that: 8 kB a second, in segments as they are on a network. What the caller's system has
/// taken is seen in steps of up to 100 kB: whoever reads much less than this looks as if they read nothing.
async fn patient_reader(at: SocketAddr, token: Arc<str>) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket2::SockRef::from(&socket).set_tcp_mss(1400).unwrap();
    let mut stream = socket.connect(at).await.unwrap();
    stream.write_all(format!("GET /huge HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).await.unwrap();
    let mut read = 0;
    for n in 0..110 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let cut = stream.take_error().unwrap();
        assert!(cut.is_none(), "cut after {n} half seconds: {cut:?}");
        read += stream.try_read(&mut [0; 4000]).unwrap_or_default();
    }
    read
}

async fn crowded(workers: &str) -> (World, Program, SocketAddr, Arc<str>) {
    let world = World::new().await;
    world.open.script_always(Misbehave::Huge(1 << 30));
    // All at one upstream, whose places are a thousand.
    let routes = format!(
        "{ROUTES}  huge: {{ match: {{ path: /huge }}, upstream: OPEN, token: strip }}
  sink: {{ match: {{ path: /sink }}, upstream: OPEN, token: strip }}\n"
    );
    let mut program = Program::in_world(&world, &routes, &format!("{workers}log: {{ access: false }}")).await;
    let at = program.listener().await;
    let token: Arc<str> = world.iam.caller("ada").expires_in(36_000).token().unwrap().into();
    assert_eq!(get_as(at, "/orders", &token).await.status, 200);
    (world, program, at, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_slow_callers_is_gone_in_half_a_minute_and_nobody_waits_for_it() {
    let crowd = usize::try_from(number("CAMBIST_SLOW_CLIENTS", 64)).unwrap();
    let (_world, mut program, at, token) = crowded("").await;
    let stop = Arc::new(AtomicBool::new(false));
    let canary = tokio::spawn(canary(at, token.clone(), stop.clone()));
    let mut slow = Vec::new();
    for n in 0..crowd {
        let kind = Slow::nth(n);
        slow.push((kind, tokio::spawn(dawdle(kind, at, token.clone()))));
        if n % 50 == 49 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let mut longest = KINDS.map(|kind| (kind, Duration::ZERO));
    for (kind, slow) in slow {
        let took = slow.await.unwrap();
        let of_kind = longest.iter_mut().find(|(other, _)| *other == kind).unwrap();
        of_kind.1 = of_kind.1.max(took);
    }
    stop.store(true, Ordering::SeqCst);
    let (served, wait) = canary.await.unwrap();
    println!(
        "{crowd} slow clients: {served} others served meanwhile, none waited longer than {wait:?}; the longest of each kind: {longest:?}"
    );
    assert!(longest.iter().all(|(_, took)| *took < PROMISED), "{longest:?}");
    assert!(served > 20);
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_eight_kilobytes_a_second_is_not_slow() {
    let (_world, _program, at, token) = crowded("workers: 1\n").await;
    let read = patient_reader(at, token).await;
    assert!(read > 300_000, "{read}");
}
