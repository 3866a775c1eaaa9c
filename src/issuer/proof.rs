//! What we show the token endpoint, made of the settings and of what is in the files now. A proof is of one moment: when a file
//! changes, another is made. It is shown to the token endpoint alone and printed nowhere.

use super::auth::encoded;
use super::jws::Jws;
use super::settings::{ClientAuth, Credential, Encoding, Error, Settings};
use super::signing::SigningKey;
use super::typ::Typ;
use crate::token::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `client_assertion_type` of RFC 7523 §2.2, and of draft-ietf-oauth-spiffe-client-auth.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// How long an assertion of our own is good for, in seconds.
const LIFE: u64 = 60;
/// More than any secret, key or token needs; and the end of reading /dev/zero.
const LARGEST: u64 = 1024 * 1024;

pub enum Proof {
    Basic {
        client_id: String,
        secret: Secret,
        encoding: Encoding,
    },
    Post {
        client_id: String,
        secret: Secret,
    },
    Key {
        key: SigningKey,
        key_id: Option<String>,
    },
    /// In the connection itself.
    Certificate {
        client_id: String,
    },
    Assertion {
        jwt: Secret,
        kind: &'static str,
    },
}

/// A proof as one attempt shows it.
pub enum Shown {
    Basic {
        user: String,
        password: Secret,
    },
    /// Fields of the form.
    Fields(Vec<(&'static str, Secret)>),
}

impl Proof {
    /// Reads what is in files.
    ///
    /// # Errors
    /// Which of it cannot be used, and why; nothing secret.
    pub fn read(settings: &Settings) -> Result<Self, Error> {
        let client_id = settings.client_id.clone();
        Ok(match &settings.client_auth {
            ClientAuth::ClientSecretBasic { secret, encoding } => {
                Self::Basic { client_id, secret: read_secret(secret)?, encoding: *encoding }
            }
            ClientAuth::ClientSecretPost { secret } => Self::Post { client_id, secret: read_secret(secret)? },
            ClientAuth::PrivateKeyJwt { key, algorithm, key_id } => {
                let unfit = |why| Error::Credential { what: "the private key", file: file_of(key), why };
                let pem = match key {
                    Credential::Given(pem) => Zeroizing::new(pem.expose().as_bytes().to_vec()),
                    Credential::File(file) => bytes(file).map_err(|e| unfit(e.to_string()))?,
                };
                let key = SigningKey::read(&pem, *algorithm).map_err(unfit)?;
                Self::Key { key, key_id: key_id.clone() }
            }
            // Whether certificate and key fit is found out where the connections are made.
            ClientAuth::TlsClientAuth(_) => Self::Certificate { client_id },
            ClientAuth::ClientAssertion { file } => {
                let unfit = |why| Error::Credential { what: "the client assertion", file: Some(file.clone()), why };
                let read = bytes(file).map_err(|e| e.to_string()).and_then(|bytes| assertion(&bytes));
                let (jwt, kind) = read.map_err(unfit)?;
                Self::Assertion { jwt, kind }
            }
        })
    }

    /// The files that it is made of.
    pub fn files(auth: &ClientAuth) -> Vec<PathBuf> {
        match auth {
            ClientAuth::ClientSecretBasic { secret: it, .. } | ClientAuth::ClientSecretPost { secret: it } => {
                file_of(it).into_iter().collect()
            }
            ClientAuth::PrivateKeyJwt { key, .. } => file_of(key).into_iter().collect(),
            ClientAuth::TlsClientAuth(_) => Vec::new(),
            ClientAuth::ClientAssertion { file } => vec![file.clone()],
        }
    }

    /// For one attempt: an assertion of our own is good for one, so each gets another `jti`. `None`: it cannot be signed.
    pub async fn show(&self, settings: &Settings, typ: Typ, now: u64) -> Option<Shown> {
        let secret = |text: &str| Secret::new(text);
        Some(match self {
            Self::Basic { client_id, secret, encoding: Encoding::Raw } => {
                Shown::Basic { user: client_id.clone(), password: secret.clone() }
            }
            // Encoded apart before they are joined: a colon or a percent sign in either stays what it is.
            Self::Basic { client_id, secret, encoding: Encoding::Form } => {
                Shown::Basic { user: encoded(client_id), password: Secret::new(encoded(secret.expose())) }
            }
            Self::Post { client_id, secret: it } => Shown::Fields(vec![("client_id", secret(client_id)), ("client_secret", it.clone())]),
            Self::Certificate { client_id } => Shown::Fields(vec![("client_id", secret(client_id))]),
            // Without client_id: the assertion says it, and Keycloak refuses one that differs from its `sub`.
            Self::Assertion { jwt, kind } => {
                Shown::Fields(vec![("client_assertion_type", secret(kind)), ("client_assertion", jwt.clone())])
            }
            Self::Key { key, key_id } => {
                let mut header = serde_json::json!({"typ": typ.name(), "alg": key.algorithm().name()});
                if let Some(kid) = key_id {
                    header["kid"] = kid.as_str().into();
                }
                let jti = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
                let id = &settings.client_id;
                let claims = serde_json::json!({"iss": id, "sub": id, "aud": &*settings.url, "jti": jti, "iat": now, "exp": now + LIFE});
                let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
                let signature = key.sign(message.clone().into_bytes()).await?;
                let jwt = Secret::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)));
                Shown::Fields(vec![("client_id", secret(id)), ("client_assertion_type", secret(JWT_BEARER)), ("client_assertion", jwt)])
            }
        })
    }

    /// Whether it is an assertion that we sign ourselves.
    pub fn is_signed(&self) -> bool {
        matches!(self, Self::Key { .. })
    }

    /// Whether `text` is what is shown: an assertion of our own by what it says, since each is another.
    pub fn is(&self, text: &str, settings: &Settings) -> bool {
        let ours =
            |jws: Jws| ["iss", "sub"].iter().all(|name| jws.claims.get(*name).and_then(|v| v.as_str()) == Some(&*settings.client_id));
        match self {
            Self::Key { .. } => Jws::read(text).is_ok_and(ours),
            _ => self.secret().is_some_and(|secret| secret.expose() == text),
        }
    }

    /// What must be taken out of an issuer's words, where it echoes.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Basic { secret: it, .. } | Self::Post { secret: it, .. } | Self::Assertion { jwt: it, .. } => Some(it),
            Self::Key { .. } | Self::Certificate { .. } => None,
        }
    }
}

