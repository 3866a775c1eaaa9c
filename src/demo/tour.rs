//! The tour: a few real requests through a running gateway, and what must be true of each, seen from the caller, the backends
//! and the IAM alike. It measures and compares; what is printed of it is for `screen`.

use super::backend::Backend;
use super::fetch::{Answer, Connection};
use super::iam::Iam;
use super::ports::{Ports, address};
use crate::fault::Why;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::Instant;

/// A gateway that runs for the demo, whoever started it. It ends when this is dropped.
pub trait Running: Send {
    /// What the gateway has written down for its operator about the last request that it refused.
    fn last_failure(&self) -> Option<Why>;
}

/// What stands around the gateway.
pub(super) struct Scene {
    pub ports: Ports,
    pub iam: Iam,
    pub orders: Backend,
    pub payroll: Backend,
}

/// What came of the tour.
#[derive(Debug)]
pub(super) struct Report {
    /// Claims of the token that the caller sent, and of the one that the backend got.
    pub incoming: Map<String, Value>,
    pub upstream: Map<String, Value>,
    pub exchanged: Step,
    pub cached: Step,
    pub refused: Step,
    /// The IAM's own words about the refusal.
    pub words: String,
    pub why: Why,
    /// What should have been otherwise; empty when all is well.
    pub complaints: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub path: &'static str,
    pub status: u16,
    pub took: Duration,
}

impl Scene {
    /// Makes the requests.
    pub(super) async fn tour(&self, gateway: &dyn Running) -> Result<Report> {
        self.ready().await?;
        let token = self.iam.caller_token(super::wiring::USER)?;
        let incoming = self.iam.keys().verified(&token).context("the IAM does not know its own token")?;
        let mut caller = Connection::open(address(self.ports.gateway)).await?;
        let mut complaints = Vec::new();
        let mut expect = |ok: bool, what: String| {
            if !ok {
                complaints.push(what);
            }
        };

        let (exchanged, _) = ask(&mut caller, "/orders", &token).await?;
        let exchanges = self.iam.exchanges();
        expect(exchanged.status == 200, format!("the first GET /orders should be answered 200, not {}", exchanged.status));
        expect(exchanges == 1, format!("the first GET /orders should cost one exchange, not {exchanges}"));
        let upstream = self.orders.last().and_then(|r| r.claims).unwrap_or_default();
        expect(text(&upstream, "aud") == "orders-api", format!("the backend should see aud=orders-api, not {}", text(&upstream, "aud")));
        expect(text(&upstream, "sub") == text(&incoming, "sub"), "the backend should see the caller's own sub".to_owned());

        let cached = hits(&mut caller, &token).await?;
        expect(cached.status == 200, format!("the next GET /orders should be answered 200, not {}", cached.status));
        let exchanges = self.iam.exchanges();
        expect(exchanges == 1, format!("the next GET /orders should come from the cache; exchanges so far: {exchanges}"));

        let (refused, answer) = ask(&mut caller, "/payroll", &token).await?;
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        expect(
            (refused.status, code.as_str()) == (403, "target_refused"),
            format!("GET /payroll should be refused with 403 target_refused, not {} {code}", refused.status),
        );
        expect(self.payroll.requests() == 0, "nothing should reach the payroll backend".to_owned());
        let words = self.iam.record().last().and_then(|e| e.refused.clone()).map(|r| r.description).unwrap_or_default();
        expect(!words.is_empty(), "the IAM should have refused the exchange for payroll-api".to_owned());
        let told = String::from_utf8_lossy(&answer.body).contains("payroll-api");
        expect(!told, "the caller should be told none of the IAM's words".to_owned());
        let why = gateway.last_failure().unwrap_or_default();
        let known = why.issuer_words.as_deref().is_some_and(|w| w.contains(&words));
        expect(known, "the gateway's operator should find the IAM's words".to_owned());
        expect(why.cure.is_some(), "the gateway's operator should find the cure".to_owned());
        Ok(Report { incoming, upstream, exchanged, cached, refused, words, why, complaints })
    }

    /// Returns when the gateway says that it is ready.
    async fn ready(&self) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Ok(mut metrics) = Connection::open(address(self.ports.metrics)).await
                && metrics.get("/readyz", None).await.is_ok_and(|a| a.status.is_success())
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the gateway was not ready after {PATIENCE:?} (http://{}/readyz)", address(self.ports.metrics))
    }
}

pub(super) fn text(claims: &Map<String, Value>, name: &str) -> String {
    match claims.get(name) {
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => "nothing".to_owned(),
    }
}

/// How many requests the time of a cache hit is the median of: one alone says more about the machine's mood.
pub(super) const HITS: usize = 9;

/// The one that took the median time; a failed one, where there was one.
async fn hits(caller: &mut Connection, token: &str) -> Result<Step> {
    let mut steps = Vec::new();
    for _ in 0..HITS {
        steps.push(ask(caller, "/orders", token).await?.0);
    }
    steps.sort_by_key(|step| step.took);
    let failed = steps.iter().find(|step| step.status != 200).copied();
    Ok(failed.unwrap_or(steps[HITS / 2]))
}

async fn ask(caller: &mut Connection, path: &'static str, token: &str) -> Result<(Step, Answer)> {
    let began = Instant::now();
    let answer = caller.get(path, Some(token)).await.with_context(|| format!("GET {path} through the gateway"))?;
    Ok((Step { path, status: answer.status.as_u16(), took: began.elapsed() }, answer))
}
