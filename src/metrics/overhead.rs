//! What the gateway adds to requests: counted by route for the status page, told to Prometheus by the token's source alone, so that
//! one more look costs a request nothing and a scrape no series.

use super::OVERHEAD;
use super::register::registered;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Metric, MetricFamily};
use prometheus::{Histogram, HistogramOpts, HistogramVec, Registry};
use std::collections::{BTreeMap, HashMap};

const NAME: &str = "cambist_overhead_duration_seconds";
const HELP: &str = "What the gateway adds to a request before it is sent on, exchange included.";
const SOURCE: &str = "token_source";

#[derive(Clone)]
pub(super) struct Overhead {
    by_route: HistogramVec,
    told: Desc,
}

impl Overhead {
    pub fn new(r: &Registry) -> Self {
        let opts = HistogramOpts::new(NAME, HELP).buckets(OVERHEAD.to_vec());
        let told = Desc::new(NAME.to_owned(), HELP.to_owned(), vec![SOURCE.to_owned()], HashMap::new());
        registered(r, HistogramVec::new(opts, &["route", SOURCE]).and_then(|by_route| Ok(Self { by_route, told: told? })))
    }

    pub fn of(&self, route: &str, source: &str) -> Histogram {
        self.by_route.with_label_values(&[route, source])
    }
}

impl Collector for Overhead {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.told]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.by_route.collect();
        for family in &mut families {
            let mut sums: BTreeMap<String, Metric> = BTreeMap::new();
            for mut one in family.take_metric() {
                let label: Vec<_> = one.take_label().into_iter().filter(|pair| pair.name() == SOURCE).collect();
                let source = label.first().map(|pair| pair.value().to_owned()).unwrap_or_default();
                one.set_label(label);
                match sums.get_mut(&source) {
                    Some(sum) => add(sum, &one),
                    None => drop(sums.insert(source, one)),
                }
            }
            family.set_metric(sums.into_values().collect());
        }
        families
    }
}

fn add(sum: &mut Metric, one: &Metric) {
    let (mut both, more) = (sum.get_histogram().clone(), one.get_histogram());
    let add = |(a, b): (&Bucket, &Bucket)| {
        let mut a = a.clone();
        a.set_cumulative_count(a.cumulative_count() + b.cumulative_count());
        a
    };
    let buckets = both.get_bucket().iter().zip(more.get_bucket()).map(add).collect();
    both.set_bucket(buckets);
    both.set_sample_count(both.get_sample_count() + more.get_sample_count());
    both.set_sample_sum(both.get_sample_sum() + more.get_sample_sum());
    sum.set_histogram(both);
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use crate::token::Source;
    use std::time::Duration;

    #[test]
    fn routes_are_told_apart_here_and_never_in_a_scrape() {
        let metrics = Metrics::new();
        let (a, b) = (metrics.route("a"), metrics.route("b"));
        for _ in 0..3 {
            a.added(Some(Source::Hit), Duration::from_micros(20));
        }
        b.added(Some(Source::Hit), Duration::from_millis(2));
        b.added(None, Duration::from_secs(2));
        let text = String::from_utf8(metrics.encode()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("cambist_overhead_duration_seconds")).collect();
        for line in ["_count{token_source=\"hit\"} 4", "_bucket{token_source=\"hit\",le=\"0.000025\"} 3", "_count{token_source=\"none\"} 1"]
        {
            assert!(lines.contains(&format!("cambist_overhead_duration_seconds{line}").as_str()), "{line}\n{lines:#?}");
        }
        assert!(!lines.iter().any(|line| line.contains("route=")), "{lines:#?}");
        assert_eq!((a.read().overhead.total(), b.read().overhead.total()), (3, 2));
    }
}
