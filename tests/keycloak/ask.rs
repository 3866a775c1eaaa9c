//! What a route asks of Keycloak, told to a gateway as YAML and to Keycloak itself as a form; and a gateway around it, in this
//! process, with one backend that keeps what it receives.

use crate::server::{Keycloak, Words, assert_refused};
use cambist::app::Gateway;
use cambist::clock::{Clock, Ticker};
use cambist::config;
use cambist::demo::backend::{Backend, Received};
use cambist::demo::fetch::{Answer, Connection};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::net::SocketAddr;
use std::time::Duration;

/// Whatever is not said is as it is in [`ASK`].
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub client: &'a str,
    /// None where it is empty: `issuer` then says how the client proves itself.
    pub secret: &'a str,
    pub audiences: &'a [&'a str],
    pub scopes: &'a [&'a str],
    pub resources: &'a [&'a str],
    /// More keys of the issuer.
    pub issuer: &'a str,
    /// Keys of its `verify`.
    pub verify: &'a str,
    /// More keys of the route.
    pub route: &'a str,
    /// More sections.
    pub top: &'a str,
}

/// The ordinary thing: orders-api, which the gateway's client always reaches.
pub const ASK: Ask<'static> = Ask {
    client: "gateway",
    secret: "gateway-secret",
    audiences: &["orders-api"],
    scopes: &[],
    resources: &[],
    issuer: "",
    verify: "",
    route: "",
    top: "",
};

/// A gateway with one route, and what is behind it.
pub struct Running {
    pub gateway: Gateway,
    pub clock: Clock,
    pub backend: Backend,
}

