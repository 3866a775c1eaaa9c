//! One key of a JWKS (RFC 7517): what may be used to check signatures, and what it may be used for. It believes no `x5c` or
//! `x5u`, and refuses keys that are for something else or too weak; the sibling `keys` keeps and finds them.

use super::json;
use super::jws::decode;
use super::keys::{Algorithm, Key, Shape};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

/// The shortest RSA modulus taken, in bytes (2048 bits).
const RSA_MIN: usize = 256;

/// # Errors
/// Why this key is of no use to us, in words that fit behind "one".
pub(super) fn read(jwk: &Map<String, Value>) -> Result<Key, String> {
    if !matches!(json::string(jwk, "use")?, None | Some("sig")) {
        return Err("not for signatures".to_owned());
    }
    let ops = json::strings(jwk, "key_ops")?;
    if !ops.is_empty() && !ops.contains(&"verify") {
        return Err("not for verifying".to_owned());
    }
    let (shape, material, parts) = material(jwk)?;
    let alg = match json::string(jwk, "alg")? {
        None => None,
        Some(name) => {
            let alg = Algorithm::from_name(name).ok_or("of an unknown algorithm")?;
            if !shape.fits(alg) {
                return Err("whose kty does not fit its alg".to_owned());
            }
            Some(alg)
        }
    };
    let kid = json::string(jwk, "kid")?.map(str::to_owned);
    Ok(Key::new(kid, alg, shape, material, &parts))
}

/// The key itself, and its numbers for telling two keys apart.
fn material(jwk: &Map<String, Value>) -> Result<(Shape, DecodingKey, Vec<Vec<u8>>), String> {
    let number = |name: &str| -> Result<Vec<u8>, String> {
        let text = json::string(jwk, name)?.ok_or_else(|| format!("without {name}"))?;
        let bytes = decode(text).ok_or_else(|| format!("whose {name} is not base64url"))?;
        Ok(bytes.into_iter().skip_while(|b| *b == 0).collect())
    };
    let kty = json::string(jwk, "kty")?;
    match (kty, json::string(jwk, "crv")?) {
        (Some("RSA"), _) => {
            let (n, e) = (number("n")?, number("e")?);
            if n.len() < RSA_MIN {
                return Err("of RSA with fewer than 2048 bits".to_owned());
            }
            Ok((Shape::Rsa, DecodingKey::from_rsa_raw_components(&n, &e), vec![n, e]))
        }
        (Some("EC"), Some(crv)) => {
            let (shape, size) = match crv {
                "P-256" => (Shape::P256, 32),
                "P-384" => (Shape::P384, 48),
                _ => return Err("of an unknown curve".to_owned()),
            };
            let point: Option<Vec<u8>> = [vec![4], padded(number("x")?, size), padded(number("y")?, size)]
                .into_iter()
                .try_fold(Vec::new(), |all, part| (!part.is_empty()).then(|| [all, part].concat()));
            let point = point.ok_or("whose point does not fit its curve")?;
            Ok((shape, DecodingKey::from_ec_der(&point), vec![point]))
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = json::string(jwk, "x")?.and_then(decode).filter(|x| x.len() == 32).ok_or("whose x is no Ed25519 key")?;
            Ok((Shape::Ed25519, DecodingKey::from_ed_der(&x), vec![x]))
        }
        _ => Err("of an unknown kind".to_owned()),
    }
}

/// A coordinate in its full width; empty where it is too wide.
fn padded(n: Vec<u8>, size: usize) -> Vec<u8> {
    if n.len() > size { Vec::new() } else { [vec![0; size - n.len()], n].concat() }
}
