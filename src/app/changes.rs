//! What one configuration has that another has not, by name, for whoever reads the log. It decides nothing but whether there is
//! anything at all.

use crate::config::Config;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// What a new configuration changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub listeners: Named,
    pub issuers: Named,
    pub upstreams: Named,
    pub routes: Named,
    /// Other sections.
    pub sections: Vec<&'static str>,
    /// Keys whose new value counts only after a restart.
    pub ignored: Vec<&'static str>,
}

/// Names of things of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

impl Changes {
    /// Every section by name: a new one does not compile until somebody has said here what becomes of it.
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let Config {
            listeners,
            outbound,
            connections,
            requests,
            metrics,
            admin,
            issuers,
            upstreams,
            routes,
            cache,
            exchange_api,
            logout,
            force,
            shutdown,
            workers,
            log,
            tracing,
        } = new;
        let is_new = [
            ("listeners.mode", *outbound != old.outbound),
            ("limits", (connections, requests) != (&old.connections, &old.requests)),
            ("cache", *cache != old.cache),
            ("exchange_api", *exchange_api != old.exchange_api),
            ("logout", *logout != old.logout),
            ("force_update", *force != old.force),
            ("shutdown", *shutdown != old.shutdown),
            ("log.level", log.level != old.log.level),
            ("log.access", log.access != old.log.access),
            ("tracing", *tracing != old.tracing),
        ];
        let is_ignored = [
            ("metrics", *metrics != old.metrics),
            ("admin", *admin != old.admin),
            ("workers", *workers != old.workers),
            ("log.format", log.format != old.log.format),
        ];
        let those = |all: &[(&'static str, bool)]| all.iter().filter(|(_, so)| *so).map(|(name, _)| *name).collect();
        Self {
            listeners: Named::between(&old.listeners, listeners, |l| &l.name),
            issuers: Named::between(&old.issuers, issuers, |i| &i.issuer.name),
            upstreams: Named::between(&old.upstreams, upstreams, |u| &u.name),
            routes: Named::between(&old.routes, routes, |r| &r.name),
            sections: those(&is_new),
            ignored: those(&is_ignored),
        }
    }

    /// Nothing that could be done without a restart.
    pub fn is_empty(&self) -> bool {
        let Self { listeners, issuers, upstreams, routes, sections, ignored: _ } = self;
        [listeners, issuers, upstreams, routes].iter().all(|named| **named == Named::default()) && sections.is_empty()
    }

    pub fn json(&self) -> Value {
        let Self { listeners, issuers, upstreams, routes, sections, ignored } = self;
        let named = |n: &Named| json!({ "added": n.added, "removed": n.removed, "changed": n.changed });
        json!({
            "listeners": named(listeners),
            "issuers": named(issuers),
            "upstreams": named(upstreams),
            "routes": named(routes),
            "sections": sections,
            "needs_restart": ignored,
        })
    }
}

/// What counts only from the next start on stays as it runs.
pub(super) fn keep_what_runs(config: &mut Config, running: &Config) {
    (config.metrics, config.admin, config.workers) = (running.metrics, running.admin.clone(), running.workers);
    config.log.format = running.log.format;
}

impl Named {
    fn between<T: PartialEq>(old: &[T], new: &[T], name: impl Fn(&T) -> &str) -> Self {
        let in_old = |n: &str| old.iter().find(|t| name(t) == n);
        let kept: BTreeSet<&str> = new.iter().map(&name).collect();
        let those = |list: &[T], which: &dyn Fn(&T) -> bool| list.iter().filter(|t| which(t)).map(|t| name(t).to_owned()).collect();
        Self {
            added: those(new, &|t| in_old(name(t)).is_none()),
            removed: those(old, &|t| !kept.contains(name(t))),
            changed: those(new, &|t| in_old(name(t)).is_some_and(|before| before != t)),
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, issuers, upstreams, routes, sections, ignored: _ } = self;
        let mut out = String::new();
        for (what, named) in [("listeners", listeners), ("issuers", issuers), ("upstreams", upstreams), ("routes", routes)] {
            let Named { added, removed, changed } = named;
            for (how, names) in [("added", added), ("removed", removed), ("changed", changed)] {
                if !names.is_empty() {
                    write!(out, "{}{what} {how}: {}", if out.is_empty() { "" } else { "; " }, shortened(names))?;
                }
            }
        }
        if !sections.is_empty() {
            write!(out, "{}changed: {}", if out.is_empty() { "" } else { "; " }, sections.join(", "))?;
        }
        f.write_str(if out.is_empty() { "nothing" } else { &out })
    }
}

const MOST_NAMES: usize = 20;

fn shortened(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("{} ({shown}{})", names.len(), if more > 0 { format!(" and {more} more") } else { String::new() })
}
