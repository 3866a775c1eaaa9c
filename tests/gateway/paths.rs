//! One reading of every path: what could mean two things to two programs is refused, and what passes goes on byte for byte.

use crate::kit::{Running, World, get};
use crate::wire::End;

const ROUTES: &str = "
  public: { match: { path: /public }, upstream: OPEN, token: strip }
  admin: { match: { path: /admin }, upstream: PAYROLL, token: strip }
  files: { match: { path: /files }, upstream: OPEN, token: strip, paths: as_written }
";

async fn gateway() -> Running {
    World::new().await.gateway(ROUTES, "").await
}

/// Asked on a connection of its own; nothing may have gone upstream, and the connection must be over.
async fn refused(g: &Running, target: &str) -> (u16, String) {
    let before = g.world.open.requests() + g.world.payroll.requests();
    let mut wire = g.wire().await;
    let answer = wire.ask(get(target, &g.token("ada"), &[])).await;
    assert_eq!(answer.one("connection"), "close", "{target:?}");
    assert_eq!(wire.ends().await, End::Closed, "{target:?}");
    assert_eq!(g.world.open.requests() + g.world.payroll.requests(), before, "{target:?} went upstream");
    answer.said()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_should_send_is_400_and_ends_the_connection() {
    let g = gateway().await;
    let bad = [
        "/public/../admin",
        "/public/./x",
        "/public/..",
        "/..",
        "/.",
        "/public/%2e%2e/admin",
        "/public/%2E./admin",
        "/public/.%2e/admin",
        "/public/%252e%252e/admin",
        "/public/%25252e%25252e/admin",
        "/public/..%2fadmin",
        "/public/..%5cadmin",
        "/public%2f..%2fadmin",
        "/public/..;/admin",
        "/public/..;a=b/admin",
        "/public/%2e%2e%3b/admin",
        "/public/.../admin",
        "/public/..%20/admin",
        "/public/%20",
        "/public/..%00/admin",
        "/public/x%00",
        "/public/x%0a",
        "/public/x%0d%0aHost:%20y",
        "/public/x%7f",
        "/public/x%c2%85",
        "/public/%2500",
        "/public\\..\\admin",
        "/public/x\\y",
        "/public/%",
        "/public/%4",
        "/public/%zz",
        "/public/%%41",
        "/public/%u002e",
        "/public/%ff",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%ed%a0%80",
        "/public/%25ff",
        // Refused where the second look is off, too.
        "/files/../admin",
        "/files/%2e%2e/admin",
        "/files/x%00",
        "/files/x\\y",
        "*",
    ];
    for target in bad {
        assert_eq!(refused(&g, target).await, (400, "bad_request".into()), "{target:?}");
    }
    assert_eq!(g.world.iam.exchanges(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_parser_refuses_by_itself_is_400_without_a_body() {
    let g = gateway().await;
    let mut bad: Vec<Vec<u8>> = ["/public/\u{1}", "/public/\0", "/public/\t", "public", "/public x", "/public/<x>", "/public/`x`"]
        .map(|t| t.as_bytes().to_vec())
        .into();
    bad.push(b"/public/\xff".to_vec());
    for target in bad {
        let shown = String::from_utf8_lossy(&target).into_owned();
        let mut wire = g.wire().await;
        let request = [b"GET ", &target[..], b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let answer = wire.ask(request).await;
        assert_eq!(answer.status(), 400, "{shown:?}");
        assert_eq!(wire.ends().await, End::Closed, "{shown:?}");
    }
    assert_eq!(g.world.open.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readings_that_lead_to_different_routes_are_400() {
    let g = gateway().await;
    let bad = [
        // Written, they match nothing; some program would read `/admin` or `/public` out of them.
        "/ADMIN",
        "/Admin/x",
        "//admin",
        "/%61dmin",
        "/%2561dmin",
        "/admin;x",
        "/admin;x/y",
        "/admin.",
        "/admin%20",
        "/admin%2fx",
        "/admin%3fx",
        "/admin%23x",
        "/admin%5cx",
        "/;/admin",
        "/%2fadmin",
        "//public",
        "/%E1%BA%9E/../admin",
        // Below `files`, which is taken as written, and above it.
        "/FILES/x",
        "/%66iles",
    ];
    for target in bad {
        assert_eq!(refused(&g, target).await, (400, "bad_request".into()), "{target:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_some_program_folds_to_another_is_folded() {
    let routes = "
  rest: { upstream: OPEN, token: strip }
  secret: { match: { path: /secrets/kings }, upstream: PAYROLL, token: strip }
";
    let g = World::new().await.gateway(routes, "").await;
    // The long s, the Kelvin sign and the dotless i.
    for target in ["/%C5%BFecrets/kings", "/secrets/%E2%84%AAings", "/secrets/k%C4%B1ngs", "/SECRETS/KINGS", "/secrets%2fkings"] {
        assert_eq!(refused(&g, target).await, (400, "bad_request".into()), "{target:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_spelling_that_stays_on_its_route_goes_on_untouched() {
    let g = gateway().await;
    let token = g.token("ada");
    let mut wire = g.wire().await;
    let good = [
        "/public",
        "/public/",
        "/public//",
        "/public//x",
        "/public/A/b",
        "/public/a%2Fb",
        "/public/a%2fb",
        "/public/a%20b",
        "/public/a;v=1/b;w",
        "/public/a%3Bb",
        "/public/a.b./c",
        "/public/a..b",
        "/public/..a",
        "/public/.well-known/x",
        "/public/100%25",
        "/public/%C3%A4",
        "/public/\u{e4}",
        "/public/~a!$&'()+,=:@-_",
        "/public/a|b\"{c}^",
        "/public/%61",
        "/public/%2523",
        "/public/x%5cy",
        "/public/x%3fy",
        "/files//x",
        "/files/%2f%2Fadmin",
    ];
    for target in good {
        let answer = wire.ask(get(target, &token, &[])).await;
        assert_eq!(answer.status(), 200, "{target:?}: {}", answer.text());
        assert_eq!(g.world.open.last().unwrap().target, target, "byte for byte");
    }
    assert_eq!(g.world.payroll.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_as_written_there_is_no_second_look() {
    let routes = "
  files: { match: { path: /files }, upstream: OPEN, token: strip, paths: as_written }
  below: { match: { path: /files/admin }, upstream: PAYROLL, token: strip }
";
    let g = World::new().await.gateway(routes, "").await;
    let token = g.token("ada");
    for target in ["/files/%61dmin", "/files//admin", "/files/ADMIN", "/files/admin%2f"] {
        assert_eq!(g.ask(get(target, &token, &[])).await.status(), 200, "{target}");
        assert_eq!(g.world.open.last().unwrap().target, target);
    }
    g.ask(get("/files/admin", &token, &[])).await;
    assert_eq!((g.world.payroll.requests(), g.world.payroll.last().unwrap().target), (1, "/files/admin".into()));
}

/// `new URL("//x/admin", base)` and `java.net.URI` take what follows two slashes for a host.
#[tokio::test(flavor = "multi_thread")]
async fn two_slashes_at_the_beginning_hide_no_route_behind_a_host() {
    let routes = "
  rest: { upstream: OPEN, token: strip }
  admin: { match: { path: /admin }, upstream: PAYROLL, token: strip }
";
    let g = World::new().await.gateway(routes, "").await;
    for target in ["//x/admin", "///x/admin/y", "//x/ADMIN", "/%2fx/admin", "//x/%61dmin", "//admin"] {
        assert_eq!(refused(&g, target).await, (400, "bad_request".into()), "{target:?}");
    }
    for target in ["//", "//x", "//x/y", "//x/y/admin"] {
        assert_eq!(g.ask(get(target, &g.token("ada"), &[])).await.status(), 200, "{target:?}");
        assert_eq!(g.world.open.last().unwrap().target, target);
    }
}
