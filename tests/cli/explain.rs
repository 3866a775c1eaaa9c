//! `explain`: which route a request takes, why each other one does not, and what a running gateway's cache would do. No token is shown.

use crate::kit::{ROUTES, World};
use crate::program::{Program, Said, cambist, file, get_as, say};
use crate::said::as_expected;
use serde_json::Value;
use std::net::SocketAddr;

const CONFIG: &str = r#"
listeners:
  main: { address: 127.0.0.1:8080 }
  inside: { address: 127.0.0.1:8081 }
issuers:
  main: { url: "https://iam.example.com/realms/main", client_id: gateway, client_secret: { env: SECRET_OF_THE_TEST }, extra_params: { tenant: c4nary } }
routes:
  orders:
    match: { hosts: [api.example.com], path: /orders, methods: [GET, POST] }
    listeners: [main]
    upstream: http://orders:8080
    audience: orders-api
    scopes: [orders.read]
    require: { scopes: [orders.read], claims: { tenant: [acme] } }
    rewrite: { strip_prefix: /orders, host: upstream }
  old: { match: { hosts: [api.example.com], path: { exact: /orders/old } }, upstream: "http://old:8080", token: strip, callers: anonymous }
  tenant: { match: { path: /orders, headers: { x-tenant: acme } }, upstream: "http://orders:8080", audience: orders-api, actor: { header: x-actor } }
  deletes: { match: { hosts: [api.example.com], path: /orders, methods: [DELETE] }, listeners: [main], upstream: "http://orders:8080", token: client_credentials, audience: orders-api }
  all: { match: { hosts: ["*.example.com"] }, upstream: "http://rest:8080", token: passthrough }
"#;

fn explain(args: &[&str]) -> Said {
    let config = file(CONFIG);
    say(cambist().arg("explain").arg("--config").arg(&config.path).args(args))
}

#[test]
fn what_is_said_of_a_request() {
    let url = "https://api.example.com/orders/1?x=y";
    for (name, args, code) in [
        ("explain_won.txt", &["GET", url][..], 0),
        ("explain_won.json", &["GET", url, "--listener", "main", "-o", "json"], 0),
        ("explain_elsewhere.txt", &["GET", url, "--listener", "inside"], 0),
        ("explain_own_token.txt", &["DELETE", url, "--listener", "main"], 0),
        ("explain_by_header.txt", &["GET", "/orders", "-H", "x-tenant: acme", "--listener", "inside"], 0),
        ("explain_anonymous.txt", &["GET", "https://API.example.com:443/orders/old", "--listener", "inside"], 0),
        ("explain_no_route.txt", &["GET", "/elsewhere", "-H", "Host: localhost"], 1),
        ("explain_method.txt", &["PUT", "http://other.example.org/orders", "-H", "x-tenant: bcme", "--listener", "inside"], 1),
        ("explain_boldest.txt", &["GET", "https://api.example.com/%4frders/1", "--listener", "main"], 1),
        ("explain_refused.txt", &["GET", "https://api.example.com/a/%2e%2e/orders", "--listener", "main", "-o", "json"], 1),
    ] {
        let said = explain(args);
        assert_eq!((said.code, said.err.as_str()), (code, ""), "{args:?} {said:?}");
        assert!(!said.out.contains("c4nary") && !said.out.contains("gateway-secret"), "{}", said.out);
        as_expected(name, &said, &[]);
    }
}

#[test]
fn a_proxys_listener_goes_by_the_url_alone() {
    let config = file(
        &CONFIG.replace("  inside: { address: 127.0.0.1:8081 }", "  inside: { address: 127.0.0.1:8081, mode: outbound, unmatched: strip }"),
    );
    let ask = |args: &[&str]| say(cambist().args(["explain", "--listener", "inside", "--config"]).arg(&config.path).args(args));
    as_expected("explain_proxy.txt", &ask(&["GET", "http://elsewhere.example.org/orders", "-H", "Host: api.example.com"]), &[]);
    for (args, words) in [
        (["GET", "http://api.example.com/orders/old"], "route old"),
        (["GET", "https://api.example.com/orders/old"], "bad_request (HTTP 400)"),
        (["GET", "/orders/old"], "no_route (HTTP 404)"),
        (["CONNECT", "http://api.example.com:443/"], "(HTTP 405)"),
    ] {
        let said = ask(&args);
        assert!(said.out.contains(words), "{args:?} {said:?}");
    }
}

#[test]
fn what_is_no_question_is_wrong_usage() {
    for (args, words) in [
        (&["GET", "orders"][..], "begin with"),
        (&["GET", "/", "--listener", "mian"], "have: main, inside"),
        (&["GET", "/", "-H", "nothing"], "x-tenant: acme"),
        (&["G T", "/"], "no method"),
        (&["GET"], "Usage"),
        (&["GET", "/", "--token-file", "-"], "--gateway"),
        (&["GET", "/", "--gateway", "https://a:1"], "http://127.0.0.1:9901"),
    ] {
        let said = explain(args);
        assert!(said.code == 2 && said.out.is_empty() && said.err.contains(words), "{args:?} {said:?}");
    }
    assert_eq!(say(cambist().args(["explain", "--config", "/nowhere", "GET", "/"])).code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_tells_what_its_cache_would_do() {
    let world = World::new().await;
    let more = "admin: { address: 127.0.0.1:0, token: of-the-operator }";
    let mut program = Program::in_world(&world, ROUTES, more).await;
    let admin: SocketAddr = program.told("started", "admin").await;
    let (token, gateway) = (world.iam.caller_token("ada").unwrap(), format!("http://{admin}"));
    let (caller, operator) = (file(&format!("{token}\n")), file("of-the-operator\n"));
    let ask = |path: &str, more: &[&str]| {
        let mut command = cambist();
        command.args(["explain", "--gateway", &gateway, "GET", path]).args(more);
        let said = say(&mut command);
        assert!(!said.out.contains(&token[..20]) && !said.err.contains(&token[..20]), "{said:?}");
        said
    };
    let files = [caller.path.to_str().unwrap(), operator.path.to_str().unwrap()];
    let both = ["--token-file", files[0], "--admin-token-file", files[1]];
    let plain = ask("/orders", &[]);
    assert!(plain.code == 0 && plain.out.contains("unknown: it depends on the caller's token"), "{plain:?}");
    assert!(ask("/orders", &both).out.contains("miss: the next request makes an exchange"));
    assert_eq!(get_as(program.listener().await, "/orders", &token).await.status, 200);
    let held = ask("/orders", &[&both[..], &["-o", "json"]].concat());
    let told: Value = serde_json::from_str(&held.out).unwrap();
    assert_eq!((held.code, &told["answers"][0]["cache"][0]["verdict"]), (0, &"hit".into()), "{told}");
    assert!(ask("/orders", &both).out.contains("hit: good for "));
    assert_eq!(get_as(program.listener().await, "/payroll", &token).await.status, 403);
    let refused = ask("/payroll", &both).out;
    assert!(refused.contains("target_refused") && refused.contains("Requested audience not available"), "{refused}");
    assert_eq!(world.iam.exchanges(), 2);

    let wrong = ask("/orders", &["--admin-token-file", files[0]]);
    assert!(wrong.code == 1 && wrong.err.contains("(401)"), "{wrong:?}");
    let nobody = say(cambist().args(["explain", "--gateway", "http://127.0.0.1:1", "GET", "/"]));
    assert!(nobody.code == 1 && nobody.err.contains("nothing answers at 127.0.0.1:1"), "{nobody:?}");
}
