//! The development IAM's keys: made afresh at each start, published as a JWKS, rotated on demand. They never leave the process,
//! and nothing is ever read from or written to a disk.

use super::Error;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What becomes of the keys that were there before a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKeys {
    /// They sign nothing more, but what they signed stays good.
    Kept,
    /// They leave the JWKS.
    Withdrawn,
}

/// A shared handle on the realm's keys.
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<Vec<Key>>>);

#[derive(Clone)]
pub(super) struct Key {
    kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
    /// Signs new tokens; the others only verify old ones.
    active: bool,
}

impl Keys {
    /// A ring with one RS256 key. Making it takes a tenth of a second or so.
    pub(super) fn fresh() -> Result<Self, Error> {
        let keys = Self::default();
        keys.add(Algorithm::RS256)?;
        Ok(keys)
    }

    /// Adds and publishes a key for `algorithm`, and returns its `kid`.
    ///
    /// # Errors
    /// When the algorithm is not one of RS256, PS256, ES256 and EdDSA.
    pub fn add(&self, algorithm: Algorithm) -> Result<String, Error> {
        let key = Key::generate(algorithm)?;
        let kid = key.kid.clone();
        self.lock().push(key);
        Ok(kid)
    }

    /// Makes a new key for every algorithm in use.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate(&self, old: OldKeys) -> Result<(), Error> {
        let algorithms: Vec<_> = self.lock().iter().filter(|k| k.active).map(|k| k.algorithm).collect();
        // Made before the lock is taken: an RSA key takes its time.
        let fresh = algorithms.into_iter().map(Key::generate).collect::<Result<Vec<_>, _>>()?;
        let mut keys = self.lock();
        match old {
            OldKeys::Kept => keys.iter_mut().for_each(|k| k.active = false),
            OldKeys::Withdrawn => keys.clear(),
        }
        keys.extend(fresh);
        Ok(())
    }

    /// The `kid` of the key that signs with `algorithm` now.
    pub fn kid(&self, algorithm: Algorithm) -> Option<String> {
        self.active(algorithm).map(|k| k.kid)
    }

    /// The JWKS as Keycloak publishes it: an encryption key stands beside the signing keys.
    pub fn jwks(&self) -> Value {
        let keys = self.lock();
        let mut all: Vec<Value> = keys.iter().map(|k| k.public.clone()).collect();
        if let Some(mut encrypting) = all.iter().find(|k| k["kty"] == "RSA").cloned() {
            encrypting["kid"] = json!(format!("{}-enc", encrypting["kid"].as_str().unwrap_or_default()));
            encrypting["alg"] = json!("RSA-OAEP");
            encrypting["use"] = json!("enc");
            all.insert(0, encrypting);
        }
        json!({ "keys": all })
    }

    /// The claims of `token` if one of the published keys signed it. Nothing else about it is judged here.
    pub fn verified(&self, token: &str) -> Option<Map<String, Value>> {
        verified(&self.jwks(), token)
    }

    /// Signs with the active key of `algorithm`, which is made if there is none.
    pub(super) fn sign(&self, algorithm: Algorithm, head: &Head, claims: &Map<String, Value>) -> Result<String, Error> {
        let key = match self.active(algorithm) {
            Some(key) => key,
            None => {
                self.add(algorithm)?;
                self.active(algorithm).ok_or(Error::Key)?
            }
        };
        key.sign(head, claims)
    }

    fn active(&self, algorithm: Algorithm) -> Option<Key> {
        self.lock().iter().rev().find(|k| k.active && k.algorithm == algorithm).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claims of `token` if a signing key of `jwks` with its `kid` and algorithm signed it.
pub fn verified(jwks: &Value, token: &str) -> Option<Map<String, Value>> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let kid = header.kid.as_deref()?;
    let jwk = jwks["keys"].as_array()?.iter().find(|k| k["kid"] == kid && k["use"] != "enc")?;
    let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    if jwk.common.key_algorithm? != KeyAlgorithm::from(header.alg) {
        return None;
    }
    let mut only_the_signature = Validation::new(header.alg);
    only_the_signature.required_spec_claims.clear();
    only_the_signature.validate_exp = false;
    only_the_signature.validate_aud = false;
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    jsonwebtoken::decode(token, &key, &only_the_signature).ok().map(|data| data.claims)
}

/// What of a token's header a test may want otherwise.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub typ: Option<String>,
    /// `None`: the key's own.
    pub kid: Option<String>,
}

impl Default for Head {
    fn default() -> Self {
        Self { typ: Some("JWT".to_owned()), kid: None }
    }
}

impl Key {
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        let private = private_key(algorithm)?;
        let kid = super::random_id();
        let jwk = Jwk::from_encoding_key(&private, algorithm).map_err(|_| Error::Key)?;
        let mut public = serde_json::to_value(jwk).map_err(|_| Error::Key)?;
        public["kid"] = json!(kid);
        public["use"] = json!("sig");
        Ok(Self { kid, algorithm, private, public, active: true })
    }

    pub(super) fn sign(&self, head: &Head, claims: &Map<String, Value>) -> Result<String, Error> {
        let mut header = Header::new(self.algorithm);
        header.typ.clone_from(&head.typ);
        header.kid = Some(head.kid.as_ref().unwrap_or(&self.kid).clone());
        jsonwebtoken::encode(&header, claims, &self.private).map_err(|_| Error::Key)
    }
}

fn private_key(algorithm: Algorithm) -> Result<EncodingKey, Error> {
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Key)?;
            let pkcs8 = AsDer::<Pkcs8V1Der<'static>>::as_der(&pair).map_err(|_| Error::Key)?;
            // jsonwebtoken wants the bare RSAPrivateKey, which PKCS#8 wraps in 26 bytes for every key of this size.
            pkcs8.as_ref().get(26..).map(EncodingKey::from_rsa_der).ok_or(Error::Key)
        }
        Algorithm::ES256 => {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| Error::Key)?;
            Ok(EncodingKey::from_ec_der(pkcs8.as_ref()))
        }
        Algorithm::EdDSA => {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&random).map_err(|_| Error::Key)?;
            Ok(EncodingKey::from_ed_der(pkcs8.as_ref()))
        }
        _ => Err(Error::Algorithm),
    }
}
