//! A token is renewed behind a live request in the last part of its life: once, only where that gains something, and without
//! anybody waiting.

use super::*;

fn renewing() -> Settings {
    Settings::default()
}

#[tokio::test]
async fn the_first_request_in_the_last_fifth_begins_one_renewal_and_nobody_waits() {
    let mut b = bench(1, None, renewing());
    let (first, ..) = b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.started.recv().await;
    b.turn(69);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true));
    b.turn(12);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("refresh", true));
    b.started.recv().await;
    for _ in 0..10 {
        let (token, source, _) = b.ask("ada", "a", Ask::ANY).await.unwrap();
        assert_eq!((token.as_str(), source), (first.as_str(), Source::Hit));
    }
    assert_eq!(b.asked(), 2);
    assert_eq!(*b.source.urgencies.lock().unwrap(), [Urgency::Caller, Urgency::Renewal]);
    b.source.gate.add_permits(1);
    settled().await;
    assert_eq!(b.ask("ada", "a", Ask::ANY).await.unwrap().0, "a-1");
}

#[tokio::test]
async fn a_life_costs_one_exchange_for_as_long_as_there_are_requests() {
    let b = bench(1000, None, renewing());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    for second in 0..1000 {
        b.turn(1);
        let (source, at_once) = b.from("ada", "a", Ask::ANY).await;
        assert!(at_once && ["hit", "refresh"].contains(&source), "{source} at {second}");
        settled().await;
    }
    // 1000 s in lives of which 70 to 80 % (and a second) are used.
    assert!((13..=15).contains(&b.asked()), "{}", b.asked());
}

#[tokio::test]
async fn what_ends_with_its_subject_is_not_renewed() {
    let b = bench(1000, None, renewing());
    let ends = b.clock.unix() + 90;
    // The issuer's word is 100 s; its exchange bounds that by the subject's end and the skew.
    *b.source.lifetime.lock().unwrap() = Duration::from_secs(95);
    let ask = || b.cache.token(&ending("ada", ends), &target("a"), Ask::ANY);
    ask().await.unwrap();
    for second in 1..95 {
        b.turn(1);
        assert_eq!(ask().await.unwrap().source, Source::Hit, "{second}");
        settled().await;
    }
    assert_eq!(b.asked(), 1);
    b.turn(1);
    assert_eq!(ask().await.unwrap().source, Source::Miss);
}

#[tokio::test]
async fn where_the_issuer_gives_no_more_the_second_time_it_is_not_asked_a_third() {
    let b = bench(1000, None, renewing());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    for left in (11..100).rev() {
        b.turn(1);
        *b.source.lifetime.lock().unwrap() = Duration::from_secs(left);
        assert!(b.from("ada", "a", Ask::ANY).await.1);
        settled().await;
    }
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn an_outage_leaves_the_present_token_and_is_not_asked_into_again_at_once() {
    let b = bench(1000, None, renewing());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.fails(Some(refusal(Reach::Request)));
    b.turn(81);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("refresh", true));
    settled().await;
    for _ in 0..50 {
        assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true));
        settled().await;
    }
    assert_eq!(b.asked(), 2);
    b.turn(3);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("refresh", true), "after a while it is tried again");
    settled().await;
    assert_eq!(b.asked(), 3);
    b.turn(7);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("issuer_unavailable", false), "the token is over");
}

#[tokio::test]
async fn a_refusal_ends_the_present_token() {
    for (reach, code) in [(Reach::Subject, "invalid_token"), (Reach::Target, "target_refused")] {
        let b = bench(1000, None, renewing());
        b.ask("ada", "a", Ask::ANY).await.unwrap();
        b.fails(Some(refusal(reach)));
        b.turn(81);
        assert_eq!(b.from("ada", "a", Ask::ANY).await.0, "refresh");
        settled().await;
        assert_eq!(b.from("ada", "a", Ask::ANY).await, (code, true));
        assert_eq!((b.asked(), b.cache.len()), (2, 0));
    }
}

#[tokio::test]
async fn our_own_clients_refusal_does_not() {
    let b = bench(1000, None, renewing());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.fails(Some(refusal(Reach::Client)));
    b.turn(81);
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    settled().await;
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true));
    assert_eq!(b.from("bob", "a", Ask::ANY).await, ("misconfigured", true), "nobody else asks either");
    b.turn(4);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true), "nor does a renewal");
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn who_waits_for_a_renewal_that_was_put_off_gets_an_exchange_of_its_own() {
    let mut b = bench(1, None, renewing());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.started.recv().await;
    b.turn(85);
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.started.recv().await;
    b.turn(6);
    let waits = b.cache.token(&caller("ada"), &target("a"), Ask::ANY);
    b.fails(Some(refusal(Reach::Request)));
    b.source.gate.add_permits(1);
    b.started.recv().await;
    b.fails(None);
    b.source.gate.add_permits(1);
    assert_eq!(waits.await.unwrap().source, Source::Coalesced);
    assert_eq!(*b.source.urgencies.lock().unwrap(), [Urgency::Caller, Urgency::Renewal, Urgency::Caller]);
}

#[tokio::test]
async fn nothing_is_renewed_where_it_is_turned_off() {
    let b = bench(1000, None, plain());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.turn(89);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true));
    assert_eq!(b.asked(), 1);
}
