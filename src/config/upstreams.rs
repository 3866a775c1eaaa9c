//! `upstreams`: named backends, with their timeouts and their pool. It resolves and connects nothing.

use super::complaint::Code;
use super::duration::positive;
use super::place::At;
use super::section::{Section, named};
use super::timeouts::{self, Timeouts};
use super::url::endpoint;
use crate::upstream::{self, Endpoint, Endpoints};
use std::time::Duration;

const LATER: &[&str] = &["dns", "dns_refresh", "protocol", "balance", "tls", "health", "eject", "max_connections"];
const POOL_IDLE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Upstream {
    pub name: At<String>,
    pub endpoint: Option<At<Endpoint>>,
    pub timeouts: Timeouts,
    pub pool_idle: Option<At<Duration>>,
}

pub fn read(root: &mut Section) -> Vec<Upstream> {
    let Some(value) = root.value("upstreams") else { return Vec::new() };
    let read = named(&value, "upstream", |value, name| {
        let Some(mut section) = value.section(LATER) else {
            return Some(Upstream { name, endpoint: None, timeouts: Timeouts::default(), pool_idle: None });
        };
        let endpoints = section.require("endpoints", "write `endpoints: [http://host:port]`", |value| {
            let found = value.list(endpoint)?;
            match found.get(1) {
                Some(_) => value.refuse(
                    Code::Endpoints,
                    format_args!("there are {} endpoints, and this version takes exactly one", found.len()),
                    "put one address in front of them all, such as a Kubernetes Service",
                ),
                None => found.into_iter().next(),
            }
        });
        let timeouts = timeouts::read(&mut section);
        let pool_idle = section.take("pool_idle", positive);
        section.finish();
        Some(Upstream { name, endpoint: endpoints.map(|at| at.value), timeouts, pool_idle })
    });
    read.unwrap_or_default()
}

pub fn settings(Upstream { name, endpoint, timeouts, pool_idle }: Upstream) -> Option<upstream::Settings> {
    Some(upstream::Settings {
        name: name.value.into(),
        endpoints: Endpoints::Listed(vec![endpoint?.value]),
        timeouts: timeouts::over(timeouts, upstream::Timeouts::default()),
        pool_idle: pool_idle.map_or(POOL_IDLE, |at| at.value),
    })
}

/// The settings of an upstream that a route gave as a URL.
pub fn by_url(name: &str, endpoint: Endpoint) -> upstream::Settings {
    let endpoints = Endpoints::Listed(vec![endpoint]);
    upstream::Settings { name: name.into(), endpoints, timeouts: upstream::Timeouts::default(), pool_idle: POOL_IDLE }
}

#[cfg(test)]
mod tests {
    use super::super::sample::whole;
    use super::*;

    const TWO: &str = include_str!("../../config/minimal.yaml");

    #[test]
    fn a_named_upstream_with_its_defaults_and_without() {
        let named = TWO.replace("http://orders:8080", "orders");
        let config = whole(&format!("{named}upstreams:\n  orders: {{ endpoints: [https://o:1] }}\n"));
        let expected = upstream::Settings {
            name: "orders".into(),
            endpoints: Endpoints::Listed(vec![Endpoint { tls: true, host: "o".into(), port: 1 }]),
            timeouts: Default::default(),
            pool_idle: POOL_IDLE,
        };
        assert_eq!(config.upstreams, [expected]);
        let config = whole(&format!(
            "{named}upstreams:\n  orders: {{ endpoints: [http://o], pool_idle: 1s, timeouts: {{ connect: 1s, total: off }} }}\n"
        ));
        assert_eq!(config.upstreams[0].pool_idle, Duration::from_secs(1));
        assert_eq!(config.upstreams[0].timeouts, upstream::Timeouts { connect: Duration::from_secs(1), ..Default::default() });
    }

    #[test]
    fn urls_make_one_upstream_each_and_never_take_a_name() {
        let routes = "  a: { match: { path: /a }, upstream: \"http://orders:8080\", token: strip }\n  \
                      b: { match: { path: /b }, upstream: \"https://orders:8080\", token: strip }\n  \
                      c: { match: { path: /c }, upstream: orders, token: strip }\n";
        let config = whole(&format!("{TWO}{routes}upstreams:\n  orders: {{ endpoints: [\"http://orders:8080\"] }}\n"));
        let names = config.upstreams.iter().map(|u| (&*u.name, u.endpoints.written()[0].tls)).collect::<Vec<_>>();
        assert_eq!(names, [("orders", false), ("orders:8080", false), ("https://orders:8080", true)]);
        let used = config.routes.iter().map(|r| (&*r.name, &*r.upstream)).collect::<Vec<_>>();
        assert_eq!(used, [("orders", "orders:8080"), ("a", "orders:8080"), ("b", "https://orders:8080"), ("c", "orders")]);
    }
}
