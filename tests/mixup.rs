//! Nobody ever gets another's token, nor one for another backend: random requests of 10,000 callers to 10 backends over real sockets,
//! with a cache too small for them, and everything mixed in that changes what it holds. Each backend checks `aud` and `sub` of every
//! request against what the caller says of itself in plain headers, and each caller checks that the answer is its own.
//!
//! `CAMBIST_MIXUP_REQUESTS` says how many (1,000,000 in CI, in a release build), `CAMBIST_MIXUP_SEED` repeats what was drawn.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use cambist::app::Gateway;
use cambist::clock::Clock;
use cambist::config;
use cambist::demo::fetch::Connection;
use cambist::demo::iam::{self, Algorithm, Client, Endpoint, Iam, Keys};
use cambist::demo::misbehave::Misbehave;
use cambist::demo::serve::{Body, Broken, Conn, Server, Service, full};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const CALLERS: usize = 10_000;
const AUDIENCES: usize = 10;
/// Callers' connections: each of the first sends one request after another, each of the others carries many streams.
const HTTP1: usize = 24;
const HTTP2: usize = 3;
const STREAMS: usize = 8;
/// By how often the clock is turned by a second; tokens live for a minute.
const TURNS: u64 = 200;
const LIFE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
/// In a debug build some five seconds, and thrice as long where everything else runs at the same time.
const ORDINARY: u64 = 4_000;

/// What has come about, and what must not have.
#[derive(Default)]
struct Tally {
    seen: Mutex<BTreeMap<String, u64>>,
    wrong: AtomicU64,
    /// The first of them.
    told: Mutex<Vec<String>>,
}

impl Tally {
    fn count(&self, what: impl Into<String>) {
        *self.seen.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    fn wrong(&self, what: String) {
        self.wrong.fetch_add(1, Ordering::SeqCst);
        let mut told = self.told.lock().unwrap();
        if told.len() < 20 {
            told.push(what);
        }
    }

    fn of(&self, what: &str) -> u64 {
        self.seen.lock().unwrap().get(what).copied().unwrap_or_default()
    }
}

/// A backend for one audience.
struct Checking {
    audience: String,
    tally: Arc<Tally>,
    clock: Clock,
    keys: Keys,
    /// Requests that were refused once, and are not a second time.
    refused: Mutex<HashSet<u64>>,
}

impl Service for Checking {
    fn call(self: Arc<Self>, request: Request<Incoming>, _: Conn) -> BoxFuture<'static, Result<Response<Body>, Broken>> {
        async move { Ok(self.judge(request.headers())) }.boxed()
    }
}

