//! Exchanges at one issuer: from a caller and a target to a granted token or the fault that fits. It asks once, remembers
//! nothing, and counts how it ended.

use super::answer::{Asked, Issued};
use super::grant::{self, Acting, Asking};
use super::own::{Held, Own};
use super::{Profile, Settings, mistake, refusal};
use crate::clock::Clock;
use crate::fault::{Fault, Why};
use crate::issuer::jws::Jws;
use crate::issuer::{self, CallError, ClientAuth, Form, Issuer, Priority};
use crate::metrics::{Exchanged, IssuerMetrics};
use crate::telemetry::{self, Kind, Span};
use crate::token::{Actor, Asker, Digest, Grant, Granted, Source, Target, TargetSettings, next_generation};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How much of its life the gateway's own token is used.
const OWN_USED: f64 = 0.9;

pub struct Exchanger {
    settings: Settings,
    issuer: Arc<Issuer>,
    metrics: Arc<IssuerMetrics>,
    own: Own,
    /// What is asked for to act with.
    own_target: Arc<Target>,
}

/// When an exchange was sent, by both clocks: lives are counted from here, not from the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub millis: u64,
    pub unix: u64,
}

impl Sent {
    fn now(clock: &Clock) -> Self {
        Self { millis: clock.millis(), unix: clock.unix() }
    }
}

/// For whom an exchange is made and by which clock, and whether it was put off after all.
struct Errand<'a> {
    priority: Priority,
    clock: &'a Clock,
    put_off: AtomicBool,
}

impl<'a> Errand<'a> {
    fn new(priority: Priority, clock: &'a Clock) -> Self {
        Self { priority, clock, put_off: AtomicBool::new(false) }
    }

    fn failed(&self, e: &CallError) {
        if self.priority == Priority::Renewal && *e == CallError::Busy {
            self.put_off.store(true, Ordering::Relaxed);
        }
    }
}

impl Exchanger {
    pub fn new(settings: Settings, issuer: Arc<Issuer>, metrics: Arc<IssuerMetrics>) -> Self {
        let own_target = made(&settings, &issuer, Grant::ClientCredentials, TargetSettings::default());
        Self { settings, issuer, metrics, own: Own::default(), own_target: Arc::new(own_target) }
    }

    /// What is asked for with a caller's token. Also makes the target's metrics exist.
    pub fn target(&self, wanted: TargetSettings) -> Target {
        let grant = match self.settings.profile {
            Profile::Keycloak | Profile::Rfc8693 => Grant::TokenExchange,
            Profile::EntraObo => Grant::JwtBearer,
        };
        self.expected(made(&self.settings, &self.issuer, grant, wanted))
    }

    /// What is asked for without one: a token of the gateway's own.
    pub fn own_target(&self, wanted: TargetSettings) -> Target {
        self.expected(made(&self.settings, &self.issuer, Grant::ClientCredentials, wanted))
    }

    /// The gateway's own token is not used any more.
    pub(super) fn drop_own(&self) {
        self.own.drop_all();
    }

    /// Whether the target is this exchanger's issuer's own: told by the very name that it holds, since an equal one may be
    /// another issuer's.
    pub(super) fn made(&self, target: &Target) -> bool {
        Arc::ptr_eq(&self.issuer.settings().name, &target.issuer)
    }

    fn expected(&self, target: Target) -> Target {
        self.metrics.expect(&target.label());
        target
    }

    pub(super) async fn exchange(
        self: &Arc<Self>,
        asker: &Asker,
        target: &Target,
        priority: Priority,
        clock: &Clock,
    ) -> Result<Granted, Fault> {
        let _in_flight = self.metrics.begin();
        let (errand, begun) = (Errand::new(priority, clock), Instant::now());
        let mut span = Span::here("exchange", Kind::Internal);
        let result = telemetry::carried(span.context(), self.acted(asker, target, &errand)).await;
        span.note(|notes| {
            notes.text("cambist.issuer", &*target.issuer);
            notes.text("cambist.audience", target.label());
            notes.word("cambist.exchange.grant", grant::name(target.grant));
            notes.flag("cambist.exchange.ahead", priority == Priority::Renewal);
            if let Err(fault) = &result {
                notes.fault(fault);
            }
        });
        span.end();
        // A renewal that found no room and was left for later is neither an exchange nor an outage.
        if !errand.put_off.into_inner() {
            let how = result.as_ref().map_or_else(ended, |_| Exchanged::Success);
            self.metrics.exchanged(&target.label(), how, begun.elapsed());
        }
        result
    }

