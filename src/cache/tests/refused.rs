//! What the issuer refused once it is not asked again for a while: for whom, and for how long.

use super::*;

#[tokio::test]
async fn a_dead_subject_is_remembered_by_its_token_and_its_tokens_go() {
    let b = bench(1000, None, plain());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.ask("bob", "a", Ask::ANY).await.unwrap();
    b.fails(Some(refusal(Reach::Subject)));
    assert_eq!(b.from("ada", "b", Ask::ANY).await, ("invalid_token", false));
    for what in ["a", "b", "c"] {
        assert_eq!(b.from("ada", what, Ask::ANY).await, ("invalid_token", true));
        assert_eq!(b.from("ada", what, Freshness::Forced).await, ("invalid_token", true), "no force wakes the dead");
    }
    assert_eq!(b.from("bob", "a", Ask::ANY).await, ("hit", true));
    assert_eq!(b.asked(), 3);
    assert_eq!(b.scraped("cambist_token_cache_evictions_total{cause=\"forced\"}"), 1.0);
    b.turn(31);
    b.fails(None);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("miss", false));
}

#[tokio::test]
async fn a_refused_target_is_remembered_by_key() {
    let b = bench(1000, Some(refusal(Reach::Target)), plain());
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("target_refused", false));
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("target_refused", true));
    assert_eq!(b.asked(), 1);
    b.fails(None);
    assert_eq!(b.from("ada", "b", Ask::ANY).await, ("miss", false));
    assert_eq!(b.from("bob", "a", Ask::ANY).await, ("miss", false));
    assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("forced", false), "force goes past it");
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true), "and what it got counts");
}

#[tokio::test]
async fn our_client_is_remembered_for_everybody_and_ten_seconds() {
    let b = bench(1000, Some(refusal(Reach::Client)), plain());
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("misconfigured", false));
    assert_eq!(b.from("bob", "b", Ask::ANY).await, ("misconfigured", true));
    assert_eq!(b.from("bob", "b", Freshness::Forced).await, ("misconfigured", true));
    assert_eq!(b.asked(), 1);
    b.turn(11);
    b.fails(None);
    assert_eq!(b.from("bob", "b", Ask::ANY).await, ("miss", false));
}

#[tokio::test]
async fn refusals_are_bounded() {
    let b = bench(10_000, Some(refusal(Reach::Subject)), Settings { max_entries: 20, ..plain() });
    for i in 0..200 {
        assert_eq!(b.from(&format!("user{i}"), "a", Ask::ANY).await.0, "invalid_token");
    }
    assert_eq!(b.cache.shared.refusals.len(), 20);
}

#[tokio::test]
async fn a_dead_subjects_late_token_is_not_kept() {
    let mut b = bench(0, None, plain());
    let slow = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    b.started.recv().await;
    let dead = tokio::spawn(b.cache.token(&caller("ada"), &target("b"), Ask::ANY));
    b.started.recv().await;
    b.cache.shared.refusals.remember(
        &Key { subject: caller("ada").digest, target: target("b").digest },
        &target("b"),
        &refusal(Reach::Subject),
        b.clock.millis(),
    );
    b.source.gate.add_permits(2);
    assert!(slow.await.unwrap().is_ok() && dead.await.unwrap().is_ok());
    assert_eq!(b.cache.len(), 0);
}

#[tokio::test]
async fn an_older_refusal_does_not_end_a_newer_token() {
    let mut b = bench(0, None, plain());
    let old = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    b.started.recv().await;
    let new = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::Forced.into()));
    b.started.recv().await;
    // The gate lets them through in their order: what the first one comes to is held back by hand.
    let key = Key { subject: caller("ada").digest, target: target("a").digest };
    b.source.gate.add_permits(2);
    let generation = old.await.unwrap().unwrap().generation;
    new.await.unwrap().unwrap();
    assert!(!b.cache.shared.store.refuse(&key, generation, b.clock.millis()));
    assert_eq!(b.cache.len(), 1);
}
