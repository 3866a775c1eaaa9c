//! It never holds more than it may, by any of its bounds, and its books are right.

use super::*;

#[tokio::test]
async fn the_bounds_hold() {
    let b = bench(10_000, None, Settings { max_entries: 50, max_per_token: 4, ..plain() });
    for i in 0..20 {
        b.ask("ada", &format!("a{i}"), Ask::ANY).await.unwrap();
        assert!(b.cache.len() <= 4);
    }
    for i in 0..500 {
        b.ask(&format!("user{i}"), "a", Ask::ANY).await.unwrap();
        assert!(b.cache.len() <= 50);
    }
    assert_eq!(b.scraped("cambist_token_cache_entries"), 50.0);
    assert_eq!(b.scraped("cambist_token_cache_capacity_entries"), 50.0);
    assert_eq!(b.scraped("cambist_token_cache_evictions_total{cause=\"size\"}"), 20.0 + 500.0 - 50.0);
}

#[tokio::test]
async fn one_subject_token_never_has_more_than_all_may_have_together() {
    let b = bench(100, None, Settings { max_entries: 3, ..plain() });
    for i in 0..10 {
        b.ask("ada", &format!("a{i}"), Ask::ANY).await.unwrap();
        assert!(b.cache.len() <= 3);
    }
}

#[tokio::test]
async fn bytes_are_a_bound_too() {
    let b = bench(10_000, None, Settings { max_bytes: 20_000, ..plain() });
    for i in 0..300 {
        b.ask(&format!("user{}", i / 3), &format!("a{i}"), Ask::ANY).await.unwrap();
        assert!(b.cache.bytes() <= 20_000, "{}", b.cache.bytes());
    }
    assert!(b.cache.len() > 20, "{} in {} bytes", b.cache.len(), b.cache.bytes());
    assert_eq!(b.scraped("cambist_token_cache_capacity_bytes"), 20_000.0);
    assert_eq!(b.scraped("cambist_token_cache_bytes"), b.cache.bytes() as f64);
    b.cache.purge(&Purge::All);
    assert_eq!((b.cache.len(), b.cache.bytes()), (0, 0));
}

#[tokio::test]
async fn a_token_that_alone_is_too_much_is_used_and_not_kept() {
    let b = bench(10, None, Settings { max_bytes: 100, ..plain() });
    for _ in 0..2 {
        assert_eq!(b.from("ada", "a", Ask::ANY).await.0, "miss");
    }
    assert_eq!((b.cache.len(), b.cache.bytes(), b.cache.shared.store.listed()), (0, 0, 0));
}

#[tokio::test]
async fn expired_tokens_make_room_first_and_the_index_goes_with_them() {
    let b = bench(10_000, None, Settings { max_entries: 10, ..plain() });
    for i in 0..10 {
        b.ask(&format!("user{i}"), "a", Ask::ANY).await.unwrap();
    }
    b.turn(100);
    for i in 10..20 {
        b.ask(&format!("user{i}"), "a", Ask::ANY).await.unwrap();
    }
    assert_eq!(b.scraped("cambist_token_cache_evictions_total{cause=\"expired\"}"), 10.0);
    assert_eq!(b.scraped("cambist_token_cache_evictions_total{cause=\"size\"}"), 0.0);
    assert_eq!(b.cache.shared.store.listed(), 20, "ten buckets, a user and a session each");
}
