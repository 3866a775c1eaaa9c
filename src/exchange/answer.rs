//! What may be trusted of a successful answer, and for how long. An answer that does not fit what was asked is not used in
//! part: a token for somebody else, for something else or of no known life is never injected and never stored.

use super::Profile;
use super::exchanger::Sent;
use super::grant::{Acting, Asking};
use super::returned;
use crate::fault::{Fault, Why};
use crate::issuer::jws::Jws;
use crate::issuer::{ClientAuth, Issuer, Reply, json};
use crate::token::{ACCESS_TOKEN, AccessToken, Caller, Target};
use serde_json::{Map, Value};
use std::time::Duration;

/// The life of a token of which nobody says how long it is.
const UNSAID: i64 = 60;
/// How far an issuer's clock may be ahead of ours, in seconds.
const AHEAD: u64 = 60;
/// Longer subject tokens were once dropped silently by Keycloak, and the gateway's own account answered for (CVE-2026-9704).
const DROPPED: usize = 4000;

/// What an answer has to fit.
pub(super) struct Asked<'a> {
    pub profile: Profile,
    pub asking: &'a Asking<'a>,
    pub target: &'a Target,
    pub sent: Sent,
    pub issuer: &'a Issuer,
}

/// Takes out of what the issuer wrote what nobody may read.
type Clean<'a> = &'a dyn Fn(&str) -> String;

pub(super) struct Issued {
    pub token: AccessToken,
    /// How long it may be used, from when it was asked for.
    pub life: Duration,
    /// How long it is good for by the issuer's word alone.
    pub by_issuer: Duration,
    /// Since when tokens count, seconds since 1970; 0: the issuer does not say.
    pub not_before: u64,
}