    /// Finds out who acts, and asks.
    async fn acted(self: &Arc<Self>, asker: &Asker, target: &Target, errand: &Errand<'_>) -> Result<Granted, Fault> {
        match &target.settings.actor {
            Actor::Nobody => self.ask(asker, target, None, errand).await,
            Actor::Header(name) => {
                let actor = asker.actor().ok_or_else(|| mistake(format!("nobody acts, and the token of {name} was to be sent")))?;
                let subject = &actor.subject;
                let acting = Acting {
                    token: actor.token.expose().to_owned(),
                    sub: Some(subject.sub.clone()),
                    until: subject.expires_at.saturating_add(subject.clock_skew.as_secs()),
                };
                self.ask(asker, target, Some(&acting), errand).await
            }
            Actor::Gateway => {
                let (this, at) = (self.clone(), errand.clock.clone());
                let held = self.own.token(errand.clock.millis(), || async move { this.to_act_with(&at).await }).await?;
                let outcome = self.ask(asker, target, Some(&held.acting), errand).await;
                if matches!(outcome, Err(Fault::InvalidToken(_) | Fault::TargetRefused(_) | Fault::Misconfigured(_))) {
                    self.own.forget(&held);
                }
                outcome
            }
        }
    }

    /// The gateway's own token.
    async fn to_act_with(&self, clock: &Clock) -> Result<Held, Fault> {
        let sent = Sent::now(clock);
        let issued = self.post(&Asking::ClientCredentials, &self.own_target, sent, &Errand::new(Priority::Caller, clock)).await?;
        let token = issued.token.expose().to_owned();
        let sub = Jws::read(&token).ok().and_then(|jws| jws.claims.get("sub")?.as_str().map(Arc::from));
        let life = issued.life.mul_f64(OWN_USED);
        let until = sent.millis.saturating_add(crate::clock::millis(life));
        Ok(Held { acting: Acting { token, sub, until: sent.unix.saturating_add(issued.life.as_secs()) }, until })
    }

    async fn ask(&self, asker: &Asker, target: &Target, actor: Option<&Acting>, errand: &Errand<'_>) -> Result<Granted, Fault> {
        let asking = Asking::of(asker, target, actor).ok_or_else(|| mistake("there is no caller to exchange a token of".to_owned()))?;
        let generation = next_generation();
        let sent = Sent::now(errand.clock);
        let issued = self.post(&asking, target, sent, errand).await?;
        self.metrics.issued(issued.by_issuer);
        let expires_at = sent.millis.saturating_add(crate::clock::millis(issued.life));
        let Issued { token, life: lifetime, by_issuer, not_before } = issued;
        if sent.millis.saturating_add(crate::clock::millis(by_issuer)) <= errand.clock.millis() {
            return Err(late());
        }
        Ok(Granted { token, source: Source::Miss, generation, expires_at, lifetime, by_issuer, not_before })
    }

    async fn post(&self, asking: &Asking<'_>, target: &Target, sent: Sent, errand: &Errand<'_>) -> Result<Issued, Fault> {
        let profile = self.settings.profile;
        let form = named(asking.form(target, profile), profile, self.issuer.settings());
        let reply = self.issuer.post_token(form, errand.priority).await.map_err(|e| {
            errand.failed(&e);
            self.issuer.not_answered("for a token", &e)
        })?;
        if reply.status != 200 {
            let sent = asking.confided();
            return Err(refusal::fault(profile, target.grant, &reply, |words| self.issuer.cleaned_of(words, &sent)));
        }
        Asked { profile, asking, target, sent, issuer: &self.issuer }.judge(&reply, errand.clock.unix())
    }
}

/// A ready assertion says who we are, and Keycloak wants nothing beside it; Entra wants our name all the same.
fn named(form: Form, profile: Profile, settings: &issuer::Settings) -> Form {
    match (profile, &settings.client_auth) {
        (Profile::EntraObo, ClientAuth::ClientAssertion { .. }) => form.with("client_id", &settings.client_id),
        _ => form,
    }
}

