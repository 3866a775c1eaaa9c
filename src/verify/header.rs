//! What a token's header may say: which algorithm, which key, and that it is an access token. It takes no key and no address
//! from there (`jwk`, `jku`, `x5u` are not even looked at), and nothing that it would have to understand first (`crit`).

use super::{Algorithm, Settings};
use crate::fault::Why;
use crate::issuer::json;
use serde_json::{Map, Value};

/// The header types of access tokens, and those of them that RFC 9068 asks for.
const ACCESS: [&str; 3] = ["at+jwt", "application/at+jwt", "jwt"];
const RFC9068: usize = 2;

/// # Errors
/// Cause and cure.
pub(super) fn read<'a>(header: &'a Map<String, Value>, settings: &Settings) -> Result<(Algorithm, Option<&'a str>), Why> {
    let text = |key| json::string(header, key).map_err(|e| Why::new(format!("in the header of the caller's token, {e}")));
    if header.contains_key("crit") {
        return Err(Why::new("the caller's token has a crit header, and none of what it could demand is understood here"));
    }
    typ(text("typ")?, settings.strict_at_jwt)?;
    let name = text("alg")?.ok_or_else(|| Why::new("the caller's token names no signature algorithm"))?;
    let alg = Algorithm::from_name(name).filter(|a| settings.algorithms.contains(a)).ok_or_else(|| {
        Why::new(format!(
            "the caller's token is signed with {:?}, which is not among the issuer's verify.algorithms",
            super::claims::cut(name)
        ))
        .cure("HS* and none are never taken; have the IAM sign with RS256, PS256, ES256 or EdDSA")
    })?;
    Ok((alg, text("kid")?))
}

fn typ(typ: Option<&str>, strict: bool) -> Result<(), Why> {
    let accepted = if strict { &ACCESS[..RFC9068] } else { &ACCESS[..] };
    match typ {
        None if !strict => Ok(()),
        Some(typ) if accepted.iter().any(|a| a.eq_ignore_ascii_case(typ)) => Ok(()),
        Some(typ) if !strict => {
            Err(Why::new(format!("the caller's token is of the type {:?}, which is no access token", super::claims::cut(typ))))
        }
        _ => Err(Why::new("the caller's token is not of the type at+jwt, which verify.strict_at_jwt demands")
            .cure("Keycloak: set access.token.header.type.rfc9068 on the login client, or turn strict_at_jwt off")),
    }
}
