//! All that one configuration decides about requests, swapped as one: a request is under one configuration from its head to its
//! end. It is made when a configuration loads and never changes afterwards.

use super::divert::Door;
use super::force::ForceHeader;
use super::hold_off::FailedAuthentication;
use super::outbound::Outbound;
use super::replay::ReplayRoom;
use super::route::{Limits, Routes};
use crate::telemetry::Recorder;
use std::any::Any;
use std::sync::Arc;

pub struct InForce {
    pub routes: Routes,
    /// Listeners that are outbound proxies; all others are reverse ones.
    pub outbound: Vec<Arc<Outbound>>,
    /// Paths of the gateway's own.
    pub doors: Vec<Arc<Door>>,
    pub limits: Limits,
    /// By which callers may ask for a newer token; off where there is none.
    pub force: Option<ForceHeader>,
    /// Sources whose callers fail to authenticate; `None`: nobody counts them.
    pub failed: Option<Arc<FailedAuthentication>>,
    /// For bodies that may have to be sent again.
    pub replays: Arc<ReplayRoom>,
    /// Who gets the traces; `None`: there are none.
    pub traces: Option<Arc<Recorder>>,
    /// Listeners that have given their address to another: which, and to whom. What they accepted belongs to that one now.
    pub followed: Vec<(Arc<str>, Arc<str>)>,
    /// What has to live as long as a request under this configuration. Nobody here looks at it.
    pub held: Box<dyn Any + Send + Sync>,
}

impl InForce {
    /// The listener whose connections those of `accepted_by` are. It is told by its very name, not by an equal one: after a
    /// reload a name may be another address's.
    pub(super) fn listener(&self, accepted_by: &Arc<str>) -> Arc<str> {
        let followed = self.followed.iter().find(|(old, _)| Arc::ptr_eq(old, accepted_by));
        followed.map_or(accepted_by, |(_, new)| new).clone()
    }

    pub(super) fn has(&self, listener: &Arc<str>) -> bool {
        self.routes.by_listener.iter().any(|(name, _)| Arc::ptr_eq(name, listener))
    }
}