impl Checking {
    fn judge(&self, headers: &HeaderMap) -> Response<Body> {
        self.tally.count("reached a backend");
        let say = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (caller, nonce): (_, u64) = (say("x-caller"), say("x-nonce").parse().unwrap());
        let token = say("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let claims = claims(token);
        let is = |name: &str| claims[name].as_str().unwrap_or_default();
        let fits = is("aud") == self.audience
            && is("sub") == caller
            && is("azp") == "gateway"
            && claims["exp"].as_u64().is_some_and(|exp| exp > self.clock.unix())
            && headers.get_all(AUTHORIZATION).iter().count() == 1
            && !headers.contains_key("x-token-force-update");
        if !fits {
            self.tally.wrong(format!(
                "request {nonce} of {caller} reached {} with a token of {} for {}",
                self.audience,
                is("sub"),
                is("aud")
            ));
        }
        // Whose and what for is read from every token; that it is genuine, which takes longer, from some.
        if nonce.is_multiple_of(64) && self.keys.verified(token).is_none() {
            self.tally.wrong(format!("request {nonce} of {caller} reached {} with a token that nobody signed", self.audience));
        }
        if headers.contains_key("x-refuse") && self.refused.lock().unwrap().insert(nonce) {
            let mut response = Response::new(full("refused"));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            return response;
        }
        Response::new(full(json!({ "sub": is("sub"), "aud": is("aud"), "nonce": nonce }).to_string()))
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).and_then(|p| URL_SAFE_NO_PAD.decode(p).ok()).unwrap_or_default();
    serde_json::from_slice(&payload).unwrap_or_default()
}

/// A caller's login: its token, and whether anything may be said against it.
struct Login {
    bearer: HeaderValue,
    sid: String,
    expires_at: u64,
    out: AtomicBool,
}

struct World {
    clock: Clock,
    iam: Iam,
    tally: Arc<Tally>,
    logins: Vec<Mutex<Option<Arc<Login>>>>,
    gateway: SocketAddr,
    admin: SocketAddr,
    requests: u64,
    begun: AtomicU64,
    /// The callers who come most often.
    regulars: usize,
}

impl World {
    /// The caller's login, a new one where there is none. All tokens begin with the same some hundred characters.
    fn login(&self, who: usize, random: &mut StdRng) -> Arc<Login> {
        let mut kept = self.logins[who].lock().unwrap();
        kept.get_or_insert_with(|| {
            let life = if random.random_bool(0.2) { random.random_range(10..80) } else { 36_000 };
            let token = self.iam.caller(&name(who)).algorithm(Algorithm::ES256).claim("jti", json!("the same")).expires_in(life);
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.token().unwrap())).unwrap();
            let expires_at = self.clock.unix() + u64::try_from(life).unwrap();
            Arc::new(Login { bearer, sid: token.sid().to_owned(), expires_at, out: AtomicBool::new(false) })
        })
        .clone()
    }

    /// The login is no good any more: the next request is made with another.
    fn gone(&self, who: usize, login: &Arc<Login>) {
        let mut kept = self.logins[who].lock().unwrap();
        if kept.as_ref().is_some_and(|l| Arc::ptr_eq(l, login)) {
            *kept = None;
        }
    }

    /// At the issuer, which tells nobody.
    fn logged_out(&self, who: usize) {
        let kept = self.logins[who].lock().unwrap();
        if let Some(login) = kept.as_ref() {
            login.out.store(true, Ordering::SeqCst);
        }
        self.iam.logout(&name(who));
        self.tally.count("logged out");
    }

    /// What the issuer tells the gateway of a session that is over: a purge.
    fn logout_token(&self, who: usize, sid: &str) -> String {
        let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
        let token = self.iam.caller(&name(who)).algorithm(Algorithm::ES256).typ(Some("logout+jwt")).audience("demo-app");
        token.claim("typ", json!("Logout")).claim("events", events).claim("sid", json!(sid)).expires_in(120).token().unwrap()
    }

    /// The issuer answers the next exchange with somebody else's token, or one for somewhere else.
    fn lie(&self, random: &mut StdRng) {
        let lie = match random.random_bool(0.5) {
            true => ("sub", json!(name(random.random_range(0..CALLERS)))),
            false => ("aud", json!(audience(random.random_range(0..AUDIENCES)))),
        };
        self.iam.script(Endpoint::Token, Misbehave::claim(lie.0, Some(lie.1)));
        self.tally.count("the issuer lied");
    }
}

fn name(who: usize) -> String {
    format!("caller-{who}")
}

fn audience(which: usize) -> String {
    format!("backend-{which}")
}

