//! One look at an issuer, step by step, for who wants to know whether it can be used: discovery, its clock, its keys. What came in is
//! kept, as at a start; the issuer need not be running. What the answers mean for callers is not judged here.

use super::client::{MAX_KEYS, Reply};
use super::discovery::Endpoints;
use super::refresh::{document, fetched};
use super::{Algorithm, Issuer, Keys, json};
use crate::fault::Why;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::SystemTime;
use url::Url;

/// What came of it.
#[derive(Debug)]
pub struct Inspected {
    /// The document; `None`: both endpoints are given, and none is read.
    pub discovery: Option<Result<Map<String, Value>, Why>>,
    /// Where the document is read.
    pub discovery_url: Option<Url>,
    /// Seconds by which its clock is ahead of ours, where it says what time it is.
    pub ahead: Option<i64>,
    /// How many keys there are, and what they are good for; `None`: nobody says where they are.
    pub keys: Option<Result<(usize, Vec<Algorithm>), Why>>,
}

impl Issuer {
    pub async fn inspect(&self) -> Inspected {
        let mut ahead = None;
        let discovery = match self.discovery_url.clone() {
            None => None,
            Some(url) => Some(document(self, url).await.and_then(|reply| {
                ahead = self.ahead(&reply);
                let endpoints = Endpoints::read(&reply.body, &self.settings)?;
                self.endpoints.store(Some(Arc::new(endpoints)));
                // It was an object a moment ago.
                Ok(json::object(&reply.body).unwrap_or_default())
            })),
        };
        let jwks = self.settings.jwks_uri.clone().or_else(|| self.endpoints.load().as_ref().map(|e| e.jwks.clone()));
        let keys = match jwks {
            None => None,
            Some(url) => Some(self.inspect_keys(url, &mut ahead).await),
        };
        let explained = |(cause, cure): (String, String)| Why::new(cause).cure(cure);
        Inspected {
            discovery: discovery.map(|read| read.map_err(explained)),
            discovery_url: self.discovery_url.clone(),
            ahead,
            keys: keys.map(|read| read.map_err(explained)),
        }
    }

    async fn inspect_keys(&self, url: Url, ahead: &mut Option<i64>) -> Result<(usize, Vec<Algorithm>), (String, String)> {
        let asked = self.clock.millis();
        let reply = fetched(self, url, MAX_KEYS, "keys").await?;
        *ahead = ahead.or(self.ahead(&reply));
        let cure = || format!("check issuers.{}.jwks_uri, or that the discovery document names the right one", self.settings.name);
        let keys = Keys::read(&reply.body).map_err(|e| (format!("it answers {e}"), cure()))?;
        let found = (keys.len(), Algorithm::ALL.into_iter().filter(|alg| keys.any_for(*alg)).collect());
        self.keys.take(keys, asked);
        Ok(found)
    }

    /// To the second, as `Date` has it.
    fn ahead(&self, reply: &Reply) -> Option<i64> {
        let theirs = reply.date?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        Some(i64::try_from(theirs).ok()? - i64::try_from(self.clock.unix()).ok()?)
    }
}
