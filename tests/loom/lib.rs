//! The cache's single flight in every interleaving of a few threads, by loom. It takes in `src/cache/flight.rs` as it is, and
//! stands in for the two rooms that it uses: claims behind one lock, and freshness with its counter. It tests nothing of the store
//! but what the flight promises to it.

#![cfg(loom)]

#[allow(dead_code, reason = "nothing here renews")]
#[path = "../../src/cache/flight.rs"]
mod flight;

mod bounded {
    use loom::sync::Mutex;
    use std::collections::HashMap;
    use std::hash::Hash;

    /// As `bounded::Claims`, with one lock for all keys.
    pub struct Claims<K, F>(Mutex<HashMap<K, Vec<F>>>);

    impl<K: Eq + Hash, F> Default for Claims<K, F> {
        fn default() -> Self {
            Self(Mutex::new(HashMap::new()))
        }
    }

    impl<K: Eq + Hash, F> Claims<K, F> {
        pub fn claim<R>(&self, key: K, decide: impl FnOnce(&mut Vec<F>) -> R) -> R {
            decide(self.0.lock().unwrap().entry(key).or_default())
        }

        pub fn retain(&self, mut keep: impl FnMut(&F) -> bool) {
            self.0.lock().unwrap().values_mut().for_each(|under_way| under_way.retain(|f| keep(f)));
        }
    }
}