/// The text of a secret's file. Editors, `echo` and `|` end a text with a newline; nobody means it.
///
/// # Errors
/// When there is none in it.
pub fn secret_in(bytes: &[u8]) -> Result<Secret, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it holds bytes that are no UTF-8")?;
    let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    match () {
        () if text.trim().is_empty() => Err("it is empty"),
        // A PEM key has lines; any other secret that has some is two secrets, or a file of another kind.
        () if text.contains(['\n', '\r']) && !text.contains("-----BEGIN ") => Err("it holds more than one line"),
        () => Ok(Secret::new(text)),
    }
}

/// A ready assertion: the JWT in a file, and what kind of assertion it is.
///
/// # Errors
/// When it holds no JWT; nothing of it is said.
pub fn assertion(bytes: &[u8]) -> Result<(Secret, &'static str), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it holds bytes that are no UTF-8")?.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let jws = Jws::read(text).map_err(|why| format!("it holds no JWT: {why}"))?;
    let spiffe = jws.claims.get("sub").and_then(|sub| sub.as_str()).is_some_and(|sub| sub.starts_with("spiffe://"));
    Ok((Secret::new(text), if spiffe { JWT_SPIFFE } else { JWT_BEARER }))
}

fn read_secret(credential: &Credential) -> Result<Secret, Error> {
    match credential {
        Credential::Given(secret) => Ok(secret.clone()),
        Credential::File(file) => {
            let unfit = |why: String| Error::Credential { what: "the client secret", file: Some(file.clone()), why };
            let bytes = bytes(file).map_err(|e| unfit(e.to_string()))?;
            secret_in(&bytes).map_err(|why| unfit(why.to_owned()))
        }
    }
}

fn file_of(credential: &Credential) -> Option<PathBuf> {
    match credential {
        Credential::File(file) => Some(file.clone()),
        Credential::Given(_) => None,
    }
}

/// A file's content, wiped when dropped.
pub fn bytes(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(file)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
