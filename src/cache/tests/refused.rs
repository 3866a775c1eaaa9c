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

fn key(who: &str, what: &str) -> Key {
    let (subject, target) = caller(who).key(&target(what));
    Key { subject, target }
}

#[tokio::test]
async fn where_somebody_acts_for_the_caller_nobody_else_is_denied() {
    let b = bench(1000, None, plain());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.fails(Some(refusal(Reach::Subject)));
    let acted = |actor| Asker::Delegate { caller: verified("ada", u64::MAX), actor: verified(actor, u64::MAX) };
    let code = async |actor| b.cache.token(&acted(actor), &target("b"), Ask::ANY).await.unwrap_err().code();
    assert_eq!((code("bot").await, code("bot").await, b.asked()), ("invalid_token", "invalid_token", 2));
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true), "it may be the actor's token that is dead");
    b.fails(None);
    assert!(b.cache.token(&acted("other"), &target("b"), Ask::ANY).await.is_ok());
}

#[tokio::test]
async fn refusals_are_bounded() {
    let b = bench(20_000, Some(refusal(Reach::Subject)), plain());
    for i in 0..11_000 {
        assert_eq!(b.from(&format!("user{i}"), "a", Ask::ANY).await.0, "invalid_token");
    }
    assert_eq!(b.cache.shared.refusals.len(), 10_000);
}

fn about(who: &str, what: &str) -> About {
    About { caller: Some(verified(who, u64::MAX).subject), actor: None, target: target(what), again: None }
}

#[tokio::test]
async fn a_dead_subjects_late_token_is_not_kept() {
    let mut b = bench(0, None, plain());
    let slow = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    b.started.recv().await;
    let dead = tokio::spawn(b.cache.token(&caller("ada"), &target("b"), Ask::ANY));
    b.started.recv().await;
    b.cache.shared.refusals.remember(&key("ada", "b"), &about("ada", "b"), Reach::Subject, &refusal(Reach::Subject), 1, b.clock.millis());
    b.source.gate.add_permits(2);
    assert!(slow.await.unwrap().is_ok() && dead.await.unwrap().is_ok());
    assert_eq!(b.cache.len(), 0);
}

#[tokio::test]
async fn a_refusal_stands_against_older_tokens_and_not_against_newer_ones() {
    for (refused_in, held) in [(u64::MAX, false), (1, true)] {
        let mut b = bench(0, None, plain());
        let key = key("ada", "a");
        let wait = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
        b.started.recv().await;
        // While it is in the air, another one is refused: a later one, or an earlier one.
        b.cache.shared.refusals.remember(&key, &about("ada", "a"), Reach::Target, &refusal(Reach::Target), refused_in, b.clock.millis());
        b.source.gate.add_permits(1);
        let generation = wait.await.unwrap().unwrap().generation;
        assert_eq!(b.cache.shared.store.newer(&key, generation - 1, b.clock.millis()), held);
        assert_eq!(b.from("ada", "a", Ask::ANY).await.0, if held { "hit" } else { "target_refused" });
        b.cache.shared.store.refuse(&key, generation - 1, b.clock.millis());
        assert_eq!(b.cache.len(), usize::from(held), "an older refusal does not end it");
        b.cache.shared.store.refuse(&key, generation, b.clock.millis());
        assert_eq!(b.cache.len(), 0);
    }
}
