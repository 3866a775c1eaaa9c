//! A purge takes what is held and what is in the air, and nothing else.

use super::*;

fn session(sid: &str) -> Purge {
    Purge::Session { issuer: "i".into(), sid: sid.into() }
}

fn user(sub: &str) -> Purge {
    Purge::Subject { issuer: "i".into(), sub: sub.into() }
}

#[tokio::test]
async fn by_session_by_user_by_audience_and_all() {
    let b = bench(1000, None, plain());
    let fill = async || {
        for (who, what) in [("ada/1", "a"), ("ada/1", "b"), ("ada/2", "a"), ("bob/3", "a"), ("bob/3", "b")] {
            b.ask(who, what, Ask::ANY).await.unwrap();
        }
    };
    for (purge, held) in [
        (session("ada/1"), 2),
        (session("ada"), 0),
        (user("ada"), 3),
        (user("nobody"), 0),
        (Purge::Session { issuer: "other".into(), sid: "ada/1".into() }, 0),
        (Purge::Subject { issuer: "other".into(), sub: "ada".into() }, 0),
        (Purge::Audience("b".into()), 2),
        (Purge::Audience("c".into()), 0),
        (Purge::All, 5),
    ] {
        fill().await;
        assert_eq!(b.cache.len(), 5);
        assert_eq!(b.cache.purge(&purge), Purged { held, under_way: 0 }, "{purge:?}");
        assert_eq!(b.cache.len(), 5 - held, "{purge:?}");
    }
    assert_eq!((b.cache.bytes(), b.cache.shared.store.listed()), (0, 0));
}

#[tokio::test]
async fn who_waits_for_a_revoked_subject_is_told_at_once_and_nothing_is_kept() {
    for purge in [session("ada/1"), user("ada")] {
        let mut b = bench(0, None, plain());
        let waits: Vec<_> = (0..20).map(|_| tokio::spawn(b.cache.token(&caller("ada/1"), &target("a"), Ask::ANY))).collect();
        let other = tokio::spawn(b.cache.token(&caller("bob"), &target("a"), Ask::ANY));
        b.started.recv().await;
        b.started.recv().await;
        settled().await;
        assert_eq!(b.cache.purge(&purge), Purged { held: 0, under_way: 1 });
        for wait in waits {
            assert_eq!(wait.await.unwrap().unwrap_err().code(), "invalid_token", "before the issuer has answered");
        }
        b.source.gate.add_permits(2);
        assert!(other.await.unwrap().is_ok());
        settled().await;
        assert_eq!((b.cache.len(), b.asked()), (1, 2), "what the issuer said before the purge is not kept");
        b.source.gate.add_permits(1);
        assert_eq!(b.from("ada/1", "a", Ask::ANY).await, ("miss", false), "who comes after is asked for anew");
    }
}

#[tokio::test]
async fn a_flight_that_was_overtaken_does_not_escape() {
    let mut b = bench(0, None, plain());
    let old = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    b.started.recv().await;
    let new = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Freshness::Forced.into()));
    b.started.recv().await;
    assert_eq!(b.cache.purge(&user("ada")).under_way, 2);
    b.source.gate.add_permits(2);
    assert!(old.await.unwrap().is_err() && new.await.unwrap().is_err());
    settled().await;
    assert_eq!(b.cache.len(), 0);
}

#[tokio::test]
async fn where_nobody_is_revoked_who_waits_gets_what_is_asked_for_after() {
    for purge in [Purge::All, Purge::Audience("a".into())] {
        let mut b = bench(0, None, plain());
        let waits: Vec<_> = (0..20).map(|_| tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY))).collect();
        b.started.recv().await;
        settled().await;
        assert_eq!(b.cache.purge(&purge).under_way, 1);
        b.source.gate.add_permits(1);
        b.started.recv().await;
        b.source.gate.add_permits(1);
        for wait in waits {
            assert_eq!(wait.await.unwrap().unwrap().token.expose(), "a-1");
        }
        assert_eq!((b.asked(), b.cache.len()), (2, 1));
        assert_eq!(b.ask("ada", "a", Ask::ANY).await.unwrap().0, "a-1");
    }
}

