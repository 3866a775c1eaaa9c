//! Which issuer's verifier a token goes to: the one of its route, or the one whose issuer it says it is from. That word is only
//! believed as far as choosing goes; the issuer chosen then has to vouch for the token.

use super::{Verified, Verifier, now, refused};
use crate::fault::{Fault, Why};
use crate::issuer::jws::Jws;
use crate::token::SubjectToken;
use std::sync::Arc;

/// The verifiers of a route.
#[derive(Clone, Debug)]
pub enum Verifiers {
    One(Arc<Verifier>),
    /// By the token's `iss`; no two of them are of the same.
    ByToken(Vec<Arc<Verifier>>),
}

impl Verifiers {
    pub fn verify(&self, token: SubjectToken) -> Verified {
        let all = match self {
            Self::One(verifier) => return verifier.verify(token),
            Self::ByToken(all) => all,
        };
        let digest = token.digest();
        // One that has verified it by keys before has read its `iss`: the token need not be taken apart again. Who was asked about it may have
        // been asked on another route, about a token without one.
        if let Some(verifier) = all.iter().find(|v| v.introspection.is_none() && v.knows(&digest)) {
            return verifier.verify_digested(token, digest);
        }
        match chosen(all, &token) {
            Ok(verifier) => verifier.verify_digested(token, digest),
            Err(why) => now(Err(refused(why))),
        }
    }

    /// The one that verifies this token.
    ///
    /// # Errors
    /// When the token is of no issuer that any of them stands for.
    pub fn of(&self, token: &SubjectToken) -> Result<&Arc<Verifier>, Fault> {
        match self {
            Self::One(verifier) => Ok(verifier),
            Self::ByToken(all) => chosen(all, token).map_err(refused),
        }
    }

    /// Whether this token has been looked at before, so that to do it again costs nothing.
    pub fn knows(&self, token: &SubjectToken) -> bool {
        let digest = token.digest();
        self.all().iter().any(|verifier| verifier.knows(&digest))
    }

    pub fn all(&self) -> &[Arc<Verifier>] {
        match self {
            Self::One(verifier) => std::slice::from_ref(verifier),
            Self::ByToken(all) => all,
        }
    }
}

fn chosen<'a>(all: &'a [Arc<Verifier>], token: &SubjectToken) -> Result<&'a Arc<Verifier>, Why> {
    let unread = |e: String| Why::new(format!("the caller's token does not say which issuer it is from: {e}"));
    let jws = Jws::read(token.expose()).map_err(unread)?;
    let iss = crate::issuer::json::string(&jws.claims, "iss").map_err(unread)?.ok_or_else(|| unread("it has no iss".to_owned()))?;
    all.iter().find(|v| *v.issuer.settings().url == *iss).ok_or_else(|| {
        Why::new(format!("the caller's token is of the issuer {:?}, which is none of those configured", super::claims::cut(iss)))
            .cure("if it should be, add it under issuers; its url must be exactly what stands in iss")
    })
}
