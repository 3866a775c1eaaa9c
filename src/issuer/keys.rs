//! The keys that an issuer signs its tokens with, found by `kid` and algorithm, and the check of one signature. A key is good
//! for the algorithms of its kind alone, and where it names one, for that one; what a token says of keys counts for nothing.

use super::jws::Jws;
use super::{json, jwk};
use crate::token::Digest;
use jsonwebtoken::DecodingKey;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Signature algorithms that may be configured (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 9] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512, Self::Es256, Self::Es384, Self::EdDsa];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// By the name that `alg` of a token or a key has. `Ed25519` is RFC 9864's name for what `EdDSA` means here.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    fn outside(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as J;
        match self {
            Self::Rs256 => J::RS256,
            Self::Rs384 => J::RS384,
            Self::Rs512 => J::RS512,
            Self::Ps256 => J::PS256,
            Self::Ps384 => J::PS384,
            Self::Ps512 => J::PS512,
            Self::Es256 => J::ES256,
            Self::Es384 => J::ES384,
            Self::EdDsa => J::EdDSA,
        }
    }
}

/// What a key is made of, which says what it can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Shape {
    pub(super) fn fits(self, alg: Algorithm) -> bool {
        use Algorithm as A;
        match self {
            Self::Rsa => matches!(alg, A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512),
            Self::P256 => alg == A::Es256,
            Self::P384 => alg == A::Es384,
            Self::Ed25519 => alg == A::EdDsa,
        }
    }
}

/// A public key that signatures may be checked with.
pub struct Key {
    kid: Option<String>,
    alg: Option<Algorithm>,
    shape: Shape,
    material: DecodingKey,
    /// Of all the above: equal for equal keys.
    print: Digest,
}

impl Key {
    pub(super) fn new(kid: Option<String>, alg: Option<Algorithm>, shape: Shape, material: DecodingKey, numbers: &[Vec<u8>]) -> Self {
        let words = format!("{kid:?} {alg:?} {shape:?}");
        let print = Digest::of_parts([words.as_bytes()].into_iter().chain(numbers.iter().map(Vec::as_slice)));
        Self { kid, alg, shape, material, print }
    }

    /// Whether the signature is this key's, by this algorithm and no other.
    pub fn signed(&self, alg: Algorithm, jws: &Jws<'_>) -> bool {
        self.fits(alg) && jsonwebtoken::crypto::verify(jws.signature, jws.signed, &self.material, alg.outside()).unwrap_or(false)
    }

    fn fits(&self, alg: Algorithm) -> bool {
        self.shape.fits(alg) && self.alg.is_none_or(|a| a == alg)
    }
}

/// What came of looking for a token's key.
#[derive(Debug)]
pub enum Found<'a> {
    Key(&'a Key),
    /// No key of that name, or for a token without `kid`, none that fits.
    Unknown,
    /// There are keys of that name, or several without one, and none of them can be the one.
    Unfit,
}

/// The usable keys of an issuer at one time.
pub struct Keys {
    /// Process-wide; another number whenever the keys are others.
    pub generation: u64,
    keys: Vec<Key>,
    prints: Vec<Digest>,
}

static GENERATION: AtomicU64 = AtomicU64::new(1);

impl Keys {
    /// The usable keys of a JWKS. Keys that we cannot use are left out: an issuer may publish what is meant for others.
    ///
    /// # Errors
    /// When it is no JWKS, or no key in it can be used.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let set = json::object(body)?;
        let all = set.get("keys").and_then(|k| k.as_array()).ok_or("JSON without an array named keys")?;
        let (mut keys, mut unfit) = (Vec::new(), Vec::new());
        for jwk in all {
            match jwk.as_object().ok_or_else(|| "that is no object".to_owned()).and_then(jwk::read) {
                Ok(key) => keys.push(key),
                Err(why) => unfit.push(why),
            }
        }
        if keys.is_empty() {
            unfit.truncate(8);
            return Err(format!("a key set without a usable key ({} keys: {})", all.len(), unfit.join(", ")));
        }
        let mut prints: Vec<Digest> = keys.iter().map(|k| k.print).collect();
        prints.sort_unstable();
        Ok(Self { generation: GENERATION.fetch_add(1, Ordering::Relaxed), keys, prints })
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.prints == other.prints
    }

    /// The one key for a token's `kid` and algorithm. A token without `kid` is taken if exactly one key fits.
    pub fn find(&self, kid: Option<&str>, alg: Algorithm) -> Found<'_> {
        let mut fitting = self.keys.iter().filter(|k| k.fits(alg) && (kid.is_none() || k.kid.as_deref() == kid));
        match (fitting.next(), fitting.next(), kid) {
            (Some(key), None, _) | (Some(key), Some(_), Some(_)) => Found::Key(key),
            (Some(_), Some(_), None) => Found::Unfit,
            (None, _, Some(kid)) if self.knows(kid) => Found::Unfit,
            (None, ..) => Found::Unknown,
        }
    }

    /// Whether any of them may have signed by this algorithm.
    pub(super) fn any_for(&self, alg: Algorithm) -> bool {
        self.keys.iter().any(|k| k.fits(alg))
    }

    pub(super) fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|k| k.kid.as_deref() == Some(kid))
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("generation", &self.generation).field("keys", &self.keys).finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("alg", &self.alg).field("shape", &self.shape).finish_non_exhaustive()
    }
}
