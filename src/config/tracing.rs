//! `tracing`: where spans go, and of how many requests; off unless it is written. It starts nothing and asks no collector.

use super::place::At;
use super::ratio::share;
use super::section::Section;
use super::url::collector;
use crate::telemetry::TraceSettings;
use url::Url;

/// Where nothing else is written.
const SAMPLE: f64 = 0.01;

#[derive(Debug)]
pub struct Tracing {
    pub endpoint: Option<At<Url>>,
    pub sample: Option<At<f64>>,
}

/// `None`: it is off.
pub fn read(root: &mut Section) -> Option<Tracing> {
    let mut section = root.take("tracing", |value| value.section(&[]))?.value;
    let endpoint = section.require("otlp_endpoint", "write where the collector is, as in `otlp_endpoint: http://otel:4318`", collector);
    let sample = section.take("sample", share);
    section.finish();
    Some(Tracing { endpoint, sample })
}

pub fn settings(written: Option<Tracing>) -> Option<TraceSettings> {
    let Tracing { endpoint, sample } = written?;
    Some(TraceSettings { endpoint: endpoint?.value, sample: sample.map_or(SAMPLE, |at| at.value) })
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused};

    #[test]
    fn off_unless_written() {
        assert_eq!(config("").tracing, None);
        let found = config("tracing: { otlp_endpoint: http://otel:4318 }\n").tracing.unwrap();
        assert_eq!((found.endpoint.as_str(), found.sample), ("http://otel:4318/", 0.01));
        for (text, share) in [("0%", 0.0), ("2.5%", 0.025), ("100%", 1.0)] {
            let found = config(&format!("tracing: {{ otlp_endpoint: https://otel.example.com/tenant, sample: {text} }}\n"));
            assert!((found.tracing.unwrap().sample - share).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let of = |fields: &str| refused(&format!("tracing: {{ {fields} }}\n"));
        assert_eq!(of("sample: 1%"), [Code::Missing]);
        assert_eq!(of("otlp_endpoint: otel:4318"), [Code::Url]);
        assert_eq!(of("otlp_endpoint: http://otel:4318/v1/traces"), [Code::Url]);
        assert_eq!(of("otlp_endpoint: \"http://otel:4318/?key=x\""), [Code::Url]);
        assert_eq!(of("otlp_endpoint: http://otel:4318, sample: 0.01"), [Code::Quantity]);
        assert_eq!(of("otlp_endpoint: http://otel:4318, sample: 101%"), [Code::Range]);
        assert_eq!(of("otlp_endpoint: http://otel:4318, ratio: 1%"), [Code::UnknownField]);
    }
}