impl Asked<'_> {
    /// `now` is the wall clock when the answer is in.
    pub(super) fn judge(&self, reply: &Reply, now: u64) -> Result<Issued, Fault> {
        let fields = json::object(&reply.body).map_err(|e| bad(format!("the token endpoint answered {e}")))?;
        let text = |key| json::string(&fields, key).map_err(|e| bad(format!("in the token endpoint's answer, {e}")));
        let issued = text("access_token")?;
        // An answer that is mixed up may hold a token anywhere.
        let hidden: Vec<&str> = self.asking.confided().into_iter().chain(issued).collect();
        let clean = |words: &str| self.issuer.cleaned_of(words, &hidden);
        match text("token_type")? {
            Some(kind) if kind.eq_ignore_ascii_case("Bearer") => {}
            kind => {
                let kind = shown_type(kind, &clean);
                return Err(bad(format!("the issued token has token_type {kind}, and only Bearer can be injected")));
            }
        }
        self.of_the_type_asked_for(text("issued_token_type")?, &clean)?;
        let raw = issued.ok_or_else(|| bad("the token endpoint's answer holds no access_token"))?;
        let token = AccessToken::new(raw).map_err(|e| bad(format!("the token endpoint answered with {e}")))?;
        returned::refused(raw, self.asking, self.issuer)?;
        let expires_in = json::number(&fields, "expires_in").map_err(|e| bad(format!("in the token endpoint's answer, {e}")))?;
        if let Some(gone) = expires_in.filter(|s| *s <= 0) {
            return Err(bad(format!("the issued token has expires_in {gone}: it is of no use to anybody"))
                .cured("Keycloak: an offline session whose life has ended does this; the user must log in again"));
        }
        let exp = if Jws::looks_like(raw) { self.fits(raw, &clean, now)? } else { self.opaque().map(|()| None)? };
        if exp.is_some_and(|exp| exp <= signed(now)) {
            return Err(bad("the issued token has already expired (exp)").cured("compare the clocks of the IAM and of this machine"));
        }
        let left = exp.map(|exp| exp.saturating_sub(signed(self.sent.unix)));
        let said = expires_in.or(left).unwrap_or(UNSAID);
        let by_issuer = left.map_or(said, |left| said.min(left));
        let life = self.bounded(by_issuer, now)?;
        Ok(Issued { token, life, by_issuer: seconds(by_issuer), not_before: not_before(&fields, now) })
    }

    /// Only RFC 8693 has its answer say what was issued.
    fn of_the_type_asked_for(&self, kind: Option<&str>, clean: Clean) -> Result<(), Fault> {
        let wanted = match self.asking {
            Asking::TokenExchange { .. } => Some(&*self.target.settings.requested_token_type),
            Asking::JwtBearer { .. } | Asking::ClientCredentials => kind.map(|_| ACCESS_TOKEN),
        };
        if kind == wanted {
            return Ok(());
        }
        let (kind, wanted) = (shown_type(kind, clean), shown(wanted, &str::to_owned));
        Err(bad(format!("the issued token has issued_token_type {kind}, where {wanted} was asked for")))
    }

    /// Checks an issued JWT against what was asked for. Its signature is not: it came from the issuer itself.
    fn fits(&self, raw: &str, clean: Clean, now: u64) -> Result<Option<i64>, Fault> {
        let jws = Jws::read(raw).map_err(|e| bad(format!("the issued token looks like a JWT, but {e}")))?;
        let wrong = |e: String| bad(format!("in the issued token, {e}"));
        let audiences = json::strings(&jws.claims, "aud").map_err(wrong)?;
        if let Some(missing) = self.target.settings.expect_audiences.iter().find(|want| !audiences.contains(&want.as_str())) {
            let found = shown(Some(&audiences.join(" ")), clean);
            return Err(bad(format!("the issued token is for {found}, without the audience {missing} that was asked for"))
                .cured("an audience often needs the scope that adds it as well: set the route's scopes, or expect_audience"));
        }
        match self.asking {
            Asking::TokenExchange { caller, .. } => same_subject(&jws.claims, caller)?,
            Asking::JwtBearer { caller } => same_user(&jws.claims, caller)?,
            Asking::ClientCredentials => {}
        }
        if let Some(actor) = self.asking.actor() {
            acted_for(&jws.claims, actor)?;
        }
        self.begun(json::number(&jws.claims, "nbf").map_err(wrong)?, now)?;
        unbound(&jws.claims, &self.issuer.settings().client_auth)?;
        self.of_the_issuer(json::string(&jws.claims, "iss").map_err(wrong)?, clean)?;
        json::number(&jws.claims, "exp").map_err(wrong)
    }

    /// A backend would refuse what is not valid yet.
    fn begun(&self, not_before: Option<i64>, now: u64) -> Result<(), Fault> {
        let skew = self.asking.caller().map_or(AHEAD, |caller| caller.subject.clock_skew.as_secs());
        match not_before {
            Some(at) if at > signed(now.saturating_add(skew)) => {
                let why = Why::new(format!("the issued token is not valid yet (nbf), for another {} s", at.saturating_sub(signed(now))));
                Err(untrusted(why.cure("compare the clocks of the IAM and of this machine").anchored("issued-not-yet")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Certain only where the issuer itself named its token endpoint: one that is given by hand may be somebody else's who trusts it,
    /// and Entra goes by several names.
    fn of_the_issuer(&self, iss: Option<&str>, clean: Clean) -> Result<(), Fault> {
        let settings = self.issuer.settings();
        let known = settings.token_endpoint.is_none() && matches!(self.profile, Profile::Keycloak | Profile::Rfc8693);
        match iss {
            Some(iss) if known && *iss != *settings.url => {
                let why = Why::new(format!(
                    "the issued token is of the issuer {} (iss), and {} was asked",
                    shown(Some(iss), clean),
                    settings.url
                ));
                let cure = "a backend that trusts the one does not trust the other; where this is meant to be so, write the issuer's \
                            token_endpoint: the name is not compared then";
                Err(untrusted(why.cure(cure).anchored("issued-foreign")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// An opaque token cannot be checked: it must not come from where it could be the gateway's own.
    fn opaque(&self) -> Result<(), Fault> {
        let long = self.asking.caller().is_some_and(|caller| caller.token.expose().len() > DROPPED);
        match self.profile {
            Profile::Keycloak if long => Err(bad(format!(
                "the issued token is opaque and the caller's is longer than {DROPPED} characters, so that it could be the gateway's own"
            ))
            .cured("make the login client's tokens smaller, or have the IAM issue JWTs (Keycloak: CVE-2026-9704)")),
            Profile::Keycloak | Profile::Rfc8693 | Profile::EntraObo => Ok(()),
        }
    }

    /// The least of what the issuer says, what is left of the tokens that were sent, and what the route allows.
    fn bounded(&self, by_issuer: i64, now: u64) -> Result<Duration, Fault> {
        let skewed = |caller: &Caller| caller.subject.expires_at.saturating_add(caller.subject.clock_skew.as_secs());
        let ends = [(self.asking.caller().map(skewed), "caller"), (self.asking.actor().map(|actor| actor.until), "actor")];
        let mut life = by_issuer;
        for (until, whose) in ends.into_iter().filter_map(|(until, whose)| Some((until?, whose))) {
            let left = signed(until).saturating_sub(signed(self.sent.unix));
            if left <= 0 || until <= now {
                return Err(Fault::InvalidToken(Why::new(format!("the {whose}'s token expired while it was being exchanged")).into()));
            }
            life = life.min(left);
        }
        Ok(seconds(life).min(self.target.settings.max_ttl))
    }
}

/// Keycloak's word on since when tokens count: of the realm, of the gateway's client or of the caller, whichever is latest. What
/// cannot be such a time is no reason to refuse the token, and is passed over: one in the future would make every token too old.
fn not_before(fields: &Map<String, Value>, now: u64) -> u64 {
    let said = json::number(fields, "not-before-policy").ok().flatten().and_then(|at| u64::try_from(at).ok());
    said.filter(|at| *at <= now.saturating_add(AHEAD)).unwrap_or(0)
}

/// Never the subjects themselves: who our users are is nobody's business in a log of errors.
fn same_subject(claims: &Map<String, Value>, caller: &Caller) -> Result<(), Fault> {
    match claims.get("sub").and_then(Value::as_str) {
        Some(sub) if *sub == *caller.subject.sub => Ok(()),
        Some(_) => Err(bad("the issued token is somebody else's than the caller's (sub)")
            .cured("the IAM may have answered with the gateway's own account; Keycloak: CVE-2026-9704, use 26.6.3 or later")),
        None => Err(bad("the issued token has no sub, so that nobody can tell whose it is")
            .cured("Keycloak: give the gateway's client the client scope `basic`, whose mapper adds sub")),
    }
}

/// Entra gives a user another `sub` for each application; `oid` in the tenant `tid` is the user.
fn same_user(claims: &Map<String, Value>, caller: &Caller) -> Result<(), Fault> {
    let theirs = Jws::read(caller.token.expose()).map_err(|_| bad("the caller's token is no JWT, so that nobody can tell whose it is"))?;
    for name in ["oid", "tid"] {
        let text = |claims: &Map<String, Value>| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text(claims), text(&theirs.claims)) {
            (Some(issued), Some(brought)) if issued == brought => {}
            (Some(_), Some(_)) => return Err(bad(format!("the issued token is somebody else's than the caller's ({name})"))),
            (None, _) => return Err(bad(format!("the issued token has no {name}, so that nobody can tell whose it is"))),
            (_, None) => return Err(bad(format!("the caller's token has no {name}, so that nobody can tell whose the issued one is"))),
        }
    }
    Ok(())
}

/// Where somebody was to act for the caller, the token must say who does: else it is an impersonation.
fn acted_for(claims: &Map<String, Value>, actor: &Acting) -> Result<(), Fault> {
    let Some(Value::Object(act)) = claims.get("act") else {
        return Err(bad("an actor's token was sent, and the issued token does not say who acts (act)").cured(
            "the IAM ignores actor_token (Keycloak 26.7 does, without a word): take `actor` out of the route, or use an IAM that delegates",
        ));
    };
    match (act.get("sub").and_then(Value::as_str).filter(|sub| !sub.is_empty()), &actor.sub) {
        (None, _) => Err(bad("an actor's token was sent, and the issued token names nobody who acts (act.sub)")
            .cured("have the IAM put the actor's sub into act (RFC 8693, section 4.1)")),
        (Some(issued), Some(sent)) if *issued != **sent => {
            Err(bad("the issued token names another actor than the one that was sent (act.sub)"))
        }
        // Whose an opaque token of the gateway's own is, nobody here can tell.
        (Some(_), _) => Ok(()),
    }
}

/// A token that is bound to a key (RFC 7800) is of use to nobody who cannot prove to have it. The one key that we show to issuers is our
/// certificate's; whether the backend sees the same one is between the two.
pub(super) fn unbound(claims: &Map<String, Value>, auth: &ClientAuth) -> Result<(), Fault> {
    let refused = |cause: &'static str, cure: &'static str| Err(untrusted(Why::new(cause).cure(cure).anchored("issued-bound")));
    let cnf = match claims.get("cnf") {
        None | Some(Value::Null) => return Ok(()),
        Some(cnf) => cnf.as_object(),
    };
    let has = |name| cnf.is_some_and(|cnf| cnf.contains_key(name));
    if has("jkt") {
        let cure = "have the IAM issue plain bearer tokens to the gateway's client (Keycloak: `Require DPoP bound tokens` off)";
        return refused("the issued token is bound to a key (cnf: jkt), and the gateway has no proof of it for the backend", cure);
    }
    let certificate = cnf.filter(|cnf| cnf.len() == 1).and_then(|cnf| cnf.get("x5t#S256")).is_some_and(Value::is_string);
    match auth {
        ClientAuth::TlsClientAuth(_) if certificate => Ok(()),
        _ if certificate => refused(
            "the issued token is bound to a certificate (cnf: x5t#S256), and the gateway showed the IAM none",
            "set `token_endpoint_auth_method: tls_client_auth`, or have the IAM issue unbound tokens to the gateway's client (Keycloak: \
             `OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled` off)",
        ),
        _ => refused("the issued token is bound to a key (cnf), and the gateway has none", "have the IAM issue plain bearer tokens"),
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

fn untrusted(why: Why) -> Fault {
    Fault::BadIssuerAnswer(why.into())
}

fn shown(text: Option<&str>, clean: Clean) -> String {
    text.map_or_else(|| "none".to_owned(), |t| format!("{:?}", clean(t).chars().take(100).collect::<String>()))
}

/// A type, if it is one.
fn shown_type(text: Option<&str>, clean: Clean) -> String {
    const LONGEST: usize = 20;
    match text {
        Some(t) if t.len() > LONGEST && !t.starts_with("urn:ietf:params:oauth:token-type:") => "that is none".to_owned(),
        _ => shown(text, clean),
    }
}

fn seconds(n: i64) -> Duration {
    Duration::from_secs(u64::try_from(n).unwrap_or(0))
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
