//! A JWT taken apart: three base64url parts, a header and claims that are JSON objects with every key once. It is read, not
//! believed: nothing here checks a signature, and no other serialisation (JSON, encrypted, detached) is understood.

use super::json;
use crate::token::MAX_TOKEN;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;

pub struct Jws<'a> {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    /// What the signature covers: the first two parts with the dot between.
    pub signed: &'a [u8],
    /// The third part as it came, still encoded.
    pub signature: &'a str,
}

impl<'a> Jws<'a> {
    /// # Errors
    /// In words that say what is wrong with its form, and hold nothing of the token.
    pub fn read(token: &'a str) -> Result<Self, String> {
        if token.len() > MAX_TOKEN {
            return Err("it is longer than 16 KiB".to_owned());
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(format!("it has {} parts where a signed JWT has three", token.split('.').count()));
        };
        decode(signature).ok_or("its signature is not base64url")?;
        Ok(Self {
            header: part(header, "header")?,
            claims: part(claims, "payload")?,
            signed: &token.as_bytes()[..header.len() + 1 + claims.len()],
            signature,
        })
    }

    /// Whether a token is meant to be a JWT, readable or not: three parts, the first of which opens a JSON object.
    pub fn looks_like(token: &str) -> bool {
        let header = token.split('.').next().unwrap_or_default();
        let opens = || decode(header).is_some_and(|bytes| bytes.trim_ascii_start().starts_with(b"{"));
        token.split('.').count() == 3 && (header.starts_with("eyJ") || opens())
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[jws]")
    }
}

/// Strict: no padding, no other alphabet, no stray bits at the end, so that a token has one spelling.
pub(super) fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn part(encoded: &str, name: &str) -> Result<Map<String, Value>, String> {
    let bytes = decode(encoded).ok_or_else(|| format!("its {name} is not base64url"))?;
    json::object(&bytes).map_err(|e| format!("its {name} is {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b64(s: &str) -> String {
        URL_SAFE_NO_PAD.encode(s)
    }

    #[test]
    fn three_parts_of_base64url_and_nothing_else() {
        let good = format!("{}.{}.{}", b64(r#"{"alg":"RS256"}"#), b64(r#"{"sub":"x"}"#), b64("sig"));
        let read = Jws::read(&good).unwrap();
        assert_eq!((read.claims["sub"].as_str(), read.signed.len()), (Some("x"), good.len() - 1 - b64("sig").len()));
        let (header, claims) = (b64("{}"), b64(r#"{"a":1,"a":2}"#));
        for bad in ["", "a", "a.b", "a.b.c.d", "..", &format!("{header}.{claims}."), &format!("{header}.{header}.a=")] {
            assert!(Jws::read(bad).is_err(), "{bad}");
        }
        assert!(Jws::read(&format!("{header}.{claims}.")).unwrap_err().contains("twice"));
        assert!(Jws::read(&format!("{}.{header}.", "a".repeat(MAX_TOKEN))).is_err());
        assert_eq!(format!("{read:?}"), "[jws]");
    }

    #[test]
    fn what_is_meant_to_be_a_jwt_is_known_by_its_header() {
        for (token, is) in [
            (format!("{}.x.y", b64(r#"{"alg":1}"#)), true),
            (format!("{}.x.y", b64("\n { }")), true),
            ("eyJ!.x.y".to_owned(), true),
            (format!("{}.x", b64("{}")), false),
            (format!("{}.x.y", b64("opaque")), false),
            ("a1b2".to_owned(), false),
        ] {
            assert_eq!(Jws::looks_like(&token), is, "{token}");
        }
    }
}
