//! A request that is sent once more, elsewhere if there is an elsewhere: because of the answer's status, with safe methods only; or
//! because an HTTP/2 upstream has not looked at it. Only what can be sent whole a second time is. Connections that do not come
//! about are the `upstream` room's matter.

use super::body::{Body, RequestBody};
use super::replay::{Replay, ReplayRoom};
use crate::upstream::Error;
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
    /// Whether statuses count.
    on_status: bool,
}

impl Again {
    /// `None`: it is not to be, or cannot be. Such a request costs nothing here. `refusable`: the upstream may say that it has not
    /// looked at it.
    pub(super) fn keep(request: &mut Request<RequestBody>, retries: &Retries, refusable: bool, room: &Arc<ReplayRoom>) -> Option<Self> {
        let on_status = !retries.on_status.is_empty() && request.method().is_safe();
        if retries.attempts == 0 || !(on_status || refusable) {
            return None;
        }
        let replay = Replay::of(request.body_mut(), room)?;
        let (head, ()) = request_head(request).into_parts();
        Some(Self { head, replay, on_status })
    }

    /// The request once more, if `sent` is an end after which it is to be sent again and all of it is there.
    pub(super) fn after(&self, sent: &Result<Response<Body>, Error>, retries: &Retries) -> Option<Request<RequestBody>> {
        let wanted = match sent {
            Ok(answer) => self.on_status && retries.on_status.contains(&answer.status()),
            Err(error) => matches!(error, Error::Refused { .. }),
        };
        if !wanted {
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
