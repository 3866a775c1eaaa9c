//! Asking an issuer about a token (RFC 7662), authenticated like at the token endpoint. What the answer means is for `verify` to
//! judge; the token is sent as it is and nowhere else.

use super::{CallError, Form, Issuer, Reply};
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
        self.control.spawn(async move {
            let Some(endpoint) = this.introspection_endpoint() else { return then(Err(CallError::NoEndpoint)) };
            let reply = this.client.post_token(endpoint, form, &this.settings).await;
            this.metrics.up(reply.as_ref().is_ok_and(Reply::well_formed));
            then(reply);
        });
    }

    fn introspection_endpoint(&self) -> Option<Url> {
        let found = || self.endpoints.load().as_ref().and_then(|e| e.introspection.clone());
        self.settings.introspection_endpoint.clone().or_else(found)
    }
}
