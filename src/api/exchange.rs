//! `POST /v1/exchange`: a caller gets the exchanged token itself, for an audience that the configuration names. It is verified
//! as on a route, and gets no word about audiences before it is.

use super::json;
use crate::clock::Clock;
use crate::fault::{Fault, Why, bad_request};
use crate::issuer::json as strict;
use crate::metrics::{Force, RouteMetrics};
use crate::revocation::Revocations;
use crate::telemetry::{self, Kind, Span};
use crate::token::{Asker, Caller, Freshness, Granted, Source, SubjectToken, Target, TokenSource};
use crate::verify::{Require, Verifier, Verifiers};
use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response, header};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One audience, ready to run.
pub struct Audience {
    pub verifiers: Verifiers,
    /// At each issuer that callers may come from.
    pub targets: Vec<Arc<Target>>,
    pub require: Require,
}

pub struct ExchangeApi<T> {
    tokens: T,
    audiences: BTreeMap<String, Audience>,
    revoked: Arc<Revocations>,
    clock: Clock,
    metrics: Arc<RouteMetrics>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    audience: String,
    force_update: bool,
}

impl<T: TokenSource> ExchangeApi<T> {
    pub fn new(
        tokens: T,
        audiences: BTreeMap<String, Audience>,
        revoked: Arc<Revocations>,
        clock: Clock,
        metrics: Arc<RouteMetrics>,
    ) -> Self {
        Self { tokens, audiences, revoked, clock, metrics }
    }

    /// # Errors
    /// As a route's requests are refused; 403 for an audience that is not in the configuration.
    pub async fn answer(&self, request: Request<Bytes>, bearer: Option<SubjectToken>) -> Result<Response<Bytes>, Fault> {
        let token = bearer.ok_or(Fault::NoToken)?;
        let wanted = wanted(&request)?;
        let Some(audience) = self.audiences.get(&wanted.audience) else {
            self.known(token).await?;
            return Err(unknown());
        };
        let mut span = Span::here("verify", Kind::Internal);
        let verifying = telemetry::within(span.context(), || audience.verifiers.verify(token));
        let caller = verifying.await;
        span.note(|notes| match &caller {
            Ok(caller) => notes.text("cambist.issuer", &*caller.subject.issuer),
            Err(fault) => notes.fault(fault),
        });
        span.end();
        let caller = caller?;
        audience.require.met_by(&caller.subject)?;
        self.revoked.check(&caller)?;
        let target = audience.target(&caller)?;
        target.permits(&caller.subject)?;
        let granted = self.granted(&caller, target, wanted.force_update).await?;
        let expires_in = self.left(&granted, &caller);
        let body = serde_json::json!({
            "token": granted.token.expose(),
            "token_type": "Bearer",
            "expires_in": expires_in,
            "audience": wanted.audience,
        });
        Ok(json(body.to_string()))
    }

    /// Counts where the token came from, or what became of it, as routes do.
    async fn granted(&self, caller: &Caller, target: &Arc<Target>, force: bool) -> Result<Granted, Fault> {
        let freshness = if force { Freshness::Forced } else { Freshness::Any };
        let mut span = Span::here("cache", Kind::Internal);
        let asker = Asker::Caller(caller.clone());
        let coming = telemetry::within(span.context(), || self.tokens.token(&asker, target, freshness.into()));
        let (answer, at_once) = match coming {
            Either::Left(known) => (known.into_inner(), true),
            Either::Right(coming) => (coming.await, false),
        };
        match &answer {
            Ok(granted) => self.metrics.looked_up(granted.source),
            Err(_) if at_once => self.metrics.lookup_denied(),
            Err(_) => self.metrics.looked_up(if force { Source::Forced } else { Source::Miss }),
        }
        span.note(|notes| {
            notes.text("cambist.issuer", &*target.issuer);
            notes.text("cambist.audience", target.label());
            match &answer {
                Ok(granted) => notes.word("cambist.cache.result", granted.source.label()),
                Err(fault) => {
                    notes.word("cambist.cache.result", if at_once { "denied" } else { "failed" });
                    notes.fault(fault);
                }
            }
        });
        span.end();
        if force {
            self.metrics.forced.ended(Force::Api, answer.as_ref().err());
        }
        answer
    }

