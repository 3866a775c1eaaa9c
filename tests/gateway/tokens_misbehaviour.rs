//! Everything that an issuer may do instead of exchanging a token, a row each: what the caller is told, that nothing goes upstream,
//! that nothing of it is kept, and that the next caller is served as soon as the issuer is well again.

use crate::kit::{Running, World, said};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::Misbehave;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

type Wanted = (u16, &'static str);

const BAD: Wanted = (502, "bad_issuer_answer");
const DOWN: Wanted = (503, "issuer_unavailable");
const LATE: Wanted = (504, "issuer_timeout");
const OURS: Wanted = (500, "misconfigured");
const DEAD: Wanted = (401, "invalid_token");
const REFUSED: Wanted = (403, "target_refused");

struct Row {
    what: &'static str,
    does: Misbehave,
    wanted: Wanted,
}

fn row(what: &'static str, does: Misbehave, wanted: Wanted) -> Row {
    Row { what, does, wanted }
}

fn status(status: u16) -> Misbehave {
    Misbehave::status(StatusCode::from_u16(status).unwrap())
}

fn refusal(status: u16, error: &str, words: &str) -> Misbehave {
    Misbehave::refusal(StatusCode::from_u16(status).unwrap(), error, words)
}

fn text(body: impl Into<bytes::Bytes>) -> Misbehave {
    Misbehave::answer(StatusCode::OK, "application/json", body)
}

fn member(name: &'static str, value: Value) -> Misbehave {
    Misbehave::member(name, Some(value))
}

fn claim(name: &'static str, value: Value) -> Misbehave {
    Misbehave::claim(name, Some(value))
}

fn connections() -> Vec<Row> {
    vec![
        row("resets the connection", Misbehave::Reset, BAD),
        row("resets it in the middle of the answer", Misbehave::ResetMidBody, BAD),
        row("never answers", Misbehave::Hang, LATE),
        row("drips its answer", Misbehave::Drip(Duration::from_millis(50)), LATE),
        row("sends more than anybody reads", Misbehave::Huge(64 * 1024 * 1024), BAD),
        row("sends a little more than is read", Misbehave::Huge(64 * 1024 + 1), BAD),
    ]
}

fn bodies() -> Vec<Row> {
    let good = |more: &str| format!(r#"{{"access_token":"x","token_type":"Bearer","issued_token_type":"t","expires_in":60{more}}}"#);
    vec![
        row("packs its answer", Misbehave::Packed(0), BAD),
        row("sends a megabyte in a kilobyte", Misbehave::Packed(1_000_000), BAD),
        row("answers nothing", text(""), BAD),
        row("answers HTML", Misbehave::answer(StatusCode::OK, "text/html", "<html>Sign in</html>"), BAD),
        row("breaks its JSON off", text(r#"{"access_token":"x","token_type":"Bear"#), BAD),
        row("answers JSON that is no object", text("[]"), BAD),
        row("answers JSON and something after it", text(format!("{}{{}}", good(""))), BAD),
        row("says a key twice", text(good(r#","access_token":"y""#)), BAD),
        row("says a key twice further in", text(good(r#","more":{"a":1,"a":2}"#)), BAD),
        row("nests without end", text("[".repeat(60_000)), BAD),
        row("answers bytes that are no text", text(vec![0xff; 300]), BAD),
        row("answers form-encoded", Misbehave::answer(StatusCode::OK, "application/x-www-form-urlencoded", "access_token=x"), BAD),
    ]
}

fn members() -> Vec<Row> {
    let urn = |kind: &str| json!(format!("urn:ietf:params:oauth:token-type:{kind}"));
    vec![
        row("issues no token", Misbehave::member("access_token", None), BAD),
        row("issues a number", member("access_token", json!(7)), BAD),
        row("issues null", member("access_token", Value::Null), BAD),
        row("issues an object", member("access_token", json!({ "token": "x" })), BAD),
        row("issues an empty text", member("access_token", json!("")), BAD),
        row("issues two words", member("access_token", json!("Bearer x")), BAD),
        row("issues a token with a line break", member("access_token", json!("a\r\nX-Evil: 1")), BAD),
        row("issues a token of 20 KiB", member("access_token", json!("x".repeat(20_000))), BAD),
        row("issues what looks like a JWT and is none", member("access_token", json!("eyJhbGciOiJub25lIn0.e30!.x")), BAD),
        row("issues a DPoP token", member("token_type", json!("DPoP")), BAD),
        row("issues what is no access token (N_A)", member("token_type", json!("N_A")), BAD),
        row("says how its token is used by a number", member("token_type", json!(1)), BAD),
        row("says several ways to use its token", member("token_type", json!(["Bearer"])), BAD),
        row("issues a token for a MAC", member("token_type", json!("mac")), BAD),
        row("does not say how its token is used", Misbehave::member("token_type", None), BAD),
        row("issues the caller's own token", Misbehave::Echo("subject_token"), BAD),
        row("issues an ID token", member("issued_token_type", urn("id_token")), BAD),
        row("issues a refresh token", member("issued_token_type", urn("refresh_token")), BAD),
        row("says what it issued by a number", member("issued_token_type", json!(3)), BAD),
        row("does not say what it issued", Misbehave::member("issued_token_type", None), BAD),
        row("issues what is over (0)", member("expires_in", json!(0)), BAD),
        row("issues what was over before (-103)", member("expires_in", json!(-103)), BAD),
        row("issues what is over for good", member("expires_in", json!(i64::MIN)), BAD),
        row("says a life as a list", member("expires_in", json!([300])), BAD),
        row("says a life as true", member("expires_in", json!(true)), BAD),
        row("says a life as text", member("expires_in", json!("300")), BAD),
        row("says an absurd life", member("expires_in", json!(1e300)), BAD),
        row("says a life as null", member("expires_in", Value::Null), BAD),
    ]
}

fn claims() -> Vec<Row> {
    vec![
        row("issues for another audience", claim("aud", json!("payroll-api")), BAD),
        row("issues for several others", claim("aud", json!(["payroll-api", "account"])), BAD),
        row("issues for an empty list", claim("aud", json!([])), BAD),
        row("issues for a name that only begins like it", claim("aud", json!("orders-api-2")), BAD),
        row("issues for it in other letters", claim("aud", json!("Orders-API")), BAD),
        row("issues for none", Misbehave::claim("aud", None), BAD),
        row("issues for something that is no audience", claim("aud", json!({"orders-api": true})), BAD),
        row("issues somebody else's", claim("sub", json!("service-account-gateway")), BAD),
        row("issues for the caller in other letters", claim("sub", json!("Ada")), BAD),
        row("issues for the caller and a blank", claim("sub", json!("ada ")), BAD),
        row("issues for an empty sub", claim("sub", json!("")), BAD),
        row("issues nobody's", Misbehave::claim("sub", None), BAD),
        row("issues a sub that is no text", claim("sub", json!(["ada"])), BAD),
        row("issues a token that has expired", claim("exp", json!(1)), BAD),
        row("issues an exp before 1970", claim("exp", json!(-1)), BAD),
        row("issues an exp that is text", claim("exp", json!("never")), BAD),
        row("issues for a time to come", claim("nbf", json!(99_999_999_999_i64)), BAD),
        row("issues since a time that is none", claim("nbf", json!("now")), BAD),
        row("binds its token to a key", claim("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})), BAD),
        row(
            "binds it to a certificate that is not ours",
            claim("cnf", json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"})),
            BAD,
        ),
        row("binds it to a key of some other sort", claim("cnf", json!({"kid": "k"})), BAD),
        row("binds it to what is no key", claim("cnf", json!(true)), BAD),
        row("issues in another's name", claim("iss", json!("https://elsewhere.example.com/realms/demo")), BAD),
        row("issues in a name that is no text", claim("iss", json!(["https://elsewhere.example.com"])), BAD),
    ]
}

fn statuses() -> Vec<Row> {
    let elsewhere = || HeaderValue::from_static("http://127.0.0.1:1/elsewhere");
    vec![
        row("redirects (302)", Misbehave::redirect(elsewhere()), BAD),
        row("redirects for good (308)", status(308).with(http::header::LOCATION, elsewhere()), BAD),
        row("points elsewhere (303)", status(303).with(http::header::LOCATION, elsewhere()), BAD),
        row("redirects as it came (307)", status(307).with(http::header::LOCATION, elsewhere()), BAD),
        row("says that nothing is new (304)", status(304), BAD),
        row("answers a part (206)", status(206), BAD),
        row("has nothing to say (204)", status(204), BAD),
        row("has made something (201)", status(201), BAD),
        row("refuses without a word (400)", status(400), BAD),
        row("refuses us without a word (401)", status(401), OURS),
        row("wants to be paid (402)", status(402), BAD),
        row("forbids without a word (403)", status(403), BAD),
        row("is a teapot (418)", status(418), BAD),
        row("is not there (404)", status(404), BAD),
        row("takes no POST (405)", status(405), BAD),
        row("throttles (429)", status(429).with(RETRY_AFTER, HeaderValue::from_static("2")), DOWN),
        row("is broken (500)", refusal(500, "server_error", "NullPointerException"), BAD),
        row("is broken and blames the caller (500)", refusal(500, "invalid_grant", "Session not active"), BAD),
        row("cannot do it (501)", status(501), BAD),
        row("does not speak this version (505)", status(505), BAD),
        row("wants somebody to log in first (511)", status(511), BAD),
        row("is behind a broken gateway (502)", status(502), BAD),
        row("is full (503)", status(503), DOWN),
        row("is behind a slow gateway (504)", status(504), BAD),
        row("says the caller is dead", refusal(400, "invalid_request", "Invalid token"), DEAD),
        row("says so as the standard has it", refusal(400, "invalid_grant", ""), DEAD),
        row("says so with a 401, which is about us", refusal(401, "invalid_grant", ""), OURS),
        row("refuses the target", refusal(400, "invalid_target", ""), REFUSED),
        row("refuses the scopes", refusal(400, "invalid_scope", "Invalid scopes: a"), REFUSED),
        row("denies access", refusal(403, "access_denied", "Client is not within the token audience"), REFUSED),
        row("does not know us", refusal(401, "invalid_client", "Invalid client or Invalid client credentials"), OURS),
        row("does not let us", refusal(400, "unauthorized_client", ""), OURS),
        row("does not know the grant", refusal(400, "unsupported_grant_type", "Unsupported grant_type"), OURS),
        row("does not like the request", refusal(400, "invalid_request", "requested_token_type unsupported"), OURS),
        row("refuses for a reason of its own", refusal(400, "computer_says_no", "No."), OURS),
        row(
            "refuses in another type than JSON",
            refusal(400, "invalid_grant", "").with(CONTENT_TYPE, HeaderValue::from_static("text/plain")),
            DEAD,
        ),
    ]
}

async fn gateway() -> Running {
    let issuer = "issuers: { main: { url: \"IAM\", client_id: gateway, client_secret: gateway-secret, \
                  timeouts: { connect: 400ms, total: 500ms } } }";
    World::new().await.gateway("\n  orders: { match: { path: /orders }, upstream: ORDERS, audience: orders-api }\n", issuer).await
}

/// Longer than this nobody suffers from what the issuer did.
const RECOVERY: Duration = Duration::from_secs(5);
/// But whom it has refused for a reason of his own is refused for `cache.refused_ttl`.
const REMEMBERED: Duration = Duration::from_secs(31);

async fn drive(rows: Vec<Row>) {
    let g = gateway().await;
    for Row { what, does, wanted: (status, code) } in rows {
        let (ada, bob, eve) = (g.token("ada"), g.token("bob"), g.token("eve"));
        assert_eq!(g.get("/orders", &eve).await.status, 200, "before an issuer that {what}");
        let before = g.world.orders.requests();
        g.world.iam.script_always(Endpoint::Token, does);
        let answer = g.get("/orders", &ada).await;
        assert_eq!(said(&answer), (status, code.into()), "an issuer that {what}: {:?}", g.gateway.failures().first());
        assert_eq!(g.world.orders.requests(), before, "an issuer that {what}: nothing goes upstream");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503, "{what}");
        let failure = &g.gateway.failures()[0];
        assert!(!failure.cause.is_empty() && failure.reason == code, "{what}: {failure:?}");
        assert_eq!(g.get("/orders", &eve).await.status, 200, "an issuer that {what}: who has a token is served on");

        // Well again: whoever comes is served, and so is the one who was turned away.
        g.world.iam.behave();
        g.turn(RECOVERY).await;
        assert_eq!(g.get("/orders", &bob).await.status, 200, "5 s after an issuer that {what}: {:?}", g.gateway.failures().first());
        if [DEAD, REFUSED].contains(&(status, code)) {
            assert_eq!(said(&g.get("/orders", &ada).await), (status, code.into()), "after an issuer that {what}");
            g.turn(REMEMBERED - RECOVERY).await;
        }
        assert_eq!(g.get("/orders", &ada).await.status, 200, "after an issuer that {what}: {:?}", g.gateway.failures().first());
        assert_eq!(g.world.orders.last().unwrap().claim("sub"), Some("ada"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_whose_connections_misbehave() {
    drive(connections()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_whose_answers_are_none() {
    drive(bodies()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_says_odd_things_of_what_it_issues() {
    drive(members()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_issues_something_else() {
    drive(claims()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_refuses_in_every_way() {
    drive(statuses()).await;
}

#[test]
fn the_table_has_as_many_rows_as_were_promised() {
    let rows: Vec<Row> = [connections(), bodies(), members(), claims(), statuses()].into_iter().flatten().collect();
    let distinct: std::collections::BTreeSet<&str> = rows.iter().map(|r| r.what).collect();
    assert_eq!(distinct.len(), rows.len());
    assert!(rows.len() >= 39, "{}", rows.len());
}

/// What is odd and harmless is used, for as long as it can be known to be good.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_and_good_enough() {
    let g = gateway().await;
    for does in [
        Misbehave::member("expires_in", None),
        member("expires_in", json!(1_000_000_000)),
        member("expires_in", json!(59.9)),
        member("token_type", json!("bEARER")),
        member("refresh_token", json!("never looked at")),
        claim("aud", json!(["account", "orders-api"])),
        claim("nbf", json!(0)),
        claim("cnf", Value::Null),
        Misbehave::content_type(HeaderValue::from_static("text/plain")),
        Misbehave::content_type(HeaderValue::from_static("application/json")).with(CONTENT_ENCODING, HeaderValue::from_static("br")),
    ] {
        let shown = format!("{does:?}");
        g.world.iam.script(Endpoint::Token, does);
        let status = g.get("/orders", &g.token("ada")).await.status;
        // The backend of these tests takes no token that is good elsewhere too; the gateway does.
        assert!([200, 403].contains(&status.as_u16()), "{shown}: {:?}", g.gateway.failures().first());
        assert_eq!(g.gateway.failures().len(), 0, "{shown}");
    }
}

/// Nobody is served by an issuer that is not there; everybody is when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_not_there() {
    let g = gateway().await;
    let (cached, fresh) = (g.token("ada"), g.token("bob"));
    assert_eq!(g.get("/orders", &cached).await.status, 200);
    g.world.iam.down().await;
    for _ in 0..2 {
        // A pooled connection may die under the first.
        let answer = g.get("/orders", &fresh).await;
        assert!([502, 503].contains(&answer.status.as_u16()), "{:?}", said(&answer));
        assert_eq!(g.get("/orders", &cached).await.status, 200, "what is cached serves on");
    }
    assert_eq!(said(&g.get("/orders", &fresh).await), (503, "issuer_unavailable".into()));
    g.world.iam.up().unwrap();
    g.turn(RECOVERY).await;
    assert_eq!(g.get("/orders", &fresh).await.status, 200);
}

/// Not one of the tokens that were sent to be exchanged, though it fits in all else: nobody's own token goes upstream.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_gives_back_what_it_was_sent() {
    let routes = "
  orders: { match: { path: /orders }, upstream: OPEN, audience: orders-api }
  scoped: { match: { path: /scoped }, upstream: OPEN, scopes: [billing] }
  acted: { match: { path: /acted }, upstream: OPEN, audience: orders-api, actor: { header: X-Actor-Token } }
  acting: { match: { path: /acting }, upstream: OPEN, scopes: [billing], actor: { gateway: true } }
  own: { match: { path: /own }, upstream: OPEN, token: client_credentials, scopes: [billing] }
";
    for (by, profile) in [("jwks", "keycloak"), ("jwks", "rfc8693"), ("introspection", "keycloak"), ("introspection", "rfc8693")] {
        let issuer = format!(
            "issuers: {{ main: {{ url: \"IAM\", client_id: gateway, client_secret: gateway-secret, profile: {profile}, \
             token_endpoint_auth_method: client_secret_post, verify: {{ by: {by} }} }} }}"
        );
        let g = World::new().await.gateway(routes, &issuer).await;
        let both = |sub: &str| g.world.iam.caller(sub).claim("aud", json!(["gateway", "orders-api"]));
        let token = |sub: &str| if by == "jwks" { both(sub).token().unwrap() } else { g.world.iam.opaque(&both(sub)).unwrap() };
        for (path, field) in [
            ("/orders", "subject_token"),
            ("/scoped", "subject_token"),
            ("/acted", "subject_token"),
            ("/acted", "actor_token"),
            ("/acting", "actor_token"),
            ("/orders", "client_secret"),
            ("/own", "client_secret"),
        ] {
            let (ada, agent) = (token("ada"), token("ada"));
            let bearer = format!("Bearer {ada}");
            let headers = [("authorization", &*bearer), ("x-actor-token", &*agent)];
            if path == "/acting" {
                // For the gateway's own token, which is got first, it is as good as ever.
                g.world.iam.script(Endpoint::Token, Misbehave::Headers(http::HeaderMap::new()));
            }
            g.world.iam.script(Endpoint::Token, Misbehave::Echo(field));
            let answer = g.send(http::Method::GET, path, &headers, "").await;
            let failure = g.gateway.failures().first().map(|f| f.cause.clone());
            assert_eq!(said(&answer), (502, "bad_issuer_answer".into()), "{by} {profile} {path} {field}: {failure:?}");
            assert!(failure.as_deref().unwrap_or_default().contains("that was sent to it"), "{path} {field}: {failure:?}");
        }
        assert_eq!(g.world.open.requests(), 0, "{by} {profile}");
        assert_eq!(g.get("/orders", &token("bob")).await.status, 200, "{by} {profile}: {:?}", g.gateway.failures().first());
    }
}
