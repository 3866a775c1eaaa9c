//! `check --online`: whether the issuers of a configuration can really be used, asked in the order in which one thing needs another.
//! It goes through the very rooms that the gateway uses, and asks for nothing that changes anything at an issuer.

mod step;

use super::routes::{make_routes, make_upstreams};
use super::world::{Issuers, MadeIssuer, make_issuers};
use super::{exchange, token_in};
use crate::api::Audience;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::exchange::{Exchange, Profile};
use crate::fault::{Fault, Why};
use crate::issuer::Inspected;
use crate::issuer::jws::Jws;
use crate::metrics::Metrics;
use crate::stack::{Injection, Route, asker, of_the_actor};
use crate::token::{Actor, Ask, Asker, Caller, Grant, Subject, Target, TargetSettings, TokenSource};
use crate::verify::{By, Verifiers};
use anyhow::{Context, bail};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

pub(super) use step::{Step, text};

/// What no issuer has ever issued: whoever takes our client answers that this is no token.
const NO_TOKEN: &str = "cambist-check-asks-whether-this-client-is-known";

/// Where tokens are, of those that are given.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub caller: Option<&'a Path>,
    /// Who acts for the caller.
    pub actor: Option<&'a Path>,
}

#[derive(Clone, Copy, Default)]
struct Given<'a> {
    caller: Option<&'a str>,
    actor: Option<&'a str>,
}

pub(super) fn look(config: Config, files: Files<'_>) -> anyhow::Result<Vec<Step>> {
    if files.caller.is_some() && files.caller == files.actor {
        bail!("the caller's token and the actor's cannot both come from the same file or stdin");
    }
    let (caller, actor) = (files.caller.map(token_in).transpose()?, files.actor.map(token_in).transpose().context("the actor's token")?);
    let given = Given { caller: caller.as_deref().map(String::as_str), actor: actor.as_deref().map(String::as_str) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(all(&config, given))
}

async fn all(config: &Config, given: Given<'_>) -> anyhow::Result<Vec<Step>> {
    let (clock, metrics) = (Clock::real(), Metrics::new());
    let issuers = make_issuers(config, &clock, &metrics, &Handle::current(), None)?;
    let upstreams = make_upstreams(config, &metrics, None)?;
    let routes = make_routes(config, &issuers, &upstreams, &HashMap::new(), &metrics)?;
    let tokens = Exchange::new(clock);
    tokens.add(issuers.values().map(|made| &made.exchanger));
    let mut steps = Vec::new();
    for settings in &config.issuers {
        let Some(made) = issuers.get(&settings.issuer.name) else { continue };
        let inspected = made.issuer.inspect().await;
        let reached = inspected.discovery.as_ref().is_none_or(Result::is_ok);
        told(settings, &inspected, &mut steps);
        if !reached {
            continue;
        }
        steps.push(client(settings, made, &tokens).await);
        for wanted in config.exchange_api.iter().flat_map(|api| &api.audiences) {
            let (name, audience) = super::doors::audience(wanted, &issuers)?;
            for target in audience.targets.iter().filter(|target| target.issuer == settings.issuer.name) {
                steps.push(api(&name, &audience, target, made, &tokens, given).await);
            }
        }
        let mut seen = Vec::new();
        for route in routes.by_listener.iter().flat_map(|(_, table)| table.routes()) {
            let Some(target) = at(route, settings) else { continue };
            // Routes that ask for the same are one step.
            let key = (target.digest, format!("{:?}", route.require));
            if !seen.contains(&key) {
                seen.push(key);
                steps.push(one(route, target, &tokens, given, &issuers).await);
            }
        }
    }
    Ok(steps)
}

fn at<'a>(route: &'a Route, settings: &config::Issuer) -> Option<&'a Arc<Target>> {
    let (Injection::Exchange(targets) | Injection::Own(targets)) = &route.token else { return None };
    targets.all().find(|target| target.issuer == settings.issuer.name)
}

