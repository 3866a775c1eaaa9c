//! What the development IAM remembers of the requests it got, for the demo to show and for tests to assert on. It keeps the last
//! thousand exchanges and whole tokens with them: one more reason why it serves nobody but loopback.

use super::client::{Form, field};
use super::endpoints::Endpoint;
use super::refusal::Refusal;
use std::collections::{HashMap, VecDeque};

/// One exchange that was answered properly.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `None` where the subject token was not a token at all.
    pub sub: Option<String>,
    pub client: Option<String>,
    pub audiences: Vec<String>,
    /// Seconds since 1970.
    pub unix: i64,
    /// `None`: granted.
    pub refused: Option<Refusal>,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    pub form: Form,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.form, name)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

const KEPT: usize = 1000;

#[derive(Default)]
pub(super) struct Log {
    requests: HashMap<Endpoint, u64>,
    last: HashMap<Endpoint, Seen>,
    exchanges: u64,
    by_sub: HashMap<String, u64>,
    record: VecDeque<Exchange>,
}

impl Log {
    pub(super) fn came(&mut self, endpoint: Endpoint, seen: Seen) {
        *self.requests.entry(endpoint).or_default() += 1;
        self.last.insert(endpoint, seen);
    }

    /// `sub` as the token says, whoever signed it.
    pub(super) fn exchange_came(&mut self, sub: Option<&str>) {
        self.exchanges += 1;
        if let Some(sub) = sub {
            *self.by_sub.entry(sub.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn answered(&mut self, exchange: Exchange) {
        if self.record.len() == KEPT {
            self.record.pop_front();
        }
        self.record.push_back(exchange);
    }

    pub(super) fn requests(&self, endpoint: Endpoint) -> u64 {
        self.requests.get(&endpoint).copied().unwrap_or_default()
    }

    pub(super) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    pub(super) fn exchanges_of(&self, sub: &str) -> u64 {
        self.by_sub.get(sub).copied().unwrap_or_default()
    }

    pub(super) fn record(&self) -> Vec<Exchange> {
        self.record.iter().cloned().collect()
    }

    pub(super) fn last(&self, endpoint: Endpoint) -> Option<Seen> {
        self.last.get(&endpoint).cloned()
    }
}
