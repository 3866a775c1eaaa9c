//! What the handles have counted so far, for whoever keeps a history of it: the status page's samples. It resets nothing, and is
//! not for a request's way.

use super::{IssuerMetrics, Metrics, RouteMetrics, UpstreamMetrics};
use crate::token::Source;
use prometheus::Histogram;
use prometheus::core::Metric;

/// Names of the results of look-ups, in the order of [`RouteReading::lookups`].
pub const LOOKUPS: [&str; Source::ALL.len() + 1] = ["hit", "refresh", "coalesced", "miss", "forced", "denied"];

/// How often something took how long: one count for each bound, and one for what took longer than the last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    pub bounds: &'static [f64],
    pub counts: Box<[u64]>,
}

#[derive(Clone, Debug, Default)]
pub struct RouteReading {
    pub requests: u64,
    /// Answered by the gateway itself.
    pub rejected: u64,
    pub lookups: [u64; LOOKUPS.len()],
    pub overhead: Spread,
}

#[derive(Clone, Debug, Default)]
pub struct IssuerReading {
    pub up: bool,
    pub in_flight: u64,
    /// Seconds since 1970.
    pub keys_came: Option<u64>,
    pub exchanges: Spread,
}

#[derive(Clone, Debug, Default)]
pub struct UpstreamReading {
    pub answers: Spread,
    /// Requests that got none.
    pub failed: u64,
}

impl Spread {
    fn of(all: &[&Histogram], bounds: &'static [f64]) -> Self {
        let mut counts = vec![0; bounds.len() + 1].into_boxed_slice();
        for histogram in all {
            let metric = histogram.metric();
            let told = metric.get_histogram();
            let mut below = 0;
            for (count, bucket) in counts.iter_mut().zip(told.get_bucket()) {
                *count += bucket.cumulative_count().saturating_sub(below);
                below = bucket.cumulative_count();
            }
            counts[bounds.len()] += told.get_sample_count().saturating_sub(below);
        }
        Self { bounds, counts }
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let before = before.counts.iter().chain(std::iter::repeat(&0));
        let counts = self.counts.iter().zip(before).map(|(now, then)| now.saturating_sub(*then)).collect();
        Self { bounds: self.bounds, counts }
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// In seconds, as well as the bounds can tell; what took longer than the last is given as that. `None`: nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.total() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        if self.total() == 0 {
            return None;
        }
        for (count, upper) in self.counts.iter().zip(self.bounds) {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (upper - lower) * (wanted - below) / count);
            }
            (below, lower) = (below + count, *upper);
        }
        self.bounds.last().copied()
    }
}

impl RouteMetrics {
    pub fn read(&self) -> RouteReading {
        let mut lookups = [0; LOOKUPS.len()];
        for (at, counter) in self.lookups.iter().chain([&self.denied]).enumerate() {
            lookups[at] = counter.get();
        }
        let overhead: Vec<&Histogram> = self.overhead.iter().chain([&self.overhead_none]).collect();
        RouteReading {
            requests: self.duration.get_sample_count(),
            rejected: self.rejections.iter().map(|(_, counter)| counter.get()).sum(),
            lookups,
            overhead: Spread::of(&overhead, &super::OVERHEAD),
        }
    }
}

impl IssuerMetrics {
    pub fn read(&self) -> IssuerReading {
        IssuerReading {
            up: self.up.get() == 1,
            in_flight: u64::try_from(self.in_flight.get()).unwrap_or(0),
            keys_came: u64::try_from(self.jwks_success.get()).ok().filter(|at| *at > 0),
            exchanges: Spread::of(&[&self.duration], &super::SECONDS),
        }
    }
}

impl UpstreamMetrics {
    pub fn read(&self) -> UpstreamReading {
        UpstreamReading { answers: Spread::of(&[&self.duration], &super::SECONDS), failed: self.failures.sum() }
    }
}

impl Metrics {
    /// Requests of a listener whose answer is not out yet.
    pub fn in_flight(&self, listener: &str) -> u64 {
        u64::try_from(self.http.in_flight.with_label_values(&[listener]).get()).unwrap_or(0)
    }

    /// When the first certificate of a listener that has some expires, in seconds since 1970.
    pub fn certificate_expires(&self, listener: &str) -> Option<i64> {
        Some(self.http.certificate_expiry.with_label_values(&[listener]).get()).filter(|at| *at != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn look_ups_have_the_names_that_the_metric_has() {
        assert_eq!(LOOKUPS[..Source::ALL.len()], Source::ALL.map(Source::label));
        assert_eq!(LOOKUPS[Source::ALL.len()], "denied");
    }

    #[test]
    fn what_is_told_is_what_came_in_between() {
        let metrics = Metrics::new();
        let route = metrics.route("r");
        route.added(Some(Source::Miss), Duration::from_millis(20));
        route.looked_up(Source::Hit);
        let before = route.read();
        assert_eq!((before.lookups[0], before.overhead.total(), before.overhead.quantile(0.5).unwrap() > 0.01), (1, 1, true));
        for _ in 0..100 {
            route.added(Some(Source::Hit), Duration::from_micros(20));
        }
        let came = route.read().overhead.since(&before.overhead);
        assert_eq!((came.total(), came.counts[1]), (100, 100));
        let p99 = came.quantile(0.99).unwrap();
        assert!(p99 > 0.00001 && p99 <= 0.000025, "{p99}");
        assert_eq!(came.since(&came).quantile(0.99), None, "nothing came: there is no time to tell");
        route.added(None, Duration::from_secs(60));
        assert_eq!(route.read().overhead.since(&came).quantile(1.0), Some(1.0), "beyond the last bound");
    }
}
