//! The form that goes to the token endpoint, and our proof with it. A secret goes into the header or into the form, never into
//! both; neither is ever printed.

use super::proof::Shown;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use std::borrow::Cow;
use std::fmt;
use url::form_urlencoded::{Serializer, byte_serialize, parse};

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

/// The form with our authentication: in the header or in the form, never in both.
pub(super) fn authenticated(request: RequestBuilder, form: &Form, shown: &Shown) -> RequestBuilder {
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    let request = request.header(CONTENT_TYPE, kind);
    match shown {
        Shown::Basic { user, password } => request.basic_auth(user, Some(password.expose())).body(form.0.clone()),
        Shown::Fields(fields) => {
            let form = fields.iter().fold(Form(form.0.clone()), |form, (name, value)| form.with(name, value.expose()));
            request.body(form.0)
        }
    }
}

/// Runs of token characters longer than this are taken out of an issuer's words: no error text has a word like that.
const LONGEST_WORD: usize = 64;
const GONE: &str = "[removed]";

/// An issuer's words without what was `sent` to it, our secret and others' tokens, and without what could be a token: some echo what
/// they refuse.
pub(super) fn cleaned(words: &str, sent: &[&str]) -> String {
    let mut sent = sent.to_vec();
    // One may hold another: taken out first, that would leave the rest of it.
    sent.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    let words = sent.iter().fold(words.to_owned(), |words, secret| without(&words, secret).into_owned());
    if sent.iter().any(|secret| holds_encoded(&words, secret)) { GONE.to_owned() } else { without_tokens(&words) }
}

/// From this length on a secret is taken out wherever it stands. A shorter one says nothing inside another word, and taking it out there
/// would leave nothing to read: it goes where it stands by itself.
const LONG_ENOUGH: usize = 8;

fn without<'a>(words: &'a str, secret: &str) -> Cow<'a, str> {
    if places(words, secret).next().is_none() {
        return words.into();
    }
    let (mut out, mut done) = (String::with_capacity(words.len()), 0);
    for at in places(words, secret) {
        out.push_str(&words[done..at]);
        out.push_str(GONE);
        done = at + secret.len();
    }
    out.push_str(&words[done..]);
    out.into()
}

/// Where the secret stands and is one.
fn places<'a>(words: &'a str, secret: &'a str) -> impl Iterator<Item = usize> {
    let by_itself = move |at: &usize| {
        let (before, after) = (words[..*at].chars().next_back(), words[at + secret.len()..].chars().next());
        secret.len() >= LONG_ENOUGH || ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    };
    let found = words.match_indices(secret).map(|(at, _)| at);
    found.filter(move |at| !secret.is_empty() && by_itself(at))
}

/// A text that others wrote, without what could be a token, or somebody's address.
fn without_tokens(words: &str) -> String {
    let token_like = |c: char| c.is_ascii_alphanumeric() || "-._~+/=@".contains(c);
    let address = |run: &str| run.split_once('@').is_some_and(|(who, at)| !who.is_empty() && at.contains('.'));
    let mut out = String::with_capacity(words.len());
    let mut rest = words;
    while !rest.is_empty() {
        let (run, after) = rest.split_at(rest.find(|c| !token_like(c)).unwrap_or(rest.len()));
        out.push_str(if run.len() > LONGEST_WORD || address(run) { GONE } else { run });
        let (other, after) = after.split_at(after.find(token_like).unwrap_or(after.len()));
        out.push_str(other);
        rest = after;
    }
    out
}

/// Whether the secret stands in `words` as it stands in a form or in a `Basic` header, which are what an IAM could echo.
fn holds_encoded(words: &str, secret: &str) -> bool {
    let form = encoded(secret);
    let decoded: String = parse(words.replace('&', "%26").replace('=', "%3D").as_bytes()).map(|(text, _)| text.into_owned()).collect();
    let base64 = || [secret, &form].into_iter().flat_map(|s| (0..3).flat_map(|before| in_base64(s, before)));
    !secret.is_empty() && (places(&decoded, secret).next().is_some() || base64().any(|spelt| words.contains(&spelt)))
}

/// What both alphabets make of `secret` after `before` bytes of the group that it begins in, without the characters that depend
/// on its neighbours. Nothing of a secret that is too short to be told from chance.
fn in_base64(secret: &str, before: usize) -> Vec<String> {
    const LEAST: usize = 8;
    let shifted = [&[0; 3][..before], secret.as_bytes()].concat();
    let mine = |text: String| text[[0, 2, 3][before]..text.len() - usize::from(shifted.len() % 3 != 0)].to_owned();
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().map(|e| mine(e.encode(&shifted))).filter(|s| s.len() >= LEAST).collect()
}

pub(super) fn encoded(part: &str) -> String {
    byte_serialize(part.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Secret;

    #[test]
    fn an_issuer_that_echoes_puts_nothing_into_the_log() {
        let secret = Secret::new("s3cr:t");
        let token = format!("eyJ{}.{}", "a".repeat(40), "b".repeat(40));
        let words = format!("invalid_request: Invalid token {token} for s3cr:t, ä");
        assert_eq!(cleaned(&words, &[secret.expose()]), "invalid_request: Invalid token [removed] for [removed], ä");
        assert_eq!(cleaned("Client is not within the token audience", &[]), "Client is not within the token audience");
        assert_eq!(cleaned("User ada (ada.l+x@example.com) @ home a@b", &[]), "User ada ([removed]) @ home a@b");
        assert_eq!(format!("{:?}", Form::new().with("subject_token", &token)), "[form]");
    }

    #[test]
    fn a_short_secret_takes_no_letters_out_of_words() {
        let said = "invalid_client: Public client is not allowed to exchange token";
        for short in ["x", "a", "is not", "client", "token"] {
            let (cleaned, short) = (cleaned(said, &[short]), format!(" {short} "));
            assert!(cleaned.contains("exchange") && !format!(" {cleaned} ").contains(&short), "{short}: {cleaned}");
        }
        assert_eq!(cleaned("client_secret=x, or x.", &["x"]), "client_secret=[removed], or [removed].");
        assert_eq!(cleaned("youraa-long-secretbb", &["a-long-secret"]), "youra[removed]bb");
        assert_eq!(cleaned("a-secret, a-secret-token and t", &["a-secret", "a-secret-token", "t"]), "[removed], [removed] and [removed]");
    }

    #[test]
    fn nor_does_one_that_echoes_it_encoded() {
        let secret = Secret::new("s3cr:t with/all+%\u{e4}");
        let form = encoded(secret.expose());
        let spelt = [
            format!("client_id=gateway&client_secret={form}&x=y"),
            format!("secret {}", form.to_lowercase().replace('+', "%20")),
            format!("Basic {}", STANDARD_NO_PAD.encode(format!("gateway:{form}"))),
            format!("Basic {}", STANDARD_NO_PAD.encode(format!("gw:{}", secret.expose()))),
            format!("got {} there", URL_SAFE_NO_PAD.encode(secret.expose())),
        ];
        for words in spelt {
            assert_eq!(cleaned(&words, &[secret.expose()]), GONE, "{words}");
        }
        for words in ["client_secret=x%3D&y=z", "client_secret=x=", "Basic x="] {
            assert!(!cleaned(words, &["x="]).contains("x"), "{words}");
        }
        for secret in ["", "x", "gateway-secret"] {
            assert_eq!(cleaned("100% of a+b=c & more", &[secret]), "100% of a+b=c & more", "{secret}");
        }
    }
}
