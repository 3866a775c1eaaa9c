//! `upstreams`: named backends, with their endpoints, balancing, health, timeouts and pool. It resolves and connects nothing.

use super::complaint::{Code, Complaint};
use super::duration::{at_least, positive};
use super::place::At;
use super::reading::Value;
use super::section::{Section, named};
use super::timeouts::{self, Timeouts};
use super::upstream_tls;
use super::url::endpoint;
use crate::upstream::{self, Balance, Eject, Endpoint, Endpoints, Health, Protocol, TlsSettings};
use http::uri::PathAndQuery;
use std::time::Duration;

const PROTOCOLS: &[(&str, Protocol)] = &[("auto", Protocol::Auto), ("http1", Protocol::Http1), ("http2", Protocol::Http2)];
const DNS_REFRESH: Duration = Duration::from_secs(10);
/// Whoever looks up or checks more often does harm.
const OFTEN: Duration = Duration::from_millis(500);
const MOST: usize = 1_000_000;
const BALANCES: &[(&str, Balance)] = &[("least_loaded", Balance::LeastLoaded), ("round_robin", Balance::RoundRobin)];

#[derive(Debug)]
pub struct Upstream {
    pub name: At<String>,
    /// `None`: nowhere, or it could not be read.
    pub endpoints: Option<Endpoints>,
    pub protocol: Option<At<Protocol>>,
    pub tls: Option<At<TlsSettings>>,
    pub balance: Option<At<Balance>>,
    pub health: Option<At<Health>>,
    pub eject: Option<At<Option<Eject>>>,
    pub max_connections: Option<At<usize>>,
    pub timeouts: Timeouts,
    pub pool_idle: Option<At<Duration>>,
}

pub fn read(root: &mut Section) -> Vec<Upstream> {
    let Some(value) = root.value("upstreams") else { return Vec::new() };
    named(&value, "upstream", |value, name| Some(one(value, name))).unwrap_or_default()
}

fn one(value: &Value, name: At<String>) -> Upstream {
    let Some(mut section) = value.section(&[]) else {
        let timeouts = Timeouts::default();
        return Upstream {
            name,
            endpoints: None,
            protocol: None,
            tls: None,
            balance: None,
            health: None,
            eject: None,
            max_connections: None,
            timeouts,
            pool_idle: None,
        };
    };
    let s = &mut section;
    let read = Upstream {
        name,
        endpoints: endpoints(s),
        protocol: s.take("protocol", |v| v.choice(PROTOCOLS, &[])),
        tls: s.take("tls", upstream_tls::read),
        balance: s.take("balance", |v| v.choice(BALANCES, &[])),
        health: s.take("health", health),
        eject: s.take("eject", eject),
        max_connections: s.take("max_connections", |v| v.count(1, MOST)),
        timeouts: timeouts::read(s),
        pool_idle: s.take("pool_idle", positive),
    };
    upstream_tls::check(&section, read.tls.as_ref(), read.endpoints.as_ref());
    section.finish();
    read
}

/// `endpoints`, or `dns` and how often it is looked up.
fn endpoints(section: &mut Section) -> Option<Endpoints> {
    if !section.means("dns") {
        section.expect("endpoints", "write `endpoints: [http://host:port]`, or `dns: http://name:port` for every address behind a name");
    }
    let listed = section.take("endpoints", |v| v.list(endpoint));
    let dns = section.take("dns", endpoint);
    let refresh = section.take("dns_refresh", |v| at_least(v, OFTEN));
    let complain = |at, what: &str, cure: &str| {
        section.reading.complain(Complaint::error(Code::Endpoints, at, format!("{}: {what}", section.name)).cure(cure));
    };
    if let (Some(_), Some(dns)) = (&listed, &dns) {
        complain(dns.key, "`endpoints` and `dns` exclude each other", "take one of the two out");
    }
    if let Some(refresh) = refresh.filter(|_| !section.has("dns")) {
        complain(
            refresh.key,
            "`dns_refresh` has no effect without `dns`",
            "write `dns: http://name:port` instead of `endpoints`, or take it out",
        );
    }
    match (listed, dns) {
        (Some(listed), None) => Some(Endpoints::Listed(listed.value.into_iter().map(|at| at.value).collect())),
        (None, Some(dns)) => Some(Endpoints::Dns { name: dns.value, refresh: refresh.map_or(DNS_REFRESH, |at| at.value) }),
        _ => None,
    }
}

fn health(value: &Value) -> Option<Health> {
    let mut section = value.section(&[])?;
    let path = section.require("path", "write a path that answers 2xx or 3xx while all is well, as in `path: /healthz`", path);
    let interval = section.take("interval", |v| at_least(v, OFTEN));
    let unhealthy_after = section.take("unhealthy_after", times);
    let healthy_after = section.take("healthy_after", times);
    section.finish();
    Some(Health {
        path: path?.value,
        interval: interval.map_or(Duration::from_secs(5), |at| at.value),
        unhealthy_after: unhealthy_after.map_or(3, |at| at.value),
        healthy_after: healthy_after.map_or(1, |at| at.value),
    })
}

fn path(value: &Value) -> Option<PathAndQuery> {
    let text = value.text()?;
    match PathAndQuery::try_from(text.as_str()) {
        Ok(path) if text.starts_with('/') && !text.contains('#') => Some(path),
        _ => value.refuse(Code::Impossible, "this is no path", "write it as in `/healthz`"),
    }
}