/// Discovery, clock and keys.
fn told(settings: &config::Issuer, inspected: &Inspected, steps: &mut Vec<Step>) {
    let name = &*settings.issuer.name;
    match &inspected.discovery {
        None => steps.push(Step::skipped(name, "discovery", "not needed: token_endpoint and jwks_uri are given")),
        Some(Ok(_)) => {
            steps.push(Step::good(name, "discovery", inspected.discovery_url.as_ref().map_or("", |url| url.as_str())));
        }
        Some(Err(why)) => return steps.push(Step::failed(name, "discovery", why, "issuer_unavailable")),
    }
    let allowed = settings.verify.clock_skew.as_secs();
    steps.push(match inspected.ahead {
        None => Step::skipped(name, "clock", "the issuer does not say what time it is (no Date in its answers)"),
        // What a whole second leaves open is nobody's mistake.
        Some(ahead) if ahead.unsigned_abs() <= allowed.max(1) => {
            Step::good(name, "clock", format!("the issuer's and ours differ by {} s, and {allowed} s are allowed", ahead.unsigned_abs()))
        }
        Some(ahead) => {
            let (by, which) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
            let why = Why::new(format!("the issuer's clock is {by} s {which} ours, and verify.clock_skew allows {allowed} s"));
            let cure = "set the clocks right (NTP) on both machines; tokens are refused as expired or not valid yet while they differ";
            Step::failed(name, "clock", &why.cure(cure), "invalid_token")
        }
    });
    steps.push(match &inspected.keys {
        _ if settings.verify.by == By::Introspection => Step::skipped(name, "keys", "not needed: tokens are verified by introspection"),
        None => Step::skipped(name, "keys", "nothing says where they are"),
        Some(Err(why)) => Step::failed(name, "keys", why, "issuer_unavailable"),
        Some(Ok((count, good_for))) => {
            let names = |all: &[crate::issuer::Algorithm]| all.iter().map(|alg| alg.name()).collect::<Vec<_>>().join(", ");
            let both: Vec<_> = good_for.iter().copied().filter(|alg| settings.verify.algorithms.contains(alg)).collect();
            if both.is_empty() {
                let why = Why::new(format!("its keys are good for {}, and verify.algorithms has none of them", names(good_for)));
                Step::failed(name, "keys", &why.cure("add what the issuer signs with to verify.algorithms"), "invalid_token")
            } else {
                Step::good(name, "keys", format!("{count}, for {}", names(&both)))
            }
        }
    });
}

/// Whether the issuer takes our client: it is asked for an exchange of what is no token, and whoever says so has let us in.
async fn client(settings: &config::Issuer, made: &MadeIssuer, tokens: &Exchange) -> Step {
    let (name, id) = (&*settings.issuer.name, &settings.issuer.client_id);
    let known = || Step::good(name, "client", format!("the issuer takes the client {id}"));
    let target = Arc::new(made.exchanger.target(TargetSettings::default()));
    let outcome = match nobody(name) {
        Ok(nobody) => tokens.token(&Asker::Caller(nobody), &target, Ask::ANY).await,
        Err(fault) => Err(fault),
    };
    match outcome {
        Err(Fault::InvalidToken(_) | Fault::TargetRefused(_) | Fault::InteractionRequired { .. }) => known(),
        Err(ref fault @ Fault::Misconfigured(_))
            if settings.exchange.profile == Profile::Rfc8693 && fault.why().is_some_and(is_of_the_request) =>
        {
            known()
        }
        Ok(_) => {
            let why = Why::new("it exchanged what is no token at all").cure("do not use this issuer");
            Step::failed(name, "client", &why, "bad_issuer_answer")
        }
        Err(fault) => Step::refused(name, "client", &fault),
    }
}

/// RFC 8693 §2.2.2: what the issuer does not like of a request, a token that is none too, is `invalid_request`; who it does not like is
/// `invalid_client` or `unauthorized_client`.
fn is_of_the_request(why: &Why) -> bool {
    let error = why.issuer_words.as_deref().and_then(|words| words.split(':').next());
    matches!(error.map(str::trim), Some("invalid_request" | "invalid_target" | "invalid_scope"))
}

