//! Places among an endpoint's connections: never more than there are, none lost, and each to whom it is due.

use super::*;
use crate::upstream::connect::Peer;
use crate::upstream::member::Member;
use crate::upstream::slots::Slot;
use futures_util::FutureExt;
use std::pin::pin;

fn member(max: usize) -> Arc<Member> {
    let endpoint = Endpoint { tls: false, host: "127.0.0.1".into(), port: 1 };
    let settings = Settings { max_connections: max, ..Settings::to("orders", Endpoints::Listed(vec![endpoint.clone()])) };
    let peer = Peer::new(&settings, &endpoint).unwrap();
    Member::new(&settings, peer)
}

#[tokio::test]
async fn who_waits_first_is_first_and_nobody_passes_by() {
    let member = member(1);
    let held = Slot::free(member.clone()).ok().unwrap();
    assert!(Slot::free(member.clone()).is_err());
    let (mut first, mut second) = (pin!(Slot::wait(&member)), pin!(Slot::wait(&member)));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    drop(held);
    assert!(Slot::free(member.clone()).is_err(), "the place is the first waiter's");
    assert!(second.as_mut().now_or_never().is_none());
    let held = first.now_or_never().unwrap();
    assert_eq!(member.load(), 1);
    drop(held);
    drop(second.now_or_never().unwrap());
    assert_eq!(member.load(), 0);
    assert!(Slot::free(member.clone()).is_ok());
}

#[tokio::test]
async fn who_stops_waiting_takes_no_place_along() {
    let member = member(1);
    let held = Slot::free(member.clone()).ok().unwrap();
    let mut gone_before = Box::pin(Slot::wait(&member));
    let mut gone_after = Box::pin(Slot::wait(&member));
    let mut patient = pin!(Slot::wait(&member));
    assert!(gone_before.as_mut().now_or_never().is_none());
    assert!(gone_after.as_mut().now_or_never().is_none());
    assert!(patient.as_mut().now_or_never().is_none());
    drop(gone_before);
    // Handed to one who has not looked yet, and never will.
    drop(held);
    assert!(patient.as_mut().now_or_never().is_none());
    drop(gone_after);
    assert!(patient.now_or_never().is_some());
    assert_eq!(member.load(), 0);
    drop(Slot::free(member.clone()).ok().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_are_all_served_and_never_more_than_there_are_places() {
    const PLACES: usize = 3;
    let member = member(PLACES);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..400)
        .map(|n: u64| {
            let (member, now, most) = (member.clone(), now.clone(), most.clone());
            tokio::spawn(async move {
                for round in 0..20_u64 {
                    // Every third one gives up, at once or after a look.
                    if (n + round).is_multiple_of(3) {
                        let _ = tokio::time::timeout(Duration::from_micros(n), Slot::wait(&member)).await;
                        continue;
                    }
                    let slot = match Slot::free(member.clone()) {
                        Ok(slot) => slot,
                        Err(member) => Slot::wait(&member).await,
                    };
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(slot);
                }
            })
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("nobody waits for ever").unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), PLACES);
    assert_eq!(member.load(), 0);
    let all: Vec<_> = std::iter::from_fn(|| Slot::free(member.clone()).ok()).collect();
    assert_eq!(all.len(), PLACES, "no place was lost");
}
