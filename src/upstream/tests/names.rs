//! Every address behind a name, told by a resolver of the test's own.

use super::*;
use crate::upstream::resolve::Resolve;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What the name stands for at the moment, and how often that was asked.
struct Told {
    /// `None`: the answer is yet to come.
    answer: watch::Sender<Option<Result<Vec<SocketAddr>, String>>>,
    asked: AtomicUsize,
}

impl Told {
    fn new(answer: Option<Result<Vec<SocketAddr>, String>>) -> Arc<Self> {
        Arc::new(Self { answer: watch::Sender::new(answer), asked: AtomicUsize::new(0) })
    }

    fn say(&self, addresses: &[SocketAddr]) {
        self.answer.send_replace(Some(Ok(addresses.to_vec())));
    }

    fn fail(&self) {
        self.answer.send_replace(Some(Err("the name server is down".to_owned())));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Told {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        assert_eq!((host, port), ("orders.test", 80));
        self.asked.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut answer = self.answer.subscribe();
            let told = answer.wait_for(Option::is_some).await.unwrap().clone();
            told.unwrap().map_err(io::Error::other)
        }
        .boxed()
    }
}

const REFRESH: Duration = Duration::from_secs(10);

fn behind(told: &Arc<Told>) -> Worker {
    let name = Endpoint { tls: false, host: "orders.test".into(), port: 80 };
    let settings = Settings { balance: Balance::RoundRobin, ..Settings::to("orders", Endpoints::Dns { name, refresh: REFRESH }) };
    let worker = Worker::with(settings);
    worker.upstream.start_with(&worker.clock, &Handle::current(), told.clone());
    worker
}

async fn looked_up_again(worker: &Worker, told: &Told) {
    let asked = told.asked();
    worker.clock.turn(REFRESH);
    until(|| told.asked() > asked).await;
    // It is taken after it was told.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn named(name: &'static str) -> Backend {
    Backend::start(move |text| if text.contains("/slow") { (String::new(), Then::Hang) } else { (ok(name), Then::Keep) }).await
}

#[tokio::test]
async fn a_change_is_used_from_the_next_look_up_on_and_what_vanished_is_let_go() {
    let (one, two, three) = (named("one").await, named("two").await, named("three").await);
    let told = Told::new(None);
    told.say(&[one.address, two.address]);
    let worker = behind(&told);
    let mut got = [worker.get("/").await, worker.get("/").await];
    got.sort_unstable();
    assert_eq!(got, ["one", "two"]);
    told.say(&[two.address, three.address]);
    worker.get("/").await;
    worker.get("/").await;
    assert_eq!((one.requests(), three.requests()), (2, 0), "nothing changes before the name is looked up again");
    looked_up_again(&worker, &told).await;
    // Its idle connection is closed by the next tick.
    one.sees_a_close().await;
    for _ in 0..4 {
        worker.get("/").await;
    }
    assert_eq!((one.requests(), three.requests()), (2, 2));
    assert_eq!(two.connections(), 1, "who stays keeps its connections");
}

#[tokio::test]
async fn what_is_under_way_at_a_vanished_address_ends_in_peace() {
    let body = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let leaving = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = named("other").await;
    let told = Told::new(Some(Ok(vec![leaving.local_addr().unwrap()])));
    let worker = behind(&told);
    let sending = worker.send(request(Method::GET, "/", Empty::new()));
    let (answer, mut stream) = tokio::join!(sending, async {
        let (mut stream, _) = leaving.accept().await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        stream
    });
    told.say(&[other.address]);
    looked_up_again(&worker, &told).await;
    assert_eq!(worker.get("/").await, "other");
    stream.write_all(b"4\r\n way\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(text(answer.unwrap()).await, "half way");
    // And its connection is not kept.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn a_look_up_that_fails_or_finds_nothing_takes_no_address_away() {
    let one = named("one").await;
    let told = Told::new(Some(Ok(vec![one.address])));
    let worker = behind(&told);
    assert_eq!(worker.get("/").await, "one");
    told.fail();
    looked_up_again(&worker, &told).await;
    assert_eq!(worker.get("/").await, "one");
    told.say(&[]);
    looked_up_again(&worker, &told).await;
    assert_eq!(worker.get("/").await, "one");
    assert_eq!(one.connections(), 1);
}

#[tokio::test]
async fn the_first_request_waits_for_the_first_look_up() {
    let one = named("one").await;
    let told = Told::new(None);
    let worker = behind(&told);
    let (got, ()) = tokio::join!(worker.get("/"), async {
        until(|| told.asked() == 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        told.say(&[one.address]);
    });
    assert_eq!((got.as_str(), told.asked()), ("one", 1));
}

#[tokio::test]
async fn a_name_that_was_never_found_is_said_at_once_and_asked_for_soon() {
    let one = named("one").await;
    let told = Told::new(None);
    told.fail();
    let worker = behind(&told);
    for _ in 0..2 {
        let error = worker.send(post("/", "x")).await.unwrap_err();
        assert!(matches!(&error, Error::Unreachable { why, .. } if why.contains("the name server is down")), "{error}");
    }
    told.say(&[one.address]);
    let asked = told.asked();
    worker.clock.turn(Duration::from_secs(1));
    until(|| told.asked() > asked).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(worker.get("/").await, "one");
}

#[tokio::test]
async fn who_has_no_time_left_for_the_look_up_is_told_so() {
    let mut worker = behind(&Told::new(None));
    worker.timeouts.connect = Duration::from_millis(50);
    let error = worker.send(post("/", "x")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { why, .. } if why.contains("looked up")), "{error}");
}

#[tokio::test]
async fn an_upstream_that_is_dropped_lets_idle_connections_go_and_asks_no_more() {
    let one = named("one").await;
    let told = Told::new(Some(Ok(vec![one.address])));
    let worker = behind(&told);
    assert_eq!(worker.get("/").await, "one");
    let Worker { clock, ticker: _ticker, pools: _pools, upstream, .. } = worker;
    drop(upstream);
    one.sees_a_close().await;
    clock.turn(5 * REFRESH);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(told.asked(), 1);
}
