//! What memory a cached token takes, and a caller whose verification is remembered: the process's own resident set beside what the
//! cache says of itself. It prints, and compares with nothing; that the cache does not lie is for `tests/cache_bytes.rs`.
//!
//! `cargo bench --bench bytes`

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(dead_code, reason = "the other bench asks for more")]

mod engine;

use engine::{engine, sizes};

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn main() {
    println!("{:>9}  {:>32}  {:>24}  {:>16}", "callers", "bytes a remembered verification", "bytes a cached token", "as it says");
    for size in sizes().into_iter().filter(|n| *n > 1) {
        let mut engine = engine();
        // They themselves, and what the development IAM knows of them, are not counted.
        engine.log_in(size);
        let at_first = resident();
        engine.verify();
        let verified = resident();
        engine.exchange();
        let exchanged = resident();
        let each = |from: usize, to: usize| to.saturating_sub(from) / size;
        println!("{size:>9}  {:>32}  {:>24}  {:>16}", each(at_first, verified), each(verified, exchanged), engine.cache.bytes() / size);
    }
}
