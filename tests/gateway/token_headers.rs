//! Where tokens stand: the caller's in the header that the route says, the one for the upstream in another; and neither header
//! brings anything of a caller's upstream, on whatever route.

use crate::kit::{Running, World, get};
use crate::wire::{Message, Puppet};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const ROUTES: &str = "
  out: { match: { path: /out }, upstream: OPEN, audience: orders-api, token_header: X-Backend-Token }
  in: { match: { path: /in }, upstream: OPEN, audience: orders-api, caller_token_header: X-Caller-Token }
  both: { match: { path: /both }, upstream: OPEN, audience: orders-api, caller_token_header: X-Token, token_header: X-Token }
  own: { match: { path: /own }, upstream: OPEN, audience: orders-api, token: client_credentials, token_header: X-Backend-Token }
  pass: { match: { path: /pass }, upstream: OPEN, token: passthrough, caller_token_header: X-Caller-Token }
  over: { match: { path: /over }, upstream: OPEN, token: passthrough, token_header: X-Backend-Token }
  strip: { match: { path: /strip }, upstream: OPEN, token: strip, caller_token_header: X-Caller-Token }
  plain: { match: { path: /plain }, upstream: OPEN, audience: orders-api }
  anybody: { match: { path: /anybody }, upstream: OPEN, token: strip, callers: anonymous }
";

async fn gateway(backend: &Puppet) -> Running {
    World::new().await.gateway(&ROUTES.replace("OPEN", &format!("\"{}\"", backend.url())), "").await
}

fn ask(path: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n")
}

/// The audience and subject of a token that the backend heard.
fn of(g: &Running, token: &str) -> (String, String) {
    let claims = g.world.iam.keys().verified(token).expect("a token of the issuer's");
    (claims["aud"].to_string(), claims["sub"].as_str().unwrap_or_default().to_owned())
}

