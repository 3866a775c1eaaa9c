//! The words of the exchange: secrets, the caller's token, what is asked for and what was granted, and the one trait
//! between the stack and whatever finds a token. Nothing here fetches, verifies or stores anything, and nothing prints a token.

mod ask;
mod asker;
mod target;

pub use ask::{Ask, Freshness, Source, Urgency};
pub use asker::{Asker, Whose};
pub use target::{ACCESS_TOKEN, Actor, Grant, Target, TargetSettings};

use crate::fault::Fault;
use aws_lc_rs::hmac;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, Ready};
use http::HeaderValue;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use zeroize::Zeroizing;

/// A client secret. Never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The secret itself; every use of this is a place to look at twice.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is this. How long that takes tells nothing of the secret, nor of its length.
    pub fn is(&self, shown: &[u8]) -> bool {
        let (own, shown) = (Digest::of(self.0.as_bytes()), Digest::of(shown));
        aws_lc_rs::constant_time::verify_slices_are_equal(&own.0, &shown.0).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The longest bearer token taken, from callers and from issuers, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// Whether `s` is a `b64token` (RFC 6750 §2.1): `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
pub fn is_b64token(s: &[u8]) -> bool {
    let body = s.len() - s.iter().rev().take_while(|b| **b == b'=').count();
    // Without an early exit, so that the compiler looks at many bytes at once: this runs over every caller's token.
    body > 0 && s[..body].iter().fold(true, |good, b| good & is_b64_byte(*b))
}

fn is_b64_byte(b: u8) -> bool {
    // `-` `.` `/` and the digits stand together, and letters differ from each other by one bit.
    (b.wrapping_sub(b'-') <= b'9' - b'-') | ((b | 0x20).wrapping_sub(b'a') < 26) | (b == b'_') | (b == b'~') | (b == b'+')
}

/// The caller's token as it came: the `Authorization` value, of which the part after the scheme is the token.
#[derive(Clone)]
pub struct SubjectToken {
    header: HeaderValue,
    start: usize,
}

impl SubjectToken {
    /// Reads a bearer `Authorization` value. `Ok(None)`: another scheme.
    ///
    /// # Errors
    /// A bearer scheme whose token is missing, too long or no `b64token`.
    pub fn from_authorization(header: &HeaderValue) -> Result<Option<Self>, &'static str> {
        let bytes = header.as_bytes();
        let scheme = bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len());
        if !bytes[..scheme].eq_ignore_ascii_case(b"bearer") {
            return Ok(None);
        }
        let start = scheme + bytes[scheme..].iter().take_while(|b| **b == b' ').count();
        Self::at(header, start).map(Some)
    }

    /// Reads a header's value that is the token alone, without a scheme.
    ///
    /// # Errors
    /// A token that is missing, too long or no `b64token`.
    pub fn from_value(header: &HeaderValue) -> Result<Self, &'static str> {
        Self::at(header, 0)
    }

    fn at(header: &HeaderValue, start: usize) -> Result<Self, &'static str> {
        let token = &header.as_bytes()[start..];
        match () {
            () if token.is_empty() => Err("the bearer scheme without a token"),
            () if token.len() > MAX_TOKEN => Err("a bearer token of more than 16 KiB"),
            () if !is_b64token(token) => Err("a bearer token with characters outside RFC 6750's b64token"),
            () => Ok(Self { header: header.clone(), start }),
        }
    }

    /// The token itself; every use of this is a place to look at twice.
    pub fn expose(&self) -> &str {
        // A b64token is ASCII, and nothing else is ever put in here.
        std::str::from_utf8(&self.header.as_bytes()[self.start..]).unwrap_or_default()
    }

    /// The `Authorization` value that hands the caller's own token on, marked sensitive: for passthrough routes alone.
    pub fn authorization(&self) -> HeaderValue {
        // It came with its scheme, or as the token alone.
        let value = if self.start > 0 { None } else { HeaderValue::try_from(format!("Bearer {}", self.expose())).ok() };
        sensitive(value.unwrap_or_else(|| self.header.clone()))
    }

    /// The token without a scheme, marked sensitive: for passthrough routes alone.
    pub fn bare(&self) -> HeaderValue {
        let value = if self.start == 0 { None } else { HeaderValue::from_str(self.expose()).ok() };
        sensitive(value.unwrap_or_else(|| self.header.clone()))
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.header.as_bytes()[self.start..])
    }
}