fn times(value: &Value) -> Option<u32> {
    u32::try_from(value.count(1, 1000)?).ok()
}

fn eject(value: &Value) -> Option<Option<Eject>> {
    if value.scalar() == Some("off") {
        return Some(None);
    }
    let mut section = value.section(&[])?;
    let by_default = Eject::default();
    let failures = section.take("failures", times);
    let time = section.take("for", positive);
    section.finish();
    Some(Some(Eject { failures: failures.map_or(by_default.failures, |at| at.value), time: time.map_or(by_default.time, |at| at.value) }))
}

pub fn settings(written: Upstream) -> Option<upstream::Settings> {
    let Upstream { name, endpoints, protocol, tls, balance, health, eject, max_connections, timeouts, pool_idle } = written;
    let by_default = upstream::Settings::to(name.value, endpoints?);
    Some(upstream::Settings {
        protocol: protocol.map_or(by_default.protocol, |at| at.value),
        tls: tls.map_or_else(TlsSettings::default, |at| at.value),
        balance: balance.map_or(by_default.balance, |at| at.value),
        health: health.map(|at| at.value),
        eject: eject.map_or(by_default.eject, |at| at.value),
        max_connections: max_connections.map_or(by_default.max_connections, |at| at.value),
        timeouts: timeouts::over(timeouts, by_default.timeouts),
        pool_idle: pool_idle.map_or(by_default.pool_idle, |at| at.value),
        ..by_default
    })
}

/// The settings of an upstream that a route gave as a URL.
pub fn by_url(name: &str, endpoint: Endpoint) -> upstream::Settings {
    upstream::Settings::to(name, Endpoints::Listed(vec![endpoint]))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused, whole};
    use super::*;

    const TWO: &str = include_str!("../../config/minimal.yaml");

    fn of(fields: &str) -> upstream::Settings {
        let named = TWO.replace("http://orders:8080", "orders");
        whole(&format!("{named}upstreams:\n  orders: {{ {fields} }}\n")).upstreams.remove(0)
    }

    fn at(tls: bool, host: &str, port: u16) -> Endpoint {
        Endpoint { tls, host: host.into(), port }
    }

    #[test]
    fn the_defaults_of_the_contract() {
        let expected = upstream::Settings {
            name: "orders".into(),
            endpoints: Endpoints::Listed(vec![at(true, "o", 1)]),
            protocol: Protocol::Auto,
            tls: TlsSettings::default(),
            balance: Balance::LeastLoaded,
            timeouts: Default::default(),
            health: None,
            eject: Some(Eject { failures: 5, time: Duration::from_secs(10) }),
            max_connections: 1024,
            pool_idle: Duration::from_secs(30),
        };
        assert_eq!(of("endpoints: [https://o:1]"), expected);
        let ten = Duration::from_secs(10);
        assert_eq!(of("dns: http://o:1").endpoints, Endpoints::Dns { name: at(false, "o", 1), refresh: ten });
        let health = of("dns: http://o, health: { path: \"/up?x=1\" }").health.unwrap();
        let expected = Health { path: PathAndQuery::from_static("/up?x=1"), interval: ten / 2, unhealthy_after: 3, healthy_after: 1 };
        assert_eq!(health, expected);
    }

    #[test]
    fn all_that_can_be_said() {
        let said =
            of("endpoints: [http://o], pool_idle: 1s, timeouts: { connect: 1s, total: off }, balance: round_robin, max_connections: 1");
        assert_eq!((said.pool_idle, said.balance, said.max_connections), (Duration::from_secs(1), Balance::RoundRobin, 1));
        assert_eq!(said.timeouts, upstream::Timeouts { connect: Duration::from_secs(1), ..Default::default() });
        assert_eq!(of("endpoints: [http://a, http://b:8080]").endpoints.written(), [at(false, "a", 80), at(false, "b", 8080)]);
        let two = of("dns: https://o, dns_refresh: 2s, eject: { failures: 2, for: 1m }");
        assert_eq!(two.endpoints, Endpoints::Dns { name: at(true, "o", 443), refresh: Duration::from_secs(2) });
        assert_eq!(two.eject, Some(Eject { failures: 2, time: Duration::from_secs(60) }));
        assert_eq!(of("dns: http://o, eject: off").eject, None);
        let health = of("dns: http://o, health: { path: /, interval: 1s, unhealthy_after: 1, healthy_after: 2 }").health.unwrap();
        assert_eq!((health.interval, health.unhealthy_after, health.healthy_after), (Duration::from_secs(1), 1, 2));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (fields, code) in [
            ("endpoints: [http://a], dns: http://b", Code::Endpoints),
            ("endpoints: [http://a], dns_refresh: 5s", Code::Endpoints),
            ("endpoints: [http://a, http://a]", Code::Repeated),
            ("endpoints: []", Code::Empty),
            ("balance: round_robin", Code::Missing),
            ("dns: http://a, dns_refresh: 1ms", Code::Range),
            ("dns: http://a, health: { interval: 5s }", Code::Missing),
            ("dns: http://a, health: { path: up }", Code::Impossible),
            ("dns: http://a, health: { path: /up, healthy_after: 0 }", Code::Range),
            ("dns: http://a, eject: { failures: 0 }", Code::Range),
            ("dns: http://a, max_connections: 0", Code::Range),
            ("dns: http://a, balance: random", Code::Choice),
        ] {
            assert_eq!(refused(&format!("upstreams:\n  orders: {{ {fields} }}\n")), [code], "{fields}");
        }
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
