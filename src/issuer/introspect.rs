//! Asking an issuer about a token (RFC 7662), with the proof and the protection that questions to the token endpoint have. What the answer means is for `verify` to
//! judge; the token is sent as it is and nowhere else.

use super::ask;
use super::{CallError, Form, Issuer, Priority, Reply};
use crate::telemetry;
use std::sync::Arc;
use url::Url;

impl Issuer {
    /// Whether it is known where to ask.
    pub fn introspects(&self) -> bool {
        self.introspection_endpoint().is_some()
    }

    /// Asks on the control runtime and hands the outcome on there: it goes on whoever still waits for it.
    pub fn introspect(self: &Arc<Self>, token: &str, then: impl FnOnce(Result<Reply, CallError>) + Send + 'static) {
        let form = Form::new().with("token", token).with("token_type_hint", "access_token");
        let this = self.clone();
        self.control.spawn(telemetry::carried(telemetry::around(), async move {
            let Some(endpoint) = this.introspection_endpoint() else { return then(Err(CallError::NoEndpoint)) };
            then(ask::ask(&this, &endpoint, &form, Priority::Caller).await);
        }));
    }

    fn introspection_endpoint(&self) -> Option<Url> {
        let found = || self.endpoints.load().as_ref().and_then(|e| e.introspection.clone());
        self.settings.introspection_endpoint.clone().or_else(found)
    }
}