fn nobody(issuer: &str) -> Result<Caller, Fault> {
    let token = exchange::bearer(NO_TOKEN)?;
    let subject = Subject {
        issuer: issuer.into(),
        sub: "nobody".into(),
        sid: None,
        azp: None,
        scopes: Vec::new(),
        claims: Vec::new(),
        expires_at: u64::MAX,
        issued_at: u64::MAX,
        clock_skew: std::time::Duration::ZERO,
    };
    Ok(Caller { digest: token.digest(), token, subject: Arc::new(subject), doubt: None })
}

/// What a request on this route would come to.
async fn one(route: &Route, target: &Arc<Target>, tokens: &Exchange, given: Given<'_>, issuers: &Issuers) -> Step {
    let (issuer, what) = (&*target.issuer, format!("route {}", route.name));
    let granted = || Step::good(issuer, &what, format!("a token for {}", target.label()));
    let outcome = match (target.grant, given.caller) {
        (Grant::ClientCredentials, _) => tokens.token(&Asker::Gateway, target, Ask::ANY).await.map(|_| ()),
        (_, None) => return Step::skipped(issuer, &what, "no caller's token: give one with --token-file"),
        (_, Some(_)) if given.actor.is_none() && matches!(target.settings.actor, Actor::Header(_)) => {
            return Step::skipped(issuer, &what, "it takes the token of who acts for the caller, too: give one with --actor-token-file");
        }
        (_, Some(token)) => {
            let (Some(verifiers), Some(made)) = (&route.verifiers, issuers.get(&target.issuer)) else {
                return Step::skipped(issuer, &what, "its callers bring no token");
            };
            if of_another(token, &made.issuer.settings().url) {
                return Step::skipped(issuer, &what, "the token is of another issuer");
            }
            exchanged(verifiers, route, target, tokens, Given { caller: Some(token), ..given }).await
        }
    };
    outcome.map_or_else(|fault| Step::refused(issuer, &what, &fault), |()| granted())
}

/// What the exchange API would answer.
async fn api(name: &str, audience: &Audience, target: &Arc<Target>, made: &MadeIssuer, tokens: &Exchange, given: Given<'_>) -> Step {
    let (issuer, what) = (&*target.issuer, format!("audience {name} of the exchange API"));
    let Some(token) = given.caller else { return Step::skipped(issuer, &what, "no caller's token: give one with --token-file") };
    if of_another(token, &made.issuer.settings().url) {
        return Step::skipped(issuer, &what, "the token is of another issuer");
    }
    let asked = async {
        let caller = audience.verifiers.verify(exchange::bearer(token)?).await?;
        tokens.token(&asker(&audience.require, caller, None)?, target, Ask::ANY).await
    };
    match asked.await {
        Ok(_) => Step::good(issuer, &what, format!("a token for {}", target.label())),
        Err(fault) => Step::refused(issuer, &what, &fault),
    }
}

async fn exchanged(verifiers: &Verifiers, route: &Route, target: &Arc<Target>, tokens: &Exchange, given: Given<'_>) -> Result<(), Fault> {
    let caller = verifiers.verify(exchange::bearer(given.caller.unwrap_or_default())?).await?;
    // On other routes nobody acts for anybody.
    let actor = match route.actor_header().and(given.actor) {
        Some(token) => {
            let wrong = |fault| of_the_actor(fault, route.actor_header());
            Some(verifiers.verify(exchange::bearer(token)?).await.map_err(wrong)?)
        }
        None => None,
    };
    tokens.token(&asker(&route.require, caller, actor)?, target, Ask::ANY).await.map(|_| ())
}

fn of_another(token: &str, url: &str) -> bool {
    let bare = token.trim().rsplit(' ').next().unwrap_or_default();
    Jws::read(bare).is_ok_and(|jws| jws.claims.get("iss").and_then(|iss| iss.as_str()).is_some_and(|iss| iss != url))
}