impl Ask<'_> {
    fn yaml(&self, url: &str, upstream: &str) -> String {
        let Self { client, secret, audiences, scopes, resources, issuer, verify, route, top } = self;
        let list = |key: &str, values: &[&str]| if values.is_empty() { String::new() } else { format!(", {key}: {values:?}") };
        let more = |keys: &str| if keys.is_empty() { String::new() } else { format!(", {keys}") };
        let verify = if verify.is_empty() { String::new() } else { format!(", verify: {{ {verify} }}") };
        let (issuer, route) = (more(issuer), more(route));
        let secret = if secret.is_empty() { String::new() } else { format!(", client_secret: {secret}") };
        format!(
            "
listeners: {{ main: {{ address: 127.0.0.1:0 }} }}
metrics: {{ address: 127.0.0.1:0 }}
workers: 1
issuers:
  main: {{ url: \"{url}\", client_id: {client}{secret}, timeouts: {{ connect: 2s, total: 9s }}{issuer}{verify} }}
routes:
  it: {{ upstream: \"{upstream}\"{}{}{}{route} }}
{top}
",
            list("audience", audiences),
            list("scopes", scopes),
            list("resource", resources),
        )
    }
}

impl Keycloak {
    /// A gateway that asks so, ready. Its backend takes any token, and tells the claims of those that are genuine.
    pub async fn gateway(&self, ask: &Ask<'_>) -> Running {
        let backend = Backend::open(([127, 0, 0, 1], 0).into(), Some(self.trust().await)).unwrap();
        let running = self.gateway_before(ask, backend);
        until("the gateway is ready", || running.gateway.ready()).await;
        running
    }

    /// The same before a backend of one's own, and not waited for.
    pub fn gateway_before(&self, ask: &Ask<'_>, backend: Backend) -> Running {
        let text = ask.yaml(&self.issuer(), &backend.url());
        let clock = Clock::turned();
        let loaded = config::read(&text, "test.yaml").unwrap_or_else(|report| panic!("{}\n{text}", report.render(false)));
        Running { gateway: Gateway::start(loaded.config, clock.clone()).unwrap(), clock, backend }
    }

    /// A row of the tables: Keycloak refuses in these words, the gateway answers so, and the backend hears nothing.
    pub async fn refuses(&self, ask: &Ask<'_>, token: &str, words: Words, ours: (u16, &str)) -> Running {
        assert_refused(&self.exchange(ask, token).await, words);
        let running = self.gateway(ask).await;
        running.refuses(token, words, ours).await;
        running
    }

    /// A row of what never gets as far as Keycloak: it would refuse in these words, but the gateway refuses by itself.
    pub async fn is_spared(&self, ask: &Ask<'_>, token: &str, words: Words, ours: (u16, &str)) -> Running {
        assert_refused(&self.exchange(ask, token).await, words);
        let running = self.gateway(ask).await;
        running.refuses_by_itself(token, ours).await;
        running
    }
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.gateway.listener("main").unwrap()
    }

    /// One request with this token, on a connection of its own.
    pub async fn get(&self, token: &str) -> Answer {
        Connection::open(self.address()).await.unwrap().get("/it", Some(token)).await.unwrap()
    }

    /// The same with more headers.
    pub async fn get_with(&self, token: &str, more: &[(&'static str, &str)]) -> Answer {
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())]);
        headers.extend(more.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())));
        Connection::open(self.address()).await.unwrap().send(Method::GET, "/it", headers, "".into()).await.unwrap()
    }

    /// A request that arrives, and what the backend received.
    pub async fn passes(&self, token: &str) -> Received {
        let before = self.backend.requests();
        let answer = self.get(token).await;
        assert_eq!(answer.status, 200, "{:?}, {:?}", said(&answer), self.gateway.failures().first());
        assert_eq!(self.backend.requests(), before + 1);
        let seen = self.backend.last().unwrap();
        assert_eq!(seen.header("authorization").len(), 1);
        assert!(!format!("{:?}", seen.headers).contains(token), "the caller's own token never goes upstream");
        seen
    }

    /// The caller gets our answer and nothing more, the operator the issuer's words, the backend nothing.
    pub async fn refuses(&self, token: &str, (_, error, description): Words, ours: (u16, &str)) {
        self.refused(token, ours).await;
        let failure = &self.gateway.failures()[0];
        assert_eq!(failure.issuer_words.as_deref(), Some(&*format!("{error}: {description}")));
        assert!(!failure.cause.is_empty());
        assert!(!failure.cure.is_empty() || ours.0 == 401, "what the operator can mend has a cure: {failure:?}");
    }

    /// As [`Running::refuses`], but the issuer was not asked.
    pub async fn refuses_by_itself(&self, token: &str, ours: (u16, &str)) {
        let asked = self.exchanges().await;
        self.refused(token, ours).await;
        assert_eq!(self.gateway.failures()[0].issuer_words, None);
        assert_eq!(self.exchanges().await, asked, "the issuer is not asked");
    }

    /// What the caller sees of a refusal, whoever it comes from.
    pub async fn refused(&self, token: &str, (status, code): (u16, &str)) {
        let before = self.backend.requests();
        let answer = self.get(token).await;
        assert_eq!(said(&answer), (status, code.to_owned()), "{:?}", self.gateway.failures().first());
        assert_eq!(self.backend.requests(), before, "nothing at the backend");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.headers["cache-control"], "no-store");
        let challenge = answer.headers.get("www-authenticate").map(|c| c.to_str().unwrap());
        match status {
            401 => assert!(challenge.unwrap().starts_with(&format!("Bearer realm=\"cambist\", error=\"{code}\"")), "{challenge:?}"),
            _ => assert_eq!(challenge, None, "a challenge would send the caller to log in again, in vain"),
        }
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
        let failure = &self.gateway.failures()[0];
        assert_eq!((failure.status, failure.reason), (status, code));
        // Where there is no more to say than the caller is told, that is the cause.
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        let cause = Some(&failure.cause).filter(|cause| **cause != detail);
        for words in [&failure.cure].into_iter().chain(&failure.issuer_words).chain(cause) {
            assert!(!String::from_utf8_lossy(&answer.body).contains(&**words), "the caller is not told what the operator is");
        }
    }

    /// How often the issuer was asked to exchange, however it ended.
    pub async fn exchanges(&self) -> u64 {
        self.count("cambist_token_exchanges_total").await
    }

    /// Requests that found their token in the cache.
    pub async fn hits(&self) -> u64 {
        self.count("cambist_token_cache_lookups_total{result=\"hit\"").await
    }

    /// Exchanged tokens that are held.
    pub async fn held(&self) -> u64 {
        self.count("cambist_token_cache_entries ").await
    }

    async fn count(&self, series: &str) -> u64 {
        let mut connection = Connection::open(self.gateway.metrics_address()).await.unwrap();
        let text = String::from_utf8(connection.get("/metrics", None).await.unwrap().body.to_vec()).unwrap();
        let of = |line: &str| line.starts_with(series).then(|| line.rsplit(' ').next()?.parse::<u64>().ok()).flatten();
        text.lines().filter_map(of).sum()
    }

    /// Past the cached token's end, which is its caller's (300 s), while that still passes by the skew that verification allows.
    pub async fn turn_past_the_cached_token(&self) {
        turn(&self.clock, Duration::from_secs(310)).await;
    }
}

/// The status of an answer and, where the gateway gave it itself, its `code`.
pub fn said(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

/// Waits for something that comes about by itself, and says what did not.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came about: {what}");
}

/// Turns a gateway's clock, and lets its workers see it before anybody comes in: a connection that is accepted in between would
/// carry a stamp from before, and be cut as late.
pub async fn turn(clock: &Clock, by: Duration) {
    clock.turn(by);
    tokio::time::sleep(5 * Ticker::PERIOD).await;
}