fn bearer(heard: &Message) -> &str {
    heard.one("authorization").strip_prefix("Bearer ").unwrap_or_else(|| panic!("no bearer: {}", heard.head))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchanged_token_goes_alone_into_another_header() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let token = g.token("ada");
    for path in ["/out", "/own"] {
        assert_eq!(g.ask(get(path, &token, &["X-Backend-Token: mine"])).await.status(), 200, "{path}");
        let heard = backend.last();
        assert!(heard.all("authorization").is_empty() && !heard.head.contains(&token), "{path}: {}", heard.head);
        assert!(of(&g, heard.one("x-backend-token")).0.contains("orders-api"), "{path}");
    }
    assert_eq!(g.ask(get("/out", &token, &[])).await.status(), 200);
    assert_eq!(of(&g, backend.last().one("x-backend-token")).1, "ada", "from the cache, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_token_is_found_where_the_route_says_bare_or_with_its_scheme() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    for value in [ada.clone(), format!("Bearer {ada}"), format!("bearer  {ada}")] {
        let fields = [format!("X-Caller-Token: {value}"), format!("Authorization: Bearer {bob}")];
        assert_eq!(g.ask(ask("/in", &[&fields[0], &fields[1]])).await.status(), 200);
        let heard = backend.last();
        assert_eq!(of(&g, bearer(&heard)), ("\"orders-api\"".to_owned(), "ada".to_owned()));
        assert!(heard.all("x-caller-token").is_empty() && !heard.head.contains(&ada) && !heard.head.contains(&bob), "{}", heard.head);
    }
    let before = backend.heard().len();
    for (fields, said) in [
        (vec![], (401, "no_token")),
        (vec![format!("Authorization: Bearer {ada}")], (401, "no_token")),
        (vec![format!("x_caller_token: {ada}")], (401, "no_token")),
        (vec!["X-Caller-Token: Basic YTpi".to_owned()], (400, "bad_request")),
        (vec!["X-Caller-Token:".to_owned()], (400, "bad_request")),
        (vec!["X-Caller-Token: Bearer".to_owned()], (400, "bad_request")),
        (vec!["X-Caller-Token: nonsense".to_owned()], (401, "invalid_token")),
        (vec![format!("X-Caller-Token: {ada}"), format!("X-Caller-Token: {ada}")], (400, "bad_request")),
        (vec![format!("X-Caller-Token: {ada}"), format!("X-Copy: {ada}")], (400, "bad_request")),
    ] {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        assert_eq!(g.ask(ask("/in", &fields)).await.said(), (said.0, said.1.to_owned()), "{fields:?}");
    }
    assert_eq!(backend.heard().len(), before, "nothing of it went upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_header_may_be_both() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let ada = g.token("ada");
    assert_eq!(g.ask(ask("/both", &[&format!("X-Token: {ada}"), "Authorization: Basic YTpi"])).await.status(), 200);
    let heard = backend.last();
    assert_eq!(of(&g, heard.one("x-token")).1, "ada");
    assert!(heard.all("authorization").is_empty() && !heard.head.contains(&ada), "{}", heard.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_own_goes_on_where_the_operator_says_so() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let ada = g.token("ada");
    assert_eq!(g.ask(ask("/pass", &[&format!("X-Caller-Token: {ada}")])).await.status(), 200);
    assert_eq!(bearer(&backend.last()), ada);
    assert!(backend.last().all("x-caller-token").is_empty());
    assert_eq!(g.ask(get("/over", &ada, &[])).await.status(), 200);
    assert_eq!(backend.last().one("x-backend-token"), ada);
    assert!(backend.last().all("authorization").is_empty());
    assert_eq!(g.ask(ask("/strip", &[&format!("X-Caller-Token: {ada}")])).await.status(), 200);
    assert!(!backend.last().head.contains(&ada), "{}", backend.last().head);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_header_passes_on_any_route_in_any_spelling() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let ada = g.token("ada");
    let spelt: Vec<String> = ["X-Caller-Token", "x_caller_token", "X-Caller.Token_", "X-Backend-Token", "x_backend-token", "X.Token"]
        .map(|name| format!("{name}: mine"))
        .into();
    let fields: Vec<&str> = spelt.iter().map(String::as_str).collect();
    for path in ["/plain", "/out", "/own", "/over", "/anybody"] {
        assert_eq!(g.ask(get(path, &ada, &fields)).await.said(), (200, String::new()), "{path}");
        assert!(!backend.last().head.contains("mine"), "{path}: {}", backend.last().head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_request_carries_the_new_token_in_the_same_header() {
    let routes =
        "\n  orders: { upstream: OPEN, audience: orders-api, token_header: X-Backend-Token, force_update: { on_upstream_401: any } }\n";
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let backend = Puppet::saying(refusal).await;
    let g = World::new().await.gateway(&routes.replace("OPEN", &format!("\"{}\"", backend.url())), "").await;
    let ada = g.token("ada");
    assert_eq!(g.ask(get("/x", &ada, &[])).await.status(), 401);
    assert_eq!(g.ask(get("/x", &ada, &[])).await.status(), 401);
    let heard = backend.heard();
    let tokens: Vec<&str> = heard.iter().map(|m| m.one("x-backend-token")).collect();
    assert_eq!((tokens.len(), tokens[0] == tokens[1], tokens[1] == tokens[2]), (3, true, false), "the cached one was renewed");
    assert!(heard.iter().all(|m| m.all("authorization").is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_vary_by_the_header_that_says_who_calls() {
    let said = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nVary: Accept\r\nVary: Origin\r\nContent-Length: 2\r\n\r\nok";
    let backend = Puppet::saying(said).await;
    let g = gateway(&backend).await;
    let token = g.token("ada");
    for (path, field) in [("/in", "X-Caller-Token"), ("/both", "X-Token"), ("/strip", "X-Caller-Token"), ("/pass", "X-Caller-Token")] {
        let answer = g.ask(ask(path, &[&format!("{field}: {token}")])).await;
        assert_eq!((answer.status(), answer.one("vary")), (200, &*format!("Accept, Origin, {}", field.to_lowercase())), "{path}");
        assert_eq!(answer.one("cache-control"), "public, max-age=60", "the backend's own word");
    }
    for path in ["/plain", "/out", "/anybody"] {
        assert_eq!(g.ask(get(path, &token, &[])).await.all("vary"), ["Accept", "Origin"], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_goes_nowhere() {
    let backend = Puppet::saying(OK).await;
    let g = gateway(&backend).await;
    let (ada, bob) = (g.token("ada"), g.token("bob"));
    for path in ["/plain", "/out"] {
        // A second way to say who calls, of which nobody can tell whether a backend goes by it.
        assert_eq!(g.ask(get(&format!("{path}?a=1&%61ccess_token={bob}&b=%20"), &ada, &[])).await.status(), 200, "{path}");
        let heard = backend.last();
        assert!(heard.head.starts_with(&format!("GET {path}?a=1&b=%20 HTTP/1.1\r\n")) && !heard.head.contains(&bob), "{}", heard.head);
        let escaped = ada.replace('.', "%2E");
        assert_eq!(g.ask(get(&format!("{path}?access_token={escaped}"), &ada, &[])).await.status(), 400, "{path}");
        assert_eq!(g.ask(get(path, &ada, &[&format!("Cookie: a=1; t={escaped}")])).await.status(), 400, "{path}");
    }
    assert_eq!(g.ask(ask("/anybody?access_token=x", &[])).await.status(), 200);
    assert!(backend.last().head.starts_with("GET /anybody HTTP/1.1\r\n"));
    assert_eq!(g.ask(get(&format!("/over?access_token={bob}"), &ada, &[])).await.status(), 200);
    assert!(backend.last().head.contains(&bob), "the operator lets callers' tokens through");
}
