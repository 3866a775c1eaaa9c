//! How backends read a path. Each spelling in `tests/corpus/spellings.txt` is sent to the gateway, and then, as it is, to real
//! servers: what passes as `/public` must be `/admin` to none of them. A server that is not installed is named and left out; with
//! `CAMBIST_REQUIRE_SERVERS=1` that is a failure.

use crate::corpus::bytes;
use crate::kit::{Running, World};
use crate::wire::{Wire, patiently};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

const ROUTES: &str = "
  public: { match: { path: /public }, upstream: OPEN, token: strip }
  admin: { match: { path: /admin }, upstream: PAYROLL, token: strip }
";

/// A spelling, and what the gateway makes of it: `public`, `admin`, or the status with which it is refused.
struct Spelling {
    written: String,
    target: Vec<u8>,
    wanted: String,
}

fn spellings() -> Vec<Spelling> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/spellings.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all: Vec<Spelling> = lines
        .map(|line| {
            let (wanted, written) = line.split_once(char::is_whitespace).unwrap();
            let written = written.trim_start().to_owned();
            Spelling { target: bytes(&written, &|name| panic!("{name}")), written, wanted: wanted.to_owned() }
        })
        .collect();
    assert!(all.len() >= 80, "only {} spellings", all.len());
    for spelling in &all {
        assert_eq!(all.iter().filter(|other| other.target == spelling.target).count(), 1, "{} stands there twice", spelling.written);
    }
    all
}

/// Which of the two backends got it, byte for byte; or the refusal's status.
async fn judged(g: &Running, token: &str, spelling: &Spelling) -> String {
    let before = (g.world.open.requests(), g.world.payroll.requests());
    let mut wire = Wire::open(g.address()).await;
    let rest = format!(" HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n");
    let answer = wire.ask([b"GET ", &spelling.target[..], rest.as_bytes()].concat()).await;
    match (g.world.open.requests() - before.0, g.world.payroll.requests() - before.1) {
        (0, 0) => answer.status().to_string(),
        (went_public, _) => {
            let (name, backend) = if went_public == 1 { ("public", &g.world.open) } else { ("admin", &g.world.payroll) };
            assert_eq!(backend.last().unwrap().target.as_bytes(), spelling.target, "{}: not byte for byte", spelling.written);
            name.to_owned()
        }
    }
}

/// A server under test, and its ways to read.
struct Server {
    name: &'static str,
    readings: Vec<(String, At)>,
    child: Child,
}

/// Where a reading is asked for, and by which `X-Reading`.
enum At {
    Port(SocketAddr, &'static str),
    Socket(PathBuf),
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says so where a program is not there.
fn is_there(program: &str, ask: &str) -> bool {
    let there = Command::new(program).arg(ask).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        assert!(std::env::var("CAMBIST_REQUIRE_SERVERS").is_err(), "{program} is not installed, and must be");
        eprintln!("{program} is not installed: how it reads paths was NOT tested");
    }
    there
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readings").join(name)
}

/// A program that prints `PORT` and its port once it listens.
fn listening(name: &'static str, command: &mut Command, readings: &[&'static str]) -> Option<Server> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().strip_prefix("PORT ").unwrap_or_else(|| panic!("{name} did not start: {line:?}")).parse().unwrap();
    let at = |reading: &&'static str| (format!("{name} {reading}"), At::Port(([127, 0, 0, 1], port).into(), reading));
    Some(Server { name, readings: readings.iter().map(at).collect(), child })
}

fn nginx(place: &Path) -> Option<Server> {
    if !is_there("nginx", "-v") {
        return None;
    }
    for name in ["public", "admin"] {
        let folder = place.join("root").join(name);
        std::fs::create_dir_all(folder.join("a")).unwrap();
        for file in ["index.html", "x", "a/x", "a/b"] {
            std::fs::write(folder.join(file), format!("reads:{name}")).unwrap();
        }
    }
    let conf = std::fs::read_to_string(source("nginx.conf")).unwrap().replace("PLACE", place.to_str().unwrap());
    let file = place.join("nginx.conf");
    std::fs::write(&file, conf).unwrap();
    let child = Command::new("nginx").arg("-p").arg(place).arg("-c").arg(&file).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let sockets = ["locations", "unmerged", "caseless", "files", "alias", "chain"];
    let at = |name: &str| (format!("nginx {name}"), At::Socket(place.join(format!("{name}.sock"))));
    Some(Server { name: "nginx", readings: sockets.map(at).into(), child })
}

