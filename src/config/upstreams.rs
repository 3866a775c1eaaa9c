//! `upstreams`: named backends, with their timeouts and their pool. It resolves and connects nothing.

use super::complaint::Code;
use super::duration::positive;
use super::place::At;
use super::section::{Section, named};
use super::timeouts::{self, Timeouts};
use super::url::endpoint;
use crate::upstream::{self, Endpoint};
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
        endpoint: endpoint?.value,
        timeouts: timeouts::over(timeouts, upstream::Timeouts::default()),
        pool_idle: pool_idle.map_or(POOL_IDLE, |at| at.value),
    })
}

/// The settings of an upstream that a route gave as a URL.
pub fn by_url(name: &str, endpoint: Endpoint) -> upstream::Settings {
    upstream::Settings { name: name.into(), endpoint, timeouts: upstream::Timeouts::default(), pool_idle: POOL_IDLE }
}
