//! What an upstream has done for it beside requests: look-ups, health checks, and its gauges. All of it runs on the control
//! runtime and ends with the upstream; it touches no request.

use super::resolve::{self, Resolve, System};
use super::{Endpoints, Upstream, health};
use crate::clock::Clock;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// The clock is looked at this often, so that a turned clock or a machine that slept does not wait on.
const LOOK: Duration = Duration::from_millis(100);

impl Upstream {
    /// Begins what runs beside requests, on `control`. The second time it does nothing.
    pub fn start(self: &Arc<Self>, clock: &Clock, control: &Handle) {
        self.start_with(clock, control, Arc::new(System));
    }

    /// The same, with names looked up by `resolver`.
    pub fn start_with(self: &Arc<Self>, clock: &Clock, control: &Handle, resolver: Arc<dyn Resolve>) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        if matches!(self.settings.endpoints, Endpoints::Dns { .. }) {
            control.spawn(resolve::run(Arc::downgrade(self), clock.clone(), resolver));
        }
        if self.settings.health.is_some() {
            control.spawn(health::run(Arc::downgrade(self), clock.clone()));
        }
        if self.settings.health.is_some() || !self.settings.endpoints.is_one() {
            control.spawn(gauges(Arc::downgrade(self), clock.clone()));
        }
    }

    /// No configuration has it any more: nothing runs beside its requests from now on. Those that still come are sent as before.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Its gauges as of `now`.
    pub(super) fn tell(&self, now: u64) {
        let members = self.members.load_full();
        self.metrics.endpoints.set(members.all.len() as u64);
        self.metrics.healthy.set(members.all.iter().filter(|m| m.good(now)).count() as u64);
    }
}

/// An ejection ends by itself: so the gauges are looked after, and not only set when something happens.
async fn gauges(weak: Weak<Upstream>, clock: Clock) {
    while let Some(upstream) = kept(&weak) {
        upstream.tell(clock.millis());
        drop(upstream);
        tokio::time::sleep(LOOK).await;
    }
}

/// The upstream, as long as some configuration has it.
pub(super) fn kept(weak: &Weak<Upstream>) -> Option<Arc<Upstream>> {
    weak.upgrade().filter(|upstream| !upstream.retired.load(Ordering::Relaxed))
}

/// Waits until the clock is at `due`. `false`: the upstream is gone.
pub(super) async fn reached(weak: &Weak<Upstream>, clock: &Clock, due: u64) -> bool {
    while clock.millis() < due {
        if kept(weak).is_none() {
            return false;
        }
        tokio::time::sleep(LOOK.min(Duration::from_millis(due.saturating_sub(clock.millis())))).await;
    }
    kept(weak).is_some()
}