/// One connection of callers.
#[derive(Clone)]
enum Sender {
    One(Arc<tokio::sync::Mutex<http1::SendRequest<Full<Bytes>>>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn one(gateway: SocketAddr) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(gateway).await.unwrap())).await.unwrap();
        tokio::spawn(connection);
        Self::One(Arc::new(tokio::sync::Mutex::new(sender)))
    }

    async fn two(gateway: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(gateway).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Self::Two(sender)
    }

    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> (StatusCode, Value) {
        let answer = async {
            let answer = match self {
                Self::One(sender) => {
                    let path = request.uri().path().to_owned();
                    *request.uri_mut() = path.parse().unwrap();
                    request.headers_mut().insert(HOST, HeaderValue::from_static("api.example.com"));
                    let mut sender = sender.lock().await;
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Self::Two(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, body) = answer.into_parts();
            Ok::<_, hyper::Error>((head.status, body.collect().await?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").expect("a whole answer");
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
    }
}

/// What a request is about.
struct Errand {
    who: usize,
    what: usize,
    nonce: u64,
    /// Its backend refuses the first token that it comes with.
    refuse: bool,
    force: bool,
    login: Arc<Login>,
}

impl Errand {
    fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://api.example.com{path}").parse().unwrap();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.login.bearer.clone());
        headers.insert("x-caller", name(self.who).parse().unwrap());
        headers.insert("x-nonce", self.nonce.into());
        if self.refuse {
            headers.insert("x-refuse", HeaderValue::from_static("once"));
        }
        if self.force {
            headers.insert("x-token-force-update", HeaderValue::from_static("true"));
        }
        request
    }

    /// Whether a 401 is the caller's due.
    fn over(&self, clock: &Clock) -> bool {
        self.login.out.load(Ordering::SeqCst) || self.login.expires_at <= clock.unix()
    }
}

async fn drive(world: Arc<World>, mut sender: Sender, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut who = 0;
    loop {
        let nonce = world.begun.fetch_add(1, Ordering::SeqCst);
        if nonce >= world.requests {
            return;
        }
        if nonce.is_multiple_of((world.requests / TURNS).max(1)) {
            world.clock.turn(Duration::from_secs(1));
        }
        who = match random.random_range(0..100) {
            0..30 => who,
            30..85 => random.random_range(0..world.regulars),
            _ => random.random_range(0..CALLERS),
        };
        let (refuse, force) = (random.random_bool(0.01), random.random_bool(0.01));
        let login = world.login(who, &mut random);
        let errand = Errand { who, what: random.random_range(0..AUDIENCES), nonce, refuse, force, login };
        match random.random_range(0..1000) {
            0..5 => world.logged_out(who),
            5..9 => purge(&world, &mut sender, &errand).await,
            9..13 => throw_out(&world, &errand, &mut random).await,
            13..17 => world.lie(&mut random),
            17..27 => forbidden(&world, &mut sender, &errand).await,
            27..50 => asks_for_the_token(&world, &mut sender, &errand).await,
            _ => {}
        }
        sends(&world, &mut sender, &errand).await;
    }
}

/// An ordinary request: it gets its own answer, or is refused for a reason.
async fn sends(world: &World, sender: &mut Sender, errand: &Errand) {
    let (status, said) = sender.send(errand.request(Method::GET, &format!("/{}", audience(errand.what)), "")).await;
    match (status.as_u16(), &said) {
        (200, own) => {
            let wanted = json!({ "sub": name(errand.who), "aud": audience(errand.what), "nonce": errand.nonce });
            world.tally.count(if errand.refuse { "served at the second try" } else { "served" });
            if *own != wanted {
                world.tally.wrong(format!("{wanted} got the answer to {own}"));
            }
        }
        // The first token was a new one: a newer would be no better.
        (401, Value::String(text)) if text == "refused" && errand.refuse => world.tally.count("refused by the backend"),
        _ => refused(world, errand, status, &said),
    }
}

/// A refusal of the gateway itself that may be.
fn refused(world: &World, errand: &Errand, status: StatusCode, said: &Value) {
    match (status.as_u16(), said["code"].as_str()) {
        (401, Some("invalid_token")) if errand.over(&world.clock) => {
            world.tally.count("the caller's token was over");
            world.gone(errand.who, &errand.login);
        }
        (502, Some("bad_issuer_answer")) if world.tally.of("the issuer lied") > 0 => world.tally.count("the lie was seen through"),
        _ => world.tally.wrong(format!("request {} was answered {status} {said}", errand.nonce)),
    }
}

/// A target that the gateway's client does not get, in between.
async fn forbidden(world: &World, sender: &mut Sender, errand: &Errand) {
    let (status, said) = sender.send(errand.request(Method::GET, "/forbidden", "")).await;
    match (status.as_u16(), said["code"].as_str()) {
        (403, Some("target_refused")) => world.tally.count("the target was refused"),
        _ => refused(world, errand, status, &said),
    }
}

/// By the other door, to the same cache.
async fn asks_for_the_token(world: &World, sender: &mut Sender, errand: &Errand) {
    let wanted = json!({ "audience": audience(errand.what), "force_update": errand.force }).to_string();
    let mut request = errand.request(Method::POST, "/v1/exchange", wanted);
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    let (status, said) = sender.send(request).await;
    let Some(token) = said["token"].as_str() else { return refused(world, errand, status, &said) };
    let claims = claims(token);
    world.tally.count("got the token itself");
    if claims["sub"] != name(errand.who) || claims["aud"] != audience(errand.what) {
        world.tally.wrong(format!("{} asked for {} and got {claims}", name(errand.who), audience(errand.what)));
    }
}

async fn purge(world: &World, sender: &mut Sender, errand: &Errand) {
    errand.login.out.store(true, Ordering::SeqCst);
    let token = world.logout_token(errand.who, &errand.login.sid);
    let mut request = errand.request(Method::POST, "/backchannel-logout", format!("logout_token={token}"));
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    let (status, said) = sender.send(request).await;
    world.tally.count("purged");
    if status != StatusCode::OK {
        world.tally.wrong(format!("a logout token was answered {status} {said}"));
    }
}

/// What an operator does on the admin listener: nobody is logged out by it.
async fn throw_out(world: &World, errand: &Errand, random: &mut StdRng) {
    let query = match random.random_range(0..200) {
        0 => "all".to_owned(),
        1..10 => format!("audience={}", audience(errand.what)),
        10..80 => format!("session={}", errand.login.sid),
        _ => format!("subject={}", name(errand.who)),
    };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer of-the-operator"))]);
    let mut admin = Connection::open(world.admin).await.unwrap();
    let answer = admin.send(Method::DELETE, &format!("/v1/tokens?{query}"), headers, Bytes::new()).await.unwrap();
    world.tally.count("thrown out by the operator");
    if answer.status != StatusCode::OK {
        world.tally.wrong(format!("to throw out by {query} was answered {}", answer.status));
    }
}

/// Ten routes to ten backends; on three of them tokens are kept for a moment only.
fn yaml(iam: &Iam, backends: &[Server], max_entries: usize) -> String {
    let (mut routes, mut upstreams, mut audiences) = (String::new(), String::new(), String::new());
    for (i, backend) in backends.iter().enumerate() {
        let (name, life) = (audience(i), if i < 3 { ", max_ttl: 3s" } else { "" });
        let timeouts = "timeouts: { response: 1h, idle: 1h }";
        let _ = writeln!(upstreams, "  {name}: {{ endpoints: [\"http://{}\"], {timeouts} }}", backend.address());
        let _ = writeln!(routes, "  {name}: {{ match: {{ path: /{name} }}, upstream: {name}, audience: {name}{life} }}");
        let _ = write!(audiences, "{name}: {{}}, ");
    }
    format!(
        "listeners: {{ main: {{ address: 127.0.0.1:0 }} }}
metrics: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0, token: of-the-operator }}
issuers:
  main:
    url: \"{}\"
    client_id: gateway
    client_secret: gateway-secret
    verify: {{ clock_skew: 0s }}
    timeouts: {{ connect: 30s, total: 60s }}
upstreams:
{upstreams}routes:
{routes}  forbidden: {{ match: {{ path: /forbidden }}, upstream: backend-0, audience: payroll-api }}
exchange_api: {{ listeners: [main], audiences: {{ {audiences} }} }}
logout: {{ listeners: [main], clients: [demo-app] }}
cache: {{ max_entries: {max_entries} }}
force_update: {{ header: X-Token-Force-Update, trusted_from: [127.0.0.0/8], min_interval: 1s }}
limits: {{ header_timeout: 1h, idle_timeout: 1h }}
",
        iam.issuer()
    )
}

async fn iam(clock: &Clock) -> Iam {
    let client = (0..AUDIENCES).fold(Client::confidential("gateway", "gateway-secret").exchanging(), |c, i| c.reaching(&audience(i)));
    let mut settings = iam::Settings { clock: clock.clone(), ..iam::Settings::anywhere() };
    settings.clients.retain(|c| c.id != "gateway");
    settings.clients.push(client.lifespan(LIFE));
    settings.clients.extend((0..AUDIENCES).map(|i| Client::confidential(&audience(i), "secret")));
    let iam = Iam::start(settings).await.unwrap();
    // The quickest there is.
    iam.sign_with(Algorithm::ES256).unwrap();
    iam
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

async fn metric(gateway: &Gateway, series: &str) -> u64 {
    let at = gateway.metrics_address();
    let text = Connection::open(at).await.unwrap().get("/metrics", None).await.unwrap().body;
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().filter(|l| l.starts_with(series)).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_anothers_token_or_one_for_elsewhere() {
    let requests = asked("CAMBIST_MIXUP_REQUESTS").unwrap_or(ORDINARY);
    let seed = asked("CAMBIST_MIXUP_SEED").unwrap_or_else(rand::random);
    println!("CAMBIST_MIXUP_REQUESTS={requests} CAMBIST_MIXUP_SEED={seed}");
    let (clock, tally) = (Clock::turned(), Arc::new(Tally::default()));
    let iam = iam(&clock).await;
    let backend = |i| {
        let (tally, clock, keys) = (tally.clone(), clock.clone(), iam.keys());
        let checking = Checking { audience: audience(i), tally, clock, keys, refused: Mutex::default() };
        Server::serve(Server::bind(([127, 0, 0, 1], 0).into()).unwrap(), Arc::new(checking)).unwrap()
    };
    let backends: Vec<Server> = (0..AUDIENCES).map(backend).collect();
    // What the regulars need would fit; what all need never does.
    let max_entries = usize::try_from(requests / 50).unwrap().clamp(60, 10_000);
    let text = yaml(&iam, &backends, max_entries);
    let loaded = config::read(&text, "mixup.yaml").unwrap_or_else(|report| panic!("{}\n{text}", report.render(false)));
    let gateway = Gateway::start(loaded.config, clock.clone()).unwrap();
    while !gateway.ready() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let world = Arc::new(World {
        gateway: gateway.listener("main").unwrap(),
        admin: gateway.admin_address().unwrap(),
        logins: (0..CALLERS).map(|_| Mutex::default()).collect(),
        begun: AtomicU64::new(0),
        regulars: max_entries / (AUDIENCES + 2),
        tally: tally.clone(),
        clock,
        iam,
        requests,
    });
    let began = Instant::now();
    let mut senders = Vec::new();
    for _ in 0..HTTP1 {
        senders.push(Sender::one(world.gateway).await);
    }
    for _ in 0..HTTP2 {
        let sender = Sender::two(world.gateway).await;
        senders.extend((0..STREAMS).map(|_| sender.clone()));
    }
    let drivers = senders.into_iter().enumerate().map(|(i, sender)| drive(world.clone(), sender, seed.wrapping_add(i as u64)));
    for driven in join_all(drivers.map(tokio::spawn)).await {
        driven.expect("a caller fell over");
    }
    println!("{requests} requests in {:.1?}, {} exchanges: {:?}", began.elapsed(), world.iam.exchanges(), tally.seen.lock().unwrap());
    let wrong = tally.wrong.load(Ordering::SeqCst);
    assert_eq!(wrong, 0, "seed {seed}: {wrong} went wrong, these first:\n{}", tally.told.lock().unwrap().join("\n"));
    it_was_what_it_says(&gateway, &world).await;
}

/// That nothing went wrong says something only where everything was there that could go wrong.
async fn it_was_what_it_says(gateway: &Gateway, world: &World) {
    for what in [
        "served",
        "served at the second try",
        "refused by the backend",
        "the caller's token was over",
        "the lie was seen through",
        "the target was refused",
        "got the token itself",
        "purged",
        "thrown out by the operator",
        "logged out",
    ] {
        assert!(world.tally.of(what) > 0, "never came about: {what}");
    }
    for result in ["hit", "miss", "refresh", "coalesced", "forced", "denied"] {
        let series = format!("cambist_token_cache_lookups_total{{result=\"{result}\"");
        let n = metric(gateway, &series).await;
        println!("lookups {result}: {n}");
        // Two who ask for the same in the same moment are a matter of luck where few ask.
        assert!(n > 0 || result == "coalesced", "no {result}");
    }
    for cause in ["size", "expired", "forced"] {
        let n = metric(gateway, &format!("cambist_token_cache_evictions_total{{cause=\"{cause}\"")).await;
        println!("evicted {cause}: {n}");
        assert!(n > 0, "nothing was thrown out for {cause}");
    }
    let (served, reached) = (world.tally.of("served"), world.tally.of("reached a backend"));
    assert!(served * 10 > world.requests * 8, "{served} of {} were served", world.requests);
    assert!(reached > served, "{reached} came to the backends, {served} were served");
}
