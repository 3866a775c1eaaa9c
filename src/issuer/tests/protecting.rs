//! What protects an issuer, over real sockets: attempts, the circuit, its own wish, room and queue; each call is counted where it
//! arrives.

use super::*;
use std::future::Future;

fn protection(failures: u32, retries: u32) -> Protection {
    Protection { retries, breaker: BreakerSettings { failures, open_for: Duration::from_secs(5) }, ..Protection::default() }
}

struct Scene {
    iam: Iam,
    clock: Clock,
    issuer: Arc<Issuer>,
    metrics: Arc<crate::metrics::Metrics>,
}

/// An IAM that grants, and an issuer whose keys are in.
async fn scene(change: impl FnOnce(&mut Settings)) -> Scene {
    let (iam, clock) = (Iam::start(&[Signer::ed().jwk("one")]).await, Clock::turned());
    iam.answer(TOKEN, Canned::json(200, &json!({})));
    let (issuer, metrics) = iam.issuer(&clock, change);
    issuer.start();
    issuer.when_loaded().await;
    Scene { iam, clock, issuer, metrics }
}

impl Scene {
    fn post(&self) -> impl Future<Output = Result<Reply, CallError>> + use<> {
        let issuer = self.issuer.clone();
        async move { issuer.post_token(form(), Priority::Caller).await }
    }

    /// The status of an answer, and how many calls it took.
    async fn asked(&self) -> (Result<u16, CallError>, usize) {
        let before = self.iam.count(TOKEN);
        let outcome = self.post().await.map(|reply| reply.status);
        (outcome, self.iam.count(TOKEN) - before)
    }

    fn circuit_open(&self) -> bool {
        let text = String::from_utf8(self.metrics.encode()).unwrap();
        assert!(text.contains("cambist_issuer_circuit_open{issuer=\"main\"} "));
        text.contains("cambist_issuer_circuit_open{issuer=\"main\"} 1")
    }
}

fn status(status: u16) -> Canned {
    Canned::text(status, "")
}

#[tokio::test]
async fn another_attempt_is_made_where_it_may_help_and_nowhere_else() {
    let s = scene(|s| {
        s.protection = protection(100, 1);
        s.timeouts.total = Duration::from_millis(1500);
    })
    .await;
    for mended in [502, 503, 504] {
        s.iam.first(TOKEN, [status(mended)]);
        assert_eq!(s.asked().await, (Ok(200), 2), "{mended}");
    }
    s.iam.first(TOKEN, [status(503), status(504)]);
    assert_eq!(s.asked().await, (Ok(504), 2), "one more and no third");
    for (canned, wanted) in [(status(500), 500), (Canned::json(400, &json!({"error": "invalid_request"})), 400), (status(429), 429)] {
        s.iam.first(TOKEN, [canned]);
        assert_eq!(s.asked().await, (Ok(wanted), 1));
    }
    s.iam.first(TOKEN, [Canned { delay: Duration::from_secs(60), ..status(200) }]);
    assert_eq!(s.asked().await, (Err(CallError::Timeout), 1), "it may still be worked at");
    s.iam.first(TOKEN, [Canned { cut: true, ..Canned::default() }]);
    assert!(matches!(s.asked().await, (Err(CallError::Broken(_)), 1)));
}

#[tokio::test]
async fn an_issuer_that_comes_back_between_two_attempts_is_found() {
    let s = scene(|s| s.protection = protection(100, 8)).await;
    let addr = s.iam.addr.to_string();
    s.iam.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (outcome, back) = tokio::join!(s.post(), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let iam = Iam::at(&addr, &[]).await;
        iam.answer(TOKEN, Canned::json(200, &json!({})));
        iam
    });
    assert_eq!((outcome.unwrap().status, back.count(TOKEN)), (200, 1));
}

