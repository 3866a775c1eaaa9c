//! Which endpoint a request goes to.

use super::*;
use crate::upstream::connect::Peer;
use crate::upstream::member::Member;
use crate::upstream::members::Choice;
use crate::upstream::slots::Slot;
use std::collections::BTreeMap;

const EJECT: Eject = Eject { failures: 2, time: Duration::from_secs(10) };

fn members(count: u16) -> Vec<Arc<Member>> {
    let endpoints: Vec<_> = (1..=count).map(|port| Endpoint { tls: false, host: "127.0.0.1".into(), port }).collect();
    let settings = Settings { eject: Some(EJECT), ..Settings::to("orders", Endpoints::Listed(endpoints.clone())) };
    endpoints.iter().map(|e| Member::new(&settings, Peer::new(&settings, e).unwrap())).collect()
}

/// How often each was chosen, by its port.
fn chosen(choice: &Choice, all: &[Arc<Member>], now: u64, times: usize) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(choice.of(all, now, &[]).unwrap().peer.endpoint.port).or_default() += 1;
    }
    counts
}

fn eject(member: &Member, now: u64) {
    for _ in 0..EJECT.failures {
        member.failed(now);
    }
}

#[test]
fn by_turns_everybody_gets_the_same() {
    let (all, choice) = (members(3), Choice::new(Balance::RoundRobin));
    assert_eq!(chosen(&choice, &all, 0, 30), [(1, 10), (2, 10), (3, 10)].into());
    eject(&all[1], 0);
    assert_eq!(chosen(&choice, &all, 0, 30), [(1, 15), (3, 15)].into(), "the share of one that is out goes to all others alike");
    assert_eq!(chosen(&choice, &all, 10_000, 30).len(), 3, "it comes back when its time is over");
}

#[test]
fn the_less_loaded_of_two_is_chosen() {
    let (all, choice) = (members(3), Choice::new(Balance::LeastLoaded));
    let _slots = [Slot::free(all[2].clone()), Slot::free(all[2].clone()), Slot::free(all[1].clone())];
    let counts = chosen(&choice, &all, 0, 300);
    assert!(!counts.contains_key(&3), "the most loaded loses against either: {counts:?}");
    assert!(counts[&1] > counts[&2], "{counts:?}");
    eject(&all[0], 0);
    assert_eq!(chosen(&choice, &all, 0, 30), [(2, 30)].into());
    eject(&all[1], 0);
    assert_eq!(chosen(&choice, &all, 0, 30), [(3, 30)].into(), "one that is left is chosen, whatever its load");
}

#[test]
fn equal_load_is_shared() {
    let counts = chosen(&Choice::new(Balance::LeastLoaded), &members(4), 0, 4000);
    assert!(counts.len() == 4 && counts.values().all(|n| (700..1300).contains(n)), "{counts:?}");
}

#[test]
fn where_none_is_good_all_are_used_until_one_is() {
    let (two, choice) = (members(2), Choice::new(Balance::RoundRobin));
    two.iter().for_each(|m| eject(m, 0));
    assert_eq!(chosen(&choice, &two, 0, 10), [(1, 5), (2, 5)].into());
    for balance in [Balance::RoundRobin, Balance::LeastLoaded] {
        let (all, choice) = (members(3), Choice::new(balance));
        all.iter().for_each(|m| eject(m, 0));
        assert_eq!(chosen(&choice, &all, 0, 300).len(), 3);
        all[1].failed(0);
        eject(&all[0], 5000);
        eject(&all[2], 5000);
        assert_eq!(chosen(&choice, &all, 10_000, 30), [(2, 30)].into());
    }
}

#[test]
fn what_was_tried_is_not_tried_again() {
    for balance in [Balance::RoundRobin, Balance::LeastLoaded] {
        let (all, choice) = (members(3), Choice::new(balance));
        let of = |now, tried: &[u64]| choice.of(&all, now, tried).map(|m| m.peer.endpoint.port);
        assert_eq!(of(0, &[all[0].id, all[2].id]), Some(2));
        assert_eq!(of(0, &[all[0].id, all[1].id, all[2].id]), None);
        eject(&all[1], 0);
        assert_eq!(of(0, &[all[0].id, all[2].id]), None, "one that is out is no refuge while others are good");
        assert_eq!(choice.of(&all[..1], 0, &[all[0].id]).map(|m| m.id), None);
    }
}

#[test]
fn only_bad_ends_in_a_row_count() {
    let all = members(2);
    for _ in 0..10 {
        all[0].failed(0);
        all[0].served();
    }
    assert!(all[0].good(0));
    eject(&all[0], 0);
    assert!(!all[0].good(9_999) && all[0].good(10_000));
    let alone = members(1);
    eject(&alone[0], 0);
    assert!(alone[0].good(0), "who is alone is never left out");
}

#[test]
fn health_turns_after_checks_in_a_row() {
    let member = &members(2)[0];
    let path = http::uri::PathAndQuery::from_static("/up");
    let health = Health { path, interval: Duration::from_secs(1), unhealthy_after: 3, healthy_after: 2 };
    let check = |outcomes: &str| {
        outcomes.chars().for_each(|c| member.checked(&health, &if c == '+' { Ok(()) } else { Err("down".to_owned()) }));
        member.good(0)
    };
    assert!(check("--+--"));
    assert!(!check("-"));
    assert!(!check("+-+"));
    assert!(check("+"));
}
