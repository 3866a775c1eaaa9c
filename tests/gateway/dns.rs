//! A name whose addresses change, by the machine's own `/etc/hosts`.

use crate::kit::{World, until};
use crate::wire::{Puppet, say};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

const HOSTS: &str = "/etc/hosts";

/// A line of `/etc/hosts` for as long as it lives.
pub struct Line {
    file: File,
    name: String,
}

impl Line {
    /// Nobody else may write meanwhile; whoever may not write at all cannot run this test.
    pub fn write(name: &str, address: &str) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(HOSTS)?;
        file.lock()?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(format!("\n{address} {name}\n").as_bytes())?;
        Ok(Self { file, name: name.to_owned() })
    }

    /// The same name at another address, of as many letters: the file is whole at every moment.
    fn change(&mut self, address: &str) {
        let at = self.text().find(&self.name).unwrap() - address.len() - 1;
        self.file.seek(SeekFrom::Start(at as u64)).unwrap();
        self.file.write_all(address.as_bytes()).unwrap();
    }

    fn text(&mut self) -> String {
        let mut text = String::new();
        self.file.rewind().unwrap();
        self.file.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It is the last one: the lock kept others out.
        let text = self.text();
        let before = text.find(&self.name).and_then(|at| text[..at].rfind('\n')).map_or(text.len(), |end| end.saturating_sub(1));
        let _ = self.file.set_len(text[..=before].trim_end_matches('\n').len() as u64 + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_in_etc_hosts_is_followed() {
    let name = format!("cambist-test-{}.test", std::process::id());
    let mut line = match Line::write(&name, "127.0.0.1") {
        Ok(line) => line,
        Err(error) => {
            assert!(std::env::var_os("CAMBIST_REQUIRE_SERVERS").is_none(), "{HOSTS} may not be written here, and must be: {error}");
            return eprintln!("SKIPPED: {HOSTS} may not be written here: {error}");
        }
    };
    let here = Puppet::start(|_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")]).await;
    let port = here.address.port();
    let there = Puppet::at(([127, 0, 0, 2], port).into(), |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere")]).await;
    let more = format!("upstreams: {{ pool: {{ dns: \"http://{name}:{port}\", dns_refresh: 10s }} }}\n");
    let g = World::new().await.gateway("\n  all: { upstream: pool, token: strip, callers: anonymous }\n", &more).await;
    assert_eq!(g.get_without_token("/").await.body, "here");
    line.change("127.0.0.2");
    assert_eq!(g.get_without_token("/").await.body, "here", "not before the name is looked up again");
    g.turn(Duration::from_secs(10)).await;
    let mut moved = false;
    for _ in 0..100 {
        moved = g.get_without_token("/").await.body == "there";
        if moved {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(moved, "the new address was never used");
    let heard = here.heard().len();
    for _ in 0..5 {
        assert_eq!(g.get_without_token("/").await.body, "there");
    }
    assert_eq!(here.heard().len(), heard);
    until("it was asked", || there.heard().len() >= 6).await;
    assert_eq!(g.metric("cambist_upstream_endpoints{upstream=\"pool\"}").await, 1.0);
}
