//! A request that is sent once more because of the answer's status, elsewhere if there is an elsewhere: safe methods only, and
//! only what can be sent whole a second time. Connections that do not come about are the `upstream` room's matter.

use super::body::{Body, RequestBody};
use super::replay::{Replay, ReplayRoom};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use std::sync::Arc;

/// When a route's requests are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often, at the most.
    pub attempts: u32,
    /// When no connection comes about, whatever the method: nothing has been sent then.
    pub on_connect: bool,
    /// When the upstream answers one of these.
    pub on_status: Vec<StatusCode>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 1, on_connect: true, on_status: Vec::new() }
    }
}

/// A request that can be sent once more.
pub(super) struct Again {
    head: Parts,
    replay: Replay,
}

impl Again {
    /// `None`: it is not to be, or cannot be. Such a request costs nothing here.
    pub(super) fn keep(request: &mut Request<RequestBody>, retries: &Retries, room: &Arc<ReplayRoom>) -> Option<Self> {
        if retries.on_status.is_empty() || retries.attempts == 0 || !request.method().is_safe() {
            return None;
        }
        let replay = Replay::of(request.body_mut(), room)?;
        let (head, ()) = request_head(request).into_parts();
        Some(Self { head, replay })
    }

    /// The request once more, if `answer` is one after which it is to be sent again and all of it is there.
    pub(super) fn after(&self, answer: &Response<Body>, retries: &Retries) -> Option<Request<RequestBody>> {
        if !retries.on_status.contains(&answer.status()) {
            return None;
        }
        Some(Request::from_parts(self.head.clone(), self.replay.again()?))
    }
}

fn request_head(request: &Request<RequestBody>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    head
}
