use super::path::read;
use super::*;
use http::HeaderMap;

fn rule(hosts: &[&str], path: &str, methods: &[Method]) -> Rule {
    Rule {
        hosts: hosts.iter().map(|h| HostPattern::parse(h).unwrap()).collect(),
        path: path.strip_prefix('=').map_or_else(|| PathPattern::prefix(path), PathPattern::exact).unwrap(),
        methods: methods.to_vec(),
        headers: vec![],
        as_written: false,
    }
}

fn header(mut r: Rule, name: &'static str, value: &'static str) -> Rule {
    r.headers.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
    r
}

fn find<'a>(table: &'a Table<&'static str>, method: Method, host: &str, path: &str) -> Found<'a, &'static str> {
    table.find(host, &read(path).unwrap(), &method, &HeaderMap::new())
}

/// Every order of the rules gives the same answers.
fn in_every_order(rules: &[(Rule, &'static str)], check: impl Fn(&Table<&'static str>)) {
    for turn in 0..rules.len() {
        let mut rules = rules.to_vec();
        rules.rotate_left(turn);
        check(&Table::build(rules.clone()).unwrap());
        rules.reverse();
        check(&Table::build(rules).unwrap());
    }
}

#[test]
fn the_most_specific_wins_whatever_the_order() {
    let rules = [
        (rule(&[], "/", &[]), "all"),
        (rule(&[], "/orders", &[]), "orders"),
        (rule(&[], "/orders/old", &[]), "old"),
        (rule(&[], "=/orders/old", &[]), "exactly old"),
        (rule(&[], "/orders", &[Method::POST]), "post"),
        (rule(&["*.example.com"], "/", &[]), "star"),
        (rule(&["*.api.example.com"], "/", &[]), "longer star"),
        (rule(&["api.example.com"], "/orders", &[]), "api"),
        (header(rule(&[], "/orders", &[]), "x-tenant", "acme"), "acme"),
    ];
    in_every_order(&rules, |t| {
        let get = |host: &str, path: &str| match find(t, Method::GET, host, path) {
            Found::Route(r) => *r,
            other => panic!("{host}{path}: {other:?}"),
        };
        assert_eq!(get("", "/"), "all");
        assert_eq!(get("", "/ordersx"), "all");
        assert_eq!(get("", "/orders"), "orders");
        assert_eq!(get("", "/orders/"), "orders");
        assert_eq!(get("", "/orders/1"), "orders");
        assert_eq!(get("", "/orders/old"), "exactly old");
        assert_eq!(get("", "/orders/old/1"), "old");
        assert_eq!(get("x.example.com", "/orders"), "star");
        assert_eq!(get("a.b.api.example.com", "/"), "longer star");
        assert_eq!(get("api.example.com", "/orders"), "api");
        assert_eq!(get("api.example.com", "/x"), "star", "the less specific host takes what the more specific does not");
        assert_eq!(find(t, Method::POST, "", "/orders/1"), Found::Route(&"post"));
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant", HeaderValue::from_static("acme"));
        assert_eq!(t.find("", &read("/orders").unwrap(), &Method::GET, &headers), Found::Route(&"acme"));
    });
}

#[test]
fn methods_and_misses() {
    let t = Table::build(vec![(rule(&[], "/orders", &[Method::GET, Method::POST]), "o"), (rule(&["h"], "/x", &[]), "x")]).unwrap();
    assert_eq!(find(&t, Method::PUT, "", "/orders"), Found::MethodNotAllowed(vec![Method::GET, Method::POST]));
    assert_eq!(find(&t, Method::GET, "", "/x"), Found::Nothing);
    assert_eq!(find(&t, Method::GET, "", "/"), Found::Nothing);
}

#[test]
fn ties_name_both() {
    let tie = |a: Rule, b: Rule| Table::build(vec![(a, 0), (b, 1)]).err().map(|t| (t[0].first, t[0].second, t[0].folded));
    let r = rule;
    assert_eq!(tie(r(&[], "/a", &[]), r(&[], "/a/", &[])), Some((0, 1, false)));
    assert_eq!(tie(r(&["h", "i"], "/a", &[]), r(&["i"], "/a", &[])), Some((0, 1, false)));
    assert_eq!(tie(r(&[], "/a", &[Method::GET]), r(&[], "/a", &[Method::GET, Method::POST])), Some((0, 1, false)));
    assert_eq!(tie(header(r(&[], "/a", &[]), "x", "1"), header(r(&[], "/a", &[]), "y", "1")), Some((0, 1, false)));
    assert_eq!(tie(header(r(&[], "/a", &[]), "x", "1"), header(r(&[], "/a", &[]), "x", "2")), None);
    assert_eq!(tie(r(&[], "/a", &[Method::GET]), r(&[], "/a", &[Method::POST])), None);
    assert_eq!(tie(r(&[], "/a", &[]), r(&["h"], "/a", &[])), None);
    assert_eq!(tie(r(&[], "/Admin", &[]), r(&[], "/admin", &[])), Some((0, 1, true)));
    let written = Rule { as_written: true, ..r(&[], "/Admin", &[]) };
    assert_eq!(tie(written, r(&[], "/admin", &[])), None);
}

#[test]
fn two_readings_must_lead_to_one_route() {
    let rules = vec![(rule(&[], "/", &[]), "all"), (rule(&[], "/admin", &[]), "admin"), (rule(&[], "/public", &[]), "public")];
    let t = Table::build(rules).unwrap();
    for path in ["/ADMIN", "//admin", "/%61dmin", "/admin%2fx", "/public%2f%2fx/", "/;x/admin", "/admin;x", "/admin./x"] {
        let found = find(&t, Method::GET, "", path);
        assert_eq!(found, Found::Ambiguous, "{path}");
    }
    assert_eq!(find(&t, Method::GET, "", "/public/Some%20Thing;v=1//x"), Found::Route(&"public"));
    assert_eq!(find(&t, Method::GET, "", "/admin/X"), Found::Route(&"admin"));
    let only = Table::build(vec![(rule(&[], "/admin", &[]), "admin")]).unwrap();
    assert_eq!(find(&only, Method::GET, "", "/Admin"), Found::Ambiguous, "no route as written, one when read boldly");
    assert_eq!(find(&only, Method::GET, "", "/Other"), Found::Nothing);
}

#[test]
fn a_pattern_may_be_what_another_program_folds() {
    let rules = vec![
        (rule(&[], "/", &[]), "all"),
        (rule(&[], "/Admin", &[]), "admin"),
        (rule(&[], "/straße", &[]), "street"),
        (rule(&[], "/kiosk", &[]), "kiosk"),
    ];
    let t = Table::build(rules).unwrap();
    for path in ["/admin", "/admin/x", "/aDmin/x", "/strasse", "/stra%c3%9fe", "/K%C4%B0OSK"] {
        assert_eq!(find(&t, Method::GET, "", path), Found::Ambiguous, "{path}");
    }
    for (path, route) in [("/Admin/x", "admin"), ("/stra%C3%9Fe", "street"), ("/kiosk", "kiosk"), ("/other", "all"), ("/Other", "all")] {
        assert_eq!(find(&t, Method::GET, "", path), Found::Route(&route), "{path}");
    }
    let only = Table::build(vec![(rule(&[], "/Admin", &[]), "admin")]).unwrap();
    assert_eq!(find(&only, Method::GET, "", "/admin"), Found::Ambiguous);
    assert_eq!(find(&only, Method::GET, "", "/other"), Found::Nothing);
}

#[test]
fn as_written_turns_the_second_look_off() {
    let loose = Rule { as_written: true, ..rule(&[], "/files", &[]) };
    let t = Table::build(vec![(loose, "files"), (rule(&[], "/admin", &[]), "admin")]).unwrap();
    assert_eq!(find(&t, Method::GET, "", "/files/a%2f..b"), Found::Route(&"files"));
    assert!(read("/files/%2e%2e/admin").is_err(), "a dot segment stays refused");
}

#[test]
fn big_tables_find_the_same() {
    for n in [1usize, 101, 10_000] {
        let mut rules: Vec<_> = (0..n).map(|i| (rule(&[&format!("h{i}.example.com")], "/a", &[]), i)).collect();
        rules.push((rule(&["*.example.com"], "/a", &[]), usize::MAX));
        let t = Table::build(rules).unwrap();
        let at = |host: &str| match t.find(host, &read("/a/b").unwrap(), &Method::GET, &HeaderMap::new()) {
            Found::Route(r) => Some(*r),
            _ => None,
        };
        assert_eq!(at(&format!("h{}.example.com", n - 1)), Some(n - 1));
        assert_eq!(at("other.example.com"), Some(usize::MAX));
        assert_eq!(at("example.com"), None);
    }
}

/// One rule has won or none; it is the one that is found; and whatever does not take the request is never said to take it.
#[test]
fn what_is_explained_is_what_is_found() {
    let rules = vec![
        (rule(&[], "/", &[]), "all"),
        (rule(&[], "/orders", &[]), "orders"),
        (rule(&[], "=/orders/old", &[]), "exactly old"),
        (rule(&[], "/orders", &[Method::POST]), "post"),
        (rule(&["*.example.com"], "/orders", &[]), "star"),
        (rule(&["*.api.example.com", "api.example.com"], "/", &[]), "longer star"),
        (header(rule(&[], "/orders", &[]), "x-tenant", "acme"), "acme"),
        (rule(&[], "/admin", &[Method::GET]), "admin"),
    ];
    let t = Table::build(rules).unwrap();
    let mut tenant = HeaderMap::new();
    tenant.insert("x-tenant", HeaderValue::from_static("acme"));
    for host in ["", "x.example.com", "api.example.com", "a.api.example.com"] {
        for path in ["/", "/orders", "/orders/", "/orders/old", "/orders/old/", "/ordersx", "/Orders", "/admin", "/%61dmin", "/x%2f"] {
            for method in [Method::GET, Method::POST] {
                for headers in [&HeaderMap::new(), &tenant] {
                    let path = read(path).unwrap();
                    let (found, verdicts) = t.explain(host, &path, &method, headers);
                    assert_eq!(found, t.find(host, &path, &method, headers));
                    let won: Vec<_> = verdicts.iter().filter(|(_, v)| *v == Verdict::Won).map(|(r, _)| **r).collect();
                    match found {
                        Found::Route(route) => assert_eq!(won, [*route], "{host} {path:?} {method}"),
                        _ => assert!(
                            won.is_empty()
                                && !verdicts.iter().any(|(_, v)| matches!(v, Verdict::LessSpecific(_)) && found == Found::Nothing)
                        ),
                    }
                }
            }
        }
    }
}

#[test]
fn every_way_to_lose_is_told_apart() {
    let rules = vec![
        (rule(&[], "/", &[]), "all"),
        (rule(&[], "/orders", &[]), "orders"),
        (rule(&[], "/orders", &[Method::GET]), "get"),
        (rule(&[], "/orders", &[Method::POST]), "post"),
        (header(rule(&[], "/orders", &[Method::GET]), "x-tenant", "acme"), "acme"),
        (rule(&["h"], "/orders", &[]), "host"),
        (rule(&["*.i"], "/", &[]), "star"),
        (rule(&[], "/orders/old", &[]), "old"),
    ];
    let t = Table::build(rules).unwrap();
    let told = |host: &str, path: &str, headers: &HeaderMap| {
        let path = read(path).unwrap();
        t.explain(host, &path, &Method::GET, headers).1.into_iter().map(|(r, v)| (*r, v)).collect::<Vec<_>>()
    };
    use Verdict::{Ambiguous, Header, Host, LessSpecific, Method as M, Path, PathAsWritten, Won};
    let less = LessSpecific;
    let tenant = || HeaderName::from_static("x-tenant");
    assert_eq!(
        told("", "/orders", &HeaderMap::new()),
        [
            ("all", less(By::Path)),
            ("orders", less(By::Methods)),
            ("get", Won),
            ("post", M),
            ("acme", Header(tenant())),
            ("host", Host),
            ("star", Host),
            ("old", Path)
        ]
    );
    let mut acme = HeaderMap::new();
    acme.insert("x-tenant", HeaderValue::from_static("acme"));
    assert_eq!(told("", "/orders", &acme)[2], ("get", less(By::Headers)));
    assert_eq!(told("h", "/orders", &acme)[4], ("acme", less(By::Host)));
    assert_eq!(told("a.i", "/orders", &acme)[4], ("acme", less(By::Host)));
    let odd = told("", "/Orders", &HeaderMap::new());
    assert_eq!((&odd[0].1, &odd[1].1, &odd[7].1), (&Ambiguous, &PathAsWritten, &Path));
}
