//! Names that are others to the gateway and the same to some backends (`X_Forwarded_For`, `authorization.`): none passes of a
//! field that the gateway sets, strips or reads.

use crate::kit::{World, get};
use crate::wire::Puppet;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const ROUTES: &str = "
  acme: { match: { headers: { x-tenant: acme, my_kind: a } }, upstream: OPEN, audience: orders-api, caller_token_header: X-Caller-Token }
  rest: { upstream: OPEN, audience: orders-api, token_header: X-Backend-Token }
  agents: { match: { path: /agents }, upstream: OPEN, audience: orders-api, actor: { header: X-Actor-Token } }
";
const FORCE: &str = "force_update: { header: X-Force-Update, trusted_from: [10.0.0.0/8] }\n";

/// Everything that a caller could mean something by.
const OWNED: &str = "authorization proxy-authorization host via dpop forwarded x-forwarded-for x-forwarded-host x-forwarded-proto \
    x-forwarded-port x-forwarded-user x-real-ip x-original-url x-rewrite-url x-auth-request-access-token connection te transfer-encoding \
    content-length content-type upgrade keep-alive proxy-connection cookie expect trailer traceparent tracestate origin \
    access-control-request-method grpc-timeout x-caller-token x-backend-token x-actor-token x-force-update x-tenant my-kind";

/// Other spellings of a name, none of which is the name itself.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![format!("{name}_"), format!("{name}."), format!("_{name}"), name.to_uppercase() + "_"];
    if name.contains('-') {
        all.extend([name.replace('-', "."), name.replacen('-', ".", 1), format!("{}.", name.replace('-', "_"))]);
        // This one is a header that chooses a route, under its own name.
        all.extend(Some(name.replace('-', "_")).filter(|spelt| spelt != "my_kind"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_of_what_is_the_gateways_passes() {
    let backend = Puppet::saying(OK).await;
    let g = World::new().await.gateway(&ROUTES.replace("OPEN", &format!("\"{}\"", backend.url())), FORCE).await;
    let token = g.token("ada");
    for name in OWNED.split_whitespace() {
        let fields: Vec<String> = spellings(name).iter().map(|spelt| format!("{spelt}: c4nary")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = g.ask(get("/x", &token, &fields)).await;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        let head = backend.last().head;
        assert!(!head.contains("c4nary"), "{name}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chose_the_route_is_said_in_one_spelling() {
    let backend = Puppet::saying(OK).await;
    let g = World::new().await.gateway(&ROUTES.replace("OPEN", &format!("\"{}\"", backend.url())), "").await;
    let caller = format!("X-Caller-Token: {}", g.token("ada"));
    let fields = [&*caller, "x-tenant: acme", "my_kind: a", "x_tenant: evil", "X.Tenant: evil", "my-kind: evil", "my.kind: evil"];
    assert_eq!(g.ask(get("/x", &g.token("bob"), &fields)).await.status(), 200);
    let heard = backend.last();
    assert_eq!((heard.one("x-tenant"), heard.one("my_kind")), ("acme", "a"));
    assert!(!heard.head.contains("evil"), "{}", heard.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_nobodys_pass_in_every_spelling() {
    let backend = Puppet::saying(OK).await;
    let g = World::new().await.gateway(&ROUTES.replace("OPEN", &format!("\"{}\"", backend.url())), FORCE).await;
    assert_eq!(g.ask(get("/x", &g.token("ada"), &["my_header: 1", "my.header: 2", "x_tenants: 3", "_: 4"])).await.status(), 200);
    let heard = backend.last();
    assert_eq!([heard.one("my_header"), heard.one("my.header"), heard.one("x_tenants"), heard.one("_")], ["1", "2", "3", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn none_passes_in_a_trailer() {
    let trailing = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\n\
        x-sum: 7\r\nauthorization: c4nary\r\nauthorization_: c4nary\r\nx_forwarded_for: c4nary\r\ncontent_length: c4nary\r\n\
        x.real.ip: c4nary\r\nCookie_: c4nary\r\n\r\n";
    let backend = Puppet::saying(trailing).await;
    let g = World::new().await.gateway(&ROUTES.replace("OPEN", &format!("\"{}\"", backend.url())), "").await;
    let answer = g.ask(get("/x", &g.token("ada"), &["TE: trailers"])).await;
    assert!(answer.trailers.contains("x-sum: 7") && !answer.trailers.contains("c4nary"), "{}", answer.trailers);
}
