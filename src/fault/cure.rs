//! What an operator can do about a fault, where whoever made it had no better advice. One line a variant; it is never shown to
//! callers.

use super::Fault;

impl Fault {
    /// The cure: the one that came with the fault, or the ordinary one.
    pub fn cure(&self) -> &str {
        self.why().and_then(|why| why.cure.as_deref()).unwrap_or_else(|| self.ordinary_cure())
    }

    fn ordinary_cure(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "the caller has to send the request in a form that can be read in one way only",
            Self::NoToken => "the caller has to send its token as `Authorization: Bearer …`",
            Self::InvalidToken(_) => {
                "the caller has to log in again; if all its tokens are refused, compare their iss and aud with issuers.*.url and verify.audiences"
            }
            Self::InteractionRequired { .. } => "the caller has to send its user to sign in again with the claims of the challenge",
            Self::InsufficientAuthentication { .. } => {
                "the caller has to send its user to sign in again with the challenge's acr_values; or correct the route's `require`"
            }
            Self::InsufficientScope { .. } => {
                "give the caller's client the scope, or the user what the claim says; or correct the route's `require`"
            }
            Self::LoginClient(_) => {
                "callers have to log in with a client of their own, not with the one that is the route's audience; or set allow_login_client on the route"
            }
            Self::TargetRefused(_) => "let the IAM give the gateway's client this audience and these scopes, or correct the route",
            Self::NoRoute(_) => "add a route that matches, or correct the caller's URL; the access line has the path",
            Self::MethodNotAllowed { .. } => "add the method to the route's match, or correct the caller",
            Self::NoTunnel(_) => {
                "the workload has to ask for http:// URLs of the backends, whose routes may lead to https:// upstreams; list all other hosts in its NO_PROXY"
            }
            Self::Misdirected => "the caller has to open a connection for each host name",
            Self::BodyTooLarge => "raise the route's max_body if such bodies are wanted",
            Self::UriTooLong => "raise limits.uri_bytes if such targets are wanted",
            Self::HeadersTooLarge => "raise limits.header_bytes or limits.header_count if such headers are wanted",
            Self::RateLimited { .. } => {
                "the caller has to slow down; or raise the route's rate_limit, or limits.failed_authentication where tokens failed"
            }
            Self::Misconfigured(_) => "compare the issuer's settings with the gateway's client at the IAM",
            Self::BadIssuerAnswer(_) => "look at the IAM's own log for this exchange; is token_endpoint really its token endpoint?",
            Self::IssuerUnavailable { .. } => "bring the IAM back; the gateway recovers by itself",
            Self::IssuerTimeout(_) => "look at the IAM's load; or raise issuers.*.timeouts.total",
            Self::Overloaded(_) => "add replicas, or raise the limit if CPU and memory allow",
            Self::Draining => "callers have to go to another replica; raise shutdown.delay if they are slow to notice",
            Self::UpstreamUnreachable(_) => "is the backend up, and is the upstream's address right?",
            Self::UpstreamError(_) => "look at the backend's own log for this request",
            Self::UpstreamTimeout(_) => "look at the backend's load; or raise timeouts.response",
            Self::Internal(_) => "please report this as a bug, with the lines of the log around it",
        }
    }
}
