//! `run` never starts half: whatever is wrong is said before a single caller is let in. And what runs is the gateway alone.

use crate::kit::{ROUTES, World};
use crate::program::{Program, cambist, file, free_port, get, place, say};
use std::net::{TcpListener, TcpStream};

/// A configuration that is good but for what the test puts into it.
fn yaml(port: u16, more: &str) -> String {
    format!(
        "listeners: {{ main: {{ address: 127.0.0.1:{port} }} }}\nissuers:\n  main: {{ url: \"http://127.0.0.1:1\", client_id: gateway, \
         client_secret: x }}\nroutes:\n  orders: {{ match: {{ path: /orders }}, upstream: \"http://127.0.0.1:1\", audience: orders-api }}\n{more}"
    )
}

#[test]
fn a_bad_file_is_told_with_its_place_and_nothing_is_bound() {
    let port = free_port();
    let good = format!("{}metrics: {{ address: 127.0.0.1:0 }}\n", yaml(port, ""));
    for (text, at, told) in [
        (format!("{good}metrcs: {{}}\n"), "metrcs", "did you mean `metrics`"),
        (format!("{good}metrics: {{}}\n"), "metrics", "metrics"),
        (good.replace("orders-api", "gateway"), "gateway", "client_id"),
        (good.replace("client_secret: x", "client_secret: { file: /nowhere/secret }"), "/nowhere", "there is no such file"),
        (good.replace(&format!("127.0.0.1:{port}"), "localhost"), "localhost", "an IP address and a port"),
        (good.replace("audience:", "issuer: mian, audience:"), "mian", "`mian`"),
        (good.replace("audience: orders-api }", "audience: orders-api"), ": { address: 127.0.0.1:0 }", "YAML"),
        (format!("{good}log: {{ level: loud }}\n"), "loud", "trace"),
        (format!("{good}tracing: {{ sample: 1% }}\n"), "tracing", "tracing"),
    ] {
        let bad = file(&text);
        let said = say(cambist().arg("run").arg("--config").arg(&bad.path));
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        let place = place(&bad.path, &text, at);
        assert!(said.err.contains(&place) && said.err.contains(told), "{place} {told}\n{}\n{text}", said.err);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
    let said = say(cambist().arg("run").env("CAMBIST_CONFIG", "/nowhere/gateway.yaml"));
    assert!(said.code == 1 && said.err.contains("/nowhere/gateway.yaml"), "{said:?}");
}

#[test]
fn a_port_that_cannot_be_had_ends_it_before_it_serves() {
    let (port, other) = (free_port(), free_port());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let metrics = format!("metrics: {{ address: 127.0.0.1:{other} }}\n");
    for (text, named) in [
        (yaml(address.port(), &metrics), "listener main"),
        (yaml(port, &format!("metrics: {{ address: {address} }}\n")), "metrics"),
        (yaml(port, &format!("{metrics}admin: {{ address: {address} }}\n")), "admin"),
        (
            yaml(port, &metrics).replace("main: { address", &format!("second: {{ address: {address} }}, main: {{ address")),
            "listener second",
        ),
    ] {
        let bad = file(&text);
        let said = say(cambist().arg("run").arg("--config").arg(&bad.path));
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(named) && said.err.contains(&address.to_string()), "{said:?}");
        assert!(said.err.contains("port"), "a cure\n{}", said.err);
        assert!(!said.out.contains("listening") && !said.out.contains("started"), "{}", said.out);
    }
    let elsewhere = file(&yaml(port, &metrics).replace(&format!("127.0.0.1:{port}"), "203.0.113.7:1"));
    let said = say(cambist().arg("run").arg("--config").arg(&elsewhere.path));
    assert!(said.code == 1 && said.err.contains("203.0.113.7") && said.err.contains("no such address"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_development_iam_is_not_reachable_from_run() {
    let world = World::new().await;
    let mut program = Program::in_world(&world, ROUTES, "").await;
    assert_eq!(listening(program.id()), 3, "the listener, metrics and admin, and nothing else");
    let (at, metrics) = (program.listener().await, program.metrics().await);
    for path in ["/realms/demo/.well-known/openid-configuration", "/realms/demo/protocol/openid-connect/token"] {
        assert_eq!(get(at, path).await.unwrap().status, 404);
        assert_eq!(get(metrics, path).await.unwrap().status, 404);
    }
    assert_eq!(say(cambist().args(["run", "--demo"])).code, 2);
}

/// How many sockets a process listens on.
fn listening(id: u32) -> usize {
    let fds = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let own: Vec<String> = fds.filter_map(|fd| Some(std::fs::read_link(fd.ok()?.path()).ok()?.to_string_lossy().into_owned())).collect();
    let tables = ["tcp", "tcp6"].map(|t| std::fs::read_to_string(format!("/proc/{id}/net/{t}")).unwrap_or_default());
    let listens = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0A") && own.contains(&format!("socket:[{}]", fields[9]))
    };
    tables.iter().flat_map(|t| t.lines()).filter(listens).count()
}
