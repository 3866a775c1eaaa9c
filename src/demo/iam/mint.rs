//! Tokens for callers, as a login at the development IAM gives them, and every way in which a test may want one spoilt. It mints
//! for whoever holds the `Iam` in the same process; over HTTP only the realm's own users get any.

use super::exchange::aud_claim;
use super::keys::{Head, Key, Keys};
use super::{Error, Realm, random_id};
use crate::clock::Clock;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

/// A caller's token in the making; see [`Iam::caller`](super::Iam::caller).
#[derive(Clone)]
pub struct CallerToken {
    keys: Keys,
    clock: Clock,
    claims: Map<String, Value>,
    head: Head,
    algorithm: Algorithm,
    foreign: bool,
}

impl CallerToken {
    /// Begins a session of its own.
    pub(super) fn new(realm: &Realm, sub: &str, client: &str, audiences: &[String], lifespan: i64) -> Self {
        let now = realm.now();
        let sid = random_id();
        realm.session_begun(sub, &sid);
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("exp", json!(now + lifespan));
        put("iat", json!(now));
        put("jti", json!(random_id()));
        put("iss", json!(realm.issuer));
        put("sub", json!(sub));
        put("typ", json!("Bearer"));
        put("azp", json!(client));
        put("sid", json!(sid));
        put("scope", json!("email profile"));
        put("preferred_username", json!(sub));
        if let Some(aud) = aud_claim(audiences) {
            put("aud", aud);
        }
        let (keys, clock) = (realm.keys.clone(), realm.clock.clone());
        Self { keys, clock, claims, head: Head::default(), algorithm: Algorithm::RS256, foreign: false }
    }

    /// Instead of the gateway's own client.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", json!(audience))
    }

    /// In seconds from now; negative: it is over.
    pub fn expires_in(self, seconds: i64) -> Self {
        let exp = i64::try_from(self.clock.unix()).unwrap_or(i64::MAX) + seconds;
        self.claim("exp", json!(exp))
    }

    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// The client that the caller logged in with.
    pub fn azp(self, client: &str) -> Self {
        self.claim("azp", json!(client))
    }

    /// The header's `typ`; the claim of that name is another matter.
    pub fn typ(mut self, typ: Option<&str>) -> Self {
        self.head.typ = typ.map(str::to_owned);
        self
    }

    /// A `kid` other than the key's.
    pub fn kid(mut self, kid: &str) -> Self {
        self.head.kid = Some(kid.to_owned());
        self
    }

    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Signed by a key that nobody published, under the `kid` of one that was.
    pub fn forged(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// The session that the token belongs to.
    pub fn sid(&self) -> &str {
        self.claims.get("sid").and_then(Value::as_str).unwrap_or_default()
    }

    /// The finished token. Asked twice, it gives the same claims again.
    ///
    /// # Errors
    /// When the algorithm is none that the IAM has keys for.
    pub fn token(&self) -> Result<String, Error> {
        if !self.foreign {
            return self.keys.sign(self.algorithm, &self.head, &self.claims);
        }
        let mut head = self.head.clone();
        head.kid = head.kid.or_else(|| self.keys.kid(self.algorithm));
        Key::generate(self.algorithm)?.sign(&head, &self.claims)
    }
}
