//! How we prove to the token endpoint who we are (RFC 6749 §2.3.1), and the form that goes there. A secret goes into the header
//! or into the form, never into both; neither is ever printed.

use super::{ClientAuth, Settings};
use crate::token::Secret;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use std::borrow::Cow;
use std::fmt;
use url::form_urlencoded::{Serializer, byte_serialize};

/// A form on its way to the token endpoint: it holds the caller's token, so it prints as nothing.
pub struct Form(String);

impl Form {
    pub fn new() -> Self {
        Self(String::new())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        Serializer::for_suffix(&mut self.0, 0).append_pair(name, value);
        self
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[form]")
    }
}

/// The form with our authentication, in the way that the settings say.
pub(super) fn authenticated(request: RequestBuilder, form: Form, settings: &Settings) -> RequestBuilder {
    let (request, form) = match &settings.client_auth {
        // Encoded apart before they are joined: a colon or a percent sign in either stays what it is.
        ClientAuth::ClientSecretBasic(secret) => (request.basic_auth(encoded(&settings.client_id), Some(encoded(secret.expose()))), form),
        ClientAuth::ClientSecretPost(secret) => {
            (request, form.with("client_id", &settings.client_id).with("client_secret", secret.expose()))
        }
    };
    let Form(body) = form;
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.header(CONTENT_TYPE, kind).body(body)
}

/// Runs of token characters longer than this are taken out of an issuer's words: no error text has a word like that.
const LONGEST_WORD: usize = 64;

/// An issuer's words without our secret and without what could be a token: some echo what they refuse.
pub(super) fn cleaned(words: &str, secret: &Secret) -> String {
    const GONE: &str = "[removed]";
    let secret = secret.expose();
    let words: Cow<'_, str> = if secret.is_empty() { words.into() } else { words.replace(secret, GONE).into() };
    let token_like = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let mut out = String::with_capacity(words.len());
    let mut rest = words.as_ref();
    while !rest.is_empty() {
        let (run, after) = rest.split_at(rest.find(|c| !token_like(c)).unwrap_or(rest.len()));
        out.push_str(if run.len() > LONGEST_WORD { GONE } else { run });
        let (other, after) = after.split_at(after.find(token_like).unwrap_or(after.len()));
        out.push_str(other);
        rest = after;
    }
    out
}

fn encoded(part: &str) -> String {
    byte_serialize(part.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_that_echoes_puts_nothing_into_the_log() {
        let secret = Secret::new("s3cr:t");
        let token = format!("eyJ{}.{}", "a".repeat(40), "b".repeat(40));
        let words = format!("invalid_request: Invalid token {token} for s3cr:t, ä");
        assert_eq!(cleaned(&words, &secret), "invalid_request: Invalid token [removed] for [removed], ä");
        assert_eq!(cleaned("Client is not within the token audience", &Secret::new("")), "Client is not within the token audience");
        assert_eq!(format!("{:?}", Form::new().with("subject_token", &token)), "[form]");
    }
}
