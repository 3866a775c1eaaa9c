//! OIDC back-channel logout: an issuer says that a session, or all of a user's, are over. It is believed only with the issuer's
//! signature, once, and while it is fresh; whoever else posts here learns nothing but that it was no good.

use crate::clock::{Clock, millis};
use crate::fault::{Fault, Why, bad_request};
use crate::issuer::jws::Jws;
use crate::issuer::{Found, Issuer, Keys, json};
use crate::revocation::{Revocations, Revoked};
use crate::verify::{Algorithm, Verifier};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Back-channel logout, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub path: String,
    /// Names of listeners.
    pub listeners: Vec<Arc<str>>,
    /// One of these must stand in `aud` of logout tokens; empty: any client.
    pub clients: Vec<String>,
}

/// Throws out what is held for those who were logged out.
pub trait Purger: Send + Sync + 'static {
    fn purge(&self, what: &Revoked);
}

pub struct Logout {
    clients: Vec<String>,
    verifiers: Vec<Arc<Verifier>>,
    revoked: Arc<Revocations>,
    purger: Option<Arc<dyn Purger>>,
    clock: Clock,
}

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How old a logout token may be.
const FRESH: u64 = 300;

impl Logout {
    /// `verifiers`: of all issuers, one each, in the order in which they are asked where several are of one URL.
    pub fn new(
        clients: Vec<String>,
        verifiers: Vec<Arc<Verifier>>,
        revoked: Arc<Revocations>,
        purger: Option<Arc<dyn Purger>>,
        clock: Clock,
    ) -> Self {
        Self { clients, verifiers, revoked, purger, clock }
    }

    /// # Errors
    /// 400 for what is no good logout token; as on a route where the issuer's keys are not to be had.
    pub async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let token = posted(&request).map_err(bad_request)?;
        for what in self.judge(&token).await? {
            self.revoked.revoke(&what);
            if let Some(purger) = &self.purger {
                purger.purge(&what);
            }
            tracing::info!(issuer = &**issuer_of(&what), all = matches!(what, Revoked::Subject { .. }), "logged out at the issuer");
        }
        let mut answer = Response::new(Bytes::new());
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }

    /// What is over, under each name that the issuer has in the configuration: whoever may believe it does so for all of them.
    async fn judge(&self, token: &str) -> Result<Vec<Revoked>, Fault> {
        let jws = Jws::read(token).map_err(|e| refused(format!("it is no JWT that could be checked: {e}")))?;
        let iss = json::string(&jws.claims, "iss").map_err(refused)?.ok_or_else(|| refused("it has no iss".to_owned()))?;
        let names = || self.verifiers.iter().filter(|v| *v.issuer().settings().url == *iss);
        let (mut believed, mut why) = (None, None);
        for verifier in names() {
            match self.believed(verifier, &jws).await {
                Ok(said) => {
                    believed = Some((said, verifier.settings().clock_skew));
                    break;
                }
                // That one of them could not check it says more than that another did not accept it.
                Err(fault) if why.is_none() || matches!(fault, Fault::IssuerUnavailable { .. }) => why = Some(fault),
                Err(_) => {}
            }
        }
        let none = || refused("its iss is none of the issuers that are configured".to_owned());
        let ((over, jti), skew) = believed.ok_or_else(|| why.unwrap_or_else(none))?;
        self.first_of(iss, jti, skew)?;
        Ok(names().map(|verifier| over.at(&verifier.issuer().settings().name)).collect())
    }

    async fn believed<'a>(&self, verifier: &Arc<Verifier>, jws: &'a Jws<'_>) -> Result<(Over, &'a str), Fault> {
        let (alg, kid) = head(&jws.header, &verifier.settings().algorithms).map_err(refused)?;
        let said = self.said(&jws.claims, verifier.settings().clock_skew.as_secs()).map_err(refused)?;
        signed(verifier.issuer(), alg, kid, jws).await?;
        Ok(said)
    }

    /// Whether nobody has come with this one before.
    fn first_of(&self, iss: &str, jti: &str, skew: Duration) -> Result<(), Fault> {
        let now = self.clock.millis();
        let gone_at = now.saturating_add(millis(Duration::from_secs(FRESH + 2 * skew.as_secs() + 1)));
        let first = self.revoked.first_heard(iss, jti, gone_at);
        if first { Ok(()) } else { Err(refused("its jti was seen before".to_owned())) }
    }

    /// What it says, and its `jti`: everything but the signature.
    fn said<'a>(&self, claims: &'a Map<String, Value>, skew: u64) -> Result<(Over, &'a str), String> {
        let now = self.clock.unix();
        let audiences = json::strings(claims, "aud")?;
        let meant =
            if self.clients.is_empty() { !audiences.is_empty() } else { audiences.iter().any(|a| self.clients.iter().any(|c| c == a)) };
        if !meant {
            return Err("its aud names none of logout.clients".to_owned());
        }
        let time = |key| json::number(claims, key).map(|t| t.map(|t| u64::try_from(t).unwrap_or(0)));
        let iat = time("iat")?.ok_or("it has no iat")?;
        if iat > now.saturating_add(skew) || iat.saturating_add(FRESH + skew) < now {
            return Err("its iat is not of now: compare the clocks of the IAM and of this machine".to_owned());
        }
        if time("exp")?.is_some_and(|exp| exp.saturating_add(skew) <= now) {
            return Err("it has expired".to_owned());
        }
        if claims.contains_key("nonce") {
            return Err("it has a nonce, which no logout token may have".to_owned());
        }
        if !claims.get("events").and_then(|e| e.get(EVENT)).is_some_and(Value::is_object) {
            return Err("its events name no back-channel logout".to_owned());
        }
        let jti = json::string(claims, "jti")?.filter(|j| !j.is_empty()).ok_or("it has no jti")?;
        let text = |key| json::string(claims, key).map(|t| t.filter(|t| !t.is_empty()).map(str::to_owned));
        let over = match (text("sid")?, text("sub")?) {
            (Some(sid), _) => Over::Session { sid },
            (None, Some(sub)) => Over::Subject { sub, until: iat },
            (None, None) => return Err("it has neither sid nor sub".to_owned()),
        };
        Ok((over, jti))
    }
}

