//! The program in a process of its own: a configuration file, what it wrote so far, signals, and how it ended.

use crate::kit::World;
use cambist::demo::fetch::{Answer, Connection};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// `cambist` with nothing of this environment that would change what it does.
pub fn cambist() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
    command
        .env_remove("CAMBIST_CONFIG")
        .env_remove("RUST_BACKTRACE")
        .env("NO_COLOR", "1")
        .env("SECRET_OF_THE_TEST", "gateway-secret")
        .stdin(Stdio::null());
    command
}

/// What a verb that ends by itself came to.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn say(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().expect("no signal ended it"), out: text(output.stdout), err: text(output.stderr) }
}

/// A configuration file that goes with the value.
pub struct File {
    _dir: TempDir,
    pub path: PathBuf,
}

pub fn file(text: &str) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.yaml");
    std::fs::write(&path, text).unwrap();
    File { _dir: dir, path }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that runs until it is told to end, or dropped.
pub struct Program {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
    file: Option<File>,
}

impl Program {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (kept(child.stdout.take().unwrap()), kept(child.stderr.take().unwrap()));
        Self { child, out, err, file: None }
    }

    /// `cambist run` with this configuration.
    pub fn run(text: &str) -> Self {
        let file = file(text);
        let mut program = Self::spawn(cambist().arg("run").arg("--config").arg(&file.path));
        program.file = Some(file);
        program
    }

    /// The same in `world`, ready. The log must be JSON at `info`: the addresses are read from it.
    pub async fn in_world(world: &World, routes: &str, more: &str) -> Self {
        let mut program = Self::run(&world.yaml(routes, more));
        let metrics = program.metrics().await;
        program.until("it is ready", async || get(metrics, "/readyz").await.is_some_and(|a| a.status == 200)).await;
        program
    }

    /// Puts another text into its configuration file, as a whole.
    pub fn rewrite(&self, text: &str) {
        let path = &self.file.as_ref().expect("it runs on a file").path;
        let next = path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    /// Waits until `message` was logged so many times.
    pub async fn until_said(&mut self, message: &str, times: usize) {
        for _ in 0..2000 {
            if self.log().iter().filter(|l| l["message"] == message).count() >= times {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before {message:?}: {:?} {:?}", self.out(), self.err());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never said {times} times: {message:?}: {:?}", self.out());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lines on stdout so far.
    pub fn out(&self) -> Vec<String> {
        self.out.lock().unwrap().clone()
    }

    pub fn err(&self) -> Vec<String> {
        self.err.lock().unwrap().clone()
    }

    /// The lines that are JSON.
    pub fn log(&self) -> Vec<Value> {
        self.out().iter().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// The access lines.
    pub fn access(&self) -> Vec<Value> {
        self.log().into_iter().filter(|l| l["target"] == "access").collect()
    }

    pub async fn listener(&mut self) -> SocketAddr {
        self.told("listening", "address").await
    }

    pub async fn metrics(&mut self) -> SocketAddr {
        self.told("started", "metrics").await
    }

    pub async fn told(&mut self, message: &str, field: &str) -> SocketAddr {
        let find = |p: &Self| p.log().iter().find(|l| l["message"] == message).map(|l| l[field].as_str().unwrap().parse().unwrap());
        for _ in 0..1000 {
            if let Some(found) = find(self) {
                return found;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {:?} {:?}", self.out(), self.err());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never said {message:?}: {:?}", self.out());
    }

    /// Waits for something that comes about by itself.
    pub async fn until(&mut self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..2000 {
            if is_so().await {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before {what}: {:?} {:?}", self.out(), self.err());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came about: {what}: {:?}", self.out());
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended by itself, and all it wrote is read.
    pub async fn ended(&mut self) -> ExitStatus {
        for _ in 0..3000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                while Arc::strong_count(&self.out) > 1 || Arc::strong_count(&self.err) > 1 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not end: {:?}", self.out());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end on a thread of its own: a full pipe would stop the program.
fn kept(from: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let to = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().unwrap().push(line);
        }
    });
    lines
}

/// One request on a connection of its own; `None` where nobody answers.
pub async fn get(at: SocketAddr, path: &str) -> Option<Answer> {
    Connection::open(at).await.ok()?.get(path, None).await.ok()
}

/// The same with a token.
pub async fn get_as(at: SocketAddr, path: &str, token: &str) -> Answer {
    Connection::open(at).await.unwrap().get(path, Some(token)).await.unwrap()
}

/// How a report names the place of `what`, which stands in the file's `text`; the last one counts.
pub fn place(path: &Path, text: &str, what: &str) -> String {
    let before = &text[..text.rfind(what).unwrap()];
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
    format!("{}:{}:{column}", path.display(), before.matches('\n').count() + 1)
}
