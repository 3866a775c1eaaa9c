//! What it means for a request that its issuer gave no answer: an outage or a mistake of ours, and never the caller's fault. What
//! an answer means is for others to say.

use super::{CallError, Issuer};
use crate::fault::{Fault, Why};

impl Issuer {
    /// `what`: what it was asked, as in "for a token".
    pub fn not_answered(&self, what: &str, e: &CallError) -> Fault {
        let name = &self.settings.name;
        let why = Why::new(format!("asked issuer {name} {what}: {e}"));
        let unavailable = |retry_after, why: Why| Fault::IssuerUnavailable { retry_after, why: why.into() };
        match e {
            CallError::NoEndpoint => Fault::IssuerUnavailable { retry_after: None, why: self.trouble().unwrap_or_else(|| why.into()) },
            CallError::Busy => {
                unavailable(None, why.cure(format!("check how fast the IAM answers, or raise issuers.{name}.max_in_flight and max_queue")))
            }
            CallError::CircuitOpen { left, .. } => unavailable(
                Some(*left),
                why.cure("check that the IAM is up and well; it is tried again every few seconds, and cached tokens go on"),
            ),
            CallError::Paused { left } => unavailable(Some(*left), why.cure("check the IAM's load and rate limits")),
            CallError::Unsigned => Fault::Misconfigured(why.cure(format!("check issuers.{name}.private_key")).into()),
            CallError::Unreachable(_) => {
                unavailable(None, why.cure("check that the IAM is up and reachable from here (name resolution, network policy, ca_file)"))
            }
            CallError::Timeout => {
                Fault::IssuerTimeout(why.cure(format!("check the IAM's load, or raise issuers.{name}.timeouts.total")).into())
            }
            CallError::TooLarge(_) | CallError::Broken(_) => {
                Fault::BadIssuerAnswer(why.cure("check that the endpoint is the IAM's, and what stands between").into())
            }
        }
    }
}