    /// Whoever is no caller of ours is told so, and not which audiences there are.
    async fn known(&self, token: SubjectToken) -> Result<(), Fault> {
        let mut outcome = Err(Fault::NoToken);
        let mut asked: Vec<&Arc<Verifier>> = Vec::new();
        for verifier in self.audiences.values().flat_map(|audience| audience.verifiers.all()) {
            if asked.iter().any(|v| Arc::ptr_eq(v, verifier)) {
                continue;
            }
            asked.push(verifier);
            match verifier.verify(token.clone()).await {
                Ok(caller) => return self.revoked.check(&caller),
                Err(fault) => outcome = Err(fault),
            }
        }
        outcome
    }

    /// Seconds until the token's end, or until the caller's own with the skew that it is let in with: what came of that should not outlive
    /// it. Never 0: that would be no token for anybody.
    fn left(&self, granted: &Granted, caller: &Caller) -> u64 {
        let of_token = granted.expires_at.saturating_sub(self.clock.millis()) / 1000;
        let ends = caller.subject.expires_at.saturating_add(caller.subject.clock_skew.as_secs());
        of_token.min(ends.saturating_sub(self.clock.unix())).max(1)
    }
}

impl Audience {
    /// At the issuer that the caller comes from.
    fn target(&self, caller: &Caller) -> Result<&Arc<Target>, Fault> {
        let none = || Fault::Misconfigured(Why::new("the audience has no target at the issuer of the caller's token").into());
        self.targets.iter().find(|target| target.issuer == caller.subject.issuer).ok_or_else(none)
    }
}

fn unknown() -> Fault {
    let why = Why::new("an audience was asked for that is not in exchange_api.audiences");
    Fault::TargetRefused(why.cure("add it there, or have the program ask for one that is").into())
}

fn wanted(request: &Request<Bytes>) -> Result<Wanted, Fault> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(bad_request("the request's body is not application/json"));
    }
    let fields = strict::object(request.body()).map_err(|e| bad_request(format!("the request's body is {e}")))?;
    if fields.keys().any(|key| key != "audience" && key != "force_update") {
        return Err(bad_request("the request's body holds a key other than audience and force_update"));
    }
    let Some(Value::String(audience)) = fields.get("audience") else {
        return Err(bad_request("the request's body holds no audience that is a string"));
    };
    let force_update = match fields.get("force_update") {
        None => false,
        Some(Value::Bool(force)) => *force,
        Some(_) => return Err(bad_request("force_update in the request's body is neither true nor false")),
    };
    Ok(Wanted { audience: audience.clone(), force_update })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &str) -> Option<Wanted> {
        let request = Request::post("/v1/exchange").header(header::CONTENT_TYPE, kind).body(Bytes::from(body.to_owned())).unwrap();
        wanted(&request).ok()
    }

    #[test]
    fn a_body_says_one_thing_or_is_refused() {
        let found = |force_update| Some(Wanted { audience: "a".to_owned(), force_update });
        assert_eq!(read("application/json", r#"{"audience":"a"}"#), found(false));
        assert_eq!(read("Application/JSON; charset=utf-8", r#"{"force_update":true,"audience":"a"}"#), found(true));
        assert_eq!(read("text/plain", r#"{"audience":"a"}"#), None);
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"audience":1}"#,
            r#"{"audience":null}"#,
            r#"{"audience":["a"]}"#,
            r#"{"audience":"a","audience":"b"}"#,
            r#"{"audience":"a","force_update":1}"#,
            r#"{"audience":"a","force_update":null}"#,
            r#"{"audience":"a","scope":"b"}"#,
            r#"{"audience":"a"} x"#,
        ] {
            assert_eq!(read("application/json", bad), None, "{bad}");
        }
    }
}