#[tokio::test]
async fn all_forgets_refusals_too() {
    let b = bench(1000, Some(refusal(Reach::Target)), plain());
    b.ask("ada", "a", Ask::ANY).await.unwrap_err();
    b.fails(None);
    b.cache.purge(&Purge::All);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("miss", false));
}

#[tokio::test]
async fn who_acts_for_a_caller_is_revoked_with_what_they_act_for() {
    let b = bench(1000, None, plain());
    let acted = Asker::Delegate { caller: verified("ada/1", u64::MAX), actor: verified("bot/9", u64::MAX) };
    for what in ["a", "b"] {
        b.cache.token(&acted, &target(what), Ask::ANY).await.unwrap();
    }
    b.ask("ada/1", "a", Ask::ANY).await.unwrap();
    assert_eq!((b.cache.len(), b.cache.shared.store.listed()), (3, 2 + 4));
    assert_eq!(b.cache.purge(&session("bot/9")).held, 2);
    assert_eq!(b.from("ada/1", "a", Ask::ANY).await, ("hit", true));
    b.cache.token(&acted, &target("a"), Ask::ANY).await.unwrap();
    assert_eq!(b.cache.purge(&user("ada")).held, 2);
    assert_eq!((b.cache.len(), b.cache.bytes(), b.cache.shared.store.listed()), (0, 0, 0));
}

#[tokio::test]
async fn the_gateways_own_tokens_are_nobodys_and_go_by_audience() {
    let b = bench(1000, None, Settings { max_per_token: 1, ..plain() });
    for what in ["a", "b", "c"] {
        b.cache.token(&caller("ada"), &wanted(what, Grant::ClientCredentials), Ask::ANY).await.unwrap();
    }
    assert_eq!(b.cache.len(), 3, "no caller's token bounds them");
    assert_eq!(b.cache.purge(&user("ada")), Purged::default());
    assert_eq!(b.cache.purge(&Purge::Audience("b".into())).held, 1);
    assert_eq!(b.cache.purge(&Purge::All).held, 2);
}

#[tokio::test]
async fn a_token_goes_with_who_acts_when_the_issuer_withdraws_theirs() {
    let b = bench(1000, None, plain());
    let issued = |name: &str, at: u64| {
        let mut caller = verified(name, u64::MAX);
        caller.subject = Arc::new(Subject { issued_at: at, ..(*caller.subject).clone() });
        caller
    };
    let acted = |at| Asker::Delegate { caller: issued("ada", 100), actor: issued("bot", at) };
    let (old, young) = (acted(10), Asker::Delegate { caller: issued("ada", 100), actor: issued("boy", 100) });
    for asker in [&old, &young, &Asker::Caller(issued("ada", 100)), &Asker::Caller(issued("eve", 10))] {
        b.cache.token(asker, &target("a"), Ask::ANY).await.unwrap();
    }
    assert_eq!(b.cache.len(), 4);
    b.source.not_before.store(50, Ordering::SeqCst);
    b.cache.token(&Asker::Caller(issued("bob", 50)), &target("a"), Ask::ANY).await.unwrap();
    assert_eq!((b.cache.len(), b.scraped("cambist_token_cache_evictions_total{cause=\"forced\"}")), (3, 2.0));
    b.cache.token(&old, &target("a"), Ask::ANY).await.unwrap();
    b.cache.token(&Asker::Gateway, &wanted("own", Grant::ClientCredentials), Ask::ANY).await.unwrap();
    assert_eq!(b.cache.len(), 4, "nobody's is kept, an old actor's is not");
}

#[tokio::test]
async fn an_exchange_that_purges_come_over_again_and_again_is_given_up() {
    let mut b = bench(0, None, plain());
    let wait = tokio::spawn(b.cache.token(&caller("ada"), &target("a"), Ask::ANY));
    for _ in 0..=ROUNDS {
        b.started.recv().await;
        assert_eq!(b.cache.evict(&Purge::All).under_way, 1);
        b.source.gate.add_permits(1);
    }
    let outcome = tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it is made again without end");
    assert_eq!(outcome.unwrap().unwrap_err().code(), "issuer_unavailable");
    assert_eq!(b.asked(), 5);
    b.source.gate.add_permits(1);
    assert_eq!(b.from("ada", "a", Ask::ANY).await, ("miss", false), "who comes later has a count of their own");
}