impl fmt::Debug for SubjectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[subject token]")
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// An exchanged token, ready to be put into a request: built once, cloned by reference count.
#[derive(Clone)]
pub struct AccessToken {
    header: HeaderValue,
    /// The end of the same bytes.
    bare: HeaderValue,
}

impl AccessToken {
    /// # Errors
    /// When `token` is no `b64token` or longer than [`MAX_TOKEN`]: such a token is never injected.
    pub fn new(token: &str) -> Result<Self, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err("an access_token of more than 16 KiB");
        }
        if !is_b64token(token.as_bytes()) {
            return Err("an access_token with characters outside RFC 6750's b64token");
        }
        let bytes = Bytes::from(format!("Bearer {token}"));
        let value = |bytes| HeaderValue::from_maybe_shared(bytes).map(sensitive).map_err(|_| "an access_token that fits no header");
        Ok(Self { bare: value(bytes.slice("Bearer ".len()..))?, header: value(bytes)? })
    }

    /// The value of `Authorization`, marked sensitive.
    pub fn authorization(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The token without its scheme, marked sensitive.
    pub fn bare(&self) -> HeaderValue {
        self.bare.clone()
    }

    /// The token itself; every use of this is a place to look at twice.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.bare.as_bytes()).unwrap_or_default()
    }

    /// The memory that it takes, shared by all its clones.
    pub fn bytes(&self) -> usize {
        self.header.len()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[access token]")
    }
}

/// A keyed 256-bit digest (HMAC-SHA-256). The key is drawn when the process starts: a digest means nothing outside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    // Without randomness no digest would be safe to use as a key, and there is nothing to fall back to.
    hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new()).unwrap_or_else(|_| std::process::abort())
});

impl Digest {
    /// The bounds of all digests in their order.
    pub const FIRST: Self = Self([0; 32]);
    pub const LAST: Self = Self([0xff; 32]);

    pub fn of(bytes: &[u8]) -> Self {
        Self::from_tag(hmac::sign(&KEY, bytes))
    }

    /// The digest of several parts, each preceded by its length, so that no two lists of parts collide.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut ctx = hmac::Context::with_key(&KEY);
        for part in parts {
            ctx.update(&(part.len() as u64).to_be_bytes());
            ctx.update(part);
        }
        Self::from_tag(ctx.sign())
    }

    fn from_tag(tag: hmac::Tag) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        Self(out)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest]")
    }
}

/// Who the caller is, as its verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The name of the issuer in the configuration.
    pub issuer: Arc<str>,
    pub sub: Arc<str>,
    pub sid: Option<Arc<str>>,
    /// The client that the caller's token was issued to (`azp`).
    pub azp: Option<Arc<str>>,
    pub scopes: Vec<Box<str>>,
    /// The claims that some route asks about, each as a list of texts; the others are forgotten.
    pub claims: Vec<(Box<str>, Vec<Box<str>>)>,
    /// `iat` of the caller's token, seconds since 1970; 0 where nobody says when it was issued.
    pub issued_at: u64,
    /// `exp` of the caller's token, seconds since 1970; `u64::MAX` where nobody says when it ends.
    pub expires_at: u64,
    /// How far the issuer's clock and ours may differ.
    pub clock_skew: Duration,
}

impl Subject {
    /// Whether the token is of this issuer and was issued before then. One that does not say when it was issued was.
    pub fn issued_before(&self, issuer: &str, at: u64) -> bool {
        *self.issuer == *issuer && self.issued_at < at
    }
}

/// A verified caller: its token, the token's digest (computed once a request) and what the token says.
#[derive(Clone, Debug)]
pub struct Caller {
    pub token: SubjectToken,
    pub digest: Digest,
    pub subject: Arc<Subject>,
    /// The token was good when its issuer was last asked about it, and to ask again has just failed for this: only what is held
    /// for it already may be handed out. `None`: it is good.
    pub doubt: Option<Arc<Fault>>,
}