/// What is over, at whichever name of the issuer.
enum Over {
    Session { sid: String },
    Subject { sub: String, until: u64 },
}

impl Over {
    fn at(&self, issuer: &Arc<str>) -> Revoked {
        let issuer = issuer.clone();
        match self {
            Self::Session { sid } => Revoked::Session { issuer, sid: sid.clone() },
            Self::Subject { sub, until } => Revoked::Subject { issuer, sub: sub.clone(), until: *until },
        }
    }
}

/// The one `logout_token` of a form.
fn posted(request: &Request<Bytes>) -> Result<String, &'static str> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err("a logout that is no form");
    }
    let mut tokens = url::form_urlencoded::parse(request.body()).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.into_owned()),
        _ => Err("a logout without exactly one logout_token"),
    }
}

fn head<'a>(header: &'a Map<String, Value>, algorithms: &[Algorithm]) -> Result<(Algorithm, Option<&'a str>), String> {
    if header.contains_key("crit") {
        return Err("it has a crit header, and none of what it could demand is understood here".to_owned());
    }
    let typ = json::string(header, "typ")?.unwrap_or_default();
    if !["logout+jwt", "application/logout+jwt"].iter().any(|t| t.eq_ignore_ascii_case(typ)) {
        return Err("its typ is not logout+jwt".to_owned());
    }
    let name = json::string(header, "alg")?.unwrap_or_default();
    let alg = Algorithm::from_name(name).filter(|a| algorithms.contains(a)).ok_or("its alg is not among verify.algorithms")?;
    Ok((alg, json::string(header, "kid")?))
}

/// With newer keys, if the ones that we have do not know it.
async fn signed(issuer: &Arc<Issuer>, alg: Algorithm, kid: Option<&str>, jws: &Jws<'_>) -> Result<(), Fault> {
    let keys = issuer.keys().ok_or_else(|| without_keys(issuer))?;
    match by(&keys, alg, kid, jws) {
        Some(true) => return Ok(()),
        Some(false) => return Err(refused("its signature is not the issuer's".to_owned())),
        None => {}
    }
    issuer.refetch(kid).await;
    let keys = issuer.keys().ok_or_else(|| without_keys(issuer))?;
    if by(&keys, alg, kid, jws) == Some(true) { Ok(()) } else { Err(refused("it is signed with no key of the issuer".to_owned())) }
}

/// `None`: none of these keys is the one.
fn by(keys: &Keys, alg: Algorithm, kid: Option<&str>, jws: &Jws<'_>) -> Option<bool> {
    match keys.find(kid, alg) {
        Found::Key(key) if key.signed(alg, jws) => Some(true),
        Found::Key(_) if kid.is_some() => Some(false),
        Found::Key(_) | Found::Unknown => None,
        Found::Unfit => Some(false),
    }
}

fn without_keys(issuer: &Issuer) -> Fault {
    let none = || Why::new(format!("the keys of issuer {} have not come in yet", issuer.settings().name)).into();
    Fault::IssuerUnavailable { retry_after: None, why: issuer.trouble().unwrap_or_else(none) }
}

fn refused(why: String) -> Fault {
    bad_request(format!("a logout token was refused: {why}"))
}

fn issuer_of(what: &Revoked) -> &Arc<str> {
    match what {
        Revoked::Session { issuer, .. } | Revoked::Subject { issuer, .. } => issuer,
    }
}
