//! How we prove to an issuer who we are: the method, and the one credential that belongs to it. Files are looked into now, so that
//! a broken one is told with its place and not found out at the first exchange. No secret is put into a message.

use super::complaint::{Code, Complaint, quoted};
use super::place::At;
use super::reading::Value;
use super::secret::{self, content, path};
use super::section::Section;
use crate::issuer::{self, ClientAuth, Credential, Encoding, SigningAlgorithm, SigningKey};
use crate::tls::{self, Identity};
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Basic,
    Post,
    PrivateKey,
    Certificate,
    Assertion,
}

const METHODS: [(&str, Method); 5] = [
    ("client_secret_basic", Method::Basic),
    ("client_secret_post", Method::Post),
    ("private_key_jwt", Method::PrivateKey),
    ("tls_client_auth", Method::Certificate),
    ("client_assertion", Method::Assertion),
];

impl Method {
    fn name(self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }

    /// The key that must be there, and how it is written.
    fn needs(self) -> (&'static str, &'static str) {
        match self {
            Self::Basic | Self::Post => ("client_secret", "write `client_secret: { file: /path }` or `{ env: NAME }`"),
            Self::PrivateKey => ("private_key", HOW_KEY),
            Self::Certificate => ("client_certificate", "write `client_certificate: { cert_file: /path, key_file: /path }`"),
            Self::Assertion => {
                ("client_assertion_file", "write the path of the file that holds the token, as Kubernetes or SPIFFE puts it there")
            }
        }
    }
}

const HOW_KEY: &str = "write `private_key: { file: /path, algorithm: ES256, key_id: name }`";

struct PrivateKey {
    key: Credential,
    algorithm: SigningAlgorithm,
    key_id: Option<String>,
}

/// Reads one credential, or complains that the method has no use for it.
struct Reader<'s, 'a> {
    section: &'s mut Section<'a>,
    /// `None`: it is written, and is none.
    method: Option<Method>,
    misplaced: bool,
}

impl<'a> Reader<'_, 'a> {
    fn take<T>(&mut self, key: &'static str, of: &[Method], read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        let value = self.section.value(key)?;
        match self.method {
            Some(method) if !of.contains(&method) => {
                let message = format!("{}: `{key}` is of no use with {}", self.section.name, method.name());
                let right = of.first().map_or("", |m| m.name());
                let cure = format!("take it out, or write `token_endpoint_auth_method: {right}`");
                value.reading.complain(Complaint::error(Code::Credential, value.key, message).cure(cure));
                self.misplaced = true;
                None
            }
            _ => read(&value),
        }
    }
}

/// `None`: a complaint says why.
pub fn read(section: &mut Section) -> Option<ClientAuth> {
    let written = section.has("token_endpoint_auth_method");
    let method = section.take("token_endpoint_auth_method", |v| v.choice(&METHODS, &["client_secret_jwt", "self_signed_tls_client_auth"]));
    let method = if written { method.map(|at| at.value) } else { Some(Method::Basic) };
    let mut r = Reader { section, method, misplaced: false };
    let secret = r.take("client_secret", &[Method::Basic, Method::Post], secret::secret);
    let encoding =
        r.take("client_secret_encoding", &[Method::Basic], |v| v.choice(&[("form", Encoding::Form), ("raw", Encoding::Raw)], &[]));
    let key = r.take("private_key", &[Method::PrivateKey], private_key);
    let certificate = r.take("client_certificate", &[Method::Certificate], certificate);
    let assertion = r.take("client_assertion_file", &[Method::Assertion], assertion);
    // One that stands there for another method tells by itself what was meant.
    let Reader { misplaced, .. } = r;
    let method = method?;
    if written || !misplaced {
        let (key, how) = method.needs();
        section.expect(key, how);
    }
    Some(match method {
        Method::Basic => ClientAuth::ClientSecretBasic { secret: secret?, encoding: encoding.unwrap_or(Encoding::Form) },
        Method::Post => ClientAuth::ClientSecretPost { secret: secret? },
        Method::PrivateKey => {
            let PrivateKey { key, algorithm, key_id } = key?;
            ClientAuth::PrivateKeyJwt { key, algorithm, key_id }
        }
        Method::Certificate => ClientAuth::TlsClientAuth(certificate?),
        Method::Assertion => ClientAuth::ClientAssertion { file: assertion? },
    })
}

fn private_key(value: &Value) -> Option<PrivateKey> {
    let mut section = value.section(&[])?;
    let found = secret::referred(&mut section, value, HOW_KEY);
    let known = [
        ("RS256", SigningAlgorithm::Rs256),
        ("PS256", SigningAlgorithm::Ps256),
        ("ES256", SigningAlgorithm::Es256),
        ("EdDSA", SigningAlgorithm::EdDsa),
    ];
    let algorithm = section.require("algorithm", "write the algorithm that the issuer expects: RS256, PS256, ES256 or EdDSA", |v| {
        v.choice(&known, &["RS384", "RS512", "PS384", "PS512", "ES384", "ES512"])
    });
    let key_id = section.take("key_id", |v| v.text());
    section.finish();
    let (At { value: found, place, .. }, algorithm) = (found?, algorithm?.value);
    if let Err(why) = SigningKey::read(found.secret.expose().as_bytes(), algorithm) {
        let it = Complaint::error(Code::PrivateKey, place, format!("{}: the private key cannot be used: {why}", value.name));
        value.reading.complain(it.cure("have `file` hold one PEM private key, unencrypted, of the kind that `algorithm` says"));
        return None;
    }
    Some(PrivateKey { key: found.credential(), algorithm, key_id: key_id.map(|at| at.value) })
}

