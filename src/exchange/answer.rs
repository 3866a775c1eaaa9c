//! What may be trusted of a successful answer, and for how long. An answer that does not fit what was asked is not used in
//! part: a token for somebody else, for something else or of no known life is never injected and never stored.

use super::Profile;
use super::exchanger::Sent;
use super::grant::token_exchange::ACCESS_TOKEN;
use crate::fault::{Fault, Why};
use crate::issuer::jws::Jws;
use crate::issuer::{Reply, json, without_tokens};
use crate::token::{AccessToken, Caller, Target};
use serde_json::{Map, Value};
use std::time::Duration;

/// The life of a token of which nobody says how long it is.
const UNSAID: i64 = 60;
/// Longer subject tokens were once dropped silently by Keycloak, and the gateway's own account answered for (CVE-2026-9704).
const DROPPED: usize = 4000;

/// What an answer has to fit.
pub(super) struct Asked<'a> {
    pub profile: Profile,
    pub caller: &'a Caller,
    pub target: &'a Target,
    pub sent: Sent,
}

pub(super) struct Issued {
    pub token: AccessToken,
    /// How long it may be used, from when it was asked for.
    pub life: Duration,
    /// How long it is good for by the issuer's word alone.
    pub by_issuer: Duration,
}

impl Asked<'_> {
    /// `now` is the wall clock when the answer is in.
    pub(super) fn judge(&self, reply: &Reply, now: u64) -> Result<Issued, Fault> {
        let fields = json::object(&reply.body).map_err(|e| bad(format!("the token endpoint answered {e}")))?;
        let text = |key| json::string(&fields, key).map_err(|e| bad(format!("in the token endpoint's answer, {e}")));
        match text("token_type")? {
            Some(kind) if kind.eq_ignore_ascii_case("Bearer") => {}
            kind => return Err(bad(format!("the issued token has token_type {}, and only Bearer can be injected", shown_type(kind)))),
        }
        match text("issued_token_type")? {
            Some(ACCESS_TOKEN) => {}
            kind => {
                return Err(bad(format!(
                    "the issued token has issued_token_type {}, where an access token was asked for",
                    shown_type(kind)
                )));
            }
        }
        let raw = text("access_token")?.ok_or_else(|| bad("the token endpoint's answer holds no access_token"))?;
        let token = AccessToken::new(raw).map_err(|e| bad(format!("the token endpoint answered with {e}")))?;
        let expires_in = json::number(&fields, "expires_in").map_err(|e| bad(format!("in the token endpoint's answer, {e}")))?;
        if let Some(gone) = expires_in.filter(|s| *s <= 0) {
            return Err(bad(format!("the issued token has expires_in {gone}: it is of no use to anybody"))
                .cured("Keycloak: an offline session whose life has ended does this; the user must log in again"));
        }
        let exp = if Jws::looks_like(raw) { self.fits(raw)? } else { self.opaque().map(|()| None)? };
        if exp.is_some_and(|exp| exp <= signed(now)) {
            return Err(bad("the issued token has already expired (exp)").cured("compare the clocks of the IAM and of this machine"));
        }
        let left = exp.map(|exp| exp.saturating_sub(signed(self.sent.unix)));
        let said = expires_in.or(left).unwrap_or(UNSAID);
        let by_issuer = left.map_or(said, |left| said.min(left));
        let life = self.bounded(by_issuer)?;
        Ok(Issued { token, life, by_issuer: seconds(by_issuer) })
    }

    /// Checks an issued JWT against what was asked for. Its signature is not: it came from the issuer itself.
    fn fits(&self, raw: &str) -> Result<Option<i64>, Fault> {
        let jws = Jws::read(raw).map_err(|e| bad(format!("the issued token looks like a JWT, but {e}")))?;
        let wrong = |e: String| bad(format!("in the issued token, {e}"));
        let audiences = json::strings(&jws.claims, "aud").map_err(wrong)?;
        if let Some(missing) = self.target.expect_audiences.iter().find(|want| !audiences.contains(&want.as_str())) {
            let found = shown(Some(&audiences.join(" ")));
            return Err(bad(format!("the issued token is for {found}, without the audience {missing} that was asked for"))
                .cured("an audience often needs the scope that adds it as well: set the route's scopes, or expect_audience"));
        }
        self.same_subject(&jws.claims)?;
        json::number(&jws.claims, "exp").map_err(wrong)
    }

    /// Never the subjects themselves: who our users are is nobody's business in a log of errors.
    fn same_subject(&self, claims: &Map<String, Value>) -> Result<(), Fault> {
        match claims.get("sub").and_then(Value::as_str) {
            Some(sub) if *sub == *self.caller.subject.sub => Ok(()),
            Some(_) => Err(bad("the issued token is somebody else's than the caller's (sub)")
                .cured("the IAM may have answered with the gateway's own account; Keycloak: CVE-2026-9704, use 26.6.3 or later")),
            None => Err(bad("the issued token has no sub, so that nobody can tell whose it is")
                .cured("Keycloak: give the gateway's client the client scope `basic`, whose mapper adds sub")),
        }
    }

    /// An opaque token cannot be checked: it must not come from where it could be the gateway's own.
    fn opaque(&self) -> Result<(), Fault> {
        match self.profile {
            Profile::Keycloak if self.caller.token.expose().len() > DROPPED => Err(bad(format!(
                "the issued token is opaque and the caller's is longer than {DROPPED} characters, so that it could be the gateway's own"
            ))
            .cured("make the login client's tokens smaller, or have the IAM issue JWTs (Keycloak: CVE-2026-9704)")),
            Profile::Keycloak | Profile::Rfc8693 => Ok(()),
        }
    }

    /// The least of what the issuer says, what is left of the caller's own token, and what the route allows.
    fn bounded(&self, by_issuer: i64) -> Result<Duration, Fault> {
        let subject = &self.caller.subject;
        let until = subject.expires_at.saturating_add(subject.clock_skew.as_secs());
        let of_subject = signed(until).saturating_sub(signed(self.sent.unix));
        if of_subject <= 0 {
            return Err(Fault::InvalidToken(Why::new("the caller's token expired while it was being exchanged").into()));
        }
        Ok(seconds(by_issuer.min(of_subject)).min(self.target.max_ttl))
    }
}

/// A cure for a fault that was made without one.
trait Cured {
    fn cured(self, cure: &'static str) -> Self;
}

impl Cured for Fault {
    fn cured(self, cure: &'static str) -> Self {
        match self {
            Self::BadIssuerAnswer(why) => Self::BadIssuerAnswer(why.0.clone().cure(cure).into()),
            other => other,
        }
    }
}

fn bad(cause: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::BadIssuerAnswer(Why::new(cause).into())
}

fn shown(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), |t| format!("{:?}", without_tokens(t).chars().take(100).collect::<String>()))
}

/// A type, if it is one: an answer that is mixed up may hold the token in its place.
fn shown_type(text: Option<&str>) -> String {
    const LONGEST: usize = 20;
    match text {
        Some(t) if t.len() > LONGEST && !t.starts_with("urn:ietf:params:oauth:token-type:") => "that is none".to_owned(),
        _ => shown(text),
    }
}

fn seconds(n: i64) -> Duration {
    Duration::from_secs(u64::try_from(n).unwrap_or(0))
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