fn servers(place: &Path) -> Vec<Server> {
    let script = |program: &str, name: &str| {
        is_there(program, "--version").then(|| {
            let mut command = Command::new(program);
            command.arg(source(name));
            command
        })
    };
    // Built first: `go run` would leave its child behind.
    let go = is_there("go", "version").then(|| {
        let program = place.join("server-go");
        let built = Command::new("go").arg("build").arg("-o").arg(&program).arg(source("server.go")).env("GOFLAGS", "").status();
        assert!(built.unwrap().success(), "go does not build its server");
        Command::new(program)
    });
    let run = |name, command: Option<Command>, readings: &[&'static str]| listening(name, &mut command?, readings);
    let all = [
        nginx(place),
        run("python", script("python3", "server.py"), &["files", "wsgi", "wsgi-normalised"]),
        run("node", script("node", "server.js"), &["url", "legacy", "files", "files-on-windows", "express"]),
        run("java", is_there("javac", "--version").then(|| script("java", "Server.java")).flatten(), &["contexts", "uri", "servlet"]),
        run("go", go, &["mux", "clean"]),
    ];
    all.into_iter().flatten().collect()
}

impl At {
    /// What the server says that it reads: in its answer's body, or by the place that it redirects to.
    async fn reads(&self, target: &[u8]) -> String {
        match self {
            Self::Port(address, reading) => said(TcpStream::connect(address).await.unwrap(), target, reading).await,
            Self::Socket(path) => {
                let mut stream = UnixStream::connect(path).await;
                for _ in 0..500 {
                    if stream.is_ok() {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    stream = UnixStream::connect(path).await;
                }
                said(stream.unwrap(), target, "").await
            }
        }
    }
}

async fn said(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: &[u8], reading: &str) -> String {
    let rest = format!(" HTTP/1.1\r\nHost: api.example.com\r\nX-Reading: {reading}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&[b"GET ", target, rest.as_bytes()].concat()).await;
    let mut answer = Vec::new();
    let _ = patiently("a server's answer", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let moved = answer.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location")));
    let read = match (answer.split_once("reads:"), moved) {
        (Some((_, read)), _) => read.trim().to_owned(),
        (None, Some((_, to))) => {
            let path = to.split_once("://").map_or(to, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
            path.trim_matches('/').split('/').next().unwrap_or_default().to_owned()
        }
        (None, None) => answer.split(' ').nth(1).unwrap_or("nothing").to_owned(),
    };
    read.to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_reads_each_spelling_as_the_table_says() {
    let g = World::new().await.gateway(ROUTES, "").await;
    let token = g.token("ada");
    let mut wrong = Vec::new();
    for spelling in spellings() {
        let read = judged(&g, &token, &spelling).await;
        if read != spelling.wanted {
            wrong.push(format!("{read} {} (wanted {})", spelling.written, spelling.wanted));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_as_public_is_read_as_admin_by_no_server() {
    let place = tempfile::tempdir().unwrap();
    let (all, servers) = (spellings(), servers(place.path()));
    let mut astray = Vec::new();
    for server in &servers {
        let mut bold = BTreeMap::new();
        for (name, at) in &server.readings {
            for plain in ["public", "admin"] {
                assert_eq!(at.reads(format!("/{plain}/x").as_bytes()).await, plain, "{name} is not set up as it should be");
            }
            for spelling in &all {
                if at.reads(&spelling.target).await != "admin" {
                    continue;
                }
                match &*spelling.wanted {
                    "public" => astray.push(format!("{name} reads {} as /admin, and it passes as /public", spelling.written)),
                    "admin" => {}
                    _ => bold.entry(name).or_insert_with(Vec::new).push(&*spelling.written),
                }
            }
        }
        // A table in which nothing is ever read boldly would prove nothing.
        assert!(!bold.is_empty(), "{} reads no refused spelling as /admin", server.name);
        for (name, spellings) in bold {
            eprintln!("{name} reads as /admin what is refused: {}", spellings.join(" "));
        }
    }
    assert!(astray.is_empty(), "\n{}", astray.join("\n"));
}