#[tokio::test]
async fn attempts_end_with_the_total() {
    let s = scene(|s| {
        s.protection = protection(1000, 10);
        s.timeouts.total = Duration::from_millis(700);
    })
    .await;
    s.iam.answer(TOKEN, status(503));
    let began = std::time::Instant::now();
    let (outcome, calls) = s.asked().await;
    assert_eq!(outcome, Ok(503));
    assert!((2..8).contains(&calls), "{calls}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn outages_open_the_circuit_and_refusals_never() {
    let s = scene(|s| s.protection = protection(3, 0)).await;
    for refusal in [400, 401, 403, 404, 429] {
        for _ in 0..4 {
            s.iam.first(TOKEN, [status(refusal)]);
            assert_eq!(s.asked().await, (Ok(refusal), 1), "a refusal, however it is worded");
        }
    }
    assert!(!s.circuit_open());
    s.iam.first(TOKEN, [status(500), Canned::text(200, "<html>"), status(302)]);
    for wanted in [500, 200, 302] {
        assert_eq!(s.asked().await, (Ok(wanted), 1));
    }
    assert!(s.circuit_open());
    for _ in 0..20 {
        let (outcome, calls) = s.asked().await;
        assert!(matches!(&outcome, Err(CallError::CircuitOpen { last, .. }) if last == "it answered HTTP 302 and no JSON"), "{outcome:?}");
        assert_eq!(calls, 0);
    }
}

#[tokio::test]
async fn one_tries_for_all_and_its_luck_closes_the_circuit() {
    let s = scene(|s| s.protection = protection(1, 1)).await;
    s.iam.answer(TOKEN, status(500));
    assert_eq!(s.asked().await, (Ok(500), 1));
    s.clock.turn(Duration::from_secs(5));
    s.iam.answer(TOKEN, status(503));
    assert_eq!(s.asked().await, (Ok(503), 1), "the first attempt's failure closes the way for the second, and is what is told");
    assert_eq!(s.asked().await.1, 0);
    s.clock.turn(Duration::from_secs(5));
    s.iam.answer(TOKEN, Canned { delay: Duration::from_millis(500), ..Canned::json(200, &json!({})) });
    let before = s.iam.count(TOKEN);
    let outcomes = futures_util::future::join_all((0..20).map(|_| s.post())).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
    assert_eq!(s.iam.count(TOKEN) - before, 1);
    assert!(!s.circuit_open());
    assert_eq!(s.asked().await, (Ok(200), 1));
}

#[tokio::test]
async fn its_wish_to_be_left_alone_is_obeyed() {
    let s = scene(|s| s.protection = protection(100, 1)).await;
    for busy in [429, 503] {
        s.iam.first(TOKEN, [status(busy).header("retry-after", "7")]);
        assert_eq!(s.asked().await, (Ok(busy), 1), "and no second attempt");
        s.clock.turn(Duration::from_secs(6));
        let (outcome, calls) = s.asked().await;
        assert!(matches!(outcome, Err(CallError::Paused { left }) if left <= Duration::from_secs(1)), "{outcome:?}");
        assert_eq!(calls, 0);
        s.clock.turn(Duration::from_secs(1));
        assert_eq!(s.asked().await, (Ok(200), 1));
    }
    s.iam.first(TOKEN, [status(429).header("retry-after", "86400"), status(500).header("retry-after", "30")]);
    s.post().await.unwrap();
    s.clock.turn(Duration::from_secs(60));
    assert_eq!(s.asked().await, (Ok(500), 1), "a minute at the most");
    assert_eq!(s.asked().await, (Ok(200), 1), "nobody else's header counts");
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(30));
    s.iam.first(TOKEN, [status(503).header("retry-after", &date)]);
    s.post().await.unwrap();
    assert!(matches!(s.asked().await, (Err(CallError::Paused { left }), 0) if left > Duration::from_secs(20)));
}

#[tokio::test]
async fn so_many_calls_at_a_time_and_renewals_only_where_there_is_room() {
    let s = scene(|s| s.protection = Protection { max_in_flight: 2, max_queue: 1, ..Protection::default() }).await;
    s.iam.answer(TOKEN, Canned { delay: Duration::from_millis(600), ..Canned::json(200, &json!({})) });
    let first: Vec<_> = (0..2).map(|_| tokio::spawn(s.post())).collect();
    super::eventually("two are under way", || s.iam.count(TOKEN) == 2).await;
    assert_eq!(s.issuer.post_token(form(), Priority::Renewal).await.unwrap_err(), CallError::Busy);
    let second: Vec<_> = (0..3).map(|_| tokio::spawn(s.post())).collect();
    let outcomes = futures_util::future::join_all(second).await.into_iter().map(Result::unwrap);
    assert_eq!(outcomes.filter(|o| *o.as_ref().map_or_else(|e| e, |_| &CallError::NoEndpoint) == CallError::Busy).count(), 2);
    assert!(futures_util::future::join_all(first).await.into_iter().all(|o| o.unwrap().is_ok()));
    assert_eq!(s.iam.count(TOKEN), 3);
    assert!(s.issuer.post_token(form(), Priority::Renewal).await.is_ok());
}

#[tokio::test]
async fn nobody_waits_so_long_that_there_is_no_time_left_for_an_answer() {
    let s = scene(|s| {
        s.protection = Protection { max_in_flight: 1, ..protection(1, 0) };
        s.timeouts.total = Duration::from_millis(2400);
    })
    .await;
    s.iam.answer(TOKEN, Canned { delay: Duration::from_millis(1800), ..Canned::json(200, &json!({})) });
    let first = tokio::spawn(s.post());
    super::eventually("the first is under way", || s.iam.count(TOKEN) == 1).await;
    assert_eq!(s.asked().await, (Err(CallError::Busy), 0));
    assert!(!first.is_finished(), "half of the total is over, and the rest would not have been enough");
    assert_eq!(first.await.unwrap().unwrap().status, 200);
    assert!(!s.circuit_open(), "a queue is no outage");
}

#[tokio::test]
async fn those_who_wait_are_let_go_when_the_circuit_opens() {
    let s = scene(|s| s.protection = Protection { max_in_flight: 2, ..protection(1, 0) }).await;
    s.iam.first(
        TOKEN,
        [Canned { delay: Duration::from_secs(4), ..status(200) }, Canned { delay: Duration::from_millis(400), ..status(500) }],
    );
    let first = tokio::spawn(s.post());
    super::eventually("the slow one is under way", || s.iam.count(TOKEN) == 1).await;
    let second = tokio::spawn(s.post());
    super::eventually("both are under way", || s.iam.count(TOKEN) == 2).await;
    let waiting = futures_util::future::join_all((0..10).map(|_| s.post())).await;
    assert!(waiting.iter().all(|o| matches!(o, Err(CallError::CircuitOpen { .. }))), "{waiting:?}");
    assert_eq!((second.await.unwrap().unwrap().status, first.is_finished(), s.iam.count(TOKEN)), (500, false, 2));
}
