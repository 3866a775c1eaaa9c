//! The breaker turned by hand, and against a reference that knows no states but reads the whole history anew each time.

use super::*;
use proptest::prelude::*;

const SETTINGS: Settings = Settings { failures: 3, open_for: Duration::from_secs(5) };

fn breaker() -> (Breaker, Clock) {
    let clock = Clock::turned();
    (Breaker::new(SETTINGS, clock.clone()), clock)
}

fn fail(breaker: &Breaker, times: u32) -> Change {
    (0..times).map(|_| breaker.admit().map_or(Change::Nothing, Pass::failed)).last().unwrap()
}

fn circuit_open(breaker: &Breaker) -> bool {
    matches!(breaker.look(), Err(Barred::Circuit { .. }))
}

#[test]
fn outages_in_a_row_open_it_and_one_answer_between_starts_anew() {
    let (breaker, _) = breaker();
    assert_eq!(fail(&breaker, 2), Change::Nothing);
    assert_eq!(breaker.admit().ok().unwrap().answered(), Change::Nothing);
    assert_eq!(fail(&breaker, 2), Change::Nothing);
    assert_eq!(fail(&breaker, 1), Change::Opened);
    assert!(circuit_open(&breaker));
    let Err(Barred::Circuit { left }) = breaker.admit().map(drop) else { panic!("it is open") };
    assert!(left > Duration::from_secs(4) && left <= Duration::from_secs(5), "{left:?}");
}

#[test]
fn after_a_while_one_finds_out_for_all() {
    let (breaker, clock) = breaker();
    fail(&breaker, 3);
    clock.turn(Duration::from_secs(5));
    let probe = breaker.admit().ok().unwrap();
    assert!(circuit_open(&breaker), "one at a time");
    assert_eq!(probe.failed(), Change::Nothing);
    assert!(circuit_open(&breaker), "for the same time again");
    clock.turn(Duration::from_secs(5));
    assert_eq!(breaker.admit().ok().unwrap().answered(), Change::Mended);
    assert_eq!(breaker.look(), Ok(()));
    assert_eq!(fail(&breaker, 2), Change::Nothing, "it counts from nothing");
}

#[test]
fn a_probe_that_is_broken_off_makes_room_for_the_next() {
    let (breaker, clock) = breaker();
    fail(&breaker, 3);
    clock.turn(Duration::from_secs(5));
    drop(breaker.admit());
    assert_eq!(breaker.admit().ok().unwrap().answered(), Change::Mended);
}

#[test]
fn what_began_before_it_opened_says_nothing_of_afterwards() {
    let (breaker, clock) = breaker();
    let old: Vec<_> = (0..9).map(|_| breaker.admit().ok().unwrap()).collect();
    fail(&breaker, 3);
    clock.turn(Duration::from_secs(5));
    let probe = breaker.admit().ok().unwrap();
    let mut old = old.into_iter();
    assert_eq!(old.next().unwrap().answered(), Change::Nothing);
    assert!(circuit_open(&breaker), "only the probe decides");
    assert_eq!(probe.answered(), Change::Mended);
    assert!(old.all(|pass| pass.failed() == Change::Nothing));
    assert_eq!(breaker.look(), Ok(()));
}

#[test]
fn the_issuers_own_wish_is_obeyed_within_reason() {
    let (breaker, clock) = breaker();
    breaker.pause(Duration::from_secs(10));
    breaker.pause(Duration::from_secs(1));
    clock.turn(Duration::from_secs(9));
    assert!(matches!(breaker.look(), Err(Barred::Pause { .. })), "the longer one holds");
    clock.turn(Duration::from_secs(1));
    assert_eq!(breaker.look(), Ok(()));
    breaker.pause(Duration::from_secs(1_000_000));
    clock.turn(LONGEST_PAUSE);
    assert_eq!(breaker.look(), Ok(()));
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Begin,
    /// The n-th of those under way.
    End(usize, bool),
    Drop(usize),
    Pause(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u64..4000).prop_map(Step::Pass),
        Just(Step::Begin),
        Just(Step::Begin),
        (any::<usize>(), any::<bool>()).prop_map(|(n, good)| Step::End(n, good)),
        (any::<usize>(), Just(false)).prop_map(|(n, good)| Step::End(n, good)),
        any::<usize>().prop_map(Step::Drop),
        (0u64..90_000).prop_map(Step::Pause),
    ]
}

/// What happened, for the reference to read: when a call began and when it ended how.
#[derive(Clone, Copy)]
enum Event {
    Began { call: usize },
    Ended { call: usize, how: Ended, at: u64 },
}

/// The rules, read over the whole history: may a call begin at `now`?
fn may_begin(events: &[Event], pauses: &[u64], now: u64) -> bool {
    let (mut in_a_row, mut opened, mut probe): (u32, Option<u64>, Option<usize>) = (0, None, None);
    let mut current: Vec<usize> = Vec::new();
    for event in events {
        match *event {
            Event::Began { call } if opened.is_some() => {
                (current, probe) = (vec![call], Some(call));
            }
            Event::Began { call } => current.push(call),
            Event::Ended { call, how, at } if opened.is_some() => match how {
                _ if probe != Some(call) => {}
                Ended::Answered => (in_a_row, opened, probe) = (0, None, None),
                Ended::Failed => (opened, probe) = (Some(at + 5000), None),
                Ended::Unknown => (opened, probe) = (Some(at), None),
            },
            Event::Ended { call, how, at } if current.contains(&call) => {
                match how {
                    Ended::Answered => in_a_row = 0,
                    Ended::Failed => in_a_row += 1,
                    Ended::Unknown => {}
                }
                if in_a_row == 3 {
                    opened = Some(at + 5000);
                }
            }
            Event::Ended { .. } => {}
        }
    }
    let open = opened.is_some_and(|until| now < until) || probe.is_some();
    !open && pauses.iter().all(|until| now >= *until)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_what_the_history_says(steps in prop::collection::vec(step(), 1..120)) {
        let (mut state, mut now, mut calls) = (State::new(SETTINGS), 0, 0);
        let (mut under_way, mut events, mut pauses) = (Vec::<(usize, Ticket)>::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Pass(by) => now += by,
                Step::Begin => {
                    let admitted = state.admit(now);
                    prop_assert_eq!(admitted.is_ok(), may_begin(&events, &pauses, now));
                    if let Ok(ticket) = admitted {
                        events.push(Event::Began { call: calls });
                        under_way.push((calls, ticket));
                        calls += 1;
                    }
                }
                Step::End(..) | Step::Drop(_) if under_way.is_empty() => {}
                Step::End(n, good) => {
                    let (call, ticket) = under_way.remove(n % under_way.len());
                    let how = if good { Ended::Answered } else { Ended::Failed };
                    state.ended(now, ticket, how);
                    events.push(Event::Ended { call, how, at: now });
                }
                Step::Drop(n) => {
                    let (call, ticket) = under_way.remove(n % under_way.len());
                    state.ended(now, ticket, Ended::Unknown);
                    events.push(Event::Ended { call, how: Ended::Unknown, at: now });
                }
                Step::Pause(asked) => {
                    state.pause(now, Duration::from_millis(asked));
                    pauses.push(now + asked.min(60_000));
                }
            }
            prop_assert_eq!(state.look(now).is_ok(), may_begin(&events, &pauses, now));
        }
    }
}
