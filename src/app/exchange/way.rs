//! Which exchange is to be made: a route's, with its audience or another; or one that the exchange API offers. It asks nobody, and what
//! the configuration cannot do is refused here.

use super::Options;
use crate::app::doors;
use crate::app::world::Issuers;
use crate::config::Config;
use crate::stack::{Injection, Route, Routes, Targets};
use crate::token::{Target, TargetSettings};
use crate::verify::{Require, Verifiers};
use http::HeaderName;
use std::sync::Arc;

/// What was asked for cannot be done with this configuration, whoever the caller is.
pub(super) struct Misuse(pub String);

/// An exchange that can be asked for.
pub(super) struct Way {
    /// `None`: the exchange API's.
    pub route: Option<Arc<str>>,
    /// `None`: anybody may call, and no token is looked at.
    pub verifiers: Option<Verifiers>,
    pub require: Require,
    /// In which the token comes of who acts for the caller.
    pub actor_header: Option<HeaderName>,
    /// Whether the token is the gateway's own, whoever calls.
    pub own: bool,
    targets: Targets,
}

impl Way {
    pub fn of(options: &Options, config: &Config, routes: &Routes, issuers: &Issuers) -> Result<Self, Misuse> {
        let way = match (&options.route, &options.audience) {
            (Some(name), None) => Self::of_route(find(name, routes)?)?,
            (Some(name), Some(audience)) => Self::of_route(find(name, routes)?)?.with(audience, issuers)?,
            (None, Some(audience)) => Self::of_api(audience, config, issuers)?,
            (None, None) => return Err(Misuse("give --route, or the --audience of the exchange API".to_owned())),
        };
        match (&way.actor_header, &options.actor_token_file) {
            (Some(header), None) => Err(Misuse(format!(
                "the route sends the token of who acts for the caller (actor: {{ header: {header} }}): give it with --actor-token-file"
            ))),
            (None, Some(_)) => {
                Err(Misuse("--actor-token-file: the route takes no token of who acts for the caller (actor.header)".to_owned()))
            }
            (Some(_), Some(file)) if *file == options.token_file() => {
                Err(Misuse("the caller's token and the actor's cannot both come from the same file or stdin".to_owned()))
            }
            _ => Ok(way),
        }
    }

    fn of_route(route: &Route) -> Result<Self, Misuse> {
        let (own, targets) = match &route.token {
            Injection::Exchange(targets) => (false, targets),
            Injection::Own(targets) => (true, targets),
            Injection::Nothing | Injection::Callers => {
                let name = &route.name;
                return Err(Misuse(format!("route `{name}` exchanges nothing that could be shown (its `token` is strip or passthrough)")));
            }
        };
        Ok(Self {
            route: Some(route.name.clone()),
            verifiers: route.verifiers.clone(),
            require: route.require.clone(),
            actor_header: route.actor_header().cloned(),
            own,
            targets: Targets::new(targets.all().cloned().collect()),
        })
    }

    fn of_api(audience: &str, config: &Config, issuers: &Issuers) -> Result<Self, Misuse> {
        let Some(api) = &config.exchange_api else {
            return Err(Misuse("--audience without --route is one of exchange_api.audiences, and there is no exchange_api".to_owned()));
        };
        let Some(wanted) = api.audiences.iter().find(|wanted| wanted.name == audience) else {
            let names: Vec<&str> = api.audiences.iter().map(|wanted| &*wanted.name).collect();
            return Err(Misuse(format!("exchange_api has no audience `{audience}` (have: {})", names.join(", "))));
        };
        let (_, made) = doors::audience(wanted, issuers).map_err(|error| Misuse(error.to_string()))?;
        let (verifiers, targets) = (Some(made.verifiers), Targets::new(made.targets));
        Ok(Self { route: None, verifiers, require: made.require, actor_header: None, own: false, targets })
    }

    /// The route's targets with another audience.
    fn with(mut self, audience: &str, issuers: &Issuers) -> Result<Self, Misuse> {
        let mut others = Vec::new();
        for target in self.targets.all() {
            let Some(maker) = issuers.get(&target.issuer) else { return Err(Misuse(format!("there is no issuer `{}`", target.issuer))) };
            if audience == maker.issuer.settings().client_id {
                return Err(Misuse(format!("`{audience}` is the gateway's own client: the exchanged token must be good at a backend")));
            }
            let audiences = vec![audience.to_owned()];
            let wanted = TargetSettings { expect_audiences: audiences.clone(), audiences, ..target.settings.clone() };
            let make = if self.own { crate::exchange::Exchanger::own_target } else { crate::exchange::Exchanger::target };
            others.push(Arc::new(make(&maker.exchanger, wanted)));
        }
        self.targets = Targets::new(others);
        Ok(self)
    }

    /// The target for a caller of this issuer, or for the gateway itself.
    pub fn target(&self, issuer: Option<&str>) -> Option<&Arc<Target>> {
        self.targets.of(issuer)
    }

    /// What all of its targets have in common.
    pub fn asks_for(&self) -> Option<&TargetSettings> {
        self.targets.first().map(|target| &target.settings)
    }
}

fn find<'a>(name: &str, routes: &'a Routes) -> Result<&'a Route, Misuse> {
    let all = || routes.by_listener.iter().flat_map(|(_, table)| table.routes());
    all().find(|route| *route.name == *name).map(|route| &**route).ok_or_else(|| {
        let mut names: Vec<&str> = all().map(|r| &*r.name).collect();
        names.sort_unstable();
        names.dedup();
        Misuse(format!("there is no route `{name}` (have: {})", names.join(", ")))
    })
}
