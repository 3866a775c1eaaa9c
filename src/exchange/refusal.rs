//! What an issuer's refusal means: one table a profile, first row that fits. The words are hints for the operator and for
//! telling the caller's fault from ours; where no row fits it is held to be ours, so that no caller is sent away in vain.

mod others;
mod rows;

use super::Profile;
use crate::fault::{Fault, Reach, Why};
use crate::issuer::{Reply, json};
use crate::token::Grant;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use others::{ENTRA, STANDARDS};
use rows::{KEYCLOAK, Rule, SECRET};

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The caller's token is dead: 401.
    Subject,
    /// This caller does not get this target: 403.
    Target,
    /// The gateway's or the IAM's configuration: 500, never the caller's fault.
    Ours,
    /// The same, and of this target alone.
    OursForTarget,
    /// Ask again later.
    Later,
    /// It is broken.
    Broken,
    /// The caller has to do something about it, with the IAM: 401 with its claims.
    Interaction,
}

/// The fault for an answer whose status is not 200. `clean` takes secrets out of the issuer's words.
pub(super) fn fault(profile: Profile, grant: Grant, reply: &Reply, clean: impl Fn(&str) -> String) -> Fault {
    let said = json::object(&reply.body).ok();
    let text = |key| said.as_ref().and_then(|s| json::string(s, key).ok().flatten()).unwrap_or_default();
    let (error, description) = (text("error"), text("error_description"));
    let claims = Some(text("claims")).filter(|claims| profile == Profile::EntraObo && !claims.is_empty());
    let with_words = |why: Why| match (error, description) {
        ("", _) => why,
        (error, "") => why.words(&clean(error)),
        (error, description) => why.words(&clean(&format!("{error}: {description}"))),
    };
    let (class, why) = match reply.status {
        429 | 503 => (Class::Later, full(profile, reply.status)),
        500.. => (Class::Broken, Why::new(format!("the token endpoint answered HTTP {}", reply.status)).cure("look into the IAM's log")),
        400 | 402..=499 if claims.is_some() => (Class::Interaction, Why::new("Entra wants the user to fulfil a claims challenge")),
        400..=499 if !error.is_empty() => meaning(profile, reply.status, error, description),
        401 => unauthorized(),
        status => (
            Class::Broken,
            Why::new(format!("the token endpoint answered HTTP {status} and nothing that OAuth knows"))
                .cure("check the issuer's token_endpoint; redirects are not followed"),
        ),
    };
    let (class, why) = if grant == Grant::ClientCredentials { our_own(class, why) } else { (class, why) };
    let why = with_words(why).reaching(reach(class, reply.status)).into();
    match class {
        Class::Subject => Fault::InvalidToken(why),
        Class::Target => Fault::TargetRefused(why),
        Class::Ours | Class::OursForTarget => Fault::Misconfigured(why),
        Class::Later => Fault::IssuerUnavailable { retry_after: reply.retry_after, why },
        Class::Broken => Fault::BadIssuerAnswer(why),
        Class::Interaction => Fault::InteractionRequired { claims: claims.and_then(challenge), why },
    }
}

/// In base64, as clients of Entra expect it in a challenge; `None` where it is too long for a header.
fn challenge(claims: &str) -> Option<String> {
    const LONGEST: usize = 4096;
    (claims.len() <= LONGEST).then(|| STANDARD.encode(claims))
}

const OWN_CURE: &str = "check the route's scopes and `audience`, and that the gateway's client has the grant client_credentials for it; several \
                        audiences are sent with `profile: rfc8693` alone, since Keycloak refuses them";

/// Where no caller's token was sent, no caller is to blame.
fn our_own(class: Class, why: Why) -> (Class, Why) {
    match class {
        Class::Subject | Class::Target | Class::Interaction => {
            let why = Why::new("the IAM does not grant the gateway a token of its own").anchored("issuer-own-token");
            (Class::OursForTarget, why.cure(OWN_CURE))
        }
        Class::Ours | Class::OursForTarget | Class::Later | Class::Broken => (class, why),
    }
}

/// Who would be told the same.
fn reach(class: Class, status: u16) -> Reach {
    match class {
        Class::Subject => Reach::Subject,
        Class::Ours | Class::OursForTarget if status == 401 => Reach::Client,
        Class::Target | Class::Interaction | Class::OursForTarget => Reach::Target,
        Class::Ours | Class::Later | Class::Broken => Reach::Request,
    }
}

fn unauthorized() -> (Class, Why) {
    (Class::Ours, Why::new("the IAM does not accept the gateway's client credentials (HTTP 401)").cure(SECRET).anchored("issuer-401"))
}

fn full(profile: Profile, status: u16) -> Why {
    let why = Why::new(format!("the IAM turns requests away (HTTP {status})"));
    if profile == Profile::Keycloak && status == 503 { why.anchored("keycloak-full") } else { why }
}

fn meaning(profile: Profile, status: u16, error: &str, description: &str) -> (Class, Why) {
    let own = match profile {
        Profile::Keycloak => KEYCLOAK,
        Profile::EntraObo => ENTRA,
        Profile::Rfc8693 => &[],
    };
    let fits = |r: &&Rule| r.error == error && description.starts_with(r.begins);
    let (class, why) = match own.iter().chain(STANDARDS).find(fits) {
        Some(r) => (r.class, explained(r)),
        None => (Class::Ours, unknown(status)),
    };
    // A 401 is the answer to *our* authentication, whatever the words: no caller is to blame for it.
    if status == 401 && !matches!(class, Class::Ours | Class::OursForTarget) {
        return unauthorized();
    }
    (class, why)
}

fn explained(rule: &Rule) -> Why {
    let why = Why::new(rule.cause).anchored(rule.anchor);
    if let Some(cure) = rule.cure { why.cure(cure) } else { why }
}

/// No row has such words. What answers that there is no such thing, or no such method, is no token endpoint.
fn unknown(status: u16) -> Why {
    if matches!(status, 404 | 405) {
        let why = Why::new(format!("what answers at token_endpoint is no token endpoint (HTTP {status})")).anchored("issuer-no-endpoint");
        return why.cure("correct the issuer's token_endpoint, or leave it out: discovery knows it");
    }
    Why::new("the IAM refuses the exchange for a reason that is not known here").cure("its own words say why")
}

#[cfg(test)]
mod tests;