/// A token that may be used now.
#[derive(Clone, Debug)]
pub struct Granted {
    pub token: AccessToken,
    pub source: Source,
    /// Drawn when the exchange started: of two tokens for one key, the higher generation is the newer.
    pub generation: u64,
    /// [`crate::clock::Clock::millis`] at which the token may no longer be used, before any margin: by the issuer's word, by the end of
    /// what was sent for it, or by `max_ttl`, whichever is first.
    pub expires_at: u64,
    /// How long it was until then when the token was asked for.
    pub lifetime: Duration,
    /// How long it would be by the issuer's word alone.
    pub by_issuer: Duration,
    /// What was granted for tokens issued before this is no longer to be kept: the issuer's word when it granted this one, in
    /// seconds since 1970; 0 where it said nothing.
    pub not_before: u64,
}

/// The next generation: a counter for the whole process, drawn when an exchange starts. 0 is never drawn.
pub fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What a [`TokenSource`] answers: at once where it can, so that a hit costs no allocation.
pub type Answer = Either<Ready<Result<Granted, Fault>>, BoxFuture<'static, Result<Granted, Fault>>>;

/// Something that finds a token for an asker and a target: an exchange, or a cache around one.
pub trait TokenSource: Send + Sync + 'static {
    fn token(&self, asker: &Asker, target: &Arc<Target>, ask: Ask) -> Answer;

    /// For how long somebody waits for a token for `target`, at the most, all attempts together; `None`: nobody has said.
    fn patience(&self, _target: &Target) -> Option<Duration> {
        None
    }
}

impl<T: TokenSource + ?Sized> TokenSource for Arc<T> {
    fn token(&self, asker: &Asker, target: &Arc<Target>, ask: Ask) -> Answer {
        (**self).token(asker, target, ask)
    }

    fn patience(&self, target: &Target) -> Option<Duration> {
        (**self).patience(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_what_it_keeps() {
        let header = HeaderValue::from_static("Bearer c4nary-token");
        let subject = SubjectToken::from_authorization(&header).unwrap().unwrap();
        let access = AccessToken::new("c4nary-token").unwrap();
        let printed =
            format!("{:?} {:?} {:?} {:?} {:?}", Secret::new("c4nary-token"), subject, access, subject.digest(), access.authorization());
        assert!(!printed.contains("c4nary"), "{printed}");
        let values = [subject.authorization(), subject.bare(), access.bare()];
        assert!(values.iter().all(HeaderValue::is_sensitive) && !format!("{values:?}").contains("c4nary"));
    }

    #[test]
    fn a_token_can_be_written_with_its_scheme_and_without() {
        let with = SubjectToken::from_authorization(&HeaderValue::from_static("bearer abc")).unwrap().unwrap();
        let without = SubjectToken::from_value(&HeaderValue::from_static("abc")).unwrap();
        assert_eq!((with.authorization(), with.bare()), (HeaderValue::from_static("bearer abc"), HeaderValue::from_static("abc")));
        assert_eq!((without.authorization(), without.bare()), (HeaderValue::from_static("Bearer abc"), HeaderValue::from_static("abc")));
        assert_eq!(with.digest(), without.digest());
        let granted = AccessToken::new("abc").unwrap();
        assert_eq!((granted.authorization(), granted.bare()), (HeaderValue::from_static("Bearer abc"), HeaderValue::from_static("abc")));
        assert_eq!(granted.expose(), "abc");
    }

    #[test]
    fn bearer_values_are_read_strictly() {
        let read = |v: &str| SubjectToken::from_authorization(&HeaderValue::from_str(v).unwrap()).map(|t| t.map(|t| t.expose().to_owned()));
        assert_eq!(read("Bearer abc.d-e_f~+/=="), Ok(Some("abc.d-e_f~+/==".into())));
        assert_eq!(read("bEARER  abc"), Ok(Some("abc".into())));
        assert_eq!(read("Basic abc"), Ok(None));
        assert_eq!(read("Bearerabc"), Ok(None));
        for bad in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer =", "Bearer a=b", "Bearer \u{e4}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("Bearer {}", "a".repeat(MAX_TOKEN + 1))).is_err());
    }

    #[test]
    fn a_b64token_is_what_the_rfc_says_byte_for_byte() {
        let said = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
        for b in 0..=255u8 {
            assert_eq!(is_b64token(&[b'a', b, b'a']), said(b), "{b:#x}");
        }
        assert!(is_b64token(b"a==") && !is_b64token(b"==") && !is_b64token(b"a=b") && !is_b64token(b""));
    }

    #[test]
    fn parts_do_not_run_together() {
        let of = |parts: &[&str]| Digest::of_parts(parts.iter().map(|p| p.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    }
}
