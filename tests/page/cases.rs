//! Tokens of callers, good and odd, and what the gateway makes of each: the decoder of the status page has to say the same of all of
//! them. It judges nothing itself: the gateway is asked over a socket.

use super::kit::Running;
use cambist::demo::iam::CallerToken;
use serde_json::{Value, json};

/// The route they are sent to, and what it needs.
pub const PATH: &str = "/claims";
pub const ROUTE: &str = "
  claims: { match: { path: /claims }, upstream: OPEN, token: strip,
            require: { scopes: [orders], claims: { tenant: [acme, \"true\", \"1\"], realm_access.roles: [clerk] } } }
";

/// Each claim alone, set in a token that is good; `null` in the place of one takes it out only where the gateway takes `null` for that.
fn changes(now: u64) -> Vec<(&'static str, Value)> {
    let now = i64::try_from(now).unwrap();
    let of = |claim: &'static str, values: Vec<Value>| values.into_iter().map(move |value| (claim, value));
    let odd = || vec![json!(null), json!(5), json!(["x", 5]), json!({ "a": 1 }), json!(true), json!("")];
    let mut all: Vec<_> = of("unheard_of", vec![json!("x")]).collect();
    for claim in ["iss", "aud", "typ", "cnf", "sub", "azp", "client_id", "sid", "scope", "scp", "iat", "nbf", "exp", "tenant"] {
        all.extend(of(claim, odd()));
    }
    all.extend(of("typ", vec![json!("ID"), json!("id"), json!("Refresh"), json!("Offline"), json!("logout"), json!("Bearer")]));
    all.extend(of("cnf", vec![json!({ "jkt": "x" })]));
    all.extend(of("aud", vec![json!(["x", "gateway"]), json!("Gateway"), json!({ "gateway": 1 }), json!([])]));
    all.extend(of("iss", vec![json!("https://elsewhere.example")]));
    let scopes = ["a\torders", "a\n\r\u{c} orders", "a\u{b}orders", "a\u{a0}orders", "Orders", "orders.x"];
    all.extend(of("scope", scopes.iter().map(|s| json!(s)).collect()));
    all.extend(of("scope", vec![json!(["a b", "orders"]), json!([["orders"]])]));
    for claim in ["exp", "nbf", "iat"] {
        let near = [now - 60, now - 10, now + 10, now + 60, -5];
        all.extend(of(claim, near.iter().map(|at| json!(at)).collect()));
        let far =
            [json!(1e18), json!(i64::MAX), json!(u64::MAX), json!(8.9e15), json!(now as f64 + 60.5), json!("x"), json!(now.to_string())];
        all.extend(of(claim, far.to_vec()));
    }
    let tenants = [json!(["x", "acme"]), json!([null, ["acme"]]), json!(1.0), json!(1), json!([1.5, 1]), json!(true), json!("ACME")];
    all.extend(of("tenant", tenants.to_vec()));
    all.extend(of(
        "realm_access",
        vec![json!({ "roles": "clerk" }), json!({ "roles": { "clerk": 1 } }), json!([["roles", "clerk"]]), json!("roles")],
    ));
    all.extend(of("realm_access.roles", vec![json!("clerk"), json!("other"), json!(null)]));
    all
}

fn good(g: &Running) -> CallerToken {
    let token = g.world.iam.caller("ada").claim("scope", json!("orders")).claim("tenant", json!("acme"));
    token.claim("realm_access", json!({ "roles": ["clerk"] }))
}

fn tokens(g: &Running, now: u64) -> Vec<(String, CallerToken)> {
    let mut all = vec![("as it comes".to_owned(), good(g))];
    all.extend(changes(now).into_iter().map(|(claim, value)| (format!("{claim}: {value}"), good(g).claim(claim, value))));
    for claim in ["iss", "aud", "sub", "azp", "sid", "scope", "iat", "exp", "tenant", "realm_access", "typ"] {
        all.push((format!("no {claim}"), good(g).without(claim)));
    }
    all.push(("scope and scp".to_owned(), good(g).claim("scope", json!("x")).claim("scp", json!(["y orders"]))));
    all.push(("scp alone".to_owned(), good(g).without("scope").claim("scp", json!("orders"))));
    all.push(("client_id alone, of the wrong type".to_owned(), good(g).without("azp").claim("client_id", json!(5))));
    for typ in [None, Some("JWT"), Some("at+JWT"), Some("application/at+jwt"), Some("ID"), Some("dpop+jwt"), Some("")] {
        all.push((format!("{typ:?} in the header"), good(g).typ(typ)));
    }
    all
}

/// What the browser's story reads: each token with what the gateway said, and when.
pub async fn judged(g: &Running) -> Value {
    let now = g.world.clock.unix();
    let mut cases = Vec::new();
    for (name, token) in tokens(g, now) {
        let token = token.token().unwrap();
        let status = g.get(PATH, &token).await.status.as_u16();
        assert!([200, 401, 403].contains(&status), "{name}: {status}");
        cases.push(json!({ "name": name, "token": token, "taken": status == 200 }));
    }
    json!({ "now": now, "cases": cases })
}
