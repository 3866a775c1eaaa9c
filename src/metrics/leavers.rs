//! Series of what is no longer configured. They stay for a while, so that what was counted last is still scraped, and then they go:
//! names that a pipeline makes up would otherwise fill the scrape for as long as the process lives.

use super::Metrics;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longer than anybody's scrape interval.
const STAY: Duration = Duration::from_secs(15 * 60);
/// So many names may stay, however quickly they change.
const MOST: usize = 200;

/// Whose name it is: the label that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Route,
    Issuer,
    Upstream,
}

impl Named {
    fn label(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Issuer => "issuer",
            Self::Upstream => "upstream",
        }
    }
}

/// Names that are no longer configured, and since when (milliseconds of a clock).
#[derive(Default)]
pub(super) struct Leavers(Mutex<VecDeque<(u64, Named, String)>>);

impl Leavers {
    /// Those whose time is up.
    fn due(&self, now: u64, gone: impl Iterator<Item = (Named, String)>, is_back: impl Fn(Named, &str) -> bool) -> Vec<(Named, String)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, named, name)| !is_back(*named, name));
        all.extend(gone.map(|(named, name)| (now, named, name)));
        let over = |since: u64| u128::from(now.saturating_sub(since)) >= STAY.as_millis();
        let by_age = all.iter().take_while(|(since, ..)| over(*since)).count();
        let count = by_age.max(all.len().saturating_sub(MOST));
        all.drain(..count).map(|(_, named, name)| (named, name)).collect()
    }
}

impl Metrics {
    /// A configuration came into force at `now` (milliseconds) without these names. `is_back`: whether a name is in it.
    pub fn left(&self, now: u64, gone: impl Iterator<Item = (Named, String)>, is_back: impl Fn(Named, &str) -> bool) {
        for (named, name) in self.leavers.due(now, gone, is_back) {
            let (label, http, tokens) = (named.label(), &self.http, &self.tokens);
            for counters in [&http.requests, &http.rejections, &http.upstream_unauthorized, &tokens.lookups, &tokens.exchanges] {
                forget(counters, label, &name);
            }
            for histograms in [&http.duration, &tokens.exchange_duration, &tokens.lifetimes] {
                forget(histograms, label, &name);
            }
            for gauges in [&http.upgraded, &tokens.exchanges_in_flight] {
                forget(gauges, label, &name);
            }
            forget(&self.upstreams.requests, label, &name);
            forget(&self.upstreams.duration, label, &name);
        }
    }
}

/// Takes out every series that has this name under this label.
fn forget<T: MetricVecBuilder>(family: &MetricVec<T>, label: &str, name: &str) {
    for series in family.collect().iter().flat_map(|family| family.get_metric()) {
        let labels: HashMap<&str, &str> = series.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
        if labels.get(label) == Some(&name) {
            // An error says that there is none.
            let _ = family.remove(&labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn series(metrics: &Metrics, name: &str) -> usize {
        String::from_utf8(metrics.encode()).unwrap().lines().filter(|line| line.contains(&format!("=\"{name}\""))).count()
    }

    fn nobody() -> impl Iterator<Item = (Named, String)> {
        std::iter::empty()
    }

    #[test]
    fn what_is_gone_is_told_for_a_while() {
        let metrics = Metrics::new();
        let (_route, _issuer, _upstream) = (metrics.route("r"), metrics.issuer("i"), metrics.upstream("u"));
        metrics.issuer("i").expect("a");
        assert!(series(&metrics, "r") > 20 && series(&metrics, "i") > 10 && series(&metrics, "u") > 5);
        let gone = [(Named::Route, "r"), (Named::Issuer, "i"), (Named::Upstream, "u")].map(|(named, name)| (named, name.to_owned()));
        metrics.left(0, gone.into_iter(), |_, _| false);
        metrics.left(14 * MINUTE, nobody(), |_, _| false);
        assert!(series(&metrics, "r") > 20);
        metrics.left(15 * MINUTE, nobody(), |_, _| false);
        metrics.forget_issuer("i");
        metrics.forget_upstream("u");
        assert_eq!((series(&metrics, "r"), series(&metrics, "i"), series(&metrics, "u")), (0, 0, 0));
    }

    #[test]
    fn what_came_back_stays_and_few_may_be_gone_at_once() {
        let metrics = Metrics::new();
        let _routes: Vec<_> = ["back", "one"].map(|name| metrics.route(name)).into();
        metrics.left(0, ["back", "one"].map(|name| (Named::Route, name.to_owned())).into_iter(), |_, _| false);
        metrics.left(1, nobody(), |_, name| name == "back");
        metrics.left(2, (0..MOST).map(|n| (Named::Route, n.to_string())), |_, _| false);
        assert!(series(&metrics, "back") > 0);
        assert_eq!(series(&metrics, "one"), 0);
    }
}
