//! Upstreams that a caller names: what is dialled is what was judged, by a resolver of the test's own.

use super::*;
use crate::upstream::anywhere::{Anywhere, Own};
use crate::upstream::resolve::Resolve;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Says of every name the same, and counts how often it is asked.
#[derive(Default)]
struct Oracle {
    says: Mutex<Vec<SocketAddr>>,
    asked: AtomicUsize,
}

impl Oracle {
    fn say(&self, addresses: &[&str]) {
        *self.says.lock().unwrap() = addresses.iter().map(|a| a.parse().unwrap()).collect();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Oracle {
    fn addresses<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        async { Ok(self.says.lock().unwrap().clone()) }.boxed()
    }
}

struct Stage {
    oracle: Arc<Oracle>,
    own: Own,
    anywhere: Anywhere,
    worker: Worker,
}

fn stage() -> Stage {
    let (oracle, own) = (Arc::new(Oracle::default()), Own::default());
    let worker = Worker::to(([127, 0, 0, 1], 1).into());
    let metrics = Metrics::new().upstream("unmatched");
    Stage { anywhere: Anywhere::new(oracle.clone(), worker.clock.clone(), own.clone(), metrics), oracle, own, worker }
}

impl Stage {
    async fn get(&self, name: &str) -> String {
        let upstream = self.anywhere.upstream(name, 80).await.unwrap();
        let request = request(Method::GET, "/", Empty::new());
        text(self.worker.pools.send(&upstream, request, &mut self.worker.terms(None)).await.unwrap()).await
    }

    async fn refused(&self, name: &str) -> String {
        match self.anywhere.upstream(name, 80).await {
            Err(Error::Forbidden { why, .. }) => why,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{name} would be dialled"),
        }
    }
}

async fn named(name: &'static str) -> Backend {
    Backend::start(move |_| (ok(name), Then::Keep)).await
}

#[tokio::test]
async fn a_name_that_leads_to_a_forbidden_address_is_not_dialled() {
    let stage = stage();
    for bad in
        ["169.254.169.254:80", "[fe80::1]:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80", "[fd00:ec2::254]:80", "0.0.0.0:80"]
    {
        stage.oracle.say(&[bad]);
        let why = stage.refused("innocent.test").await;
        assert!(why.contains("innocent.test") && why.contains("never dialled"), "{why}");
    }
    assert_eq!(Error::Forbidden { upstream: "x".into(), why: String::new() }.code(), "no_route");
}

#[tokio::test]
async fn of_several_addresses_the_forbidden_ones_are_left_out() {
    let (stage, good) = (stage(), named("good").await);
    // Nothing listens at the first, and it is tried in turn with the others.
    stage.oracle.say(&["169.254.1.1:80", "127.0.0.1:1", &good.address.to_string()]);
    assert_eq!(stage.get("mixed.test").await, "good");
}

#[tokio::test]
async fn what_was_judged_is_what_is_dialled_whatever_the_name_says_meanwhile() {
    let (stage, good) = (stage(), named("good").await);
    stage.oracle.say(&[&good.address.to_string()]);
    let upstream = stage.anywhere.upstream("rebound.test", 80).await.unwrap();
    stage.oracle.say(&["169.254.169.254:80"]);
    let sent = stage.worker.pools.send(&upstream, request(Method::GET, "/", Empty::new()), &mut stage.worker.terms(None)).await;
    assert_eq!(text(sent.unwrap()).await, "good");
    assert_eq!(stage.oracle.asked(), 1, "dialling asks nobody");
    // What was looked up counts for a while, and is judged anew then.
    assert_eq!(stage.get("rebound.test").await, "good");
    stage.worker.clock.turn(Duration::from_secs(10));
    assert!(stage.refused("rebound.test").await.contains("169.254.169.254"));
}

#[tokio::test]
async fn who_is_where_it_was_keeps_its_connections_and_who_moved_does_not() {
    let (stage, one, two) = (stage(), named("one").await, named("two").await);
    stage.oracle.say(&[&one.address.to_string()]);
    for _ in 0..3 {
        assert_eq!(stage.get("orders.test").await, "one");
        stage.worker.clock.turn(Duration::from_secs(10));
    }
    assert_eq!((one.connections(), stage.oracle.asked()), (1, 3));
    stage.oracle.say(&[&two.address.to_string()]);
    assert_eq!(stage.get("orders.test").await, "two");
    one.sees_a_close().await;
}

#[tokio::test]
async fn the_gateway_itself_is_not_dialled() {
    let stage = stage();
    let own = |list: &[&str]| stage.own.store(Arc::new(list.iter().map(|a| a.parse().unwrap()).collect()));
    stage.oracle.say(&["127.0.0.1:80"]);
    own(&["127.0.0.1:80"]);
    assert!(stage.refused("a.test").await.contains("this gateway itself"));
    for everywhere in ["0.0.0.0:80", "[::]:80"] {
        own(&[everywhere]);
        stage.refused("a.test").await;
    }
    stage.oracle.say(&["[::ffff:127.0.0.1]:80"]);
    stage.refused("a.test").await;
    // Another port, or another machine's address, is somebody else.
    own(&["127.0.0.1:81", "127.0.0.2:80"]);
    assert!(stage.anywhere.upstream("a.test", 80).await.is_ok());
    own(&["0.0.0.0:80"]);
    stage.oracle.say(&["203.0.113.7:80"]);
    assert!(stage.anywhere.upstream("b.test", 80).await.is_ok());
}

#[tokio::test]
async fn few_are_kept_and_those_that_nobody_asks_for_are_forgotten() {
    let stage = stage();
    stage.oracle.say(&["127.0.0.1:1"]);
    let first = Arc::downgrade(&stage.anywhere.upstream("first.test", 80).await.unwrap());
    for n in 0..1000 {
        stage.anywhere.upstream(&format!("n{n}.test"), 80).await.unwrap();
    }
    assert_eq!(stage.anywhere.kept(), 256);
    assert!(first.upgrade().is_none(), "the one that was asked for least lately went");
    stage.worker.clock.turn(Duration::from_secs(60));
    stage.anywhere.upstream("last.test", 80).await.unwrap();
    assert_eq!(stage.anywhere.kept(), 1);
}

#[tokio::test]
async fn a_name_without_an_address_is_unreachable() {
    let stage = stage();
    stage.oracle.say(&[]);
    assert!(matches!(stage.anywhere.upstream("none.test", 80).await, Err(Error::Unreachable { .. })));
}
