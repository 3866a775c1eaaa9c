//! Exchanges at one issuer: from a caller and a target to a granted token or the fault that fits. It asks once, remembers
//! nothing, and counts how it ended.

use super::grant::token_exchange::{self, ACCESS_TOKEN, GRANT};
use super::{Profile, Settings, answer, refusal};
use crate::clock::Clock;
use crate::fault::{Fault, Why};
use crate::issuer::{self, CallError, Issuer, Priority};
use crate::metrics::{Exchanged, IssuerMetrics};
use crate::token::{Caller, Digest, Granted, Source, Target, next_generation};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Exchanger {
    settings: Settings,
    issuer: Arc<Issuer>,
    metrics: Arc<IssuerMetrics>,
}

/// When an exchange was sent, by both clocks: lives are counted from here, not from the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub millis: u64,
    pub unix: u64,
}

impl Exchanger {
    pub fn new(settings: Settings, issuer: Arc<Issuer>, metrics: Arc<IssuerMetrics>) -> Self {
        Self { settings, issuer, metrics }
    }

    /// What one route asks for, with the digest of all that shapes the answer. Also makes the target's metrics exist.
    pub fn target(
        &self,
        audiences: Vec<String>,
        scopes: Vec<String>,
        resources: Vec<String>,
        expect_audiences: Vec<String>,
        max_ttl: Duration,
        allow_login_client: bool,
    ) -> Target {
        let issuer = self.issuer.settings().name.clone();
        let digest = Digest::of(&[]);
        let mut target = Target { issuer, audiences, scopes, resources, expect_audiences, max_ttl, allow_login_client, digest };
        target.digest = self.digest(&target);
        self.metrics.expect(&target.label());
        target
    }

    pub(super) async fn exchange(&self, caller: &Caller, target: &Target, clock: &Clock) -> Result<Granted, Fault> {
        let _in_flight = self.metrics.begin();
        let begun = Instant::now();
        let result = self.ask(caller, target, clock).await;
        let how = result.as_ref().map_or_else(ended, |_| Exchanged::Success);
        self.metrics.exchanged(&target.label(), how, begun.elapsed());
        result
    }

    async fn ask(&self, caller: &Caller, target: &Target, clock: &Clock) -> Result<Granted, Fault> {
        let generation = next_generation();
        let sent = Sent { millis: clock.millis(), unix: clock.unix() };
        let form = token_exchange::form(&caller.token, target);
        let reply = self.issuer.post_token(form, Priority::Caller).await.map_err(|e| self.not_answered(&e))?;
        if reply.status != 200 {
            return Err(refusal::fault(self.settings.profile, &reply, |words| self.issuer.cleaned(words)));
        }
        let asked = answer::Asked { profile: self.settings.profile, caller, target, sent };
        let issued = asked.judge(&reply, clock.unix())?;
        self.metrics.issued(issued.by_issuer);
        let expires_at = sent.millis.saturating_add(crate::clock::millis(issued.life));
        Ok(Granted { token: issued.token, source: Source::Miss, generation, expires_at, lifetime: issued.life })
    }

    fn not_answered(&self, e: &CallError) -> Fault {
        let name = &self.issuer.settings().name;
        let why = Why::new(format!("asked issuer {name} for a token: {e}"));
        match e {
            CallError::NoEndpoint => {
                let why = self.issuer.trouble().unwrap_or_else(|| why.into());
                Fault::IssuerUnavailable { retry_after: None, why }
            }
            CallError::Busy => {
                let why = why.cure(format!("check how fast the IAM answers, or raise issuers.{name}.max_in_flight and max_queue"));
                Fault::IssuerUnavailable { retry_after: None, why: why.into() }
            }
            CallError::CircuitOpen { left, .. } => {
                let why = why.cure("check that the IAM is up and well; it is tried again every few seconds, and cached tokens go on");
                Fault::IssuerUnavailable { retry_after: Some(*left), why: why.into() }
            }
            CallError::Paused { left } => {
                let why = why.cure("check the IAM's load and rate limits");
                Fault::IssuerUnavailable { retry_after: Some(*left), why: why.into() }
            }
            CallError::Unsigned => Fault::Misconfigured(why.cure(format!("check issuers.{name}.private_key")).into()),
            CallError::Unreachable(_) => {
                let why = why.cure("check that the IAM is up and reachable from here (name resolution, network policy, ca_file)");
                Fault::IssuerUnavailable { retry_after: None, why: why.into() }
            }
            CallError::Timeout => {
                Fault::IssuerTimeout(why.cure(format!("check the IAM's load, or raise issuers.{name}.timeouts.total")).into())
            }
            CallError::TooLarge(_) | CallError::Broken(_) => {
                Fault::BadIssuerAnswer(why.cure("check that the token endpoint is the IAM's, and what stands between").into())
            }
        }
    }

    /// Everything is taken apart by name, so that whoever adds a field has to say here whether it shapes the answer.
    fn digest(&self, target: &Target) -> Digest {
        let Settings { profile } = self.settings;
        let Target { issuer: _, audiences, scopes, resources, expect_audiences, max_ttl, allow_login_client, digest: _ } = target;
        let issuer::Settings {
            url,
            token_endpoint,
            client_id,
            // What it is called here, how it is reached, and how we prove who we are: the answer is the same.
            name: _,
            discovery_url: _,
            jwks_uri: _,
            client_auth: _,
            ca_file: _,
            allow_http: _,
            jwks_refresh: _,
            timeouts: _,
            protection: _,
        } = self.issuer.settings();
        let profile: &[u8] = match profile {
            Profile::Keycloak => b"keycloak",
            Profile::Rfc8693 => b"rfc8693",
        };
        let endpoint = token_endpoint.as_ref().map_or(&b""[..], |url| url.as_str().as_bytes());
        let (ttl, allow) = (max_ttl.as_millis().to_be_bytes(), [u8::from(*allow_login_client)]);
        let lists = [audiences, scopes, resources, expect_audiences];
        let counts = lists.map(|l| (l.len() as u64).to_be_bytes());
        let one =
            [url.as_bytes(), endpoint, client_id.as_bytes(), profile, GRANT.as_bytes(), ACCESS_TOKEN.as_bytes(), ACCESS_TOKEN.as_bytes()];
        // A list's length goes before it: one that ends early must not run into the next.
        let many = lists.iter().zip(&counts).flat_map(|(list, n)| std::iter::once(&n[..]).chain(list.iter().map(|s| s.as_bytes())));
        Digest::of_parts(one.into_iter().chain(many).chain([&ttl[..], &allow[..]]))
    }
}

impl fmt::Debug for Exchanger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanger").field("issuer", &self.issuer).field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn ended(fault: &Fault) -> Exchanged {
    match fault {
        Fault::InvalidToken(_) | Fault::TargetRefused(_) | Fault::InteractionRequired { .. } | Fault::LoginClient => Exchanged::Denied,
        Fault::Misconfigured(_) => Exchanged::Misconfigured,
        Fault::IssuerTimeout(_) => Exchanged::Timeout,
        Fault::BadIssuerAnswer(_) => Exchanged::BadAnswer,
        _ => Exchanged::Unavailable,
    }
}