fn late() -> Fault {
    let why = Why::new("the issued token was over before the answer was in (expires_in, counted from when it was asked for)");
    Fault::BadIssuerAnswer(why.cure("have the IAM issue tokens that live longer than its answers take").into())
}

fn made(settings: &Settings, issuer: &Issuer, grant: Grant, mut wanted: TargetSettings) -> Target {
    for (name, value) in &settings.extra_params {
        if !wanted.extra_params.iter().any(|(own, _)| own == name) {
            wanted.extra_params.push((name.clone(), value.clone()));
        }
    }
    // In one order, so that the order in which they were written makes no other target.
    wanted.extra_params.sort();
    let digest = digest(settings, issuer.settings(), grant, &wanted);
    Target { issuer: issuer.settings().name.clone(), grant, settings: wanted, digest }
}

/// What [`digest`] is made of, for people; whoever adds to the one adds to the other.
pub const KEY_PARTS: [&str; 15] = [
    "issuer url",
    "token_endpoint",
    "client_id",
    "profile",
    "grant",
    "actor",
    "subject_token_type",
    "requested_token_type",
    "audience",
    "scopes",
    "resource",
    "expect_audience",
    "extra_params",
    "max_ttl",
    "allow_login_client",
];

/// Everything is taken apart by name, so that whoever adds a field has to say here whether it shapes the answer.
fn digest(settings: &Settings, issuer: &issuer::Settings, grant: Grant, wanted: &TargetSettings) -> Digest {
    let Settings { profile, extra_params: _ } = settings;
    let TargetSettings {
        audiences,
        scopes,
        resources,
        expect_audiences,
        max_ttl,
        allow_login_client,
        subject_token_type,
        requested_token_type,
        actor,
        extra_params,
    } = wanted;
    let issuer::Settings {
        url,
        token_endpoint,
        client_id,
        // What it is called here, how it is reached, and how we prove who we are: the answer is the same.
        name: _,
        discovery_url: _,
        jwks_uri: _,
        introspection_endpoint: _,
        client_auth: _,
        ca_file: _,
        allow_http: _,
        jwks_refresh: _,
        timeouts: _,
        protection: _,
    } = issuer;
    let profile: &[u8] = match profile {
        Profile::Keycloak => b"keycloak",
        Profile::Rfc8693 => b"rfc8693",
        Profile::EntraObo => b"entra_obo",
    };
    // Whose token it is comes with the request; that one is sent at all is said here.
    let actor: &[u8] = match actor {
        Actor::Nobody => b"nobody",
        Actor::Header(_) => b"header",
        Actor::Gateway => b"gateway",
    };
    let endpoint = token_endpoint.as_ref().map_or(&b""[..], |url| url.as_str().as_bytes());
    let types = [subject_token_type, requested_token_type].map(|urn| urn.as_bytes());
    let one = [url.as_bytes(), endpoint, client_id.as_bytes(), profile, grant::name(grant).as_bytes(), actor, types[0], types[1]];
    let (ttl, allow) = (max_ttl.as_millis().to_be_bytes(), [u8::from(*allow_login_client)]);
    let params: Vec<String> = extra_params.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect();
    let lists = [audiences, scopes, resources, expect_audiences, &params];
    let counts = lists.map(|l| (l.len() as u64).to_be_bytes());
    // A list's length goes before it: one that ends early must not run into the next.
    let many = lists.iter().zip(&counts).flat_map(|(list, n)| std::iter::once(&n[..]).chain(list.iter().map(|s| s.as_bytes())));
    Digest::of_parts(one.into_iter().chain(many).chain([&ttl[..], &allow[..]]))
}

impl fmt::Debug for Exchanger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanger").field("issuer", &self.issuer).field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn ended(fault: &Fault) -> Exchanged {
    match fault {
        Fault::InvalidToken(_) | Fault::TargetRefused(_) | Fault::InteractionRequired { .. } | Fault::LoginClient(_) => Exchanged::Denied,
        Fault::Misconfigured(_) => Exchanged::Misconfigured,
        Fault::IssuerTimeout(_) => Exchanged::Timeout,
        Fault::BadIssuerAnswer(_) => Exchanged::BadAnswer,
        _ => Exchanged::Unavailable,
    }
}