/// A certificate and its key, which belong together.
pub fn certificate(value: &Value) -> Option<Identity> {
    let mut section = value.section(&[])?;
    let read = |v: &Value| {
        let path = path(v)?;
        let bytes = Zeroizing::new(content(v, &path, Code::ClientCertificate)?);
        Some((path, bytes))
    };
    let cert = section.require("cert_file", "write the path of the PEM certificate, with its chain", read);
    let key = section.require("key_file", "write the path of the certificate's PEM private key", read);
    section.finish();
    let (At { value: (cert_file, cert), .. }, At { value: (key_file, key), .. }) = (cert?, key?);
    match tls::check_pair(&cert, &key) {
        Ok(()) => Some(Identity { cert_file, key_file }),
        Err(why) => value.refuse(
            Code::ClientCertificate,
            format_args!("the certificate and its key cannot be used: {why}"),
            "give a PEM certificate, its chain behind it, and the PEM private key that belongs to it",
        ),
    }
}

fn assertion(value: &Value) -> Option<PathBuf> {
    let path = path(value)?;
    let shown = quoted(&path.display().to_string());
    match issuer::assertion(&Zeroizing::new(content(value, &path, Code::Assertion)?)) {
        Ok(_) => Some(path),
        Err(why) => value.refuse(
            Code::Assertion,
            format_args!("{shown} cannot be used: {why}"),
            "it must hold one JWT; Kubernetes: a projected serviceAccountToken whose audience is the issuer's URL",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{codes, refused_issuer, whole, with_issuer, without_secret};
    use super::*;

    fn read(keys: &str) -> ClientAuth {
        whole(&without_secret(keys)).issuers.remove(0).issuer.client_auth
    }

    fn refused(keys: &str) -> Vec<Code> {
        codes(&without_secret(keys))
    }

    #[test]
    fn each_method_with_the_credential_that_belongs_to_it() {
        let secret = Credential::File("/run/secrets/iam".into());
        let auth = with_issuer("client_secret_encoding: raw").issuers.remove(0).issuer.client_auth;
        assert_eq!(auth, ClientAuth::ClientSecretBasic { secret, encoding: Encoding::Raw });
        let key = Credential::File("/tls/client.key".into());
        assert_eq!(
            read("token_endpoint_auth_method: private_key_jwt\nprivate_key: { file: /tls/client.key, algorithm: ES256, key_id: gw-1 }"),
            ClientAuth::PrivateKeyJwt { key, algorithm: SigningAlgorithm::Es256, key_id: Some("gw-1".into()) }
        );
        assert_eq!(
            read(
                "token_endpoint_auth_method: tls_client_auth\nclient_certificate: { cert_file: /tls/client.crt, key_file: /tls/client.key }"
            ),
            ClientAuth::TlsClientAuth(Identity { cert_file: "/tls/client.crt".into(), key_file: "/tls/client.key".into() })
        );
        assert_eq!(
            read("token_endpoint_auth_method: client_assertion\nclient_assertion_file: /var/run/secrets/tokens/jwt"),
            ClientAuth::ClientAssertion { file: "/var/run/secrets/tokens/jwt".into() }
        );
    }

    #[test]
    fn what_is_missing_or_belongs_to_another_method_is_told() {
        for method in ["private_key_jwt", "tls_client_auth", "client_assertion", "client_secret_post", "client_secret_basic"] {
            assert_eq!(refused(&format!("token_endpoint_auth_method: {method}")), [Code::Missing], "{method}");
        }
        let key = "private_key: { file: /tls/client.key, algorithm: ES256 }";
        assert_eq!(refused(key), [Code::Credential], "and not that a secret is missing: the key says what was meant");
        assert_eq!(refused_issuer(key), [Code::Credential], "a secret and a key");
        assert_eq!(refused_issuer("token_endpoint_auth_method: client_secret_post\nclient_secret_encoding: raw"), [Code::Credential]);
        assert_eq!(refused("token_endpoint_auth_method: nonsense"), [Code::Choice]);
        assert_eq!(refused("token_endpoint_auth_method: private_key_jwt\nprivate_key: { file: /tls/client.key }"), [Code::Missing]);
        assert_eq!(
            refused("token_endpoint_auth_method: tls_client_auth\nclient_certificate: { cert_file: /tls/client.crt }"),
            [Code::Missing]
        );
    }

    #[test]
    fn a_client_certificate_is_not_shown_over_http() {
        let keys = "token_endpoint_auth_method: tls_client_auth\nclient_certificate: { cert_file: /tls/client.crt, key_file: /tls/client.key }\n\
                    token_endpoint: http://127.0.0.1/token";
        assert_eq!(refused(keys), [Code::PlainHttp]);
    }
}
