//! Connections that were turned away at `limits.max_connections`, told to the operator: the first at once, those of a flood as a
//! sum every few seconds. It turns nobody away itself.

use crate::fault::{Fault, Why};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

const EVERY: Duration = Duration::from_secs(10);
const CURE: &str = "raise limits.max_connections (and the limit of open files with it), lower limits.idle_timeout, or start more replicas";

pub(super) fn fault() -> Fault {
    Fault::Overloaded(Why::new("all connections are taken (limits.max_connections)").cure(CURE).into())
}

pub(super) struct TurnedAway {
    limit: AtomicUsize,
    untold: AtomicU64,
    /// Somebody is about to tell what comes.
    telling: AtomicBool,
    control: Handle,
}

impl TurnedAway {
    pub fn new(limit: usize, control: Handle) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), untold: AtomicU64::new(0), telling: AtomicBool::new(false), control })
    }

    /// The limit is another from now on.
    pub fn at(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// One more, at this listener.
    pub fn note(self: &Arc<Self>, listener: &str) {
        self.untold.fetch_add(1, Ordering::SeqCst);
        if self.telling.swap(true, Ordering::SeqCst) {
            return;
        }
        self.tell(Some(listener));
        let this = self.clone();
        self.control.spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                if this.tell(None) {
                    continue;
                }
                this.telling.store(false, Ordering::SeqCst);
                // One that came in between has left it to us.
                if this.untold.load(Ordering::SeqCst) == 0 || this.telling.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        });
    }

    /// `false`: there was nothing to tell.
    fn tell(&self, listener: Option<&str>) -> bool {
        let count = self.untold.swap(0, Ordering::SeqCst);
        if count > 0 {
            let (max_connections, listener) = (self.limit.load(Ordering::Relaxed), listener.unwrap_or("-"));
            tracing::warn!(
                count,
                max_connections,
                listener,
                cure = CURE,
                "connections were turned away: limits.max_connections is reached"
            );
        }
        count > 0
    }
}
