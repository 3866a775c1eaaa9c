//! One gateway before one backend, for the whole corpus; what the backend must have seen of a case; and the canary that is served
//! after each.

use super::backend::{Heard, Recorder};
use super::{Case, bytes};
use crate::kit::{Running, World, get, until};
use crate::wire::Wire;

const ROUTES: &str = "
  orders: { match: { path: /orders }, upstream: BACKEND, audience: orders-api }
  public: { match: { path: /public }, upstream: BACKEND, token: strip }
  write: { match: { path: /public/notes, methods: [POST] }, upstream: BACKEND, audience: orders-api }
  admin: { match: { path: /admin }, upstream: BACKEND, audience: orders-api }
  files: { match: { path: /files }, upstream: BACKEND, token: strip, paths: as_written }
  cut: { match: { path: /cut }, upstream: BACKEND, token: strip, rewrite: { strip_prefix: /cut } }
  ws: { match: { path: /ws }, upstream: BACKEND, audience: orders-api, websocket: true }
  unasked: { match: { path: /unasked }, upstream: BACKEND, token: strip }
  acme: { match: { path: /tenants, headers: { x-tenant: acme } }, upstream: BACKEND, audience: orders-api }
  tenants: { match: { path: /tenants }, upstream: BACKEND, token: strip }
  inner: { match: { path: /public, hosts: [inner.example.com] }, upstream: BACKEND, audience: orders-api }
  agents: { match: { path: /agents }, upstream: BACKEND, audience: orders-api, actor: { header: X-Actor-Token } }
  preflight: { match: { path: /shared }, upstream: BACKEND, audience: orders-api, preflight: forward }
";

const MORE: &str = "workers: 1\nforce_update: { header: X-Token-Force-Update, trusted_from: [127.0.0.1/32] }\n";

/// What the gateway says itself; everything else goes on as it came.
const OURS: [&str; 6] = ["authorization", "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

#[derive(Clone)]
pub struct Stage {
    pub g: std::sync::Arc<Running>,
    pub backend: Recorder,
    pub tokens: [(&'static str, String); 2],
}

impl Stage {
    pub async fn set() -> Self {
        let backend = Recorder::start().await;
        let routes = ROUTES.replace("BACKEND", &format!("\"http://{}\"", backend.address));
        let g = World::new().await.gateway(&routes, MORE).await;
        let tokens = ["ada", "eve"].map(|who| (who, g.token(who)));
        Self { g: g.into(), backend, tokens }
    }

    pub fn token(&self, name: &str) -> String {
        self.tokens.iter().find(|(who, _)| *who == name).unwrap_or_else(|| panic!("nobody is called {name}")).1.clone()
    }

    pub fn bytes(&self, text: &str) -> Vec<u8> {
        bytes(text, &|name| self.token(name))
    }

    /// Somebody else is served as if nothing had been.
    pub async fn canary(&self, wire: &mut Wire, where_: &str) {
        let answer = wire.ask(get("/orders/canary", &self.token("ada"), &[])).await;
        assert_eq!((answer.status(), answer.text()), (200, "ok".to_owned()), "the canary {where_}");
    }

    /// The backend has seen what the case says, byte for byte, and then `canaries`.
    pub async fn has_seen(&self, case: &Case, before: usize, canaries: usize) {
        let mut wanted: Vec<Vec<&(String, String)>> = Vec::new();
        for seen in &case.seen {
            let is_line = seen.0 == "<" && !seen.1.split(' ').next().unwrap().ends_with(':') && seen.1.contains(" HTTP/");
            if is_line {
                wanted.push(Vec::new());
            }
            wanted.last_mut().expect("the request line comes first").push(seen);
        }
        let mut heard = self.backend.since(before);
        let is_canary = |heard: &Heard| heard.lines[0].starts_with(b"GET /orders/canary ");
        assert_eq!(heard.iter().filter(|h| is_canary(h)).count(), canaries, "canaries at the backend: {}", shown(&heard));
        heard.retain(|heard| !is_canary(heard));
        assert_eq!(heard.len(), wanted.len(), "requests at the backend: {}", shown(&heard));
        for (i, (heard, wanted)) in heard.iter().zip(wanted).enumerate() {
            self.is(heard, &wanted);
            let behind: Vec<u8> =
                wanted.iter().filter(|(mark, text)| mark == "<!" && text != "truncated").flat_map(|w| self.bytes(&w.1)).collect();
            if !behind.is_empty() {
                until("bytes behind a 101", || self.backend.since(before).get(i).is_some_and(|h| h.behind == behind)).await;
            }
        }
    }

    fn is(&self, heard: &Heard, wanted: &[&(String, String)]) {
        let lines: Vec<Vec<u8>> = wanted.iter().filter(|w| w.0 == "<").map(|w| self.bytes(&w.1)).collect();
        let body: Vec<u8> = wanted.iter().filter(|w| w.0 == "<<").flat_map(|w| self.bytes(&w.1)).collect();
        let truncated = wanted.iter().any(|w| w.0 == "<!" && w.1 == "truncated");
        let is_ours = |line: &[u8]| OURS.contains(&&*name(line));
        let mut got: Vec<Vec<u8>> = heard.lines.iter().filter(|line| !is_ours(line)).cloned().collect();
        let mut expected = lines;
        // Order means something within one name alone.
        got[1..].sort_by_key(|line| name(line));
        expected[1..].sort_by_key(|line| name(line));
        assert_eq!(text(&got), text(&expected), "at the backend");
        assert_eq!(got, expected);
        assert!(heard.trailers.is_empty(), "{:?}", text(&heard.trailers));
        assert_eq!(heard.whole, !truncated, "whole at the backend");
        if !truncated {
            assert_eq!(String::from_utf8_lossy(&heard.body), String::from_utf8_lossy(&body), "the body at the backend");
        }
        self.says_what_is_true(heard);
    }

    fn says_what_is_true(&self, heard: &Heard) {
        for (_, token) in &self.tokens {
            assert!(!heard.raw.windows(token.len()).any(|w| w == token.as_bytes()), "a caller's token is at the backend");
        }
        let all = |wanted: &str| -> Vec<String> {
            let found = heard.lines.iter().filter(|line| name(line) == wanted);
            found.map(|line| String::from_utf8_lossy(&line[wanted.len() + 1..]).trim().to_owned()).collect()
        };
        let line = String::from_utf8_lossy(&heard.lines[0]).into_owned();
        let exchanges = ["/orders", "/admin", "/ws", "/agents"].iter().any(|path| line.contains(&format!(" {path}")));
        assert!(all("authorization").len() <= 1 && (!exchanges || all("authorization")[0].starts_with("Bearer ey")), "{line}");
        let host = all("host").concat();
        assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-host").concat(), host);
        let said = if host.is_empty() { String::new() } else { format!(";host=\"{host}\"") };
        assert_eq!(all("forwarded"), [format!("for=127.0.0.1{said};proto=http")]);
        assert!(all("via").last().unwrap().contains(" cambist-"));
    }
}

/// A field's, in lower case.
fn name(line: &[u8]) -> String {
    String::from_utf8_lossy(line.split(|b| *b == b':').next().unwrap()).to_lowercase()
}

fn text(lines: &[Vec<u8>]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

fn shown(heard: &[Heard]) -> String {
    heard.iter().map(|h| text(&h.lines).join("\n")).collect::<Vec<_>>().join("\n--\n")
}
