//! A scrape, read as strictly as the text format (version 0.0.4) is written: who reads it more loosely would not notice what a
//! Prometheus refuses.

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    /// Name (a histogram has three), labels, value.
    pub samples: Vec<(String, Labels, f64)>,
}

impl Family {
    /// The label names that its series have, `le` aside.
    pub fn labels(&self) -> BTreeSet<&str> {
        self.samples.iter().flat_map(|(_, labels, _)| labels.keys()).map(String::as_str).filter(|l| *l != "le").collect()
    }
}

#[derive(Debug)]
pub struct Scrape(pub BTreeMap<String, Family>);

impl Scrape {
    /// The value of one series; panics where it does not exist. `name` of a histogram ends in `_count`, `_sum` or `_bucket`.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no series {name} {labels:?}"))
    }

    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let samples = self.0.values().flat_map(|f| &f.samples);
        samples.filter(|(n, l, _)| n == name && *l == wanted).map(|(_, _, value)| *value).next()
    }

    /// The sum over all series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |l: &Labels| labels.iter().all(|(n, v)| l.get(*n).is_some_and(|found| found == v));
        self.0.values().flat_map(|f| &f.samples).filter(|(n, l, _)| n == name && has(l)).map(|(_, _, value)| value).sum()
    }

    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends too");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty() && is_name(name), "{line}");
                let family = Family { help: help.to_owned(), ..Family::default() };
                assert!(families.insert(name.to_owned(), family).is_none(), "a family in two places: {line}");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(name == current && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                kind.clone_into(&mut families.get_mut(name).unwrap().kind);
            } else {
                let sample = sample(line);
                let family = families.get_mut(&current).expect(line);
                assert!(belongs(&sample.0, &current, &family.kind), "{line}");
                family.samples.push(sample);
            }
        }
        let scrape = Self(families);
        scrape.check();
        scrape
    }

    fn check(&self) {
        let mut seen = BTreeSet::new();
        for (name, family) in &self.0 {
            assert!(!family.samples.is_empty(), "{name} has no series");
            for (sample, labels, value) in &family.samples {
                assert!(seen.insert((sample, labels)), "twice: {sample} {labels:?}");
                assert!(family.kind == "gauge" || *value >= 0.0, "{sample} {labels:?} {value}");
            }
            let names: BTreeSet<BTreeSet<&str>> =
                family.samples.iter().map(|(_, l, _)| l.keys().map(String::as_str).filter(|n| *n != "le").collect()).collect();
            assert_eq!(names.len(), 1, "{name}: series with different labels");
            if family.kind == "histogram" {
                check_histogram(name, family);
            }
        }
    }
}

/// Buckets grow with `le`, end at +Inf, and agree with the count.
fn check_histogram(name: &str, family: &Family) {
    let mut buckets: HashMap<Labels, Vec<(f64, f64)>> = HashMap::new();
    let mut counts: HashMap<Labels, f64> = HashMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        let le = labels.remove("le");
        if sample.ends_with("_bucket") {
            buckets.entry(labels).or_default().push((number(&le.expect("a bucket has le")), *value));
        } else if sample.ends_with("_count") {
            counts.insert(labels, *value);
        }
    }
    assert_eq!(buckets.len(), counts.len(), "{name}");
    for (labels, buckets) in buckets {
        assert!(buckets.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "{name} {labels:?} {buckets:?}");
        let last = buckets.last().unwrap();
        assert!(last.0.is_infinite() && last.1 == counts[&labels], "{name} {labels:?}");
    }
}

fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    match sample.strip_prefix(family) {
        Some("") => kind != "histogram",
        Some("_bucket" | "_sum" | "_count") => kind == "histogram",
        _ => false,
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect(line);
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, after) = quoted(after, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect(line);
    (name.to_owned(), labels, number(value))
}

/// Up to the closing quote, and what follows it.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().expect(line).1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("no such escape: {c} {line}"),
            }),
            c => value.push(c),
        }
    }
    panic!("an open quote: {line}");
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        text => text.parse().unwrap_or_else(|_| panic!("no number: {text}")),
    }
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.chars().all(good) && text.chars().next().is_some_and(|c| !c.is_ascii_digit())
}