mod token {
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Clone, Copy, PartialEq, Eq)]
    #[allow(dead_code, reason = "as in the token room")]
    pub enum Freshness {
        Any,
        NewerThan(u64),
        Forced,
    }

    /// Not one of loom's: that it grows is all that counts.
    pub fn next_generation() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::flight::{Boarded, Flights, Landing};
    use super::token::Freshness;
    use loom::future::block_on;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    const KEY: u8 = 7;
    const OF_ADA: u8 = 1;
    const REVOKED: u64 = u64::MAX;

    /// A cache of one token, which is the generation of its exchange.
    struct World {
        flights: Flights<u8, u8, u64>,
        kept: Mutex<Option<u64>>,
        /// Ordinary exchanges under way, and made.
        under_way: AtomicUsize,
        made: AtomicUsize,
    }

    impl World {
        fn new() -> Arc<Self> {
            let (under_way, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Arc::new(Self { flights: Flights::new(), kept: Mutex::new(None), under_way, made })
        }

        fn board(&self, freshness: Freshness) -> Boarded<u8, u8, u64> {
            self.flights.board(KEY, freshness, || OF_ADA, || if freshness == Freshness::Any { *self.kept.lock().unwrap() } else { None })
        }

        /// As the cache does: kept while the place is held, unless something newer is there or a purge has come over it.
        fn keep(&self, landing: &Landing<u8, u8, u64>) {
            let mut kept = self.kept.lock().unwrap();
            if !landing.grounded() && kept.is_none_or(|held| held < landing.generation()) {
                *kept = Some(landing.generation());
            }
        }

        /// One exchange to its end; what those who wait get where a purge left them without a verdict is asked for anew.
        fn exchange(&self, landing: Landing<u8, u8, u64>) {
            if !landing.forced() {
                assert_eq!(self.under_way.fetch_add(1, Ordering::SeqCst), 0, "two ordinary exchanges for one key");
            }
            self.made.fetch_add(1, Ordering::SeqCst);
            if !landing.forced() {
                self.under_way.fetch_sub(1, Ordering::SeqCst);
            }
            self.keep(&landing);
            let token = landing.generation();
            if let Err(grounded) = landing.land(token) {
                grounded.settle(self.ask(Freshness::Any));
            }
        }

        fn ask(&self, freshness: Freshness) -> u64 {
            match self.board(freshness) {
                Boarded::Landed(token) => token,
                Boarded::Joined(wait) => block_on(wait).expect("nobody is left waiting"),
                Boarded::Started(landing) => {
                    let wait = landing.wait();
                    self.exchange(landing);
                    block_on(wait).expect("nobody is left waiting")
                }
            }
        }

        fn purge(&self, verdict: Option<u64>) {
            self.flights.purge(|whose| *whose == OF_ADA, verdict.as_ref());
            *self.kept.lock().unwrap() = None;
        }
    }

    fn twice<R: Send + 'static>(world: &Arc<World>, it: impl Fn(&World) -> R + Clone + Send + 'static) -> (R, R) {
        let (there, its) = (world.clone(), it.clone());
        let other = thread::spawn(move || its(&there));
        let mine = it(world);
        (mine, other.join().unwrap())
    }

    #[test]
    fn who_asks_at_once_makes_one_exchange_and_gets_its_token() {
        loom::model(|| {
            let world = World::new();
            let (one, two) = twice(&world, |w| w.ask(Freshness::Any));
            assert_eq!((one, world.made.load(Ordering::SeqCst)), (two, 1));
            assert_eq!(*world.kept.lock().unwrap(), Some(one));
        });
    }

    #[test]
    fn who_forces_at_once_makes_no_more_than_one_each_and_the_newest_is_kept() {
        loom::model(|| {
            let world = World::new();
            let (one, two) = twice(&world, |w| w.ask(Freshness::Forced));
            assert_eq!(*world.kept.lock().unwrap(), Some(one.max(two)));
        });
    }

    #[test]
    fn an_ordinary_and_a_forced_one_leave_the_newer() {
        loom::model(|| {
            let world = World::new();
            let there = world.clone();
            let forced = thread::spawn(move || there.ask(Freshness::Forced));
            let ordinary = world.ask(Freshness::Any);
            let forced = forced.join().unwrap();
            assert_eq!(*world.kept.lock().unwrap(), Some(ordinary.max(forced)));
        });
    }

    #[test]
    fn what_was_asked_for_before_a_purge_is_not_kept_and_who_waits_is_told() {
        loom::model(|| {
            let world = World::new();
            let there = world.clone();
            // The flight has begun before the purge does.
            let Boarded::Started(landing) = world.board(Freshness::Any) else { panic!("nobody else is here") };
            let (wait, before) = (landing.wait(), landing.generation());
            let purge = thread::spawn(move || there.purge(Some(REVOKED)));
            world.exchange(landing);
            let got = block_on(wait).unwrap();
            purge.join().unwrap();
            assert!(got == REVOKED || got == before, "{got}");
            assert_eq!(*world.kept.lock().unwrap(), None, "what was kept before the purge went with it");
            assert_ne!(world.ask(Freshness::Any), before);
        });
    }

    #[test]
    fn who_asks_after_a_purge_gets_nothing_that_was_asked_for_before() {
        loom::model(|| {
            let world = World::new();
            let Boarded::Started(landing) = world.board(Freshness::Any) else { panic!("nobody else is here") };
            let before = landing.generation();
            let there = world.clone();
            let later = thread::spawn(move || {
                there.purge(None);
                there.ask(Freshness::Any)
            });
            world.keep(&landing);
            if let Err(grounded) = landing.land(before) {
                grounded.settle(REVOKED);
            }
            assert!(later.join().unwrap() > before);
        });
    }

    #[test]
    fn where_there_is_no_verdict_who_waits_gets_what_is_asked_for_after() {
        loom::model(|| {
            let world = World::new();
            let Boarded::Started(landing) = world.board(Freshness::Any) else { panic!("nobody else is here") };
            let (before, wait, there) = (landing.generation(), landing.wait(), world.clone());
            world.flights.purge(|_| true, None);
            let flying = thread::spawn(move || {
                there.keep(&landing);
                let grounded = landing.land(before).err().expect("a purge has come over it");
                grounded.settle(there.ask(Freshness::Any));
            });
            assert!(block_on(wait).unwrap() > before);
            flying.join().unwrap();
        });
    }

    #[test]
    fn who_gives_up_takes_nothing_from_who_waits_on() {
        loom::model(|| {
            let world = World::new();
            let Boarded::Started(landing) = world.board(Freshness::Any) else { panic!("nobody else is here") };
            let (leader, token, there) = (landing.wait(), landing.generation(), world.clone());
            let flying = thread::spawn(move || there.exchange(landing));
            let Some(other) = (match world.board(Freshness::Any) {
                Boarded::Joined(wait) => Some(wait),
                Boarded::Landed(landed) => {
                    assert_eq!(landed, token);
                    None
                }
                Boarded::Started(_) => panic!("a second exchange, though the first was not lost"),
            }) else {
                return flying.join().unwrap();
            };
            // The leader's client hangs up, while its exchange comes to its end.
            drop(leader);
            assert_eq!(block_on(other), Some(token));
            flying.join().unwrap();
            assert_eq!(world.made.load(Ordering::SeqCst), 1);
            assert_eq!(*world.kept.lock().unwrap(), Some(token));
        });
    }

    #[test]
    fn everybody_gives_up_and_the_token_is_kept_for_the_next() {
        loom::model(|| {
            let world = World::new();
            let Boarded::Started(landing) = world.board(Freshness::Any) else { panic!("nobody else is here") };
            let (only, token, there) = (landing.wait(), landing.generation(), world.clone());
            let flying = thread::spawn(move || there.exchange(landing));
            drop(only);
            assert_eq!(world.ask(Freshness::Any), token);
            flying.join().unwrap();
            assert_eq!(world.made.load(Ordering::SeqCst), 1);
        });
    }

    #[test]
    fn a_flight_that_is_lost_wakes_who_waits_and_frees_the_key() {
        loom::model(|| {
            let world = World::new();
            let Boarded::Started(landing) = world.board(Freshness::Any) else { panic!("nobody else is here") };
            let there = world.clone();
            let other = thread::spawn(move || match there.board(Freshness::Any) {
                Boarded::Joined(wait) => assert_eq!(block_on(wait), None),
                Boarded::Started(landing) => drop(landing),
                Boarded::Landed(_) => panic!("nothing has landed"),
            });
            drop(landing);
            other.join().unwrap();
            assert!(matches!(world.board(Freshness::Any), Boarded::Started(_)));
        });
    }

    #[test]
    fn who_was_told_of_a_failure_and_asks_again_is_not_told_of_the_same_one() {
        loom::model(|| {
            let world = World::new();
            let Boarded::Started(landing) = world.board(Freshness::Any) else { panic!("nobody else is here") };
            let wait = landing.wait();
            // It comes to something that is not kept.
            let flying = thread::spawn(move || landing.settle(0));
            assert_eq!(block_on(wait), Some(0));
            assert!(matches!(world.board(Freshness::Any), Boarded::Started(_)));
            flying.join().unwrap();
        });
    }

    #[test]
    fn a_renewal_retires_unless_somebody_waits() {
        loom::model(|| {
            let world = World::new();
            let landing = world.flights.start_alone(KEY, || OF_ADA).expect("nobody else is here");
            let there = world.clone();
            let caller = thread::spawn(move || there.ask(Freshness::Any));
            let renewed = landing.generation();
            if let Err(awaited) = landing.retire() {
                world.keep(&awaited);
                assert!(awaited.land(renewed).is_ok());
            }
            let got = caller.join().unwrap();
            assert!(got >= renewed, "whoever came gets a token: the renewal's, or one of its own");
        });
    }
}
