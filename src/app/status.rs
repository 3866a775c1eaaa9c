//! What the admin listener shows of a running gateway, and what it may have done to it. It judges nobody: who asks has been let in.

mod history;
mod rooms;
mod routes;
mod verdict;

use super::explain;
use super::lasting::Lasting;
use super::reload::{self, Reloaded};
use crate::admin::{Program, Question, Reload};
use crate::cache::{Purge, Purged};
use crate::metrics::Metrics;
use crate::token::Subject;
use futures_util::future::{BoxFuture, FutureExt};
use history::Kept;
use serde_json::{Value, json};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The clock is looked at this often, so that a turned clock or a machine that slept does not wait on.
const LOOK: Duration = Duration::from_millis(250);

pub(super) struct Status {
    lasting: Arc<Lasting>,
    history: Kept,
    started: u64,
}

impl Status {
    pub fn new(lasting: Arc<Lasting>) -> Self {
        let history = Kept::default();
        history.look(&lasting);
        Self { started: lasting.rooms.clock.unix(), history, lasting }
    }
}

impl Program for Status {
    fn ready(&self) -> bool {
        self.lasting.ready()
    }

    fn metrics(&self) -> Arc<Metrics> {
        self.lasting.rooms.metrics.clone()
    }

    fn issuers(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.lasting.world.load().names().collect()
    }

    fn purge(&self, what: &Purge) -> Purged {
        // Whoever is asked about anew is asked before there is a new token for them.
        for made in self.lasting.world.load().issuers.values() {
            made.verifier.forget(|subject| concerns(what, subject));
        }
        if *what == Purge::All {
            // Before exchanges that are under way are made again.
            self.lasting.rooms.exchange.drop_own();
        }
        self.lasting.shared.tokens.evict(what)
    }

    fn reload(&self) -> BoxFuture<'static, Reload> {
        let lasting = self.lasting.clone();
        let told = move |reloaded| {
            let config = lasting.standing.json();
            match reloaded {
                Reloaded::Same => Reload::InForce(json!({ "changed": false, "config": config })),
                Reloaded::Changed(changes) => Reload::InForce(json!({ "changed": true, "changes": changes.json(), "config": config })),
                Reloaded::Refused(_) => Reload::Refused(json!({ "changed": false, "config": config })),
            }
        };
        let lasting = self.lasting.clone();
        async move { reload::now(&lasting).await.map_or(Reload::NoFile, told) }.boxed()
    }

    fn explain(&self, question: &Question) -> Result<Value, String> {
        let mut told = explain::explained(&self.lasting.world.load().config, question)?;
        explain::add_verdicts(&mut told, &self.lasting.shared, question)?;
        Ok(told)
    }

    fn status(&self) -> Value {
        let lasting = &*self.lasting;
        let (in_force, world) = (lasting.shared.in_force.load(), lasting.world.load());
        let (at, unix) = (lasting.rooms.clock.millis(), lasting.rooms.clock.unix());
        let history = self.history.now();
        let running = history::routes(&in_force);
        let routes = world.config.routes.iter().map(|settings| {
            let ring = history.routes.get(&settings.name);
            routes::route(settings, &world.config, running.get(&settings.name).map(|route| &***route), ring, at)
        });
        let mut told = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "now": unix,
            "uptime_seconds": unix.saturating_sub(self.started),
            "ready": self.ready(),
            "history": { "step_seconds": history::STEP_SECONDS, "steps": history::STEPS, "most_routes": history::MOST_ROUTES },
            "config": lasting.standing.json(),
            "log": rooms::log(&world),
            "listeners": rooms::listeners(lasting, &world, &in_force),
            "routes": routes.collect::<Vec<_>>(),
            "exchange_api": rooms::exchange_api(&world),
            "issuers": rooms::issuers(&world, &history, unix),
            "upstreams": rooms::upstreams(&world, &history, at),
            "cache": rooms::cache(lasting, &in_force, &history),
            "failures": lasting.shared.failures.latest(),
        });
        told["problems"] = verdict::problems(&told, unix);
        told
    }
}

/// Looks at the counters now and then, for as long as somebody may ask.
pub(super) async fn watch(status: Weak<Status>) {
    loop {
        let Some(clock) = status.upgrade().map(|status| status.lasting.rooms.clock.clone()) else { return };
        let next = clock.millis() + history::STEP_SECONDS * 1000;
        while clock.millis() < next {
            tokio::time::sleep(LOOK).await;
        }
        let Some(status) = status.upgrade() else { return };
        status.history.look(&status.lasting);
    }
}

/// Whose verification is forgotten with their tokens: nobody's, where it is all about an audience.
fn concerns(what: &Purge, subject: &Subject) -> bool {
    match what {
        Purge::Subject { issuer, sub } => *subject.issuer == **issuer && *subject.sub == **sub,
        Purge::Session { issuer, sid } => *subject.issuer == **issuer && subject.sid.as_deref() == Some(sid),
        Purge::Audience(_) => false,
        Purge::All => true,
    }
}
