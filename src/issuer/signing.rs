//! The private key that proves who we are (private_key_jwt), and what it signs. A key is good for one algorithm, the one that the
//! operator named; it is never printed, and never leaves.

use crate::tls;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use std::fmt;
use std::sync::Arc;

/// What client assertions may be signed with (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl SigningAlgorithm {
    /// As `alg` of a token has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn wants(self) -> &'static str {
        match self {
            Self::Rs256 | Self::Ps256 => "an RSA key of 2048 to 8192 bits",
            Self::Es256 => "an EC key on the curve P-256",
            Self::EdDsa => "an Ed25519 key",
        }
    }
}

/// A private key and the algorithm that it is for.
#[derive(Clone)]
pub struct SigningKey(Kind);

#[derive(Clone)]
enum Kind {
    Rsa(Arc<RsaKeyPair>, SigningAlgorithm),
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
}

impl SigningKey {
    /// Reads a PEM text that holds one private key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// What is wrong with it, without anything of it.
    pub fn read(pem: &[u8], algorithm: SigningAlgorithm) -> Result<Self, String> {
        let der = tls::private_key(pem)?;
        let kind = match algorithm {
            SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => rsa(&der).map(|pair| Kind::Rsa(Arc::new(pair), algorithm)),
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok().map(|pair| Kind::Ec(Arc::new(pair)))
            }
            SigningAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(&der).ok().map(|pair| Kind::Ed(Arc::new(pair))),
        };
        kind.map(Self).ok_or_else(|| format!("it holds {}, and {} wants {}", found(&der), algorithm.name(), algorithm.wants()))
    }

    pub(super) fn algorithm(&self) -> SigningAlgorithm {
        match self.0 {
            Kind::Rsa(_, algorithm) => algorithm,
            Kind::Ec(_) => SigningAlgorithm::Es256,
            Kind::Ed(_) => SigningAlgorithm::EdDsa,
        }
    }

    /// The signature, as a JWT has it before it is encoded. `None`: it could not be made, and the cryptography does not say why.
    pub(super) async fn sign(&self, message: Vec<u8>) -> Option<Vec<u8>> {
        match &self.0 {
            // Almost a millisecond: not for a thread on which others wait.
            Kind::Rsa(pair, algorithm) => {
                let (pair, algorithm) = (pair.clone(), *algorithm);
                tokio::task::spawn_blocking(move || rsa_signature(&pair, algorithm, &message)).await.ok().flatten()
            }
            Kind::Ec(pair) => pair.sign(&SystemRandom::new(), &message).ok().map(|s| s.as_ref().to_vec()),
            Kind::Ed(pair) => Some(pair.sign(&message).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[signing key]")
    }
}

fn rsa(der: &[u8]) -> Option<RsaKeyPair> {
    RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok()
}

fn rsa_signature(pair: &RsaKeyPair, algorithm: SigningAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
    let how: &'static dyn RsaEncoding = match algorithm {
        SigningAlgorithm::Ps256 => &RSA_PSS_SHA256,
        _ => &RSA_PKCS1_SHA256,
    };
    let mut out = vec![0; pair.public_modulus_len()];
    pair.sign(how, &SystemRandom::new(), message, &mut out).ok().map(|()| out)
}

/// What a key is that is not what was wanted.
fn found(der: &[u8]) -> &'static str {
    match () {
        () if rsa(der).is_some() => "an RSA key",
        () if Ed25519KeyPair::from_pkcs8(der).is_ok() => "an Ed25519 key",
        () if EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).is_ok() => "an EC key on P-256",
        () if EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, der).is_ok() => "an EC key on P-384",
        () => "a key that is broken, too short or of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::super::jws::Jws;
    use super::super::keys::{Algorithm, Found, Keys};
    use super::super::testing::{Signer, b64};
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn what_it_signs_is_good_by_the_published_half() {
        for (algorithm, check, signer) in [
            (SigningAlgorithm::Rs256, Algorithm::Rs256, Signer::rsa()),
            (SigningAlgorithm::Ps256, Algorithm::Ps256, Signer::rsa()),
            (SigningAlgorithm::Es256, Algorithm::Es256, Signer::p256()),
            (SigningAlgorithm::EdDsa, Algorithm::EdDsa, Signer::ed()),
        ] {
            let key = SigningKey::read(signer.pem().as_bytes(), algorithm).unwrap();
            let message = format!("{}.{}", b64(format!("{{\"alg\":\"{}\"}}", algorithm.name()).as_bytes()), b64(b"{}"));
            let token = format!("{message}.{}", b64(&key.sign(message.clone().into_bytes()).await.unwrap()));
            let published = Keys::read(json!({"keys": [signer.jwk("one")]}).to_string().as_bytes()).unwrap();
            let Found::Key(public) = published.find(Some("one"), check) else { panic!("{algorithm:?}") };
            assert!(public.signed(check, &Jws::read(&token).unwrap()), "{algorithm:?}");
            assert_eq!((key.algorithm(), format!("{key:?}").as_str()), (algorithm, "[signing key]"));
        }
    }

    #[test]
    fn a_key_of_another_kind_is_told_what_it_is() {
        for (signer, algorithm, said) in [
            (Signer::p256(), SigningAlgorithm::Rs256, "it holds an EC key on P-256, and RS256 wants an RSA key"),
            (Signer::rsa(), SigningAlgorithm::Es256, "it holds an RSA key, and ES256 wants an EC key on the curve P-256"),
            (Signer::ed(), SigningAlgorithm::Ps256, "it holds an Ed25519 key, and PS256"),
            (Signer::p384(), SigningAlgorithm::Es256, "it holds an EC key on P-384, and ES256"),
        ] {
            let why = SigningKey::read(signer.pem().as_bytes(), algorithm).unwrap_err();
            assert!(why.starts_with(said), "{why}");
        }
        for (text, said) in [
            ("", "no PEM private key"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "a key that is broken"),
            ("-----BEGIN PRIVATE KEY-----\n%%%%\n-----END PRIVATE KEY-----\n", "is broken"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "is encrypted"),
        ] {
            let why = SigningKey::read(text.as_bytes(), SigningAlgorithm::EdDsa).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }
}
