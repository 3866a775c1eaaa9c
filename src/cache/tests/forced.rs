//! A token newer than the one that is held: one exchange for all who want one, and no more than one in a while.

use super::*;

#[tokio::test]
async fn force_replaces_what_is_held_for_everybody() {
    let b = bench(1000, None, plain());
    b.ask("ada", "a", Ask::ANY).await.unwrap();
    assert_eq!(b.ask("ada", "a", Freshness::Forced).await.unwrap().1, Source::Forced);
    assert_eq!(b.ask("ada", "a", Ask::ANY).await.unwrap().0, "a-1");
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn many_who_force_at_once_make_one_exchange_and_an_ordinary_one_is_not_joined() {
    let mut b = bench(0, None, plain());
    let ordinary = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    b.started.recv().await;
    let forced: Vec<_> = (0..50).map(|_| tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::Forced.into()))).collect();
    b.started.recv().await;
    b.source.gate.add_permits(10);
    let old = ordinary.await.unwrap().unwrap().generation;
    for wait in forced {
        let granted = wait.await.unwrap().unwrap();
        assert!(granted.generation > old && granted.source == Source::Forced);
    }
    assert_eq!(b.asked(), 2);
}

#[tokio::test]
async fn within_the_interval_its_outcome_is_the_answer() {
    let b = bench(1000, None, plain());
    let (.., first) = b.ask("ada", "a", Freshness::Forced).await.unwrap();
    b.turn(4);
    for _ in 0..20 {
        assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("forced", true));
        assert_eq!(b.ask("ada", "a", Freshness::NewerThan(first)).await.unwrap().2, first, "who asks compares");
    }
    assert_eq!(b.asked(), 1);
    assert_eq!(b.from("ada", "b", Freshness::Forced).await, ("forced", false), "another key has an interval of its own");
    b.turn(2);
    assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("forced", false));
    assert_eq!(b.asked(), 3);
}

#[tokio::test]
async fn a_failure_is_the_answer_for_those_who_force_and_the_old_token_for_the_others() {
    let b = bench(1000, None, plain());
    let (.., seen) = b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.fails(Some(refusal(Reach::Request)));
    assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("issuer_unavailable", false));
    b.fails(None);
    for _ in 0..20 {
        assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("issuer_unavailable", true));
        assert_eq!(b.from("ada", "a", Freshness::NewerThan(seen)).await, ("issuer_unavailable", true));
        assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true));
    }
    assert_eq!(b.asked(), 2);
    b.turn(6);
    assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("forced", false));
    assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("forced", true), "the failure is forgotten");
}

#[tokio::test]
async fn newer_than_takes_what_is_newer_already() {
    let b = bench(1000, None, plain());
    let (.., seen) = b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.turn(60);
    let (.., newer) = b.ask("ada", "a", Freshness::NewerThan(seen)).await.unwrap();
    assert_eq!(b.from("ada", "a", Freshness::NewerThan(seen)).await, ("hit", true));
    b.turn(10);
    assert_eq!(b.from("ada", "a", Freshness::NewerThan(newer)).await, ("forced", false));
    assert_eq!(b.asked(), 3);
}

#[tokio::test]
async fn a_refused_target_is_theirs_who_forced_and_a_dead_token_everybodys() {
    let b = bench(1000, None, plain());
    let (.., seen) = b.ask("ada", "a", Ask::ANY).await.unwrap();
    b.fails(Some(refusal(Reach::Target)));
    assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("target_refused", false));
    assert_eq!(b.from("ada", "a", Freshness::NewerThan(seen)).await, ("target_refused", true));
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("hit", true), "who did not force keeps what there is");
    b.fails(Some(refusal(Reach::Subject)));
    b.turn(6);
    assert_eq!(b.from("ada", "a", Freshness::Forced).await, ("invalid_token", false));
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("invalid_token", true));
    assert_eq!(b.cache.len(), 0);

    // Whose token is dead nobody can tell where somebody acts; what it got goes all the same.
    b.fails(None);
    let acted = || Asker::Delegate { caller: verified("bob", u64::MAX), actor: verified("bot", u64::MAX) };
    b.cache.token(&acted(), &target("a"), Ask::ANY).await.unwrap();
    b.fails(Some(refusal(Reach::Subject)));
    for ask in [Freshness::Forced.into(), Ask::ANY] {
        assert_eq!(b.cache.token(&acted(), &target("a"), ask).await.unwrap_err().code(), "invalid_token");
    }
    assert_eq!(b.cache.len(), 0);
}
