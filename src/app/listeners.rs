//! The sockets that callers come in by, through all configurations: an address that stays is never closed, whatever it is called;
//! a new one is open before anything else changes, so that a port which is taken changes nothing.

use crate::listen::{self, Bound, Listening, Place, Workers};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Handle;

#[derive(Default)]
pub(super) struct Listeners {
    open: Vec<Open>,
    followed: Followed,
}

/// Listeners that have given their address to another: which, and to whom.
pub(super) type Followed = Vec<(Arc<str>, Arc<str>)>;

struct Open {
    settings: listen::Settings,
    /// For whoever takes the address over.
    place: Place,
    at: SocketAddr,
    listening: Listening,
}

/// What the next configuration makes of the listeners. Dropped, nothing has changed.
pub(super) struct Plan {
    opening: Vec<Opening>,
    /// Those that go on as they are.
    staying: Vec<Arc<str>>,
    pub followed: Followed,
}

struct Opening {
    settings: listen::Settings,
    bound: Bound,
    /// The listener that had this socket before.
    after: Option<Arc<str>>,
}

impl Listeners {
    /// Opens what is new. A listener that stays keeps its very name: its connections are known by it.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn plan(&self, wanted: &mut [listen::Settings]) -> anyhow::Result<Plan> {
        let mut plan = Plan { opening: Vec::new(), staying: Vec::new(), followed: self.followed.clone() };
        for settings in wanted {
            if let Some(open) = self.open.iter().find(|open| open.settings == *settings) {
                settings.name = open.settings.name.clone();
                plan.staying.push(open.settings.name.clone());
                continue;
            }
            let (bound, after) = match self.open.iter().find(|open| open.is_at(settings)) {
                Some(open) => (Bound::on(&open.place, settings.clone())?, Some(open.settings.name.clone())),
                None => (Bound::bind(settings.clone())?, None),
            };
            if let Some(before) = &after {
                for (_, to) in plan.followed.iter_mut().filter(|(_, to)| Arc::ptr_eq(to, before)) {
                    to.clone_from(&settings.name);
                }
                plan.followed.push((before.clone(), settings.name.clone()));
            }
            plan.opening.push(Opening { settings: settings.clone(), bound, after });
        }
        Ok(plan)
    }

    /// Begins to accept from what is new. What is no more is still to be closed.
    pub fn carry_out(&mut self, plan: Plan, workers: &Workers, control: &Handle) -> Gone {
        let Plan { opening, staying, followed } = plan;
        self.followed = followed;
        let is_in = |names: &[Arc<str>], open: &Open| names.iter().any(|name| Arc::ptr_eq(name, &open.settings.name));
        let (stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|open| is_in(&staying, open));
        self.open = stay;
        let taken_over: Vec<Arc<str>> = opening.iter().filter_map(|o| o.after.clone()).collect();
        for Opening { settings, bound, after: _ } in opening {
            let name = settings.name.clone();
            match opened(settings, bound, workers, control) {
                Ok(open) => self.open.push(open),
                Err(error) => tracing::error!(listener = %name, %error, "this listener does not accept"),
            }
        }
        // The sockets go here: a port is free only once nobody holds it.
        Gone(gone.into_iter().map(|open| (is_in(&taken_over, &open), open.listening)).collect())
    }

    /// The end: nobody holds a port any more but who accepts from it.
    pub fn let_go(&mut self) {
        self.open.clear();
    }

    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.open.iter().map(|open| (open.settings.name.clone(), open.at)).collect()
    }
}

/// Listeners that no configuration has any more, and whether another has their socket.
#[must_use]
pub(super) struct Gone(Vec<(bool, Listening)>);

impl Gone {
    /// Comes back when nobody is accepted there any more. Who has been finishes.
    pub async fn close(self, workers: &Workers) {
        for (taken_over, listening) in self.0 {
            if taken_over {
                workers.leave(&listening).await;
            } else {
                workers.close(&listening).await;
            }
        }
    }
}

fn opened(settings: listen::Settings, bound: Bound, workers: &Workers, control: &Handle) -> std::io::Result<Open> {
    let (at, place) = (bound.local_addr()?, bound.place()?);
    Ok(Open { listening: workers.accept(bound, control)?, settings, place, at })
}

impl Open {
    /// Port 0 is another one each time: there the name says which is meant.
    fn is_at(&self, settings: &listen::Settings) -> bool {
        self.settings.address == settings.address && (settings.address.port() != 0 || self.settings.name == settings.name)
    }
}
